//! `regent lab demo`: the whole story, told while it happens, with everything counted at its end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use regent_lab::ledger::{Acknowledged, LEDGER_PORT, LedgerWriter, audit, read_ledger};
use regent_lab::observe::{Observer, doubles};
use regent_lab::{CLIENT, Lab, two_writers};
use regent_model::{Epoch, GroupName, NodeName};
use serde_json::json;

use super::cluster::{GROUP, Plan, SERVICE, default_config, form, wait_for_votes};
use super::{need_root, story, up};
use crate::client::{self, Client};
use crate::follow::{Steps, Wait, events, until, wall_ms};
use crate::look::manner;
use crate::paint::Tone;
use crate::reach;
use crate::screen::Screen;
use crate::settle::Wish;
use crate::trouble::{Result, Trouble};

/// How often the client writes.
const WRITE_EVERY: Duration = Duration::from_millis(5);
/// How often is looked who carries the service address.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long any step of the story may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How many acknowledgements make sure that a node serves.
const WRITES: usize = 200;

/// The story while it is told.
struct Demo<'a> {
    screen: &'a Screen,
    began: Instant,
    lab: Lab,
    plan: Plan,
}

/// Tells the whole story.
///
/// # Errors
/// When a step fails, or anything that was acknowledged is missing.
pub(super) fn demo(screen: &Screen, name: Option<&str>, keep: bool) -> Result<()> {
    need_root()?;
    let own = format!("demo-{}", std::process::id());
    let name = name.unwrap_or(if keep { "demo" } else { &own });
    let plan = Plan::of(name, default_config("demo"), "the demo's configuration")?;
    let began = Instant::now();
    let tell = |text: &str| {
        screen.say(&story::paragraph(began.elapsed().as_secs_f64(), text, Tone::Plain, screen.paint))
    };
    tell(&format!("Building a lab out of namespaces: {}.", up::inventory(&plan)))?;
    // A lab on a leash goes down with this process, however that ends.
    let lab = Lab::up_leashed(&plan.spec)?;
    let demo = Demo { screen, began, lab, plan };
    let told = demo.tell_all();
    if keep {
        demo.lab.stay()?;
        tell(&format!("The lab stays up. When done: regent lab down --name {name}"))?;
        return told;
    }
    let ended = demo.lab.down();
    told?;
    ended?;
    tell("Everything is taken down; nothing of it is left on this machine.")
}

/// One change of the owner, as it was measured.
struct Change {
    node: NodeName,
    epoch: Epoch,
    proof: String,
}

impl Demo<'_> {
    fn tell(&self, text: &str) -> Result<()> {
        self.tell_in(Tone::Plain, text)
    }

    fn tell_in(&self, tone: Tone, text: &str) -> Result<()> {
        let seconds = self.began.elapsed().as_secs_f64();
        self.screen.say(&story::paragraph(seconds, text, tone, self.screen.paint))
    }

    fn tell_all(&self) -> Result<()> {
        self.tell(
            "The machines have booted. Making them one cluster, as a user would: init, join, witness, apply.",
        )?;
        let client = form(&self.lab, &self.plan, |_| Ok(()))?;
        wait_for_votes(&client)?;
        let first = self.wait_online(&client, None, None)?;
        let home = &first.node;
        self.tell(&format!(
            "The group `{GROUP}` is online on {home}: a file system on the shared disk, the service address {SERVICE}, \
             a ledger. The ledger takes numbers, and acknowledges one only when it is safe on the disk."
        ))?;
        let service: SocketAddr = format!("{SERVICE}:{LEDGER_PORT}")
            .parse()
            .map_err(|e| Trouble::refused(format!("{SERVICE}:{LEDGER_PORT} is no address: {e}")))?;
        let observer = Observer::start(&self.lab, &[service.ip()], LOOK_EVERY)?;
        let writer = LedgerWriter::start(&self.lab, CLIENT, service, 1, WRITE_EVERY, None)?;
        self.wait_for_writes(&writer, home)?;
        let takeover = self.power_cut(&first, &writer)?;
        let back = self.come_back(home, &takeover, &writer)?;
        let acknowledged = writer.stop();
        let twice_carried = doubles(&observer.stop()).len();
        let stored = read_ledger(&self.lab, CLIENT, service)?;
        self.balance(&acknowledged, &stored, twice_carried, &[takeover, back])
    }

    /// Cuts the power of the owner in the middle of its work.
    fn power_cut(&self, owner: &Change, writer: &LedgerWriter) -> Result<Change> {
        let lost = &owner.node;
        let peer = self.plan.config.nodes.iter().find(|n| &n.name != lost).map(|n| n.name.clone());
        let peer = peer.ok_or_else(|| Trouble::refused("the lab has only one node"))?;
        let client = reach::in_lab(&self.lab.status()?, Some(peer.as_str()))?;
        let (before, _) = writer.count();
        self.tell(&format!(
            "A client has {before} acknowledgements and writes on. Now the power of {lost} is cut, without warning: \
             first its disk and its networks, then everything in it."
        ))?;
        let cut_ms = wall_ms();
        self.lab.off(lost.as_str())?;
        let change = self.wait_online(&client, Some(owner.epoch), Some(&peer))?;
        self.wait_for_writes(writer, &peer)?;
        self.tell(&format!("{peer} has taken over. Step by step, from the power cut on (regent events):"))?;
        self.show(&client, cut_ms)?;
        self.tell(&format!(
            "Proof that {lost} could no longer act: {}. The client saw {}.",
            change.proof,
            self.silence(writer)
        ))?;
        Ok(change)
    }

    /// Boots the lost node; as the home of a cascading group it gets its group back.
    fn come_back(&self, home: &NodeName, takeover: &Change, writer: &LedgerWriter) -> Result<Change> {
        self.tell(&format!(
            "{home} gets its power back. It is the group's home, so the group returns to it, in order: \
             released on {}, then acquired on {home}.",
            takeover.node
        ))?;
        let on_ms = wall_ms();
        self.lab.on(home.as_str())?;
        let client = reach::in_lab(&self.lab.status()?, Some(takeover.node.as_str()))?;
        let change = self.wait_online(&client, Some(takeover.epoch), Some(home))?;
        self.wait_for_writes(writer, home)?;
        self.show(&client, on_ms)?;
        Ok(change)
    }

    /// Waits until the group is online again.
    fn wait_online(&self, client: &Client, after: Option<Epoch>, on: Option<&NodeName>) -> Result<Change> {
        let group = GroupName::new(GROUP).map_err(|e| Trouble::refused(format!("{GROUP}: {e}")))?;
        let wish = Wish::Online { group: group.clone(), after, on: on.cloned() };
        let wait = Wait { wish, limit: PATIENCE, hold: Duration::ZERO, leaves: None };
        let quiet = Screen::silent();
        let mut steps = Steps::from_now(client, manner(&quiet, false))?;
        until(client, &quiet, &wait, &mut steps, Instant::now())?;
        let status = client::status(client)?;
        let is = crate::orders::groups_of(&status, GROUP)?[0];
        let node =
            is.owner.clone().ok_or_else(|| Trouble::refused(format!("{GROUP} has lost its owner again")))?;
        Ok(Change { node, epoch: is.epoch, proof: is.proof_text.clone() })
    }

    /// Waits until the client has got many numbers acknowledged by a node.
    fn wait_for_writes(&self, writer: &LedgerWriter, by: &NodeName) -> Result<()> {
        let (mut from, began) = (None, Instant::now());
        while began.elapsed() < PATIENCE {
            let (count, last) = writer.count();
            if last.is_some_and(|l| l.node == by.as_str()) && count >= *from.get_or_insert(count) + WRITES {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(Trouble::refused(format!(
            "the client gets no acknowledgement from {by} at {SERVICE}:{LEDGER_PORT}"
        )))
    }

    fn show(&self, client: &Client, from_ms: u64) -> Result<()> {
        let (entries, _) = events(client, 0, usize::MAX)?;
        self.screen.say("\n")?;
        self.screen.say(&story::timeline(entries, from_ms, &manner(self.screen, false)))?;
        self.screen.say("\n")
    }

    fn silence(&self, writer: &LedgerWriter) -> String {
        let acknowledged = writer.so_far();
        story::silence(&audit(&acknowledged, &[]), &acknowledged)
    }

    /// Counts everything.
    fn balance(
        &self,
        acknowledged: &[Acknowledged],
        stored: &[u64],
        twice_carried: usize,
        changes: &[Change],
    ) -> Result<()> {
        let audit = audit(acknowledged, stored);
        let two_writers = two_writers(&self.lab.san_log()?).len();
        self.tell("The client stops. What it was promised, and what is there:")?;
        self.screen.say(&format!("\n{}\n", story::count(&audit, self.screen.paint)))?;
        self.screen.say(&format!(
            "  {:<22} {two_writers}\n  {:<22} {twice_carried}\n\n",
            "two writers at once", "address on two nodes"
        ))?;
        let good = audit.is_clean() && two_writers == 0 && twice_carried == 0;
        self.screen.value(&json!({
            "good": good,
            "acknowledged": audit.acknowledged,
            "stored": audit.stored,
            "lost": audit.lost,
            "twice": audit.twice,
            "disordered": audit.disordered,
            "two_writers": two_writers,
            "address_on_two_nodes": twice_carried,
            "longest_silence_ms": audit.longest_gap.0 as f64 / 1e6,
            "owners": changes.iter().map(|c| json!({ "node": c.node, "epoch": c.epoch, "proof": c.proof })).collect::<Vec<_>>(),
        }))?;
        if !good {
            return Err(Trouble::refused("the cluster has not kept its word: see the count above"));
        }
        self.tell_in(Tone::Good, "Every acknowledged write is there, once and in order; never two owners.")
    }
}
