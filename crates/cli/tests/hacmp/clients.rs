//! Clients that go on working through everything, and remember what was acknowledged.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use regent_lab::Running;

use crate::cell::{CELL, PASSWORD, SUFFIX};
use crate::cluster::{Cluster, SERVICE};

/// A loop in the client machine that prints one line for everything that was acknowledged.
pub(crate) struct Client {
    what: &'static str,
    running: Option<Running>,
    log: PathBuf,
}

/// Makes principals. Each must be there at the end.
const ADMINISTRATOR: &str = "i=0; while :; do i=$((i+1)); \
    timeout 20 kadmin -p admin/admin -w PASSWORD -q \"addprinc -pw secret p$i\" 2>/dev/null | grep -q created \
    && echo p$i; sleep 0.1; done";

/// Logs in, and gets a ticket for a service.
const USER: &str = "i=0; export KRB5CCNAME=/tmp/user.cc; while :; do i=$((i+1)); \
    echo PASSWORD | timeout 20 kinit admin/admin >/dev/null 2>&1 && timeout 20 kvno SERVICEPRINCIPAL >/dev/null 2>&1 \
    && echo login$i; sleep 0.2; done";

/// Writes to the directory. Each entry must be there at the end.
const DIRECTORY: &str = "i=0; while :; do i=$((i+1)); \
    printf 'dn: cn=d%d,SUFFIX\\nobjectClass: device\\ncn: d%d\\n' $i $i | \
    timeout 20 ldapadd -x -H ldap://SERVICE -D cn=manager,SUFFIX -w PASSWORD -o nettimeout=2 >/dev/null 2>&1 \
    && echo d$i; sleep 0.05; done";

/// Looks endpoints up.
const LOOKUP: &str = "i=0; while :; do i=$((i+1)); \
    timeout 10 rpcclient -N -U '' 'ncacn_ip_tcp:SERVICE[135]' -c epmlookup 2>/dev/null | grep -q 'SERVICE.49' \
    && echo lookup$i; sleep 0.3; done";

/// Writes files into the distributed file system. That the write ended says little: through FUSE, OpenAFS's client
/// answers `fsync` with nothing done and stores a file only after `close` has returned. Hence the reader.
const WRITER: &str = "i=0; while :; do i=$((i+1)); \
    echo f$i 2>/dev/null > /afs/CELL/f$i && echo f$i; sleep 0.2; done";

/// Reads them on another machine: what it has read was stored at the server, and is what counts as acknowledged. It
/// writes, too: a file server that was cut off has forgotten whom it promised to tell of changes, and a client that has
/// everything in its cache would not speak to the next one for minutes.
const READER: &str = "seen=' '; while :; do echo > /afs/CELL/reader; for f in $(ls /afs/CELL/ 2>/dev/null | grep '^f[0-9]'); do \
    case \"$seen\" in *\" $f \"*) ;; *) \
    [ \"$(cat /afs/CELL/$f 2>/dev/null)\" = $f ] && echo $f && seen=\"$seen$f \" ;; \
    esac; done; sleep 0.2; done";

impl Client {
    fn start(cluster: &Cluster, place: &str, what: &'static str, script: &str, machine: &str) -> Self {
        let log = std::env::temp_dir().join(format!("regent-test-{}.{what}", cluster.name));
        let mut command = Command::new("sh");
        let script = script.replace("SERVICEPRINCIPAL", &format!("hosts/{machine}/self"));
        let script = script
            .replace("CELL", CELL)
            .replace("SERVICE", SERVICE)
            .replace("SUFFIX", SUFFIX)
            .replace("PASSWORD", PASSWORD);
        command.args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
        command.stdout(std::fs::File::create(&log).unwrap());
        let running = Some(cluster.lab.spawn(place, command).unwrap());
        Self { what, running, log }
    }

    /// What was acknowledged so far.
    pub(crate) fn acknowledged(&self) -> BTreeSet<String> {
        std::fs::read_to_string(&self.log).unwrap().lines().map(str::to_owned).collect()
    }

    /// Waits until more is acknowledged than now.
    pub(crate) fn goes_on(&self, cluster: &Cluster, when: &str) {
        let (began, before) = (Instant::now(), self.acknowledged().len());
        while self.acknowledged().len() < before + 2 {
            let patience = Duration::from_secs(90);
            assert!(
                began.elapsed() < patience,
                "{} does not go on {when}\n{}",
                self.what,
                cluster.evidence()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it; gives what was acknowledged.
    pub(crate) fn stop(mut self) -> BTreeSet<String> {
        let running = self.running.take().unwrap();
        running.kill().unwrap();
        let _ = running.wait();
        self.acknowledged()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.kill();
        }
        let _ = std::fs::remove_file(&self.log);
    }
}

/// All clients of a cell.
pub(crate) struct Clients(Vec<Client>);

impl Clients {
    /// Sets them to work. `machine` is the name under which the cell knows its machine.
    pub(crate) fn of_dce(cluster: &Cluster, machine: &str) -> Self {
        let all = [("kadmin", ADMINISTRATOR), ("kinit", USER), ("directory", DIRECTORY), ("lookup", LOOKUP)];
        Self(
            all.into_iter()
                .map(|(what, script)| Client::start(cluster, "client", what, script, machine))
                .collect(),
        )
    }

    /// Sets one that writes files to work beside them.
    pub(crate) fn and_of_dfs(mut self, cluster: &Cluster) -> Self {
        for (machine, what, script) in [("client", "writer", WRITER), ("wit", "files", READER)] {
            crate::cell::mount_files(cluster, machine);
            self.0.push(Client::start(cluster, machine, what, script, ""));
        }
        self
    }

    /// Waits until each of them goes on.
    pub(crate) fn go_on(&self, cluster: &Cluster, when: &str) {
        self.0.iter().for_each(|c| c.goes_on(cluster, when));
    }

    /// Ends them; every acknowledged write must be there.
    pub(crate) fn lost_nothing(self, cluster: &Cluster) {
        for client in self.0 {
            let what = client.what;
            let acknowledged = client.stop();
            let kept = match what {
                "kadmin" => crate::cell::principals(cluster),
                "directory" => crate::cell::devices(cluster),
                "files" => crate::cell::files(cluster),
                _ => acknowledged.clone(),
            };
            let lost: Vec<&String> = acknowledged.difference(&kept).collect();
            let of = acknowledged.len();
            assert!(
                lost.is_empty(),
                "{what}: {} of {of} acknowledged are lost, such as {:?}",
                lost.len(),
                lost.first()
            );
            assert!(of >= 5, "{what}: only {of} were acknowledged");
        }
    }
}
