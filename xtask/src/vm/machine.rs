//! A machine: a QEMU process, its power, its watchdog's events, and a line to a shell in it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::packages::{Packages, sh};

/// The file that is the shared disk.
pub(super) const LUN: &str = "lun";

/// What every machine is made of.
pub(super) struct Site {
    pub(super) packages: Packages,
    pub(super) folder: PathBuf,
    pub(super) kernel: PathBuf,
    pub(super) root: PathBuf,
}

/// What a machine is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// A node with the shared disk at its own adapter.
    Node,
    /// A node that has the shared disk from the array, over a network of its own.
    Initiator,
    /// The array.
    Array,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Initiator => "initiator",
            Self::Array => "array",
        }
    }
}

/// Events of a machine, with the moment at which QEMU told of them.
type Events = Arc<Mutex<Vec<(Instant, String)>>>;

/// A machine that is on.
struct Running {
    child: Child,
    qmp: UnixStream,
}

/// A machine's power, which the power switch has in its hands too.
#[derive(Clone, Default)]
pub(super) struct Power(Arc<Mutex<Option<Running>>>, Arc<Mutex<Option<Instant>>>);

/// A machine.
pub(super) struct Machine {
    pub(super) name: &'static str,
    number: u8,
    role: Role,
    pub(super) power: Power,
    events: Events,
    control: Option<Control>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Power {
    pub(super) fn is_on(&self) -> bool {
        lock(&self.0).as_mut().is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// Cuts the power. It is off when this returns.
    pub(super) fn cut(&self) {
        let mut held = lock(&self.0);
        let Some(mut running) = held.take() else { return };
        let _it_may_hang = running.qmp.write_all(b"{\"execute\":\"quit\"}\n");
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until && matches!(running.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _it_may_be_gone = running.child.kill();
        let _it_is_gone = running.child.wait();
        *lock(&self.1) = Some(Instant::now());
    }

    /// When it was cut last: it was off by then.
    pub(super) fn cut_at(&self) -> Option<Instant> {
        *lock(&self.1)
    }

    /// Says something to QEMU.
    pub(super) fn tell(&self, command: &str) -> Result<(), String> {
        let mut running = lock(&self.0);
        let running = running.as_mut().ok_or("the machine is off")?;
        let line = format!("{{\"execute\":\"{command}\"}}\n");
        running.qmp.write_all(line.as_bytes()).map_err(|e| format!("QEMU does not listen: {e}"))
    }
}

impl Machine {
    pub(super) fn new(name: &'static str, number: u8, role: Role) -> Self {
        Self { name, number, role, power: Power::default(), events: Arc::default(), control: None }
    }

    /// Switches it on, and waits until its shell answers.
    ///
    /// # Errors
    /// In words.
    pub(super) fn boot(&mut self, site: &Site) -> Result<(), String> {
        let began = Instant::now();
        let (qmp, line) = (self.socket(site, "qmp"), self.socket(site, "line"));
        for socket in [&qmp, &line] {
            let _none_from_before = std::fs::remove_file(socket);
        }
        let child = self.qemu(site)?;
        let (mut qmp, said) = (connect(&qmp)?, connect(&line)?);
        let greeting = "{\"execute\":\"qmp_capabilities\"}\n";
        qmp.write_all(greeting.as_bytes()).map_err(|e| format!("QEMU does not listen: {e}"))?;
        let (events, reader) = (self.events.clone(), qmp.try_clone().map_err(|e| e.to_string())?);
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                if line.contains("\"event\"") {
                    lock(&events).push((Instant::now(), line));
                }
            }
        });
        *lock(&self.power.0) = Some(Running { child, qmp });
        self.control = Some(Control::over(said)?);
        self.wait_for_shell(Duration::from_secs(180))?;
        println!("   {} is up after {:.1} s", self.name, began.elapsed().as_secs_f32());
        Ok(())
    }

    fn socket(&self, site: &Site, what: &str) -> PathBuf {
        site.folder.join(format!("{}.{what}", self.name))
    }

    fn qemu(&self, site: &Site) -> Result<Child, String> {
        let path = |p: &Path| p.to_string_lossy().into_owned();
        let log = File::options()
            .create(true)
            .append(true)
            .open(site.folder.join(format!("{}.qemu.log", self.name)))
            .map_err(|e| e.to_string())?;
        let mut command = site.packages.qemu();
        command
            .args(["-M", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "512"])
            .args(["-nodefaults", "-display", "none"])
            .args(["-kernel", &path(&site.kernel), "-initrd", &path(&site.root), "-append"])
            .arg(format!(
                "console=ttyS0 loglevel=5 panic=0 nokaslr mitigations=off node={} number={} role={}",
                self.name,
                self.number,
                self.role.word()
            ))
            .arg("-chardev")
            .arg(format!("file,id=console,append=on,path={}", path(&self.console(site))))
            .args(["-serial", "chardev:console", "-chardev"])
            .arg(format!("socket,id=line,server=on,wait=off,path={}", path(&self.socket(site, "line"))))
            .args(["-serial", "chardev:line", "-qmp"])
            .arg(format!("unix:{},server=on,wait=off", path(&self.socket(site, "qmp"))))
            .args(["-device", "i6300esb", "-action", "watchdog=reset", "-device", "virtio-rng-pci"])
            .args(["-device", "virtio-scsi-pci,id=scsi"]);
        self.disks(&mut command, site);
        self.networks(&mut command);
        command.stdout(Stdio::from(log.try_clone().map_err(|e| e.to_string())?)).stderr(Stdio::from(log));
        command.spawn().map_err(|e| format!("QEMU could not be started: {e}"))
    }

    fn disks(&self, command: &mut Command, site: &Site) {
        let own = format!("{}.state", self.name);
        let (state, data) = match self.role {
            Role::Node => (Some(&own), true),
            Role::Initiator => (Some(&own), false),
            Role::Array => (None, true),
        };
        let mut add = |file: &str, lun: u8, more: &str| {
            let file = site.folder.join(file);
            command
                .arg("-drive")
                .arg(format!(
                    "file={},format=raw,if=none,cache=none,aio=threads,file.locking=off,id=disk{lun}",
                    file.display()
                ))
                .arg("-device")
                .arg(format!("scsi-hd,bus=scsi.0,lun={lun},drive=disk{lun}{more}"));
        };
        if let Some(state) = state {
            add(state, 0, "");
        }
        if data {
            add(LUN, 1, ",share-rw=on");
        }
    }

    fn networks(&self, command: &mut Command) {
        let mut add = |name: &str, net: u8| {
            let n = self.number;
            command
                .arg("-netdev")
                .arg(format!("tap,id={name},ifname={name}{n},script=no,downscript=no"))
                .arg("-device")
                .arg(format!("virtio-net-pci,netdev={name},romfile=,mac=52:54:00:{net}:00:0{n}"));
        };
        add("lan", 99);
        if self.role != Role::Node {
            add("san", 98);
        }
    }

    /// The file with all that it said on its console.
    pub(super) fn console(&self, site: &Site) -> PathBuf {
        site.folder.join(format!("{}.console", self.name))
    }

    /// Takes it off the nodes' network, or puts it back; the storage's network stays.
    ///
    /// # Errors
    /// In words.
    pub(super) fn lan(&self, site: &Site, connected: bool) -> Result<(), String> {
        let state = if connected { "up" } else { "down" };
        sh(&site.folder, &format!("ip link set lan{} {state}", self.number))
    }

    /// Waits until the shell answers, after a boot or a reset.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn wait_for_shell(&mut self, within: Duration) -> Result<(), String> {
        let until = Instant::now() + within;
        while Instant::now() < until {
            if self.sh("true", Duration::from_secs(2)).is_ok() {
                return Ok(());
            }
            if !self.power.is_on() {
                return Err(format!("{} has ended; see its .qemu.log", self.name));
            }
        }
        Err(format!("{} does not answer; see its .console", self.name))
    }

    /// Runs a line of shell in it. Gives what it said.
    ///
    /// # Errors
    /// When it says nothing in time, or ends with another code than 0.
    pub(super) fn sh(&mut self, line: &str, within: Duration) -> Result<String, String> {
        let name = self.name;
        let control = self.control.as_mut().ok_or_else(|| format!("{name} was never on"))?;
        control.run(line, within).map_err(|why| format!("{name}: {line}: {why}"))
    }

    /// The same, again and again: on a busy machine a guest may answer too late for once.
    ///
    /// # Errors
    /// The last one, when the time is over.
    pub(super) fn insist(&mut self, line: &str, within: Duration) -> Result<String, String> {
        let until = Instant::now() + within;
        loop {
            match self.sh(line, within) {
                Err(_) if Instant::now() < until => std::thread::sleep(Duration::from_secs(1)),
                done => return done,
            }
        }
    }

    /// Begins a line of shell in it, and waits for nothing.
    ///
    /// # Errors
    /// When the line is broken.
    pub(super) fn begin(&mut self, line: &str) -> Result<(), String> {
        let name = self.name;
        let control = self.control.as_mut().ok_or_else(|| format!("{name} was never on"))?;
        control.send(line)
    }

    /// When an event of this name came first after `since`.
    pub(super) fn event_after(&self, name: &str, since: Instant) -> Option<Instant> {
        let wanted = format!("\"event\": \"{name}\"");
        lock(&self.events).iter().find(|(at, line)| *at >= since && line.contains(&wanted)).map(|(at, _)| *at)
    }
}

fn connect(path: &Path) -> Result<UnixStream, String> {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > until => return Err(format!("{}: {error}", path.display())),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// The line to the shell.
struct Control {
    writer: UnixStream,
    lines: Receiver<String>,
    number: u32,
}

impl Control {
    fn over(stream: UnixStream) -> Result<Self, String> {
        let reader = stream.try_clone().map_err(|e| e.to_string())?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                line.clear();
                if sender.send(text).is_err() {
                    return;
                }
            }
        });
        Ok(Self { writer: stream, lines, number: 0 })
    }

    fn send(&mut self, line: &str) -> Result<(), String> {
        self.number += 1;
        let line = format!("t{} {line}\n", self.number);
        self.writer.write_all(line.as_bytes()).map_err(|e| format!("the line is broken: {e}"))
    }

    fn run(&mut self, line: &str, within: Duration) -> Result<String, String> {
        self.send(line)?;
        let end = format!("@t{} ", self.number);
        let until = Instant::now() + within;
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.starts_with(&end) => {
                    return if line[end.len()..].trim() == "0" {
                        Ok(said)
                    } else {
                        Err(format!("{line}: {said}"))
                    };
                }
                // What an earlier command still had to say.
                Ok(line) if line.starts_with("@t") || line == "@ready" => said.clear(),
                Ok(line) => {
                    said.push_str(&line);
                    said.push('\n');
                }
                Err(RecvTimeoutError::Timeout) => return Err("no answer in time".to_owned()),
                Err(RecvTimeoutError::Disconnected) => return Err("the line has ended".to_owned()),
            }
        }
    }
}
