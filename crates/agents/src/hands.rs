//! The agent of a node: takes requests, works on them on threads of their own, and answers each exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use regent_model::action::{
    EventRun, Failure, FenceAsk, FenceRun, How, LookRun, NeighbourProbe, Notice, Outcome, Resource, Run,
    RunId, Upkeep,
};
use regent_model::connection::{ServiceAddress, TickleRun};
use regent_model::holding::{Act, Held, Holding};

use crate::adapters::Adapters;
use crate::announcer::Announcer;
use crate::application::{self, Applications};
use crate::clock::{Asked, Clock, Reporter};
use crate::connections::Connections;
use crate::hostname::HostName;
use crate::instance::{Installed, Instances};
use crate::job::Job;
use crate::report::{Gate, Report};
use crate::slot::{Slots, key};
use crate::{address, cgroup, event, fence, filesystem, instance, volume};

/// How long a look may take: what it looks at may hang in the kernel.
const LOOK_MAX: Duration = Duration::from_secs(5);

/// Where the hands keep things.
#[derive(Debug, Clone)]
pub struct HandsConfig {
    /// The control group under which every group's processes live; by default `regent` at the top of the
    /// version 2 hierarchy, wherever that is mounted.
    pub cgroup_root: Option<PathBuf>,
    /// For what must outlive the daemon but not the boot: main processes, output of commands.
    pub run_dir: PathBuf,
    /// For the evidence of failures.
    pub evidence: PathBuf,
}

impl Default for HandsConfig {
    fn default() -> Self {
        let evidence = PathBuf::from("/var/lib/regent").join(crate::evidence::FOLDER);
        Self { cgroup_root: None, run_dir: PathBuf::from("/run/regent"), evidence }
    }
}

/// The agent of a node. Dropping it stops its own threads; what it holds stays up, and the next one adopts
/// it.
pub struct Hands {
    pub(crate) inner: Arc<Inner>,
}

/// What every piece of work shares.
pub(crate) struct Inner {
    pub(crate) cgroups: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) report: Reporter,
    pub(crate) announcer: Announcer,
    pub(crate) adapters: Adapters,
    pub(crate) connections: Connections,
    pub(crate) applications: Applications,
    /// What their commands ended with last.
    pub(crate) answers: application::Answers,
    /// Where evidence is kept.
    pub(crate) evidence: PathBuf,
    pub(crate) instances: Instances,
    /// Which versions would open them here.
    pub(crate) installed: Installed,
    pub(crate) host_name: HostName,
    pub(crate) fence_agents: fence::Known,
    /// Held while this machine is being registered at disks.
    pub(crate) registering: Mutex<()>,
    /// For each fence device the last request to register through it: those before it are wanted no more.
    pub(crate) register_last: Mutex<BTreeMap<String, RunId>>,
    /// What was said already and need not be said again.
    pub(crate) said: Mutex<BTreeSet<String>>,
    slots: Slots,
    clock: Arc<Clock>,
}

/// One request with everything needed to work on it.
pub(crate) struct Context<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) run: &'a Run,
    pub(crate) job: &'a Job,
}

impl Hands {
    /// Makes the agent. `report` is called from many threads and must not block.
    ///
    /// # Errors
    /// There is no usable version 2 control group hierarchy, or `run_dir` cannot be made.
    pub fn new(
        config: HandsConfig,
        gate: Arc<dyn Gate>,
        report: Box<dyn Fn(Report) + Send + Sync>,
    ) -> Result<Self, String> {
        let cgroups = match config.cgroup_root {
            Some(path) => path,
            None => cgroup::find_hierarchy()?.join("regent"),
        };
        cgroup::Folder::create(&cgroups)?;
        std::fs::create_dir_all(&config.run_dir)
            .map_err(|e| format!("cannot make {}: {e}", config.run_dir.display()))?;
        let report: Reporter = Arc::from(report);
        let host_name = HostName::new(&config.run_dir);
        tell_set_back(&host_name, &report);
        let clock = Clock::start(report.clone())?;
        let inner = Inner {
            cgroups,
            run_dir: config.run_dir,
            gate,
            report: report.clone(),
            announcer: Announcer::default(),
            adapters: Adapters::new(report.clone()),
            connections: Connections::new(report.clone()),
            applications: Applications::default(),
            answers: application::Answers::default(),
            evidence: config.evidence,
            instances: Instances::default(),
            installed: Installed::default(),
            fence_agents: fence::Known::default(),
            registering: Mutex::default(),
            register_last: Mutex::default(),
            host_name,
            said: Mutex::default(),
            slots: Slots::default(),
            clock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Begins to work on a request and returns at once. It is answered by exactly one [`Report::Done`] before
    /// its deadline, whatever hangs.
    pub fn run(&self, run: Run) {
        let what = format!("{} of {} {}", run.op.word(), run.resource.kind(), run.resource.name());
        let job = Job::new(what, run.deadline);
        self.begin(Asked::Run(run.id), job, move |inner, job| {
            let outcome = {
                // Who tells of a failure neither looks at the resource nor changes it.
                let free = run.how == How::Notify;
                let enter = || inner.slots.enter(key(&run), run.op, run.how, job);
                let entered = (!free).then(enter).transpose();
                entered.and_then(|_entered| work(&Context { inner, run: &run, job }))
            };
            let outcome = outcome.unwrap_or_else(Outcome::Failed);
            Report::Done { id: run.id, outcome, steps: job.take_steps() }
        });
    }

    /// Begins to ask a fence device for something and returns at once. Answered by exactly one [`Report::Fenced`].
    pub fn fence(&self, run: FenceRun) {
        let what = format!("fencing of {} by {}", run.victim, run.device.name);
        let job = Job::new(what, fence::limit(&run));
        if run.ask == FenceAsk::Register {
            fence::note_register(&self.inner, &run);
        }
        self.begin(Asked::Fence(run.id), job, move |inner, job| {
            let result = fence::operate(inner, &run, job);
            Report::Fenced { id: run.id, result, steps: job.take_steps() }
        });
    }

    /// Begins to run a command of an event and returns at once. Answered by exactly one [`Report::Ran`].
    pub fn event(&self, run: EventRun) {
        let job = Job::new(run.what.clone(), event::limit(&run));
        self.begin(Asked::Event(run.id), job, move |inner, job| Report::Ran {
            id: run.id,
            end: event::run(inner, &run, job),
        });
    }

    /// Begins to look at what takes so long and returns at once. Answered by exactly one [`Report::Seen`].
    pub fn look(&self, run: LookRun) {
        let job = Job::new("looking at what takes so long".into(), LOOK_MAX);
        self.begin(Asked::Look(run.id), job, move |inner, _| Report::Seen {
            id: run.id,
            text: event::look(inner, &run),
        });
    }

    /// Sees to the addresses that are this node's own, and to its interfaces. Returns at once; what is wrong comes as
    /// a notice of trouble.
    pub fn keep(&self, upkeep: Upkeep) {
        self.inner.adapters.keep(upkeep);
    }

    /// Asks the neighbours on a network, and returns at once. Answered by one [`Notice::Neighbours`].
    pub fn ask_neighbours(&self, probe: NeighbourProbe) {
        self.inner.adapters.ask(probe);
    }

    /// Records who is connected to exactly these addresses from now on; says so by [`Notice::Connections`].
    pub fn record(&self, addresses: Vec<ServiceAddress>) {
        self.inner.connections.record(addresses);
    }

    /// Makes clients notice that their connections ended with an earlier owner, and returns at once. Answered by one
    /// [`Notice::Tickled`], unless the address goes meanwhile.
    pub fn tickle(&self, run: TickleRun) {
        self.inner.connections.tickle(run);
    }

    /// How many threads hang in the kernel on work whose deadline has passed.
    #[must_use]
    pub fn hung(&self) -> usize {
        self.inner.clock.hung()
    }

    fn begin(
        &self,
        asked: Asked,
        job: Job,
        work: impl FnOnce(&Arc<Inner>, &Arc<Job>) -> Report + Send + 'static,
    ) {
        let job = Arc::new(job);
        let ticket = self.inner.clock.add(asked, job.clone());
        let (inner, own) = (self.inner.clone(), job.clone());
        let thread = std::thread::Builder::new().name("regent-hand".into()).spawn(move || {
            let report = work(&inner, &own);
            if inner.clock.take_back(ticket) {
                (inner.report)(report);
            } else {
                let took = own.begun.elapsed();
                tracing::warn!(what = %own.what, ?took, ?report, "ended after its deadline");
            }
        });
        if let Err(error) = thread
            && self.inner.clock.take_back(ticket)
        {
            let failure = Failure::because(format!("cannot make a thread: {error}"));
            (self.inner.report)(asked.failed(failure, &job));
        }
    }
}

/// What an earlier daemon could not set back, because it was killed in the middle of a start.
fn tell_set_back(host_name: &HostName, report: &Reporter) {
    let Some(done) = host_name.set_back() else { return };
    let topic = "hostname".to_owned();
    let text = "a daemon was killed while the node had another name for a command".to_owned();
    let advice = match &done {
        Ok(said) => said.clone(),
        Err(why) => format!("{why}; set it by hand with: hostname NAME"),
    };
    report(Report::Notice(Notice::Trouble { topic: topic.clone(), text, advice }));
    if let Ok(text) = done {
        report(Report::Notice(Notice::Well { topic, text }));
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        self.inner.announcer.stop_all();
        self.inner.adapters.stop();
        self.inner.connections.stop();
        self.inner.applications.stop_watching();
        self.inner.clock.stop();
        if let Some(Err(why)) = self.inner.host_name.set_back() {
            tracing::error!("{why}");
        }
    }
}

fn work(context: &Context<'_>) -> Result<Outcome, Failure> {
    context.job.check()?;
    match &context.run.resource {
        Resource::Address(config) => address::work(context, config),
        Resource::Volume(config) => volume::work(context, config),
        Resource::Filesystem(config) => filesystem::work(context, config),
        Resource::Instance(config) => instance::work(context, config),
        Resource::Application(config) => application::work(context, config),
    }
}

impl Inner {
    /// What the hands are at, one line a piece of work.
    pub(crate) fn doing(&self) -> Vec<String> {
        self.clock.doing()
    }
}

impl Context<'_> {
    fn held(&self, holding: Holding) -> Held {
        Held { group: self.run.group.clone(), epoch: self.run.epoch, holding }
    }

    /// Has the guard put `holding` on its list.
    pub(crate) fn hold(&self, holding: Holding) -> Result<(), Failure> {
        self.job.check()?;
        let what = format!("the guard did not take {holding} on its list");
        let held = self.held(holding);
        self.inner.gate.hold(held).map_err(|e| Failure::because(format!("{what}: {e}")))
    }

    /// Has the guard perform `act`.
    pub(crate) fn perform(&self, what: &str, act: Act) -> Result<(), Failure> {
        self.job.check()?;
        let perform = || self.inner.gate.perform(&self.run.group, self.run.epoch, act);
        self.job.step(what, perform).map_err(Failure::because)
    }

    /// Has the guard take `holding`, which was shown to be released, off its list.
    pub(crate) fn let_go(&self, holding: Holding) -> Result<(), Failure> {
        let what = format!("{holding} is released, but the guard still has it on its list");
        let held = self.held(holding);
        Gate::drop(&*self.inner.gate, held).map_err(|e| Failure::because(format!("{what}: {e}")))
    }
}

/// A failure with evidence.
pub(crate) fn failure(reason: impl Into<String>, evidence: impl Into<String>) -> Failure {
    Failure { evidence: evidence.into(), ..Failure::because(reason) }
}
