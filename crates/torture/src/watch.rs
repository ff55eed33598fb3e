//! What is looked at all the time: who answers for the addresses, what the ledger says, what status says, what is written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use regent_lab::observe::{AddressWatch, Round};
use regent_lab::probe::{Probe, Protocol};
use regent_lab::{CLIENT, SanLog, boot_clock_ahead_ns, now_ns};

use crate::Result;
use crate::clients::ledger_at;
use crate::fault::Fault;
use crate::hands::Done;
use crate::loads;
use crate::oracle::disk::Disks;
use crate::oracle::explained::{Act, Ordered, Told};
use crate::oracle::journal::Journal;
use crate::oracle::{Oracle, Violation, Window, address, answers, logs};
use crate::outages::{Silence, silences};
use crate::run::Happened;
use crate::site;
use crate::stage::Stage;

/// An address is asked for once so often.
const ASK_EVERY: Duration = Duration::from_millis(25);
/// Status is looked at once so often.
const LOOK_EVERY: Duration = Duration::from_millis(700);
/// A machine that thaws needs this long until it has noticed that its lease is over, in ns.
const THAW_NS: u64 = 3_000_000_000;

/// An address that is asked for.
struct Asked {
    group: String,
    address: IpAddr,
    watch: AddressWatch,
}

/// The watch of a run.
pub(crate) struct Watch {
    asked: Vec<Asked>,
    probe: Option<Probe>,
    disks: Disks,
    san_at: u64,
    groups: BTreeMap<usize, String>,
    consoles: BTreeMap<String, usize>,
    /// Rounds of questions that the next judgement begins with: the last one of before.
    open: BTreeMap<IpAddr, Round>,
    pub(crate) journal: Mutex<Journal>,
    /// Who was seen to begin something, and the last answers of each for each address.
    acts: Vec<Act>,
    answered: BTreeMap<(IpAddr, String), u64>,
    /// The nodes whose journals may lack what they told last.
    lost_power: BTreeSet<String>,
    /// How long a frozen machine answered beside the owner.
    pub(crate) excused: Vec<Window>,
    pub(crate) questions: u64,
}

/// What was seen in a round.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) violations: Vec<Violation>,
    pub(crate) silences: Vec<Silence>,
}

impl Watch {
    /// Begins to look.
    ///
    /// # Errors
    /// When the client cannot.
    pub(crate) fn start(stage: &Stage) -> Result<Self> {
        let loads = || stage.head.loads.iter().filter_map(|name| loads::load(name));
        let mut asked = Vec::new();
        for load in loads() {
            for address in [Some(load.address.into()), load.six.map(Into::into)].into_iter().flatten() {
                let watch = AddressWatch::start(&stage.lab, CLIENT, 0, address, ASK_EVERY)?;
                asked.push(Asked { group: load.name.to_owned(), address, watch });
            }
        }
        let ledger = loads().any(|l| l.name == "ledger");
        let probe = ledger
            .then(|| Probe::start(&stage.lab, CLIENT, ledger_at(), Protocol::Udp, Duration::from_millis(50)))
            .transpose()?;
        let disks = loads().filter(|l| l.device.is_some()).enumerate();
        Ok(Self {
            asked,
            probe,
            disks: Disks::default(),
            san_at: 0,
            groups: disks.map(|(number, load)| (number, load.name.to_owned())).collect(),
            consoles: BTreeMap::new(),
            open: BTreeMap::new(),
            journal: Mutex::default(),
            acts: Vec::new(),
            answered: BTreeMap::new(),
            lost_power: BTreeSet::new(),
            excused: Vec::new(),
            questions: 0,
        })
    }

    /// Asks one node after the other for its status until `stop`.
    pub(crate) fn follow(&self, stage: &Stage, stop: &AtomicBool) {
        let mut turn = 0;
        while !stop.load(Ordering::SeqCst) {
            let awake = stage.awake();
            turn += 1;
            if let Some(node) = (!awake.is_empty()).then(|| &awake[turn % awake.len()])
                && let Some(status) = stage.status_of(node)
                && status.quorate
                && status.nodes.iter().any(|n| n.name == status.node && n.lease_valid == Some(true))
            {
                self.journal.lock().unwrap_or_else(PoisonError::into_inner).see(&status);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// How many writes the SAN's journal showed so far.
    pub(crate) fn writes(&self) -> u64 {
        self.disks.count
    }

    /// Judges what was seen since the last time, in peace: everybody can be asked.
    pub(crate) fn judge(&mut self, stage: &Stage, happened: &[Happened], since: u64, last: bool) -> Seen {
        let mut seen = Seen::default();
        let frozen: Vec<(String, Window)> = happened
            .iter()
            .filter(|h| h.fault.stops_the_guard())
            .flat_map(|h| {
                h.fault
                    .nodes()
                    .into_iter()
                    .map(|n| (n.to_owned(), (h.began, h.ended + THAW_NS)))
                    .collect::<Vec<_>>()
            })
            .collect();
        self.judge_addresses(&frozen, since, &mut seen);
        if let Some(probe) = &self.probe {
            let series = probe.so_far();
            let new: Vec<_> = series.replies.into_iter().filter(|r| r.at >= since).collect();
            seen.violations.extend(answers::judge(&new, &frozen));
        }
        self.judge_journal_and_disks(stage, happened, last, &mut seen);
        self.judge_what_is_told(happened, since, &mut seen);
        self.judge_logs(stage, &mut seen);
        seen
    }

    fn judge_addresses(&mut self, frozen: &[(String, Window)], since: u64, seen: &mut Seen) {
        for Asked { group, address, watch } in &self.asked {
            let taken = watch.take();
            self.questions += taken.len() as u64;
            let rounds: Vec<Round> = self.open.remove(address).into_iter().chain(taken).collect();
            // What the kernel ends, it ends for a frozen machine, too.
            let kernel = self.journal.lock().unwrap_or_else(PoisonError::into_inner).is_of_the_kernel(group);
            let name = if address.is_ipv4() { group.clone() } else { format!("{group} ({address})") };
            let verdict = address::judge(&name, &rounds, if kernel { &[] } else { frozen });
            self.acts.extend(answerers(group, *address, &rounds, &mut self.answered));
            seen.violations.extend(verdict.violations);
            self.excused.extend(verdict.excused);
            let answered = rounds.iter().filter(|r| !r.answered.is_empty() && r.at >= since).map(|r| r.at);
            let end = rounds.last().map_or(since, |r| r.at);
            seen.silences.extend(silences(&name, answered, since, end));
            if let Some(round) = rounds.into_iter().next_back() {
                self.open.insert(*address, round);
            }
        }
    }

    fn judge_journal_and_disks(&mut self, stage: &Stage, happened: &[Happened], last: bool, seen: &mut Seen) {
        for h in happened {
            let lossy = !matches!(h.fault, Fault::Freeze(_) | Fault::Loss(..) | Fault::Flap(..));
            self.lost_power.extend(h.fault.nodes().into_iter().filter(|_| lossy).map(str::to_owned));
        }
        let entries: Vec<_> = stage.awake().iter().map(|node| stage.journal(node)).collect();
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        for entries in entries {
            journal.learn(entries);
        }
        // What a machine without power had not yet written is lost; one that resets itself is one, too.
        let resets = journal.entries().filter(|e| e.kind.contains("reset") || e.kind.contains("reboot"));
        self.lost_power.extend(resets.map(|e| e.node.to_string()).collect::<Vec<_>>());
        seen.violations.extend(journal.judge(&self.lost_power));
        let owned = journal.ownerships(boot_clock_ahead_ns());
        drop(journal);
        match SanLog::read_on(&stage.lab.folder().san_log(), self.san_at) {
            Ok((log, at)) => {
                self.san_at = at;
                self.disks.take(log, last);
            }
            Err(why) => seen.violations.push(Violation::new(Oracle::Disk, why.to_string())),
        }
        seen.violations.extend(self.disks.judge(&self.groups, &owned));
    }

    /// Whether the journals tell of what was seen.
    fn judge_what_is_told(&mut self, happened: &[Happened], since: u64, seen: &mut Seen) {
        let mut acts = std::mem::take(&mut self.acts);
        for (disk, node, at) in self.disks.begun() {
            if let Some(group) = self.groups.get(&disk) {
                acts.push(Act { at, node, group: group.clone(), resource: format!("srv-{group}") });
            }
        }
        let keeps_none = |h: &&Happened| {
            let disk = matches!(h.fault, Fault::StateDisk(..) | Fault::FullDisk(_) | Fault::Torn(_));
            disk || matches!(h.fault, Fault::PutBack(_) | Fault::Join(_) | Fault::Kill(..))
        };
        let mute: BTreeSet<String> = happened
            .iter()
            .filter(keeps_none)
            .flat_map(|h| h.fault.nodes().into_iter().map(str::to_owned).collect::<Vec<_>>())
            .chain(happened.iter().filter_map(|h| h.fault.removes().map(str::to_owned)))
            .collect();
        let stills: Vec<(String, Window)> = happened.iter().filter_map(still).collect();
        let orders: Vec<Ordered> = happened.iter().filter_map(ordered).collect();
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = journal.entries().collect();
        let told = Told {
            entries,
            ahead: boot_clock_ahead_ns(),
            cuts: &self.disks.cuts,
            stills: &stills,
            keys: &self.disks.keys,
            mute: &mute,
        };
        let put_back = happened.iter().filter_map(put_back).collect::<Vec<_>>();
        seen.violations.extend(told.forgotten(&put_back, since));
        seen.violations.extend(told.acts(&acts));
        seen.violations.extend(told.orders(&orders));
        // A cut is known by the SAN's journal, where there is a disk.
        if !self.groups.is_empty() {
            seen.violations.extend(told.fences(since));
        }
    }

    fn judge_logs(&mut self, stage: &Stage, seen: &mut Seen) {
        for machine in site::members(&stage.head) {
            let text = std::fs::read(stage.lab.folder().console(&machine)).unwrap_or_default();
            let from = self.consoles.insert(machine.clone(), text.len()).unwrap_or(0).min(text.len());
            seen.violations.extend(logs::judge(&machine, &String::from_utf8_lossy(&text[from..])));
        }
    }
}

/// The node that stood still, and when.
fn still(h: &Happened) -> Option<(String, Window)> {
    match &h.fault {
        Fault::Freeze(node) | Fault::Pause(node) => Some((node.clone(), (h.began, h.ended))),
        _ => None,
    }
}

/// The node whose state was put back.
fn put_back(h: &Happened) -> Option<&str> {
    match &h.fault {
        Fault::PutBack(node) if h.done == Done::Yes => Some(node),
        _ => None,
    }
}

/// An order that was done, as the journal has to show it.
fn ordered(h: &Happened) -> Option<Ordered> {
    let Done::Answered { code: 0, .. } = h.done else { return None };
    let words = match &h.fault {
        Fault::Order(_, words) => words.clone(),
        Fault::Apply(..) => vec!["apply".to_owned()],
        _ => return None,
    };
    Some(Ordered { words, window: (h.began, h.ended) })
}

/// The nodes that began to answer for an address after a second without. `last` is when each did last.
fn answerers(
    group: &str,
    address: IpAddr,
    rounds: &[Round],
    last: &mut BTreeMap<(IpAddr, String), u64>,
) -> Vec<Act> {
    let mut acts = Vec::new();
    for round in rounds {
        for node in round.answered.iter().filter(|n| *n != site::STRANGER) {
            let before = last.insert((address, node.clone()), round.at);
            if before.is_none_or(|before| before + 1_000_000_000 < round.at) {
                let resource = address.to_string();
                acts.push(Act { at: round.at, node: node.clone(), group: group.to_owned(), resource });
            }
        }
    }
    acts
}

/// Now, for who begins a round.
pub(crate) fn now() -> u64 {
    now_ns()
}
