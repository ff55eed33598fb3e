//! `regent drill`: the guide's test procedure, or a plan of the user's own, run on a lab or on a live cluster.

mod check;
mod guide;
mod in_lab;
mod instance;
mod live;
mod parse;
mod plan;
mod probe;
mod report;
mod runner;
mod series;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use regent_api::Status;
use regent_lab::{CLIENT, Lab};
use regent_model::config::{self, AddressConfig, Config, Finding, GroupConfig, Severity};
use regent_model::ids::InstanceName;
use serde_json::{Value, json};

use crate::args::Global;
use crate::client::{self, Client};
use crate::fence::device;
use crate::paint::Tone;
use crate::screen::Screen;
use crate::trouble::{Exit, Result, Trouble};
use crate::{look, reach, verify};

use check::{Ground, check};
use parse::parse;
use plan::{Act, Step};
use probe::{Probes, Roster, Target};
use report::{Heard, Outcome, Report, StepReport, seconds};
use runner::Stage as _;

/// How long the askers get to hear the first answers.
const WARM_UP: Duration = Duration::from_millis(700);

/// The end of the help.
pub const HELP: &str = "\
Without a plan the guide's procedure is run: lose one node, its services start on the other; it returns, nothing moves
back; lose the other, both move; it returns; move one back; see which node answers at each service address.
A plan has one step a line (# begins a comment):
  FAIL_NODE lx4 [power|network|guard]      RETURN_NODE lx4
  NETWORK_DOWN lx4 1                       NETWORK_UP lx4 1
  SERVICE_KILL cacheha1 cache              MOVE cacheha1 lx5
  PROBE 10.77.0.100:1972                   WAIT 5s
  EXPECT cacheha1 ONLINE ON lx5 WITHIN 10s
  EXPECT cacheha1 STAYS ON lx5 FOR 5s
  EXPECT cacheha1 DOWN | 10.77.0.100 ANSWERS FROM lx5 | 10.77.0.100 SILENT | lx4 UP | lx4 LOST  [WITHIN 10s]
  EXPECT 10.77.0.100 AWAY AT_MOST 3s
  EXPECT INSTANCE cacheha1 UP ON lx5 [WITHIN 60s]
On a live cluster a node fails by its fence device, and every step that hurts is consented to by itself. The exit code
is 0 only when every expectation held. docs/drill.md has more.
Examples:
  regent drill --lab
  regent drill --print --lab > plan.drill
  regent drill --check plan.drill --lab
  regent drill plan.drill --lab --report before-go-live
  regent drill plan.drill --yes-i-consent-to 'FAIL_NODE lx4' --yes-i-consent-to 'MOVE cacheha1 lx5'";

/// `regent drill`.
#[derive(Debug, Clone, Args)]
pub struct DrillArgs {
    /// The plan; without it the guide's procedure, made for this cluster
    pub plan: Option<PathBuf>,
    /// Show the guide's plan for this cluster, to begin one of your own with; nothing is done
    #[arg(long, conflicts_with_all = ["plan", "check"])]
    pub print: bool,
    /// Only say what is wrong with the plan; nothing is done
    #[arg(long, requires = "plan")]
    pub check: bool,
    /// Check against this configuration instead of the one in force
    #[arg(long, value_name = "FILE", requires = "check")]
    pub config: Option<PathBuf>,
    /// Save the report here, with .txt and .json behind it; by default drill-CLUSTER-TIME in this folder
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// On a live cluster, consent beforehand to one step that hurts, as the plan has it; once for each
    #[arg(long, value_name = "STEP")]
    pub yes_i_consent_to: Vec<String>,
}

/// Whose cluster is tested.
enum Where {
    Lab(Lab),
    Live(Client),
}

/// What is wrong with the text of a plan; any text is read.
#[must_use]
pub fn findings(text: &str) -> Vec<Finding> {
    parse(text).findings
}

/// `regent drill`; gives the exit code.
///
/// # Errors
/// What kept it from running. A drill that ran is shown by its report and the exit code.
pub fn drill(screen: &Screen, global: &Global, args: &DrillArgs) -> Result<u8> {
    if let (true, Some(path)) = (args.check, &args.plan) {
        return check_only(screen, global, path, args.config.as_deref());
    }
    let ground = place(global)?;
    let status = match &ground {
        Where::Lab(lab) => in_lab::status(lab)?,
        Where::Live(client) => client::status(client)?,
    };
    let (_, config) = in_force(&ground)?;
    let made = || {
        let running = running(&ground, &config)?;
        guide::plan(&config, &status, &running).map_err(|(what, next)| Trouble::refused(what).next(next))
    };
    if args.print {
        let text = made()?;
        screen.value(&json!({ "plan": text }))?;
        screen.say(&text)?;
        return Ok(Exit::Done as u8);
    }
    let (name, text) = match &args.plan {
        Some(path) => (path.display().to_string(), look::read(path)?),
        None => ("the guide's procedure".to_owned(), made()?),
    };
    let steps = usable(screen, &name, &text, &config, &ground, &status)?;
    // A step may cut a node's power by its devices.
    crate::fence::with_its_secrets(&config)?;
    let unwell = runner::unwell(&status);
    if !unwell.is_empty() {
        let what = format!("the cluster is not well, and is not drilled:\n  {}", unwell.join("\n  "));
        return Err(Trouble::refused(what).next("mend that first; see regent status"));
    }
    Drill { screen, args, config: &config, status: &status, name, text, steps }.run(&ground)
}

fn place(global: &Global) -> Result<Where> {
    match &global.lab {
        Some(name) => Ok(Where::Lab(reach::attach(Some(name.as_str()).filter(|n| !n.is_empty()))?)),
        None => Ok(Where::Live(reach::client(global)?)),
    }
}

/// The configuration in force: its text, and what it means.
fn in_force(ground: &Where) -> Result<(String, Config)> {
    let text = match ground {
        Where::Live(client) => client::config(client)?.0,
        Where::Lab(lab) => client::config(&in_lab::client(lab)?)?.0,
    };
    match config::parse_shown(&text, None).config {
        Some(config) => Ok((text, config)),
        None => Err(Trouble::refused("this command cannot read the configuration in force")
            .next("is it of another version than the daemons? regent --version, and regent status")),
    }
}

/// The instances that run.
fn running(ground: &Where, config: &Config) -> Result<BTreeSet<InstanceName>> {
    if config.instances().next().is_none() {
        return Ok(BTreeSet::new());
    }
    let registry = match ground {
        Where::Live(client) => crate::instance::ask::registry(client)?,
        Where::Lab(lab) => crate::instance::ask::registry(&in_lab::client(lab)?)?,
    };
    Ok(instance::running(&registry))
}

/// `regent drill --check`.
fn check_only(screen: &Screen, global: &Global, path: &Path, file: Option<&Path>) -> Result<u8> {
    let (name, text) = (path.display().to_string(), look::read(path)?);
    let read = parse(&text);
    let mut findings = read.findings;
    let ground = if global.lab.is_some() { Ground::Lab } else { Ground::Live };
    let against = match file {
        Some(file) => {
            let parsed = config::parse(&look::read(file)?).config.ok_or_else(|| {
                let shown = file.display();
                Trouble::usage(format!("{shown} is not valid")).next(format!("regent verify {shown}"))
            })?;
            Some(parsed)
        }
        None => place(global).and_then(|ground| in_force(&ground)).ok().map(|(_, config)| config),
    };
    match &against {
        // A file is checked for what a lab can do: on a live cluster less can be done, and the drill says so there.
        Some(config) => {
            let ground = if file.is_some() { Ground::Lab } else { ground };
            findings.extend(check(&read.steps, config, ground));
        }
        None => {
            screen.say("no daemon answers: the names in the plan are not checked (--config FILE does)\n")?
        }
    }
    findings.sort_by_key(|f| f.span.start);
    show(screen, &name, &text, &findings)?;
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    let steps = read.steps.len();
    screen.value(&json!({
        "valid": errors == 0,
        "checked_names": against.is_some(),
        "steps": steps,
        "findings": findings.iter().map(|f| finding_json(f, &text)).collect::<Vec<_>>(),
    }))?;
    if errors > 0 {
        return Err(Trouble::usage(""));
    }
    let hurt = read.steps.iter().filter(|s| s.act.hurts()).count();
    screen.say(&format!("{name} is a valid plan: {steps} steps, {hurt} of them hurt\n"))?;
    Ok(Exit::Done as u8)
}

fn finding_json(finding: &Finding, text: &str) -> Value {
    let (line, column) = finding.line_and_column(text);
    json!({
        "severity": finding.severity,
        "line": line,
        "column": column,
        "message": finding.message,
        "help": finding.help,
    })
}

fn show(screen: &Screen, name: &str, text: &str, findings: &[Finding]) -> Result<()> {
    findings.iter().try_for_each(|f| screen.say(&verify::render_finding(name, text, f, screen.paint.0)))
}

/// The steps, if the plan can be run here.
fn usable(
    screen: &Screen,
    name: &str,
    text: &str,
    config: &Config,
    ground: &Where,
    status: &Status,
) -> Result<Vec<Step>> {
    let read = parse(text);
    let mut findings = read.findings;
    match ground {
        Where::Lab(_) => findings.extend(check(&read.steps, config, Ground::Lab)),
        Where::Live(_) => {
            findings.extend(check(&read.steps, config, Ground::Live));
            findings.extend(live::check(&read.steps, config, &status.node));
        }
    }
    findings.sort_by_key(|f| f.span.start);
    show(screen, name, text, &findings)?;
    if findings.iter().all(|f| f.severity != Severity::Error) {
        return Ok(read.steps);
    }
    screen
        .value(&json!({ "findings": findings.iter().map(|f| finding_json(f, text)).collect::<Vec<_>>() }))?;
    Err(Trouble::usage(format!("{name} cannot be run here; nothing was done")))
}

/// A drill that is about to run.
struct Drill<'a> {
    screen: &'a Screen,
    args: &'a DrillArgs,
    config: &'a Config,
    status: &'a Status,
    name: String,
    text: String,
    steps: Vec<Step>,
}

impl Drill<'_> {
    fn run(&self, ground: &Where) -> Result<u8> {
        let clock = jiff::Zoned::now();
        let base = self.args.report.clone().unwrap_or_else(|| {
            format!("drill-{}-{}", self.status.cluster, clock.strftime("%Y%m%d-%H%M%S")).into()
        });
        // Found out now, and not when there is something to be saved.
        let saved = [beside(&base, "txt"), beside(&base, "json")];
        for path in &saved {
            std::fs::write(path, "").map_err(|e| {
                Trouble::usage(format!("the report cannot be saved at {}: {e}", path.display()))
                    .next("name another place: --report FILE")
            })?;
        }
        let prepared = self.announce(ground);
        let began = Instant::now();
        let report = prepared.and_then(|()| self.carry_out(ground, began));
        let mut report = match report {
            Ok(report) => report,
            Err(trouble) => {
                saved.iter().for_each(|path| drop(std::fs::remove_file(path)));
                return Err(trouble);
            }
        };
        report.began = clock.strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
        let text = format!("{}\nThe plan\n\n{}", report.text(), self.text);
        let value = report.json();
        for (path, content) in saved.iter().zip([text, format!("{value:#}\n")]) {
            std::fs::write(path, content).map_err(|e| {
                Trouble::refused(format!("the report cannot be saved at {}: {e}", path.display()))
            })?;
        }
        self.screen.value(&value)?;
        self.screen.say(&format!("\n{}\nThe report is saved: {}\n", report.text(), saved[0].display()))?;
        Ok(if report.is_good() { Exit::Done } else { Exit::Refused } as u8)
    }

    /// What will be hurt, before anything is.
    fn announce(&self, ground: &Where) -> Result<()> {
        let place = self.place_words(ground);
        let hurt: Vec<&Step> = self.steps.iter().filter(|s| s.act.hurts()).collect();
        let mut text = format!("Drill of {} on {place}: {}\n", self.status.cluster, self.name);
        for group in self.status.groups.iter().filter(|g| g.state == "online") {
            text.push_str(&format!("  {}\n", runner::in_words(group)));
        }
        text.push_str("These steps hurt:\n");
        for step in &hurt {
            text.push_str(&format!("  line {:<4} {}\n", step.line, step.act));
        }
        if hurt.is_empty() {
            text.push_str("  none\n");
        }
        self.screen.say(&text)?;
        if let Where::Live(_) = ground {
            let can_be_asked = std::io::stdin().is_terminal();
            live::check_consents(&self.steps, &self.args.yes_i_consent_to, can_be_asked)?;
            for step in &hurt {
                if let Act::Fail { node, .. } = &step.act {
                    device::answers(self.config, node)?;
                }
            }
        }
        Ok(())
    }

    fn place_words(&self, ground: &Where) -> String {
        match ground {
            Where::Lab(lab) => {
                let name = lab.status().map(|s| s.name).unwrap_or_default();
                format!("the lab {name}")
            }
            Where::Live(_) => "the live cluster".to_owned(),
        }
    }

    fn carry_out(&self, ground: &Where, began: Instant) -> Result<Report> {
        let wish = regent_lab::wish_to_end()?;
        let probes = self.probes(ground, began)?;
        let targets = probes.targets().to_vec();
        let (run, mended, heard, status) = match ground {
            Where::Lab(lab) => {
                let mut stage = in_lab::LabStage::new(lab, self.config, began, probes, wish);
                let run = self.run_on(&mut stage)?;
                let mended = stage.mend();
                (run, mended, heard(&targets, |a| stage.heard(a)), stage.status())
            }
            Where::Live(client) => {
                let consents = &self.args.yes_i_consent_to;
                let mut stage = live::LiveStage::new(client, self.config, began, probes, wish, consents);
                let run = self.run_on(&mut stage)?;
                (run, stage.how_to_mend(), heard(&targets, |a| stage.heard(a)), stage.status())
            }
        };
        Ok(Report {
            cluster: self.status.cluster.clone(),
            ground: self.place_words(ground),
            plan: self.name.clone(),
            began: String::new(),
            steps: run.steps,
            heard,
            worth: probe::WORTH,
            took: began.elapsed(),
            ended: run.ended,
            left: left(mended, status),
        })
    }

    fn run_on(&self, stage: &mut dyn runner::Stage) -> Result<runner::Run> {
        stage.pause(WARM_UP);
        runner::run(stage, &self.steps, &mut |number, step, done| self.tell(number, step, done))
    }

    fn tell(&self, number: usize, step: &StepReport, done: bool) -> Result<()> {
        if !done {
            self.screen.spin(number, &format!("{} (Ctrl-C ends the drill)", step.step));
            return Ok(());
        }
        self.screen.unspin();
        let (tone, word) = match step.outcome {
            Outcome::Held => (Tone::Good, "ok"),
            Outcome::Failed => (Tone::Bad, "FAILED"),
            Outcome::NotRun => (Tone::Bad, "not run"),
        };
        let word = self.screen.paint.tone(tone, word);
        let seen = if step.seen.is_empty() { String::new() } else { format!(": {}", step.seen) };
        let at = step.from.as_secs_f64();
        self.screen.say(&format!(
            "{at:7.1} s  {}\n           {word}, {}{seen}\n",
            step.step,
            seconds(step.took)
        ))
    }

    /// Who is asked how, from where.
    fn probes(&self, ground: &Where, began: Instant) -> Result<Probes> {
        let nodes = self.config.nodes.iter().map(|n| (n.name.clone(), n.addresses.clone())).collect();
        match ground {
            Where::Lab(lab) => {
                let place = |name: &str, work: Box<dyn FnOnce() + Send>| {
                    lab.thread_on(CLIENT, name, work).map(drop).map_err(Trouble::from)
                };
                Probes::start(self.targets(), Roster { nodes, here: None }, began, &place)
            }
            Where::Live(_) => {
                let place = |name: &str, work: Box<dyn FnOnce() + Send>| {
                    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(work);
                    thread.map(drop).map_err(|e| Trouble::refused(format!("cannot make a thread: {e}")))
                };
                let here = Some(self.status.node.clone());
                Probes::start(self.targets(), Roster { nodes, here }, began, &place)
            }
        }
    }

    /// Every service address once, with the port that the plan names for it.
    fn targets(&self) -> Vec<Target> {
        let port = |address: IpAddr| {
            self.steps.iter().find_map(|s| match s.act {
                Act::Probe(target) if target.ip() == address => Some(target.port()),
                _ => None,
            })
        };
        let all = self.config.groups.iter().flat_map(|g| g.addresses.iter().map(move |a| (g, a)));
        let target = |g: &GroupConfig, a: &AddressConfig| {
            let port = port(a.address);
            let portal = port.is_some() && port == a.portal;
            Target { address: a.address, port, portal, group: g.name.to_string() }
        };
        all.map(|(g, a)| target(g, a)).collect()
    }
}

fn heard(targets: &[Target], mut heard: impl FnMut(IpAddr) -> series::Series) -> Vec<Heard> {
    let one = |t: &Target| Heard {
        address: t.address,
        group: t.group.clone(),
        how: t.how(),
        series: heard(t.address),
    };
    targets.iter().map(one).collect()
}

/// In which state the cluster is left.
fn left(mut lines: Vec<String>, status: Result<Status>) -> Vec<String> {
    match status {
        Ok(status) => {
            let nodes: Vec<String> =
                status.nodes.iter().map(|n| format!("{} is {}", n.name, n.state)).collect();
            lines.push(nodes.join(", "));
            for group in &status.groups {
                lines.push(runner::in_words(group));
                lines.extend(group.advice.iter().map(|advice| format!("  next: {advice}")));
            }
        }
        Err(trouble) => {
            lines.push(trouble.what);
            lines.extend(trouble.next.into_iter().map(|next| format!("  next: {next}")));
        }
    }
    lines
}

fn beside(base: &Path, ending: &str) -> PathBuf {
    let mut name = base.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}
