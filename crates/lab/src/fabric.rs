//! The fabric: the one process of a lab that owns the switch, the SAN and the power.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;

use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};

use crate::area;
use crate::cgroup;
use crate::clock::now_ns;
use crate::disks::ArbiterDisk;
use crate::error::{Doing, LabError, Result};
use crate::fence::{PowerAnswer, PowerRequest};
use crate::folder::{CONTROL, Folder, POWER, Record};
use crate::machine::{At, Job, Machine, Shared};
use crate::protocol::{Answer, LabStatus, Power, Request};
use crate::san::{Disk, DiskState, Journal, Keys, Port, serve_port};
use crate::spec::{LabSpec, MachineSpec, Role};
use crate::switch::Switch;
use crate::sys;

/// A running lab, as its threads see it.
struct Fabric {
    shared: Arc<Shared>,
    machines: Vec<Arc<Machine>>,
    ending: AtomicBool,
}

/// The word by which a leashed lab is allowed to stay.
pub(crate) const STAY: &[u8] = b"stay\n";

/// Runs the fabric of the lab in `folder`, whose `spec.json` says what to build, until the lab goes down.
/// Standard input is a socket to whoever started it: it is told `ready`, or what went wrong. If `leashed`, the
/// lab goes down when that socket is closed.
///
/// # Errors
/// What kept the lab from being built; everything is cleared away then.
pub fn serve(folder: &Path, leashed: bool) -> Result<()> {
    let folder = Folder::at(folder);
    let mut leash = File::from(stdin_socket()?);
    let spec_file = folder.spec_file();
    let text = fs::read(&spec_file).doing(|| format!("read {}", spec_file.display()))?;
    let spec: LabSpec =
        serde_json::from_slice(&text).doing(|| format!("understand {}", spec_file.display()))?;
    let home = own_cgroup();
    let (send, jobs) = mpsc::channel();
    let built = build(&folder, spec, send);
    let fabric = match built {
        Ok(fabric) => fabric,
        Err(error) => {
            let _nobody_listens = writeln!(leash, "{error}");
            leave(&folder, home.as_deref());
            return Err(error);
        }
    };
    let worker = Arc::clone(&fabric);
    std::thread::Builder::new()
        .name("begin".into())
        .spawn(move || worker.begin(leash, leashed))
        .doing(|| "start a thread".into())?;
    for job in jobs {
        job();
        if fabric.ending.load(Ordering::SeqCst) {
            break;
        }
    }
    leave(fabric.folder(), home.as_deref());
    Ok(())
}

fn stdin_socket() -> Result<OwnedFd> {
    rustix::io::dup(std::io::stdin()).doing(|| "use standard input".into())
}

/// The version 2 control group this process was started in.
fn own_cgroup() -> Option<String> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().find_map(|l| l.strip_prefix("0::/")).map(str::to_owned)
}

fn build(folder: &Folder, spec: LabSpec, main: mpsc::Sender<Job>) -> Result<Arc<Fabric>> {
    spec.check()?;
    let cgroup = cgroup::of_lab(&spec.name)?;
    let fabric_group = cgroup.join(cgroup::FABRIC);
    cgroup::create(&fabric_group)?;
    cgroup::join(&fabric_group)?;
    let record = Record {
        spec: spec.clone(),
        fabric: rustix::process::getpid().as_raw_nonzero().get(),
        cgroup: cgroup.clone(),
    };
    folder.write_json(&folder.record_file(), &record)?;
    sys::own_mounts_and_network().doing(|| "make namespaces (the lab needs root)".into())?;
    leave_foreign_mounts()?;
    pin_programs(folder, &spec)?;
    let switch = Switch::build(spec.networks())?;
    let mut disks = Vec::new();
    for (number, disk) in spec.disks.iter().enumerate() {
        let path = folder.image(number);
        let image = make_image(&path, disk.mib, disk.ext4.then_some(None), disk.arbiter.is_none())?;
        if let Some(ArbiterDisk::Made { area, cluster }) = &disk.arbiter {
            area::make(&image.image, *area, cluster)
                .doing(|| format!("make an area of {}", path.display()))?;
        }
        disks.push(image);
    }
    let journal = Arc::new(Journal::open(&folder.san_log())?);
    let shared = Arc::new(Shared { spec, folder: folder.clone(), cgroup, switch, main });
    let (mut machines, keys) = (Vec::new(), Arc::<Keys>::default());
    for (index, machine) in shared.spec.machines.iter().enumerate() {
        let port = (machine.role == Role::Node && !disks.is_empty()).then(|| {
            Arc::new(Port::new(&machine.name, disks.clone(), Some(Arc::clone(&journal)), Arc::clone(&keys)))
        });
        let own = make_own_disk(folder, &shared.spec, machine)?;
        if let Some(port) = &port {
            serve_port(Arc::clone(port), &folder.san_mount(&machine.name))?;
        }
        machines.push(Machine::new(index, machine.clone(), port, own));
    }
    Ok(Arc::new(Fabric { shared, machines, ending: AtomicBool::new(false) }))
}

/// The fabric's mounts are its own. It lets go of every mount of a loop device or of FUSE that it got a copy of:
/// otherwise it would keep strangers' file systems busy for as long as the lab lives.
fn leave_foreign_mounts() -> Result<()> {
    let flags = MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM;
    mount_change("/", flags).doing(|| "make mounts private".into())?;
    let table = fs::read_to_string("/proc/self/mountinfo").doing(|| "read the mount table".into())?;
    for line in table.lines().rev() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let point = crate::init::unescape(left.split(' ').nth(4).unwrap_or_default());
        let mut right = right.split(' ');
        let (kind, source) = (right.next().unwrap_or_default(), right.next().unwrap_or_default());
        let foreign = source.starts_with("/dev/loop") || kind == "fuse" || kind.starts_with("fuse.");
        if foreign && point != Path::new("/") {
            let _not_ours_to_judge = unmount(&point, UnmountFlags::DETACH);
        }
    }
    Ok(())
}

/// Binds the programs into the lab's folder, in the fabric's mounts alone: the machines go on with these
/// very files even when a build replaces them.
fn pin_programs(folder: &Folder, spec: &LabSpec) -> Result<()> {
    let pinned = folder.programs();
    fs::create_dir_all(&pinned).doing(|| format!("make {}", pinned.display()))?;
    for program in std::iter::once(&spec.executable).chain(&spec.programs) {
        let Some(name) = program.file_name() else { continue };
        let target = pinned.join(name);
        File::create(&target).doing(|| format!("make {}", target.display()))?;
        mount_bind(program, &target).doing(|| format!("use the program {}", program.display()))?;
    }
    Ok(())
}

/// Makes a machine's folder, and its own disk with its persistent folders and what belongs there.
fn make_own_disk(folder: &Folder, spec: &LabSpec, machine: &MachineSpec) -> Result<Arc<Port>> {
    let seeds = folder.seeds(&machine.name);
    let inside = |path: &Path| seeds.join(path.strip_prefix("/").unwrap_or(path));
    for persistent in &spec.persistent {
        let path = inside(persistent);
        fs::create_dir_all(&path).doing(|| format!("make {}", path.display()))?;
    }
    let common = spec.files.iter().filter(|_| machine.role != Role::Client);
    for file in common.chain(&machine.files) {
        if spec.persistent.iter().any(|p| file.path.starts_with(p)) {
            crate::init::write_seed(&inside(&file.path), file)?;
        }
    }
    let disk = make_image(&folder.own_image(&machine.name), spec.own_disk_mib, Some(Some(&seeds)), false)?;
    let port = Arc::new(Port::new(&machine.name, vec![disk], None, Arc::default()));
    serve_port(Arc::clone(&port), &folder.own_mount(&machine.name))?;
    Ok(port)
}

/// Makes an image, with ext4 on it if wanted, with the contents of a folder if one is given. Whether two that write to
/// it are seen is for the disk to say.
fn make_image(path: &Path, mib: u32, ext4: Option<Option<&Path>>, seen: bool) -> Result<Arc<Disk>> {
    let bytes = u64::from(mib) << 20;
    let image = File::options().read(true).write(true).create_new(true).open(path);
    let image = image.doing(|| format!("make {}", path.display()))?;
    image.set_len(bytes).doing(|| format!("make {}", path.display()))?;
    if let Some(contents) = ext4 {
        format_ext4(path, contents)?;
    }
    Ok(Arc::new(Disk { image, bytes, seen }))
}

/// Nothing is left to be initialised later: no thread of the kernel writes to the disk by itself.
fn format_ext4(image: &Path, contents: Option<&Path>) -> Result<()> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"])
        .args(contents.map(|folder| [OsStr::new("-d"), folder.as_os_str()]).into_iter().flatten())
        .arg(image)
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .doing(|| "run `mkfs.ext4` (Debian and Ubuntu: apt-get install e2fsprogs)".into())?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(LabError::new(format!("mkfs.ext4 refuses {}: {complaint}", image.display())))
}

/// Goes back to the control group this process came from, and removes everything that is left of the lab.
fn leave(folder: &Folder, home: Option<&str>) {
    if let (Ok(root), Some(home)) = (cgroup::mount_point(), home) {
        let _shown_by_what_follows = cgroup::join(&root.join(home));
    }
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().rev().filter_map(|l| l.split(' ').nth(4)).map(crate::init::unescape);
    for point in points.filter(|p| p.starts_with(folder.path())) {
        let _shown_by_what_follows = unmount(&point, UnmountFlags::DETACH);
    }
    crate::lab::clear_away(folder);
}

impl Fabric {
    fn folder(&self) -> &Folder {
        &self.shared.folder
    }

    /// Boots everything, reports, and waits for the leash, or for the word that takes it off.
    fn begin(self: &Arc<Self>, mut leash: File, leashed: bool) {
        let begun = self.listen().and_then(|()| self.boot_all());
        if let Err(error) = &begun {
            let _nobody_listens = writeln!(leash, "{error}");
            self.end();
            return;
        }
        if leash.write_all(b"ready\n").is_err() {
            self.end();
            return;
        }
        if leashed {
            let mut word = [0; 64];
            while let Ok(length @ 1..) = leash.read(&mut word) {
                if word[..length].starts_with(STAY) {
                    return;
                }
            }
            self.end();
        }
    }

    fn boot_all(&self) -> Result<()> {
        std::thread::scope(|scope| {
            let boots: Vec<_> =
                self.machines.iter().map(|machine| scope.spawn(|| machine.power_on(&self.shared))).collect();
            for boot in boots {
                boot.join().unwrap_or_else(|_| Err(LabError::new("a boot failed badly")))?;
            }
            Ok(())
        })
    }

    fn listen(self: &Arc<Self>) -> Result<()> {
        use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])
            .doing(|| "listen to signals".into())?;
        let fabric = Arc::clone(self);
        let control = Folder::listen(self.folder().path(), CONTROL)?;
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        thread("signals")
            .spawn(move || {
                if signals.forever().next().is_some() {
                    fabric.end();
                }
            })
            .doing(|| "start a thread".into())?;
        let fabric = Arc::clone(self);
        accept(control, move |stream| fabric.control(&stream))?;
        for machine in &self.machines {
            let switch = Folder::listen(&self.folder().machine(&machine.spec.name), POWER)?;
            let (fabric, asker) = (Arc::clone(self), Arc::clone(machine));
            accept(switch, move |stream| fabric.power(&asker, &stream))?;
        }
        Ok(())
    }

    fn control(&self, stream: &UnixStream) {
        answer_lines(stream, |request: Request| match self.handle(&request) {
            Ok(answer) => answer,
            Err(error) => Answer::Failed { why: error.to_string() },
        });
    }

    fn machine(&self, name: &str) -> Result<&Arc<Machine>> {
        self.machines.iter().find(|m| m.spec.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.machines.iter().map(|m| m.spec.name.as_str()).collect();
            LabError::new(format!("no machine is named {name}"))
                .hint(format!("use one of {}", names.join(", ")))
        })
    }

    fn handle(&self, request: &Request) -> Result<Answer> {
        let shared = &self.shared;
        let at = match request {
            Request::Off { machine, wait } => {
                let machine = self.machine(machine)?;
                let at = machine.off(shared)?;
                if *wait {
                    machine.wait_gone()?;
                }
                at
            }
            Request::On { machine } => self.machine(machine)?.power_on(shared)?,
            Request::Cut { machine, network, interface, direction } => {
                self.machine(machine)?.cut(shared, &At::new(*network, interface), *direction)?
            }
            Request::Lossy { machine, network, percent } => {
                self.machine(machine)?.lose(shared, &At::new(*network, &None), *percent)?
            }
            Request::Heal { machine, network, interface } => {
                self.machine(machine)?.heal(shared, &At::new(*network, interface))?
            }
            Request::Split { machines, neutral } => self.split(machines, neutral)?,
            Request::Pause { machine, silent } => self.machine(machine)?.pause(shared, *silent)?,
            Request::Resume { machine } => self.machine(machine)?.resume(shared)?,
            Request::Disk { machine, own, device, state } => {
                self.disk(machine, *own, device.as_deref(), *state)?
            }
            Request::CopyOwn { machine, to } => self.machine(machine)?.copy_own(shared, to)?,
            Request::PutBack { machine, from } => self.machine(machine)?.put_back(shared, from)?,
            Request::Status => return Ok(Answer::Status(self.status())),
            Request::Down => {
                self.end();
                now_ns()
            }
        };
        Ok(Answer::Done { at })
    }

    fn split(&self, names: &[String], neutral: &[String]) -> Result<u64> {
        let numbers = |names: &[String]| -> Result<Vec<usize>> {
            names.iter().map(|n| self.machine(n).map(|m| m.index)).collect()
        };
        let (apart, neutral) = (numbers(names)?, numbers(neutral)?);
        for machine in &self.machines {
            let side = apart.contains(&machine.index);
            let others = self.machines.iter().map(|m| m.index).filter(|i| !neutral.contains(i));
            let both = apart.is_empty() || neutral.contains(&machine.index);
            let strangers = others.filter(|i| !both && apart.contains(i) != side).collect();
            machine.part(&self.shared, strangers)?;
        }
        Ok(now_ns())
    }

    fn disk(&self, machine: &str, own: bool, device: Option<&Path>, state: DiskState) -> Result<u64> {
        if state == DiskState::Cut {
            return Err(LabError::new("only a power cut cuts the SAN port")
                .hint(format!("use `disk {machine} error`, or `off {machine}`")));
        }
        let Some(device) = device else { return self.machine(machine)?.disk(own, state) };
        let number = self.shared.spec.disks.iter().position(|d| d.device == device);
        let none = || LabError::new(format!("no shared disk is {}", device.display()));
        self.machine(machine)?.single_disk(number.ok_or_else(none)?, state)
    }

    fn status(&self) -> LabStatus {
        LabStatus {
            name: self.shared.spec.name.clone(),
            folder: self.folder().path().to_owned(),
            fabric: rustix::process::getpid().as_raw_nonzero().get(),
            machines: self.machines.iter().map(|m| m.status(&self.shared)).collect(),
        }
    }

    /// Cuts every machine's power and waits until all are gone; then the main thread leaves.
    fn end(&self) {
        for machine in &self.machines {
            let _killed_even_so = machine.off(&self.shared);
        }
        for machine in &self.machines {
            let _cleared_again_at_the_end = machine.wait_gone();
        }
        self.ending.store(true, Ordering::SeqCst);
        let _main_is_gone_already = self.shared.main.send(Box::new(|| {}));
    }

    fn power(&self, asker: &Arc<Machine>, stream: &UnixStream) {
        answer_lines(stream, |request: PowerRequest| {
            self.switch_power(asker, &request)
                .unwrap_or_else(|error| PowerAnswer::Failed { why: error.to_string() })
        });
    }

    /// The switch hangs on the same networks as the machines, except for a machine's own reset line.
    fn switch_power(&self, asker: &Arc<Machine>, request: &PowerRequest) -> Result<PowerAnswer> {
        if let PowerRequest::San { verb, plug } = request {
            return asker.at_the_san(*verb, plug);
        }
        if *request != PowerRequest::ResetSelf && !asker.is_reachable() {
            return Err(LabError::new("the power switch cannot be reached: every network is cut"));
        }
        let on = |machine: &Machine| matches!(machine.power(), Power::On | Power::Booting);
        Ok(match request {
            PowerRequest::San { .. } => PowerAnswer::Failed { why: "it is not asked of the switch".into() },
            PowerRequest::ResetSelf => PowerAnswer::Done { at: asker.reset(&self.shared)? },
            PowerRequest::Monitor => PowerAnswer::Done { at: now_ns() },
            PowerRequest::List => {
                PowerAnswer::Plugs(self.machines.iter().map(|m| (m.spec.name.clone(), on(m))).collect())
            }
            PowerRequest::Status { plug } => PowerAnswer::State { on: on(self.machine(plug)?) },
            PowerRequest::Off { plug } => PowerAnswer::Done { at: self.machine(plug)?.off(&self.shared)? },
            PowerRequest::Reboot { plug } => {
                PowerAnswer::Done { at: self.machine(plug)?.reset(&self.shared)? }
            }
            PowerRequest::On { plug } => {
                let machine = self.machine(plug)?;
                let at = if on(machine) { now_ns() } else { machine.power_on(&self.shared)? };
                PowerAnswer::Done { at }
            }
        })
    }
}

fn accept(listener: UnixListener, serve: impl Fn(UnixStream) + Send + Sync + 'static) -> Result<()> {
    let serve = Arc::new(serve);
    std::thread::Builder::new()
        .name("listen".into())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                let serve = Arc::clone(&serve);
                let _refused_when_there_are_too_many =
                    std::thread::Builder::new().name("answer".into()).spawn(move || serve(stream));
            }
        })
        .doing(|| "start a thread".into())?;
    Ok(())
}

fn answer_lines<Q, A>(stream: &UnixStream, answer: impl Fn(Q) -> A)
where
    Q: serde::de::DeserializeOwned,
    A: serde::Serialize + From<NotUnderstood>,
{
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { return };
        let answered = match serde_json::from_str(&line) {
            Ok(request) => answer(request),
            Err(error) => A::from(NotUnderstood(error.to_string())),
        };
        let Ok(mut text) = serde_json::to_string(&answered) else { return };
        text.push('\n');
        let mut writer = stream;
        if writer.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// A line that is no request.
struct NotUnderstood(String);

impl From<NotUnderstood> for Answer {
    fn from(NotUnderstood(why): NotUnderstood) -> Self {
        Self::Failed { why: format!("this is no request: {why}") }
    }
}

impl From<NotUnderstood> for PowerAnswer {
    fn from(NotUnderstood(why): NotUnderstood) -> Self {
        Self::Failed { why: format!("this is no request: {why}") }
    }
}
