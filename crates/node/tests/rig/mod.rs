//! Machines made of namespaces, joined by two bridges, gone when the test is over.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use regent_api::{Answer, Request, Status};
use regent_guard::lock::Lock;
use regent_node::{Launch, Paths};

static RIGS: AtomicU32 = AtomicU32::new(0);

/// The networks: the third byte of their addresses.
const NETWORKS: [u8; 2] = [77, 78];

/// Everything that a test makes outside of its own memory.
pub(crate) struct Rig {
    folder: PathBuf,
    cgroup: PathBuf,
    switch: Child,
    pub(crate) machines: Vec<Machine>,
}

/// One machine.
pub(crate) struct Machine {
    pub(crate) name: String,
    pub(crate) paths: Paths,
    last: u8,
    switch: u32,
    cgroup: PathBuf,
    boots: u32,
    /// The process whose death is a power cut, and the machine's first process.
    power: Option<(Child, u32)>,
    started: Mutex<Vec<Child>>,
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The environment variable that makes this test's executable a process of a machine.
const ROLE: &str = "REGENT_RIG_ROLE";

/// The command line of a process of a machine: this executable, which runs [`play`] instead of the tests.
fn words(role: &str) -> Vec<OsString> {
    let own = std::env::current_exe().unwrap();
    let role = format!("{ROLE}={role}");
    [
        "env".into(),
        role.into(),
        own.into(),
        "--exact".into(),
        "process_of_a_machine".into(),
        "--nocapture".into(),
    ]
    .to_vec()
}

/// What a process of a machine does. Returns only in a process that runs the tests.
pub(crate) fn play() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let paths = Paths::from_environment();
    let code = match role.as_str() {
        "init" => loop {
            // The first process: buries the others.
            if rustix::process::wait(rustix::process::WaitOptions::empty()).is_err() {
                std::thread::sleep(Duration::from_millis(50));
            }
        },
        "run" => {
            let launch = Launch { supervisor: words("run"), daemon: words("daemon"), guard: words("guard") };
            let done = regent_node::supervise(&paths, &launch);
            if let Err(error) = &done {
                println!("regent-run error: {error}");
            }
            u8::from(done.is_err())
        }
        "daemon" => regent_node::daemon(&paths),
        "guard" => {
            regent_guard::log::install("guard");
            let done = regent_guard::run::run(&paths);
            if let Err(why) = &done {
                tracing::error!("{why}");
            }
            regent_guard::log::flush(Duration::from_secs(1));
            if done.is_ok() { 0 } else { regent_guard::run::REFUSED }
        }
        "begin" | "join" | "witness" | "start" => type_in(&role, &paths),
        other => panic!("no process of a machine is called {other}"),
    };
    std::process::exit(code.into())
}

/// What a user types on the machine.
fn type_in(role: &str, paths: &Paths) -> u8 {
    let given = |name: &str| std::env::var(name).unwrap_or_default();
    let launch = Launch { supervisor: words("run"), daemon: words("daemon"), guard: words("guard") };
    let addresses = given("RIG_ADDRESSES").split_whitespace().map(|a| a.parse().unwrap()).collect();
    let machine = regent_node::Machine { name: Some(given("RIG_NAME")), addresses };
    let done = match role {
        "begin" => regent_node::init(paths, "ward7", &machine, Some(&launch)).map(drop),
        "start" => regent_node::start(paths, &launch, Duration::from_secs(20)).map(drop),
        _ => regent_node::join(paths, &given("RIG_TOKEN"), &machine, role == "witness", Some(&launch))
            .map(drop),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            println!("{error}");
            1
        }
    }
}

fn cgroup_hierarchy() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|l| l.contains(" - cgroup2 ")).expect("control groups of version 2");
    line.split(' ').nth(4).unwrap().into()
}

/// Ends with the thread that starts it, however that ends.
fn tied(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", program]).stdin(Stdio::null());
    command
}

impl Rig {
    /// A rig of machines with these names; they have addresses, and nothing runs on them.
    pub(crate) fn new(names: &[&str]) -> Self {
        let number = RIGS.fetch_add(1, Ordering::Relaxed);
        let name = format!("regent-rig-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        fs::create_dir_all(&folder).unwrap();
        let cgroup = cgroup_hierarchy().join(&name);
        let switch = tied("unshare").args(["--net", "sleep", "infinity"]).spawn().unwrap();
        let mut rig = Self { folder, cgroup, switch, machines: Vec::new() };
        wait_for("the switch's namespace", || is_apart(rig.switch.id()));
        for network in NETWORKS {
            let bridge = format!("sw{network}");
            inside(rig.switch.id(), &["ip", "link", "add", &bridge, "type", "bridge"]);
            inside(rig.switch.id(), &["ip", "link", "set", &bridge, "up"]);
        }
        for (at, name) in names.iter().enumerate() {
            let own = rig.folder.join(name);
            fs::create_dir_all(&own).unwrap();
            rig.machines.push(Machine {
                name: (*name).to_owned(),
                paths: Paths::below(&own),
                last: u8::try_from(at).unwrap() + 4,
                switch: rig.switch.id(),
                cgroup: rig.cgroup.join(name),
                boots: 0,
                power: None,
                started: Mutex::default(),
            });
        }
        rig.machines.iter_mut().for_each(Machine::on);
        rig
    }

    pub(crate) fn machine(&self, name: &str) -> &Machine {
        self.machines.iter().find(|m| m.name == name).unwrap()
    }

    pub(crate) fn machine_mut(&mut self, name: &str) -> &mut Machine {
        self.machines.iter_mut().find(|m| m.name == name).unwrap()
    }

    /// The machines that have this address.
    pub(crate) fn holders(&self, address: &str) -> Vec<String> {
        let on = self.machines.iter().filter(|m| m.power.is_some() && m.has(address));
        on.map(|m| m.name.clone()).collect()
    }

    /// Waits until exactly this machine holds the address.
    pub(crate) fn wait_for_holder(&self, address: &str, name: &str) {
        wait_for(&format!("{address} on {name} alone"), || self.holders(address) == [name]);
    }

    /// What the daemons know, for a test that failed.
    fn events(&self) -> String {
        let answer = self.machines.iter().find_map(|m| m.ask(&Request::Events { after: 0, limit: 10_000 }));
        let Some(Answer::Events { entries, .. }) = answer else { return String::new() };
        let line = |(_, e): &(u64, regent_model::journal::Entry)| {
            format!("{} {:>6} {:<16} {}\n", e.at, e.node, e.kind, e.text)
        };
        entries.iter().map(line).collect()
    }

    /// What all machines have said, for a test that failed.
    fn logs(&self) -> String {
        let log = |m: &Machine| fs::read_to_string(m.log()).unwrap_or_default();
        self.machines.iter().map(|m| format!("--- {}\n{}\n", m.name, log(m))).collect()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os("REGENT_RIG_LOGS").is_some() {
            println!("{}{}", self.logs(), self.events());
        }
        self.machines.iter_mut().for_each(Machine::off);
        let _ = self.switch.kill();
        let _ = self.switch.wait();
        let until = Instant::now() + Duration::from_secs(5);
        while !remove_cgroups(&self.cgroup) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn remove_cgroups(path: &Path) -> bool {
    let _ = fs::write(path.join("cgroup.kill"), "1");
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            remove_cgroups(&entry.path());
        }
    }
    fs::remove_dir(path).is_ok() || !path.exists()
}

fn is_apart(pid: u32) -> bool {
    let net = |p: &str| fs::read_link(format!("/proc/{p}/ns/net")).ok();
    let theirs = net(&pid.to_string());
    theirs.is_some() && theirs != net("self")
}

/// Runs words in a network namespace.
fn inside(pid: u32, words: &[&str]) -> Output {
    run(Command::new("nsenter").args(["-t", &pid.to_string(), "-n", "--"]).args(words))
}

impl Machine {
    /// Boots the machine: a new boot identity, its addresses, and no process but the first.
    pub(crate) fn on(&mut self) {
        assert!(self.power.is_none());
        self.boots += 1;
        let flags = ["--net", "--pid", "--mount", "--uts", "--fork", "--kill-child=KILL", "--mount-proc"];
        let mut command = tied("unshare");
        let child = command.args(flags).args(words("init")).stdout(Stdio::null()).spawn().unwrap();
        let mut first = None;
        wait_for("the machine's first process", || {
            let list = format!("/proc/{0}/task/{0}/children", child.id());
            first = fs::read_to_string(list).ok().and_then(|l| l.split_whitespace().next()?.parse().ok());
            first.is_some_and(is_apart)
        });
        let first = first.unwrap();
        self.power = Some((child, first));
        inside(first, &["ip", "link", "set", "lo", "up"]);
        for network in NETWORKS {
            let (port, own) = (format!("p{network}-{}-{}", self.last, self.boots), format!("eth{network}"));
            let pid = first.to_string();
            let words = ["ip", "link", "add", &port, "type", "veth", "peer", "name", &own, "netns", &pid];
            inside(self.switch, &words);
            inside(self.switch, &["ip", "link", "set", &port, "master", &format!("sw{network}"), "up"]);
            inside(first, &["ip", "address", "add", &format!("{}/24", self.address(network)), "dev", &own]);
            inside(first, &["ip", "link", "set", &own, "up"]);
        }
        // What was in memory is gone.
        let _ = fs::remove_dir_all(&self.paths.run);
    }

    /// Cuts the power: the network first, so that nobody hears a last word.
    pub(crate) fn off(&mut self) {
        let Some((mut child, _)) = self.power.take() else { return };
        for network in NETWORKS {
            let port = format!("p{network}-{}-{}", self.last, self.boots);
            let switch = self.switch.to_string();
            let _ = Command::new("nsenter").args(["-t", &switch, "-n", "ip", "link", "del", &port]).output();
        }
        let _ = child.kill();
        let _ = child.wait();
        for mut child in self.started.get_mut().unwrap().drain(..) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The machine's address on a network.
    pub(crate) fn address(&self, network: u8) -> IpAddr {
        [10, network, 0, self.last].into()
    }

    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        NETWORKS.map(|network| self.address(network)).to_vec()
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.paths.run.parent().unwrap().join("log")
    }

    pub(crate) fn has_been_reset(&self) -> bool {
        self.reset_mark().exists()
    }

    fn reset_mark(&self) -> PathBuf {
        self.paths.run.parent().unwrap().join("reset")
    }

    /// A command in the machine, with what a node's processes must find in their environment.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let first = self.power.as_ref().unwrap().1.to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &first, "-n", "-p", "-m", "-u", "--"]).args(words);
        command
            .envs(self.paths.environment())
            .env("REGENT_BOOT_ID", format!("boot-{}-{}", self.name, self.boots))
            .env("REGENT_CGROUP_ROOT", &self.cgroup)
            .env("REGENT_RESET_COMMAND", format!("mkdir -p {}", self.reset_mark().display()))
            .env("REGENT_LOG", "debug")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        run(&mut self.command(words))
    }

    /// Starts a process of the machine.
    pub(crate) fn start(&self, role: &str) {
        let words = words(role);
        let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.command(&words);
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).process_group(0).spawn().unwrap();
        self.started.lock().unwrap().push(child);
    }

    /// Types a command in, and gives what it complained of.
    pub(crate) fn type_in(&self, role: &str, token: &str, with_addresses: bool) -> Result<(), String> {
        let words = words(role);
        let words: Vec<&str> = words.iter().map(|word| word.to_str().unwrap()).collect();
        let addresses: Vec<String> = if with_addresses {
            self.addresses().iter().map(ToString::to_string).collect()
        } else {
            Vec::new()
        };
        let mut command = self.command(&words);
        command.env("RIG_NAME", &self.name).env("RIG_TOKEN", token).env("RIG_ADDRESSES", addresses.join(" "));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    }

    /// The number, as the machine itself counts, of the process that holds this lock.
    pub(crate) fn pid_in(&self, lock: &Path) -> u32 {
        let mut pid = None;
        wait_for("a process number", || {
            pid = fs::read_to_string(lock).ok().and_then(|text| text.trim().parse().ok());
            pid.is_some()
        });
        pid.unwrap()
    }

    pub(crate) fn kill(&self, signal: &str, pid: u32) {
        self.run(&["kill", signal, &pid.to_string()]);
    }

    /// Cuts the machine off from all networks, or heals that.
    pub(crate) fn cut(&self, cut: bool) {
        for network in NETWORKS {
            let port = format!("p{network}-{}-{}", self.last, self.boots);
            inside(self.switch, &["ip", "link", "set", &port, if cut { "down" } else { "up" }]);
        }
    }

    /// Waits until the supervisor has ended; 0 if it had nothing to complain of.
    pub(crate) fn wait_for_supervisor(&self) -> i32 {
        let pid = self.pid_in(&self.paths.supervisor_lock());
        // A dead one may wait to be buried.
        let state = format!("grep -q 'State:.[^ZX]' /proc/{pid}/status");
        let is_there = || self.command(&["sh", "-c", &state]).output().unwrap().status.success();
        wait_for("the end of the supervisor", || !is_there());
        let log = fs::read_to_string(self.log()).unwrap_or_default()
            + &fs::read_to_string(self.paths.log()).unwrap_or_default();
        let last = log.lines().rev().find(|line| line.contains("regent-run "));
        i32::from(last.is_some_and(|line| line.contains("regent-run error")))
    }

    /// The processes of the machine's groups.
    pub(crate) fn group_processes(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut folders = vec![self.cgroup.clone()];
        while let Some(folder) = folders.pop() {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            found.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
            let inner = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            folders.extend(inner.filter(|path| path.is_dir()));
        }
        found
    }

    /// Whether neither guard nor daemon runs.
    pub(crate) fn runs_nothing(&self) -> bool {
        let locks = [self.paths.guard_lock(), self.paths.daemon_lock()];
        locks.iter().all(|lock| Lock::holder(lock).is_none())
    }

    /// Whether it has this address.
    pub(crate) fn has(&self, address: &str) -> bool {
        let output = self.command(&["ip", "-o", "address"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains(&format!(" {address}/"))
    }

    /// Asks the machine's daemon.
    pub(crate) fn ask(&self, request: &Request) -> Option<Answer> {
        regent_node::client::ask(&self.paths.api_socket(), request, Duration::from_secs(40)).ok()
    }

    pub(crate) fn status(&self) -> Option<Status> {
        match self.ask(&Request::Status) {
            Some(Answer::Status(status)) => Some(*status),
            _ => None,
        }
    }
}

/// Waits for something that must come.
pub(crate) fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < until, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
