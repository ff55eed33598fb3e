//! A node for the tests: hands with a gate that plays the guard, everything cleaned up on drop.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use regent_agents::{Gate, Hands, HandsConfig, Report, Step, acts};
use regent_model::action::{Failure, How, Notice, Op, Outcome, Place, Resource, Run, RunId};
use regent_model::config::{
    AddressConfig, ApplicationConfig, Backing, Check, FilesystemConfig, MainProcess, MonitorTimes,
    RestartLimits,
};
use regent_model::holding::{Act, Held, Holding};
use regent_model::{Epoch, GroupName, ResourceName};

pub(crate) use crate::disk::Disk;
pub(crate) use crate::process::Process;
use crate::sys::enter_own_namespaces;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Runs a tool and expects it to succeed.
pub(crate) fn sh(line: &str) -> String {
    let output = Command::new("/bin/sh").arg("-c").arg(line).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// How long something that must come is waited for: a machine may have much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until something holds, and fails loudly when it does not.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A thread in network and mount namespaces of its own that does what it is told.
pub(crate) struct Namespaces {
    work: Option<mpsc::Sender<Box<dyn FnOnce() + Send>>>,
    thread: Option<JoinHandle<()>>,
    pub(crate) tid: i32,
}

impl Namespaces {
    pub(crate) fn new() -> Self {
        let (work, orders) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            enter_own_namespaces();
            sh("mount --make-rprivate / && ip link set lo up");
            tell.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
            for order in orders {
                order();
            }
        });
        let tid = told.recv().unwrap();
        Self { work: Some(work), thread: Some(thread), tid }
    }

    /// Runs `work` inside and waits for its result; its panic becomes the caller's.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let order = move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            let _ = tell.send(result);
        };
        self.work.as_ref().unwrap().send(Box::new(order)).unwrap();
        match told.recv().unwrap() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        self.work.take();
        let _ = self.thread.take().unwrap().join();
    }
}

/// Runs a test in namespaces of its own.
pub(crate) fn isolated<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    Namespaces::new().run(test)
}

/// An interface with a carrier, its other end beside it.
pub(crate) fn interface(name: &str, address: Option<&str>) {
    sh(&format!("ip link add {name} type veth peer name peer-{}", &name[..name.len().min(8)]));
    sh(&format!("ip link set {name} up && ip link set peer-{} up", &name[..name.len().min(8)]));
    if let Some(address) = address {
        sh(&format!("ip addr add {address} dev {name}"));
    }
    carrier(name);
}

/// Waits until the kernel has noticed that the other end is up.
pub(crate) fn carrier(name: &str) {
    eventually("the link carries", || sh(&format!("ip -o link show {name}")).contains("state UP"));
}

/// A folder that goes away with its owner.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("regent-agents-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A control group of the test's own; everything in it is killed in the end.
pub(crate) struct Cgroup(pub(crate) PathBuf);

impl Cgroup {
    pub(crate) fn new() -> Self {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = mounts.lines().find(|l| l.contains(" - cgroup2 ")).expect("cgroup v2 is mounted");
        let top = line.split(' ').nth(4).unwrap();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new(top).join(format!("regent-agents-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn is_populated(path: &Path) -> bool {
        std::fs::read_to_string(path.join("cgroup.events")).is_ok_and(|t| t.contains("populated 1"))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = acts::release(
            &Holding::Cgroup { path: self.0.clone(), grace: Duration::ZERO },
            Instant::now() + Duration::from_secs(10),
        );
    }
}

/// What a test does when something is put on the list.
type OnHold = Box<dyn Fn(&Held) + Send>;

/// Plays the guard: keeps the list, performs the acts, and can refuse.
#[derive(Default)]
pub(crate) struct FakeGuard {
    pub(crate) list: Mutex<BTreeSet<Held>>,
    pub(crate) log: Mutex<Vec<String>>,
    pub(crate) refuses: Mutex<Option<String>>,
    /// Called when something is put on the list, before the answer.
    pub(crate) on_hold: Mutex<Option<OnHold>>,
}

impl FakeGuard {
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn holds_nothing(&self) -> bool {
        self.list.lock().unwrap().is_empty()
    }

    fn admit(&self) -> Result<(), String> {
        self.refuses.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

impl Gate for FakeGuard {
    fn hold(&self, held: Held) -> Result<(), String> {
        self.admit()?;
        if let Holding::Cgroup { path, .. } = &held.holding {
            // The list comes before the first process, unless it is adopted.
            self.log.lock().unwrap().push(format!("hold populated={}", Cgroup::is_populated(path)));
        }
        if let Some(call) = &*self.on_hold.lock().unwrap() {
            call(&held);
        }
        self.list.lock().unwrap().insert(held);
        Ok(())
    }

    fn perform(&self, group: &GroupName, epoch: Epoch, act: Act) -> Result<(), String> {
        self.admit()?;
        let held = Held { group: group.clone(), epoch, holding: act.holding() };
        self.list.lock().unwrap().insert(held.clone());
        self.log.lock().unwrap().push(format!("perform {}", act.holding()));
        let result = acts::perform(&act);
        if result.is_err() {
            self.list.lock().unwrap().remove(&held);
        }
        result
    }

    fn drop(&self, held: Held) -> Result<(), String> {
        self.log.lock().unwrap().push(format!("drop {}", held.holding));
        self.list.lock().unwrap().remove(&held);
        Ok(())
    }
}

/// A node under test.
pub(crate) struct Node {
    pub(crate) hands: Option<Hands>,
    pub(crate) guard: Arc<FakeGuard>,
    /// The interfaces that requests name for an address.
    pub(crate) places: Vec<Place>,
    /// What requests have for a vendor's command besides.
    pub(crate) words: Vec<String>,
    reports: mpsc::Receiver<Report>,
    early: Vec<Report>,
    answered: BTreeSet<RunId>,
    // Dropped in this order: processes first, then the files they print to.
    pub(crate) cgroup: Cgroup,
    pub(crate) run_dir: Folder,
    /// The ownership under which requests are made, and its proof.
    pub(crate) epoch: Epoch,
    pub(crate) proof: &'static str,
    pub(crate) how: How,
    /// Its name in the requests' environment.
    pub(crate) node: String,
    /// Further variables of the requests' environment.
    pub(crate) variables: Vec<(String, String)>,
}

/// An answer with its steps and the time it took.
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) steps: Vec<Step>,
    pub(crate) took: Duration,
}

impl Answer {
    #[track_caller]
    pub(crate) fn runs(self) -> Self {
        assert_eq!(self.outcome, Outcome::Running, "{:#?}", self.steps);
        self
    }

    #[track_caller]
    pub(crate) fn stopped(self) -> Self {
        assert_eq!(self.outcome, Outcome::Stopped, "{:#?}", self.steps);
        self
    }

    #[track_caller]
    pub(crate) fn failed(self) -> Failure {
        match self.outcome {
            Outcome::Failed(failure) => failure,
            other => panic!("{other:?} and not failed: {:#?}", self.steps),
        }
    }

    /// Everything the steps say, for searching in.
    pub(crate) fn story(&self) -> String {
        self.steps.iter().map(|s| format!("{} | {}\n", s.what, s.evidence)).collect()
    }
}

impl Node {
    pub(crate) fn new() -> Self {
        let (cgroup, run_dir) = (Cgroup::new(), Folder::new());
        let guard = Arc::new(FakeGuard::default());
        let (hands, reports) = Self::make_hands(&cgroup, &run_dir, &guard);
        Self {
            hands: Some(hands),
            guard,
            places: Vec::new(),
            words: Vec::new(),
            reports,
            early: Vec::new(),
            answered: BTreeSet::new(),
            cgroup,
            run_dir,
            epoch: Epoch(7),
            proof: "lease-ended",
            how: How::Plain,
            node: "lx4".into(),
            variables: Vec::new(),
        }
    }

    fn make_hands(
        cgroup: &Cgroup,
        run_dir: &Folder,
        guard: &Arc<FakeGuard>,
    ) -> (Hands, mpsc::Receiver<Report>) {
        let config = HandsConfig {
            cgroup_root: Some(cgroup.0.clone()),
            run_dir: run_dir.0.clone(),
            evidence: run_dir.0.join("evidence"),
        };
        let (sender, reports) = mpsc::channel();
        let report = move |report| {
            let _ = sender.send(report);
        };
        (Hands::new(config, guard.clone(), Box::new(report)).unwrap(), reports)
    }

    /// The daemon goes and comes back; what it held stays up.
    pub(crate) fn restart_daemon(&mut self) {
        self.hands.take();
        let (hands, reports) = Self::make_hands(&self.cgroup, &self.run_dir, &self.guard);
        self.hands = Some(hands);
        self.reports = reports;
        self.early.clear();
    }

    pub(crate) fn hands(&self) -> &Hands {
        self.hands.as_ref().unwrap()
    }

    /// Begins a request and gives its number.
    pub(crate) fn begin(&self, op: Op, resource: &Resource, deadline: Duration) -> RunId {
        let id = RunId(NEXT.fetch_add(1, Ordering::Relaxed));
        let own = [
            ("REGENT_NODE", self.node.as_str()),
            ("REGENT_SERVICE_ADDRESSES", "10.0.0.99"),
            ("REGENT_EXCLUDED_ADDRESSES", "10.0.0.4"),
            ("REGENT_PROOF", self.proof),
        ];
        let own = own.map(|(k, v)| (k.to_owned(), v.to_owned()));
        let environment = own.into_iter().chain(self.variables.clone()).collect();
        self.hands().run(Run {
            id,
            group: GroupName::new("g1").unwrap(),
            epoch: self.epoch,
            resource: resource.clone(),
            op,
            how: self.how,
            deadline,
            environment,
            places: self.places.clone(),
            words: self.words.clone(),
        });
        id
    }

    /// Waits for the answer to a request.
    pub(crate) fn answer(&mut self, id: RunId, limit: Duration) -> Answer {
        let begun = Instant::now();
        let report = self.wait(limit, |r| matches!(r, Report::Done { id: found, .. } if *found == id));
        match report {
            Some(Report::Done { outcome, steps, .. }) => Answer { outcome, steps, took: begun.elapsed() },
            other => panic!("no answer to {id:?} within {limit:?}: {other:?}"),
        }
    }

    /// Does a request from beginning to answer, which must come by the deadline.
    pub(crate) fn within(&mut self, op: Op, resource: &Resource, deadline: Duration) -> Answer {
        let id = self.begin(op, resource, deadline);
        // The deadline is the agent's; a busy machine may deliver the message a little later.
        self.answer(id, deadline + Duration::from_secs(5))
    }

    pub(crate) fn run(&mut self, op: Op, resource: &Resource) -> Answer {
        self.within(op, resource, Duration::from_secs(20))
    }

    /// The next notice, if one comes.
    pub(crate) fn notice(&mut self, limit: Duration) -> Option<Notice> {
        match self.wait(limit, |r| matches!(r, Report::Notice(_)))? {
            Report::Notice(notice) => Some(notice),
            _ => None,
        }
    }

    /// The next report that is wanted; others are kept for later.
    pub(crate) fn wait(&mut self, limit: Duration, wanted: impl Fn(&Report) -> bool) -> Option<Report> {
        if let Some(at) = self.early.iter().position(&wanted) {
            return Some(self.early.remove(at));
        }
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let report = self.reports.recv_timeout(left).ok()?;
            if let Report::Done { id, .. } = &report {
                assert!(self.answered.insert(*id), "{id:?} is answered twice: {report:?}");
            }
            if wanted(&report) {
                return Some(report);
            }
            self.early.push(report);
        }
    }

    pub(crate) fn app_cgroup(&self, name: &str) -> PathBuf {
        self.cgroup.0.join("g1").join(name)
    }
}

const LIMITS: RestartLimits = RestartLimits { retries: 0, restarts: 0, window: Duration::from_secs(600) };
const TIMES: MonitorTimes = MonitorTimes::new(Duration::from_secs(5), Duration::from_secs(5), 1);

pub(crate) fn application(start: &str, main: MainProcess) -> ApplicationConfig {
    ApplicationConfig {
        name: ResourceName::new("app").unwrap(),
        script: None,
        start: start.into(),
        stop: None,
        status: None,
        claims: regent_model::config::Claims::default(),
        main,
        user: None,
        monitor: TIMES,
        start_timeout: Duration::from_secs(5),
        stop_timeout: Duration::from_secs(5),
        lapse_grace: Duration::ZERO,
        monitoring: Default::default(),
        stale: Vec::new(),
        hostname: None,
        diagnose: None,
        bind: None,
        samba: None,
        limits: LIMITS,
        clients: Vec::new(),
    }
}

pub(crate) fn app(config: ApplicationConfig) -> Resource {
    Resource::Application(Arc::new(config))
}

pub(crate) fn address(address: &str, prefix: u8, interface: Option<&str>) -> Resource {
    Resource::Address(Arc::new(AddressConfig {
        name: ResourceName::new("address").unwrap(),
        address: address.parse().unwrap(),
        prefix,
        broadcast: None,
        interface: interface.map(str::to_owned),
        network: None,
        tickle: true,
        portal: None,
        monitor: TIMES,
        acquire_timeout: Duration::from_secs(5),
        release_timeout: Duration::from_secs(5),
        limits: LIMITS,
    }))
}

pub(crate) fn filesystem(device: &Path, mount: &Path) -> FilesystemConfig {
    FilesystemConfig {
        name: ResourceName::new("fs").unwrap(),
        device: device.into(),
        backing: Backing::Shared,
        mount: mount.into(),
        fstype: "ext4".into(),
        options: "noatime".into(),
        check: Check::Auto,
        force_unmount: false,
        monitor: TIMES,
        acquire_timeout: Duration::from_secs(20),
        release_timeout: Duration::from_secs(20),
        limits: LIMITS,
    }
}

pub(crate) fn fs(config: FilesystemConfig) -> Resource {
    Resource::Filesystem(Arc::new(config))
}
