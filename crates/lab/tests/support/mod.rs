//! What the lab's tests share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses its own part")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use regent_lab::{Lab, LabSpec};

/// A default lab of a name that no other test process has, with a small disk.
pub fn spec(name: &str) -> LabSpec {
    let name = format!("t{}-{name}", std::process::id());
    let hand = Path::new(env!("CARGO_BIN_EXE_regent-lab-hand"));
    let mut spec = LabSpec::default_two_nodes(&name, hand, &[]).daemon_command(&["sleep", "infinity"]);
    spec.disks[0].mib = 64;
    spec
}

/// A lab that is gone at the end of the test, however it ends.
pub fn up(name: &str) -> Lab {
    Lab::up_leashed(&spec(name)).unwrap()
}

/// Ends a lab that stays by itself, however the test ends.
pub struct Ender(pub regent_lab::Folder);

impl Drop for Ender {
    fn drop(&mut self) {
        let _is_down_already = regent_lab::down(&self.0);
    }
}

/// Runs a shell script in a machine; it must succeed.
pub fn sh(lab: &Lab, machine: &str, script: &str) -> String {
    let output = sh_output(lab, machine, script);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "on {machine}: {script}\n{out}{err}");
    out.trim().to_owned()
}

/// Runs a shell script in a machine.
pub fn sh_output(lab: &Lab, machine: &str, script: &str) -> Output {
    lab.output(machine, &["/bin/sh", "-c", script]).unwrap()
}

/// Whether a machine gets an answer to a ping within 200 ms.
pub fn pings(lab: &Lab, from: &str, to: &str) -> bool {
    let probe = format!(
        "import socket,sys\ns=socket.socket(socket.AF_INET,socket.SOCK_STREAM)\ns.settimeout(.25)\n\
         try: s.connect(('{to}',1))\nexcept ConnectionRefusedError: sys.exit(0)\nexcept OSError: sys.exit(1)"
    );
    lab.output(from, &["python3", "-c", &probe]).unwrap().status.success()
}

/// Waits for something to come true.
pub fn eventually(what: &str, limit: Duration, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !check() {
        assert!(Instant::now() < end, "not in {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything on the host that belongs to labs of this test process: mounts, loop devices, control groups,
/// folders, processes, named network namespaces.
pub fn traces(of: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut note = |kind: &str, text: &str| {
        if text.contains(of) {
            found.insert(format!("{kind} {text}"));
        }
    };
    for line in std::fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        note("mount", line);
    }
    for entry in std::fs::read_dir("/sys/block").unwrap().flatten() {
        let backing = entry.path().join("loop/backing_file");
        note("loop", &std::fs::read_to_string(backing).unwrap_or_default());
    }
    for folder in ["/run/netns", "/run/regent-lab"] {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            note(folder, &entry.file_name().to_string_lossy());
        }
    }
    let groups =
        std::process::Command::new("find").args(["/sys/fs/cgroup", "-path", "*regent-lab*"]).output();
    for line in String::from_utf8_lossy(&groups.unwrap().stdout).lines() {
        note("cgroup", line);
    }
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if words.is_empty() {
            continue; // dead, and waiting to be buried by a parent that is not of the lab
        }
        let group = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let line =
            format!("{} {}", String::from_utf8_lossy(&words).replace('\0', " "), group.replace('\n', " "));
        if line.contains("/regent-lab/") {
            note("process", &line);
        }
    }
    found
}
