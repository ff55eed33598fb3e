//! The cluster: two machines, a witness and a power switch beside them, one network, one disk.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::guest;
use super::ledger::Writer;
use super::machine::{Machine, Power, Site};
use super::packages::{Packages, sh};
use crate::run::target;

/// Where the service is.
const SERVICE: &str = "10.99.0.77:7007";
/// Where the power switch listens, for the fence agent in the guests.
const SWITCH: &str = "10.99.0.1:7100";

/// The lease of this cluster. QEMU computes slowly, and the machine under it may be busy: a guest that stands still for
/// a second or two must not lose its lease for it.
pub(super) const LEASE: Duration = Duration::from_secs(20);

/// What a takeover, a boot and a way back may take.
pub(super) const BOUND: Duration = Duration::from_secs(240);

pub(super) struct Stage {
    site: Site,
    pub(super) machines: [Machine; 2],
    pub(super) writer: Writer,
}

fn config(needs: &str, fence: bool) -> String {
    let fence = if fence {
        "[[fence]]\nname = \"switch\"\nagent = \"/bin/fence-vm\"\nnodes = [\"lx4\", \"lx5\"]\ntimeout = \"30s\"\n"
    } else {
        ""
    };
    let node = |name: &str, last: u8| {
        format!(
            "[[node]]\nname = \"{name}\"\naddresses = [\"10.99.0.{last}\"]\nwatchdog = \"/dev/watchdog0\"\n"
        )
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
    pub(super) fn build(folder: &Path) -> Result<Self, String> {
        println!("\n== two machines, a witness, a disk");
        let packages = Packages::have(&target().join("vm"))?;
        let configs = [
            ("watched.toml", config("\"lease-ended\", \"watchdog\"", false)),
            ("fenced.toml", config("\"fenced\"", true)),
        ];
        let root = guest::initramfs(&packages, folder, &configs)?;
        let kernel = packages.kernel()?;
        let site = Site { packages, folder: folder.to_owned(), kernel, root };
        network(folder)?;
        for (disk, megabytes) in [("lx4.state", 64), ("lx5.state", 64), ("lun", 64)] {
            sh(folder, &format!("truncate -s {megabytes}M {disk}; mkfs.ext4 -q -F {disk}"))?;
        }
        let machines = [Machine::new("lx4", "10.99.0.4", 4), Machine::new("lx5", "10.99.0.5", 5)];
        power_switch([machines[0].power.clone(), machines[1].power.clone()])?;
        let address = SERVICE.parse().map_err(|e| format!("{SERVICE}: {e}"))?;
        let mut stage = Self { site, machines, writer: Writer::start(address) };
        for machine in &mut stage.machines {
            machine.boot(&stage.site)?;
        }
        stage.found()?;
        Ok(stage)
    }

    fn found(&mut self) -> Result<(), String> {
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
        first.insist("regent apply --wait 150s /etc/watched.toml", Duration::from_secs(180))?;
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

    /// Ends the machines. Everything else ends with the namespaces.
    pub(super) fn end(&mut self) {
        self.writer.stop();
        for machine in &self.machines {
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
            .arg(self.site.folder.join("lun"))
            .output()
            .map_err(|e| format!("e2fsck: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        if output.status.success() { Ok(()) } else { Err(format!("e2fsck -f ({}):\n{text}", output.status)) }
    }
}

/// A bridge with a port for each machine, and addresses on it for the witness, the power switch and the writer.
fn network(folder: &Path) -> Result<(), String> {
    sh(
        folder,
        "ip link set lo up
         ip link add br0 type bridge
         ip address add 10.99.0.1/24 dev br0
         ip address add 10.99.0.6/24 dev br0
         ip link set br0 up
         for n in 4 5; do ip tuntap add dev tap$n mode tap; ip link set tap$n master br0 up; done",
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
