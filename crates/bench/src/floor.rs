//! The floor: the same service, moved by hand with the system calls that nobody can do without, by somebody who
//! knows at once what has happened. What a cluster takes longer than this is the cluster.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use regent_lab::{Lab, LabSpec, Role, Running};
use serde_json::{Value, json};

use crate::Result;
use crate::contestant::{Contestant, Made};
use crate::service::{Kind, NODES, peer};
use crate::stand::{answering, at_boot};

/// The bare system calls for a group.
pub(crate) struct Floor {
    kind: Kind,
    hands: RefCell<BTreeMap<String, Hand>>,
}

/// The process on a node that makes the calls.
struct Hand {
    words: ChildStdin,
    answers: BufReader<ChildStdout>,
    _running: Running,
}

impl Hand {
    fn on(lab: &Lab, node: &str) -> Result<Self> {
        let mut command = Command::new("regent-bench");
        command.arg("hand").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = lab.spawn(node, command)?;
        let words = running.stdin.take().ok_or("no pipe")?;
        let answers = BufReader::new(running.stdout.take().ok_or("no pipe")?);
        Ok(Self { words, answers, _running: running })
    }

    fn order(&mut self, words: &str) -> Result<()> {
        writeln!(self.words, "{words}")?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        if answer == "ok\n" { Ok(()) } else { Err(format!("{words}: {answer}").into()) }
    }
}

impl Floor {
    /// The floor under a group of that kind.
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, hands: RefCell::default() }
    }

    fn order(&self, node: &str, words: &str) -> Result<()> {
        let mut hands = self.hands.borrow_mut();
        hands.get_mut(node).ok_or("nobody is there")?.order(words)
    }

    fn acquire(&self, node: &str) -> Result<()> {
        self.order(
            node,
            match self.kind {
                Kind::Address => "address",
                Kind::Application => "address ledger",
                Kind::Ext4 => "mount address ledger",
            },
        )
    }

    fn release(&self, node: &str) -> Result<()> {
        self.order(
            node,
            match self.kind {
                Kind::Address => "no-address",
                Kind::Application => "no-ledger no-address",
                Kind::Ext4 => "no-ledger no-address no-mount",
            },
        )
    }
}

impl Contestant for Floor {
    fn prepare(&self, spec: &mut LabSpec) {
        at_boot(
            spec,
            Role::Node,
            &format!("mkdir -p /srv/ledger /run/ledger\n{}wait\n", answering(self.kind)),
        );
    }

    fn form(&self, lab: &Lab) -> Result<()> {
        for node in NODES {
            self.booted(lab, node)?;
        }
        self.acquire(NODES[0])
    }

    fn is_steady(&self, _lab: &Lab) -> bool {
        true
    }

    fn order_move(&self, _lab: &Lab, from: &str, to: &str) -> Result<()> {
        self.release(from)?;
        self.acquire(to)
    }

    fn fault_made(&self, _lab: &Lab, fault: Made<'_>) -> Result<()> {
        match fault {
            Made::PowerCut(node) => self.acquire(peer(node)),
            Made::Killed(node) => self.order(node, "no-ledger ledger"),
        }
    }

    fn booted(&self, lab: &Lab, node: &str) -> Result<()> {
        let hand = Hand::on(lab, node)?;
        self.hands.borrow_mut().insert(node.to_owned(), hand);
        Ok(())
    }

    fn survives_partition(&self) -> bool {
        false
    }

    fn has_daemons(&self) -> bool {
        false
    }

    fn about(&self, _lab: &Lab) -> Value {
        json!({ "settings": "mount, address, announce, exec: by one process, told at once what has happened" })
    }
}
