//! `regent arbiter`: who decides between two nodes, a disk or the fence devices: made, shown and taken away.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use regent_api::{
    Answer, ArbiterStatus, DiskLook, DiskShows, NodeWord, NodesAnswer, NodesAsk, Request, Status,
};
use regent_model::NodeName;
use regent_model::config::{self, Arbiter};
use serde_json::{Value, json};

use crate::apply;
use crate::args::ApplyArgs;
use crate::args_arbiter::ArbiterCommand;
use crate::client::{self, Asks};
use crate::consent;
use crate::edit::{Editor, set};
use crate::events::moment;
use crate::nodes;
use crate::paint::{Paint, Tone, printable, wrapped};
use crate::screen::Screen;
use crate::trouble::{Exit, Result, Trouble};

const WIDTH: usize = 100;

/// Does what the words say, and gives the exit code.
///
/// # Errors
/// When the disk will not do, or what is asked for is refused.
pub fn run(asks: &dyn Asks, screen: &Screen, verb: &ArbiterCommand) -> Result<u8> {
    match verb {
        ArbiterCommand::Init { disk, force, yes, wait } => init(asks, screen, disk, (*force, *yes), *wait)?,
        ArbiterCommand::Fence { delay, yes, wait } => by_fence(asks, screen, *delay, *yes, *wait)?,
        ArbiterCommand::Status { disk: Some(disk) } => return on_disk(asks, screen, disk),
        ArbiterCommand::Status { disk: None } => return status(asks, screen),
        ArbiterCommand::Remove { yes, wait } => remove(asks, screen, *yes, *wait)?,
    }
    Ok(Exit::Done as u8)
}

fn init(
    asks: &dyn Asks,
    screen: &Screen,
    disk: &Path,
    (force, yes): (bool, bool),
    wait: Duration,
) -> Result<()> {
    if !disk.is_absolute() {
        return Err(Trouble::usage(format!("{} is no absolute path", disk.display()))
            .next("regent arbiter init /dev/disk/by-id/..."));
    }
    let found = nodes::ask(asks, NodesAsk::Disk { disk: disk.to_owned() })?;
    if !yes {
        screen.say(&looks_text(&found, screen.paint))?;
        confirm("arbiter init", &format!("An area of the arbiter is made of {}.", disk.display()))?;
    }
    let request = Request::MakeArea { disk: disk.to_owned(), force };
    let (area, seen_by) = match client::accepted(asks.ask(&request)?)? {
        Answer::Area { area, seen_by, .. } => (area, seen_by),
        other => return Err(client::mismatch(&other)),
    };
    let names: Vec<&str> = seen_by.iter().map(NodeName::as_str).collect();
    screen.say(&format!(
        "the area {area} is made on {}, and found there by {}\n",
        disk.display(),
        names.join(" and ")
    ))?;
    let (text, _) = client::config(asks)?;
    let mut editor = Editor::read(&text)?;
    let table = editor.single("arbiter")?;
    for of_the_fences in ["fence", "delay"] {
        table.remove(of_the_fences);
    }
    set(table, "disk", disk.display().to_string());
    set(table, "area", area);
    put_in_force(asks, screen, &editor.text(), wait)?;
    screen.say("who decides, and whether it could: regent arbiter status\n")
}

/// Lets the fence devices decide.
fn by_fence(
    asks: &dyn Asks,
    screen: &Screen,
    delay: Option<Duration>,
    yes: bool,
    wait: Duration,
) -> Result<()> {
    let (text, _) = client::config(asks)?;
    let mut editor = Editor::read(&text)?;
    // What another arbiter was is not kept beside it.
    editor.remove_single("arbiter");
    let table = editor.single("arbiter")?;
    set(table, "fence", true);
    if let Some(delay) = delay {
        set(table, "delay", config::duration_text(delay));
    }
    if !yes {
        confirm(
            "arbiter fence",
            "Who has turned the other node off goes on: from now on a node that the other one does not hear is turned off. A node \
             that comes up alone waits for the other one, or for a person's word; where the two share a disk, an area of that is \
             the better arbiter: regent arbiter init DISK.",
        )?;
    }
    put_in_force(asks, screen, &editor.text(), wait)?;
    screen.say("try each node's devices before they are needed: regent fence test NODE\n")
}

fn remove(asks: &dyn Asks, screen: &Screen, yes: bool, wait: Duration) -> Result<()> {
    let (text, _) = client::config(asks)?;
    let mut editor = Editor::read(&text)?;
    if !editor.remove_single("arbiter") {
        return Err(
            Trouble::refused("the configuration in force names no arbiter").next("regent arbiter status")
        );
    }
    if !yes {
        confirm(
            "arbiter remove",
            "Nobody decides between the two nodes any more: when one is lost, the other takes nothing over, and stops what \
             it has, until a person says that the lost one is off.",
        )?;
    }
    put_in_force(asks, screen, &editor.text(), wait)
}

fn put_in_force(asks: &dyn Asks, screen: &Screen, text: &str, wait: Duration) -> Result<()> {
    let args = ApplyArgs {
        file: "the configuration in force".into(),
        dry_run: false,
        later: false,
        no_undo: false,
        wait,
    };
    apply::apply_text(asks, screen, text.to_owned(), &args)
}

/// Has a person say yes.
fn confirm(command: &str, harm: &str) -> Result<()> {
    consent::typed(command, &format!("{harm}\nType yes to confirm: "), "yes", "add --yes")
}

/// What is on any disk.
fn on_disk(asks: &dyn Asks, screen: &Screen, disk: &Path) -> Result<u8> {
    let found = nodes::ask(asks, NodesAsk::Disk { disk: disk.to_owned() })?;
    screen.value(&json!({ "nodes": looks_json(&found), "silent": found.silent }))?;
    screen.say(&looks_text(&found, screen.paint))?;
    let good = found.told.values().all(|word| matches!(word, NodeWord::Disk(_)));
    Ok(if good { Exit::Done } else { Exit::Refused } as u8)
}

fn status(asks: &dyn Asks, screen: &Screen) -> Result<u8> {
    let (text, _) = client::config(asks)?;
    let configured = config::parse_shown(&text, None).config.and_then(|config| config.arbiter);
    let Some(configured) = configured else {
        screen.value(&json!({ "arbiter": null }))?;
        screen.say("nobody decides between two nodes here: the configuration has no [arbiter]\n")?;
        screen.say("next: regent witness on a third machine, or: regent arbiter init DISK, or: regent arbiter fence\n")?;
        return Ok(Exit::Done as u8);
    };
    let seen = client::status(asks)?;
    if matches!(configured, Arbiter::Fence { .. }) {
        screen.value(&json!({ "arbiter": seen.arbiter, "configured": configured_json(&configured) }))?;
        screen.say(&block(&seen, screen.paint))?;
        screen.say("what each device says: regent fence status\n")?;
        return Ok(Exit::Done as u8);
    }
    let found = nodes::ask(asks, NodesAsk::Arbiter)?;
    let troubles = misfits(&configured, &seen, &found);
    screen.value(&json!({
        "arbiter": seen.arbiter,
        "configured": configured_json(&configured),
        "nodes": looks_json(&found),
        "silent": found.silent,
        "troubles": troubles,
    }))?;
    let mut out = block(&seen, screen.paint);
    out.push_str(&looks_text(&found, screen.paint));
    for trouble in &troubles {
        let _ = writeln!(out, "{}", screen.paint.tone(Tone::Bad, &wrapped(trouble, WIDTH, "  ")));
    }
    screen.say(&out)?;
    Ok(if troubles.is_empty() { Exit::Done } else { Exit::Refused } as u8)
}

fn configured_json(configured: &Arbiter) -> Value {
    match configured {
        Arbiter::Disk { disk, area } => json!({ "disk": disk, "area": area.to_string() }),
        Arbiter::Fence { delay } => json!({ "fence": true, "delay_ms": delay.as_millis() }),
    }
}

/// What each node sees that is not what the configuration says.
fn misfits(configured: &Arbiter, seen: &Status, found: &NodesAnswer) -> Vec<String> {
    let Arbiter::Disk { area, disk } = configured else { return Vec::new() };
    let mut wrong = Vec::new();
    for (node, word) in &found.told {
        let NodeWord::Disk(look) = word else {
            if let NodeWord::Unable(why) = word {
                wrong.push(format!("{node} cannot read the disk: {why}"));
            }
            continue;
        };
        match &look.shows {
            DiskShows::Area { area: there, cluster }
                if *there == area.to_string() && cluster.as_str() == seen.cluster => {}
            _ => wrong.push(format!(
                "{node} does not find the area {area} at {}: it decides nothing there",
                disk.display()
            )),
        }
        wrong.extend(look.slots.iter().filter(|slot| slot.says.is_none()).map(|slot| {
            format!("{node} finds what node number {} wrote damaged: the area decides nothing until it is made anew: regent arbiter init {} --force",
                slot.node, disk.display())
        }));
    }
    wrong
}

fn looks_json(found: &NodesAnswer) -> Value {
    let look = |word: &NodeWord| match word {
        NodeWord::Disk(look) => json!(look),
        NodeWord::Unable(why) => json!({ "unable": why }),
        _ => Value::Null,
    };
    Value::Object(found.told.iter().map(|(node, word)| (node.to_string(), look(word))).collect())
}

fn looks_text(found: &NodesAnswer, paint: Paint) -> String {
    let mut out = String::new();
    for (node, word) in &found.told {
        let text = match word {
            NodeWord::Disk(look) => look_text(look),
            NodeWord::Unable(why) => why.clone(),
            _ => "it answered something else; is it of another version?".to_owned(),
        };
        let text = wrapped(&printable(&text), WIDTH, "  ");
        let _ = writeln!(out, "{}: {text}", paint.tone(Tone::Strong, node.as_str()));
    }
    for line in nodes::silence(found) {
        let _ = writeln!(out, "{}", printable(&line));
    }
    out
}

fn look_text(look: &DiskLook) -> String {
    let shows = match &look.shows {
        DiskShows::Blank => "blank".to_owned(),
        DiskShows::Area { area, cluster } => format!("the area {area} of the cluster {cluster}"),
        DiskShows::Other(what) => what.clone(),
    };
    let mut text = format!("{}, {} MiB: {shows}", look.disk.display(), look.bytes >> 20);
    if let Some(user) = &look.in_use {
        let _ = write!(text, "; in use: {user}");
    }
    for slot in &look.slots {
        let _ = match &slot.says {
            None => write!(text, "; node number {}: damaged", slot.node),
            Some(says) => {
                let _ = write!(text, "; node number {}: generation {}", slot.node, says.generation);
                match (says.decided, says.named) {
                    (Some(winner), _) => write!(text, " is number {winner}'s"),
                    (None, Some(named)) => write!(text, ", it named number {named} and is not through"),
                    (None, None) => write!(text, ", it has begun to ask"),
                }
            }
        };
    }
    text
}

/// What is not as it should be with the arbiter, in a few words.
#[must_use]
pub fn verdict(status: &Status) -> Option<String> {
    let arbiter = status.arbiter.as_ref()?;
    match &arbiter.alone {
        Some((node, _)) => Some(format!("{node} votes alone")),
        None if arbiter.ready => None,
        None => Some("nobody would decide between the two now".to_owned()),
    }
}

/// What `status` says of the arbiter; nothing where there is none.
#[must_use]
pub fn block(status: &Status, paint: Paint) -> String {
    let Some(ArbiterStatus { what, generation, alone, ready, why, advice }) = &status.arbiter else {
        return String::new();
    };
    let says = match (alone, ready) {
        (Some((node, since)), _) => {
            let since = moment(*since, &TimeZone::system());
            paint.tone(Tone::Warning, &format!("{node} votes alone since {since}"))
        }
        (None, true) => paint.tone(Tone::Good, "decides when one of the two is lost"),
        (None, false) => paint.tone(Tone::Warning, "would not decide now"),
    };
    let mut out = format!("arbiter {}: {says} (generation {generation})\n", printable(what));
    if let Some(why) = why {
        let _ = writeln!(out, "  {}", wrapped(&printable(why), WIDTH, "  "));
    }
    if let Some(advice) = advice {
        let _ = writeln!(out, "  next: {}", printable(advice));
    }
    out
}

#[cfg(test)]
mod tests {
    use regent_model::ids::ClusterName;

    use super::*;
    use crate::tests::samples;

    fn two(arbiter: ArbiterStatus) -> Status {
        let mut status = samples::healthy();
        status.nodes.pop();
        status.arbiter = Some(arbiter);
        status
    }

    fn ready() -> ArbiterStatus {
        let what = "disk /dev/mapper/arbiter".to_owned();
        ArbiterStatus { what, generation: 3, alone: None, ready: true, why: None, advice: None }
    }

    #[test]
    fn status_says_who_votes_alone_since_when_and_why_nobody_goes_on() {
        let text = |arbiter| crate::status::render(&two(arbiter), Paint(false));
        let well = text(ready());
        assert!(well.contains("as lx5 sees it: all is well"), "{well}");
        let line = "arbiter disk /dev/mapper/arbiter: decides when one of the two is lost (generation 3)\n";
        assert!(well.contains(line), "{well}");
        let alone = Some((NodeName::new("lx5").unwrap(), 1_000_000_000_000));
        let one = text(ArbiterStatus { alone, ready: false, ..ready() });
        assert!(one.contains("as lx5 sees it: lx5 votes alone"), "{one}");
        assert!(one.contains("lx5 votes alone since 2001-09-0"), "{one}");
        let none = text(ArbiterStatus {
            ready: false,
            why: Some("the disk does not answer".into()),
            advice: Some("see to the disk".into()),
            ..ready()
        });
        assert!(none.contains("nobody would decide between the two now"), "{none}");
        assert!(none.contains("  the disk does not answer\n  next: see to the disk\n"), "{none}");
    }

    #[test]
    fn a_node_that_finds_another_area_or_damage_or_no_disk_is_named() {
        let area = "5bd1e995c6a4a7935f3759df9e3779b9";
        let configured = Arbiter::Disk { disk: "/dev/sdz".into(), area: area.parse().unwrap() };
        let look = |area: &str, says| {
            let cluster = ClusterName::new("ward7").unwrap();
            NodeWord::Disk(Box::new(DiskLook {
                disk: "/dev/sdz".into(),
                bytes: 16 << 20,
                shows: DiskShows::Area { area: area.into(), cluster },
                in_use: None,
                mark: None,
                slots: vec![regent_api::SlotLook { node: 1, says }],
            }))
        };
        let says = regent_api::SlotSays { generation: 2, round: 1, named: Some(1), decided: Some(1) };
        let told = |word| {
            let told = [(NodeName::new("lx4").unwrap(), word)].into();
            NodesAnswer { told, ..NodesAnswer::default() }
        };
        let status = two(ready());
        let well = told(look(area, Some(says.clone())));
        assert_eq!(misfits(&configured, &status, &well), [""; 0]);
        let text = looks_text(&well, Paint(false)).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("node number 1: generation 2 is number 1's"), "{text}");
        let wrong = |word, words: &str| {
            let found = misfits(&configured, &status, &told(word)).join("; ");
            assert!(found.contains("lx4") && found.contains(words), "{found}");
        };
        wrong(look("0", Some(says)), "does not find the area");
        wrong(look(area, None), "damaged");
        wrong(NodeWord::Unable("there is no /dev/sdz".into()), "there is no /dev/sdz");
    }
}
