//! What the tests share: names, a view of the log, and one guard between two scripted peers.

use std::collections::BTreeSet;

use regent_lease::io::{ActId, ClusterView};
use regent_lease::list::HeldOver;
use regent_lease::{Ack, Effect, Frame, FromDaemon, Guard, Input, Keepalive, ToDaemon};
use regent_model::holding::{Act, Held, Holding};
use regent_model::ids::IncarnationOf;
use regent_model::proof::Promise;
use regent_model::timers::Timers;
use regent_model::{BootId, Epoch, GroupName, Incarnation, Moment, NodeId, Round};

pub(crate) const A: NodeId = NodeId(1);
pub(crate) const B: NodeId = NodeId(2);
pub(crate) const W: NodeId = NodeId(3);
pub(crate) const X: NodeId = NodeId(4);

pub(crate) const FIRST: Incarnation = Incarnation(1);

pub(crate) fn ms(ms: u64) -> Moment {
    Moment::from_millis(ms)
}

pub(crate) fn of(node: NodeId, incarnation: u64) -> IncarnationOf {
    IncarnationOf { node, incarnation: Incarnation(incarnation) }
}

pub(crate) fn promise(voter: NodeId, about: IncarnationOf, round: u64) -> Promise {
    Promise { voter, about, round: Round(round) }
}

/// Three voters with the timers of `normal`: heartbeat 100 ms, letting go begins at 450 ms, lease 600 ms.
pub(crate) fn view(me: NodeId, applied: u64) -> ClusterView {
    let voters = BTreeSet::from([A, B, W]);
    let timers = Timers::normal();
    ClusterView {
        applied,
        peers: voters.iter().copied().filter(|node| *node != me).collect(),
        registered: voters.iter().map(|node| of(*node, 1)).collect(),
        voters,
        timers,
        largest_lease: timers.lease,
        dead: BTreeSet::new(),
    }
}

pub(crate) fn keepalive(about: IncarnationOf, number: u64) -> Keepalive {
    let lease = Timers::normal().lease;
    Keepalive { node: about.node, incarnation: about.incarnation, number, lease, renews: true }
}

pub(crate) fn group() -> GroupName {
    GroupName::new("cacheha1").unwrap()
}

pub(crate) fn held(holding: Holding) -> Held {
    Held { group: group(), epoch: Epoch(1), holding }
}

pub(crate) fn mount(path: &str) -> Holding {
    Holding::Mount { device: "/dev/sdc4".into(), mount: path.into() }
}

pub(crate) fn address() -> Holding {
    Holding::address("eth0", "192.9.202.197".parse().unwrap(), 16)
}

pub(crate) fn cgroup() -> Holding {
    Holding::Cgroup { path: "/sys/fs/cgroup/regent/cacheha1".into(), grace: std::time::Duration::ZERO }
}

/// What the effects tell the daemon.
pub(crate) fn told(effects: &[Effect]) -> Vec<ToDaemon> {
    let told = |effect: &Effect| match effect {
        Effect::Tell(told) => Some(told.clone()),
        _ => None,
    };
    effects.iter().filter_map(told).collect()
}

/// A's guard, whose peers acknowledge when they are told to.
pub(crate) struct Bench {
    pub(crate) guard: Guard,
    pub(crate) last: Option<Keepalive>,
}

impl Bench {
    /// A guard that has just started.
    pub(crate) fn started(held_over: Vec<HeldOver>) -> Self {
        Self { guard: Guard::new(A, FIRST, BootId("boot".into()), held_over, ms(0)), last: None }
    }

    /// A guard whose daemon has attached at 0.
    pub(crate) fn attached() -> Self {
        let mut bench = Self::started(Vec::new());
        bench.attach(0);
        bench
    }

    /// A guard whose lease was acknowledged by B at 0: letting go is due at 450, the lease ends at 600.
    pub(crate) fn valid() -> Self {
        let mut bench = Self::attached();
        bench.acknowledged(0, B);
        bench
    }

    /// As [`Bench::valid`], and this is held.
    pub(crate) fn holding(holdings: &[Holding]) -> Self {
        let mut bench = Self::valid();
        for holding in holdings {
            assert_eq!(bench.hold(0, holding.clone()), Ok(()));
        }
        bench
    }

    pub(crate) fn step(&mut self, at: u64, input: Input) -> Vec<Effect> {
        let effects = self.guard.step(ms(at), input);
        for effect in &effects {
            if let Effect::Send { frame: Frame::Keepalive(keepalive), .. } = effect {
                self.last = Some(*keepalive);
            }
        }
        effects
    }

    pub(crate) fn tick(&mut self, at: u64) -> Vec<Effect> {
        self.step(at, Input::Tick)
    }

    pub(crate) fn say(&mut self, at: u64, said: FromDaemon) -> Vec<Effect> {
        self.step(at, Input::Daemon(said))
    }

    pub(crate) fn attach(&mut self, at: u64) -> Vec<Effect> {
        let (promises, next_round) = (Vec::new(), Round(1));
        self.say(at, FromDaemon::Attach { promises, next_round, cluster: view(A, 1) })
    }

    /// A peer acknowledges the last keepalive.
    pub(crate) fn acknowledged(&mut self, at: u64, voter: NodeId) -> Vec<Effect> {
        let Keepalive { node, incarnation, number, .. } = self.last.expect("a keepalive was sent");
        let frame = Frame::Ack(Ack { voter, node, incarnation, number });
        self.step(at, Input::Frame { from: voter, frame })
    }

    pub(crate) fn hold(&mut self, at: u64, holding: Holding) -> Result<(), String> {
        let id = ActId(at);
        let said = FromDaemon::Hold { id, incarnation: self.guard.incarnation(), held: held(holding) };
        let told = told(&self.say(at, said));
        let done = told.into_iter().find_map(|told| match told {
            ToDaemon::Done { id: done, result } if done == id => Some(result),
            _ => None,
        });
        done.expect("every hold is answered")
    }

    pub(crate) fn perform(&mut self, at: u64, id: u64, incarnation: Incarnation) -> Vec<Effect> {
        let (group, epoch) = (group(), Epoch(1));
        self.say(at, FromDaemon::Perform { id: ActId(id), incarnation, group, epoch, act: mount_act() })
    }

    pub(crate) fn released(&mut self, at: u64, holding: Holding) -> Vec<Effect> {
        let result = Ok(std::time::Duration::from_millis(5));
        self.step(at, Input::Released { held: held(holding), result })
    }
}

/// The act that mounts `/storage2`.
pub(crate) fn mount_act() -> Act {
    Act::Mount {
        device: "/dev/sdc4".into(),
        mount: "/storage2".into(),
        fstype: "ext4".into(),
        options: String::new(),
    }
}
