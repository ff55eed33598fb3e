//! An application server: a process of GT.M whose globals are an instance's, by its service address. It keeps its
//! connection, as a user's process does.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use regent_lab::Running;

use crate::cluster::Cluster;

/// Does a line of M, and says what came of it, whatever that is.
const ROUTINE: &str = r#"far for  read line quit:$zeof  do one(line)
 quit
one(line) new $etrap set $etrap="write ""ERR "",$zstatus,! set $ecode="""" quit"
 xecute line
 quit
"#;

const SCRIPT: &str = r#"
set -e
mkdir -p /tmp/far-NAME && cd /tmp/far-NAME
cat > far.m
gtm_dist=$(ls -d /usr/lib/*/fis-gtm/V* | tail -n 1)
export gtm_dist gtmgbldir=/tmp/far-NAME/far.gld gtm_tmp=/tmp
export gtmroutines=". $gtm_dist/libgtmutil.so $gtm_dist"
test -e far.gld || printf 'change -segment DEFAULT -file="NAME:FILE"\nexit\n' | $gtm_dist/mumps -run GDE > /dev/null 2>&1
"#;

/// Where an instance's data are, seen from outside.
pub(crate) struct Data<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its service address.
    pub(crate) address: &'a str,
    /// Its port.
    pub(crate) port: u16,
    /// The file of its database, as the owner sees it.
    pub(crate) file: &'a str,
}

/// The process.
pub(crate) struct Far {
    running: Running,
    said: Receiver<String>,
}

impl Far {
    /// Starts it on the client's machine.
    pub(crate) fn start(cluster: &Cluster, data: &Data<'_>) -> Self {
        let prepare = SCRIPT.replace("NAME", data.name).replace("FILE", data.file);
        let prepare = prepare.replace("cat > far.m", &format!("cat > far.m <<'END'\n{ROUTINE}END"));
        let Data { name, address, port, .. } = data;
        let script =
            format!("{prepare}export GTCM_{name}='[{address}]:{port}'\nexec $gtm_dist/mumps -run far");
        Self::run(cluster, "client", &script)
    }

    /// Starts one beside an instance, whose own globals and projected ones it uses.
    pub(crate) fn start_beside(cluster: &Cluster, node: &str, instance: &str) -> Self {
        let folder = "/tmp/beside";
        let inside = format!("gtmroutines=\"{folder} $gtmroutines\" exec $gtm_dist/mumps -run far");
        let script = format!(
            "set -e; mkdir -p {folder}; cat > {folder}/far.m <<'END'\n{ROUTINE}END\n\
             exec regent instance env {instance} -- sh -c '{inside}'"
        );
        Self::run(cluster, node, &script)
    }

    fn run(cluster: &Cluster, machine: &str, script: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut running = cluster.lab.spawn(machine, command).unwrap();
        let (say, said) = channel();
        let output = BufReader::new(running.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok).filter(|line| !line.trim().is_empty()) {
                let _nobody_asks_any_more = say.send(line.trim().to_owned());
            }
        });
        Self { running, said }
    }

    /// Gives it a line of M to do. It answers when it can.
    pub(crate) fn begins(&mut self, line: &str) {
        let input = self.running.stdin.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).and_then(|()| input.flush()).unwrap();
    }

    /// Its next answer, if it comes in time.
    pub(crate) fn answers(&self, limit: Duration) -> Option<String> {
        self.said.recv_timeout(limit).ok()
    }

    /// What a line of M writes; an error is an answer too.
    pub(crate) fn does(&mut self, line: &str) -> String {
        self.begins(line);
        self.answers(Duration::from_secs(30)).unwrap_or_else(|| panic!("no answer to {line}"))
    }

    /// Whether a line of M writes this number.
    pub(crate) fn tries(&mut self, line: &str, number: u32) -> bool {
        self.does(line) == number.to_string()
    }

    /// What a line of M writes, tried until it is no error: that is all a user's program has to do.
    pub(crate) fn insists(&mut self, line: &str) -> String {
        let mut answer = String::new();
        for _ in 0..200 {
            answer = self.does(line);
            if !answer.starts_with("ERR") {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{line}: {answer}")
    }

    /// Ends it.
    pub(crate) fn ends(self) {
        self.running.kill().unwrap();
        let _killed = self.running.wait();
    }
}
