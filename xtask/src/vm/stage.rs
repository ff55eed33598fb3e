//! The cluster: two machines, a witness and a power switch beside them, one network, one disk.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::guest;
use super::ledger::Writer;
use super::machine::{LUN, Machine, Power, Role, Site};
use super::packages::{Packages, sh};
use crate::run::target;

/// Where the service is.
const SERVICE: &str = "10.99.0.77:7007";
/// Where the power switch listens, for the fence agent in the guests.
const SWITCH: &str = "10.99.0.1:7100";

/// The lease of this cluster. QEMU computes slowly, and the machine under it may be busy: a guest that stands still for
/// a second or two must not lose its lease for it.
pub(super) const LEASE: Duration = Duration::from_secs(20);

/// How much of the shared disk is file system, in MiB. The rest is for who writes there without asking.
pub(super) const FILE_SYSTEM: u64 = 56;

/// What a takeover, a boot and a way back may take.
pub(super) const BOUND: Duration = Duration::from_secs(240);

/// Where the shared disk is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    /// At an adapter of each node.
    Shared,
    /// At an array, which keeps and enforces reservations.
    Array,
}

impl Disk {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Array => "array",
        }
    }
}

pub(super) struct Stage {
    pub(super) site: Site,
    pub(super) machines: [Machine; 2],
    array: Option<Machine>,
    pub(super) writer: Writer,
}

const SWITCHED: &str = "[[fence]]\nname = \"switch\"\nagent = \"/bin/fence-vm\"\nnodes = [\"lx4\", \"lx5\"]\ntimeout = \"30s\"\n";
/// As it is packed. It takes a second or more for each question in a machine that is computed.
const RESERVED: &str = "[[fence]]\nname = \"san\"\nagent = \"/usr/sbin/fence_scsi\"\nkind = \"storage\"\n\
                        nodes = [\"lx4\", \"lx5\"]\ndisks = [\"/dev/disk/by-lun/data\"]\ntimeout = \"60s\"\n";

fn config(needs: &str, fence: &str, watchdog: bool) -> String {
    let watchdog = if watchdog { "watchdog = \"/dev/watchdog0\"\n" } else { "" };
    let node = |name: &str, last: u8| {
        format!("[[node]]\nname = \"{name}\"\naddresses = [\"10.99.0.{last}\"]\n{watchdog}")
    };
    format!(
        "[cluster]\nname = \"ward7\"\ntakeover = \"{}s\"\n{}{}[[witness]]\nname = \"wit\"\naddresses = [\"10.99.0.6\"]\n{fence}\
         [[group]]\nname = \"ledger\"\nnodes = [\"lx4\", \"lx5\"]\nneeds = [{needs}]\n\
         policy = {{ startup = \"first-available\", failover = \"next\", failback = \"never\" }}\n\
         [[group.filesystem]]\ndevice = \"/dev/disk/by-lun/data\"\nmount = \"/data\"\ntype = \"ext4\"\n\
         [[group.address]]\naddress = \"10.99.0.77/24\"\n\
         [[group.application]]\nname = \"ledger\"\nforeground = true\n\
         start = \"exec regent lab ledger serve --listen {SERVICE} --file /data/ledger\"\n\
         start_timeout = \"60s\"\nstop_timeout = \"60s\"\n",
        LEASE.as_secs(),
        node("lx4", 4),
        node("lx5", 5)
    )
}

impl Stage {
    /// Boots the machines and makes a cluster of them, with the group on the first.
    ///
    /// # Errors
    /// In words.
    pub(super) fn build(folder: &Path, disk: Disk) -> Result<Self, String> {
        let packages = Packages::have(&target().join("vm"))?;
        let configs = [
            ("watched.toml", config("\"lease-ended\", \"watchdog\"", "", true)),
            ("fenced.toml", config("\"fenced\"", SWITCHED, true)),
            // Without a watchdog a kernel that hangs stays so, and all that ends its owner is the array.
            ("storage.toml", config("\"lease-ended\", \"storage\"", RESERVED, false)),
        ];
        let root = guest::initramfs(&packages, folder, &configs)?;
        let kernel = packages.kernel()?;
        let site = Site { packages, folder: folder.to_owned(), kernel, root };
        network(folder)?;
        for disk in ["lx4.state", "lx5.state"] {
            sh(folder, &format!("truncate -s 64M {disk}; mkfs.ext4 -q -F {disk}"))?;
        }
        sh(folder, &format!("truncate -s {}M {LUN}; mkfs.ext4 -q -F {LUN} {FILE_SYSTEM}M", FILE_SYSTEM + 8))?;
        let role = if disk == Disk::Shared { Role::Node } else { Role::Initiator };
        let machines = [Machine::new("lx4", 4, role), Machine::new("lx5", 5, role)];
        power_switch([machines[0].power.clone(), machines[1].power.clone()])?;
        let address = SERVICE.parse().map_err(|e| format!("{SERVICE}: {e}"))?;
        let array = (disk == Disk::Array).then(|| Machine::new("array", 8, Role::Array));
        let mut stage = Self { site, machines, array, writer: Writer::start(address) };
        for machine in stage.array.iter_mut().chain(&mut stage.machines) {
            machine.boot(&stage.site)?;
        }
        stage.found(if disk == Disk::Shared { "watched.toml" } else { "storage.toml" })?;
        Ok(stage)
    }

    fn found(&mut self, config: &str) -> Result<(), String> {
        let minute = Duration::from_secs(90);
        let [first, second] = &mut self.machines;
        first.sh("regent init ward7 --node lx4 --address 10.99.0.4", minute)?;
        let token = |first: &mut Machine, how: &str| {
            let said = first.insist(&format!("regent token {how}"), minute)?;
            let word = said.split_ascii_whitespace().find(|word| word.starts_with("rgt"));
            word.map(str::to_owned).ok_or_else(|| format!("no token in: {said}"))
        };
        let for_witness = token(first, "--witness")?;
        witness(&self.site.folder, &for_witness)?;
        let for_second = token(first, "")?;
        second.insist(&format!("regent join {for_second} --node lx5 --address 10.99.0.5"), minute)?;
        first.insist(&format!("regent apply --wait 150s /etc/{config}"), Duration::from_secs(180))?;
        println!("   a cluster of lx4, lx5 and the witness wit; takeover = \"{} s\"", LEASE.as_secs());
        self.settle()
    }

    /// Switches on what is off, and waits until both nodes are up and the group runs on the first.
    ///
    /// # Errors
    /// When that is not so in time.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        for machine in &mut self.machines {
            if machine.power.is_on() {
                machine.wait_for_shell(BOUND)?;
            } else {
                machine.boot(&self.site)?;
            }
        }
        let until = Instant::now() + BOUND;
        let mut last = String::new();
        while Instant::now() < until {
            let since = Instant::now();
            let _a_group_that_is_there_or_cannot_move_yet =
                self.machines[0].sh("regent group move ledger lx4", Duration::from_secs(60));
            last = self.machines[0].sh("regent status", Duration::from_secs(20)).unwrap_or_else(|why| why);
            let both_mount =
                self.machines[1].sh("grep -q ' /data ' /proc/mounts", Duration::from_secs(10)).is_ok();
            if !both_mount
                && self.machines[1].sh("regent status", Duration::from_secs(20)).is_ok()
                && self.writer.first_by("lx4", since, Duration::from_secs(5)).is_some()
            {
                return Ok(());
            }
        }
        Err(format!("the group does not come to lx4 within {} s:\n{last}", BOUND.as_secs()))
    }

    /// Puts a configuration in force, and waits until all is well.
    ///
    /// # Errors
    /// When it is refused.
    pub(super) fn apply(&mut self, file: &str) -> Result<(), String> {
        self.machines[0]
            .insist(&format!("regent apply --wait 150s /etc/{file}"), Duration::from_secs(180))?;
        self.settle()
    }

    /// After a violation the first machine may stand still or hear nobody: it is off then, and has its cable.
    ///
    /// # Errors
    /// In words.
    pub(super) fn put_right(&mut self) -> Result<(), String> {
        self.machines[0].power.cut();
        self.machines[0].lan(&self.site, true)
    }

    /// Keeps what the journals say of a scene, for whoever looks at the run.
    ///
    /// # Errors
    /// When they do not say it.
    pub(super) fn keep_events(&mut self, scene: &str) -> Result<(), String> {
        let said = self.machines[1].insist("regent events --verbose", Duration::from_secs(60))?;
        let file = self.site.folder.join(format!("{scene}.events"));
        fs::write(&file, said).map_err(|e| format!("{}: {e}", file.display()))
    }

    /// Ends the machines. Everything else ends with the namespaces.
    pub(super) fn end(&mut self) {
        self.writer.stop();
        for machine in self.machines.iter().chain(&self.array) {
            machine.power.cut();
        }
    }

    /// The whole disk, checked while nobody has it.
    ///
    /// # Errors
    /// What the check found.
    pub(super) fn check_disk(&self) -> Result<(), String> {
        let output = Command::new("e2fsck")
            .args(["-f", "-n"])
            .arg(self.site.folder.join(LUN))
            .output()
            .map_err(|e| format!("e2fsck: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if output.status.success() { Ok(()) } else { Err(format!("e2fsck -f ({}):\n{text}", output.status)) }
    }
}

/// A bridge with a port for each machine, and addresses on it for the witness, the power switch and the writer; and one
/// between the nodes and the array.
fn network(folder: &Path) -> Result<(), String> {
    sh(
        folder,
        "ip link set lo up
         for net in lan san; do
             ip link add $net type bridge
             ip link set $net up
             for n in 4 5 8; do ip tuntap add dev $net$n mode tap; ip link set $net$n master $net up; done
         done
         ip address add 10.99.0.1/24 dev lan
         ip address add 10.99.0.6/24 dev lan",
    )
}

/// The witness is a daemon of this machine, with files of its own.
fn witness(folder: &Path, token: &str) -> Result<(), String> {
    let own = folder.join("wit");
    fs::create_dir_all(&own).map_err(|e| format!("{}: {e}", own.display()))?;
    let log = File::create(folder.join("wit.log")).map_err(|e| e.to_string())?;
    let status = Command::new(target().join("debug/regent"))
        .args(["witness", token, "--node", "wit", "--address", "10.99.0.6"])
        .env("REGENT_STATE_DIR", own.join("state"))
        .env("REGENT_RUN_DIR", own.join("run"))
        .env("REGENT_ETC_DIR", own.join("etc"))
        .stdin(Stdio::null())
        .stdout(Stdio::from(log.try_clone().map_err(|e| e.to_string())?))
        .stderr(Stdio::from(log))
        .status()
        .map_err(|e| format!("the witness could not be started: {e}"))?;
    if status.success() { Ok(()) } else { Err(format!("the witness cannot join ({status}); see wit.log")) }
}

/// Answers the fence agent in the guests: `off lx4`, `status lx4`, `monitor`.
fn power_switch(powers: [Power; 2]) -> Result<(), String> {
    let listener = TcpListener::bind(SWITCH).map_err(|e| format!("{SWITCH}: {e}"))?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let powers = powers.clone();
            std::thread::spawn(move || answer(stream, &powers));
        }
    });
    Ok(())
}

fn answer(mut stream: TcpStream, powers: &[Power; 2]) {
    let mut line = String::new();
    let read = stream.try_clone().map(|reader| BufReader::new(reader).read_line(&mut line));
    if !matches!(read, Ok(Ok(_))) {
        return;
    }
    let mut words = line.split_ascii_whitespace();
    let (action, plug) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let power = match plug {
        "lx4" => Some(&powers[0]),
        "lx5" => Some(&powers[1]),
        _ => None,
    };
    let said = match (action, power) {
        ("off", Some(power)) => {
            power.cut();
            "ok"
        }
        ("status" | "monitor", Some(power)) if power.is_on() => "on",
        ("status" | "monitor", Some(_)) => "off",
        ("monitor", None) => "ok",
        _ => "no",
    };
    let _it_may_be_gone = stream.write_all(format!("{said}\n").as_bytes());
}
