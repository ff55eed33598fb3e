//! What an event consists of on a node, in order: the table.
//!
//! Storage comes before addresses, both belong to the event; applications are started by what follows it. Nothing
//! here knows of groups or commands: a part that has nothing to do is passed over, and so is a wait for nobody.

use std::fmt;

use regent_model::action::Tier;
use regent_model::event::EventName;
use regent_model::event::EventName::*;

/// In which direction groups go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// They come up here.
    Up,
    /// They go down here.
    Down,
}

/// Which of the groups of an event a part is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// All of them.
    All,
    /// Those that are at home on this node.
    Home,
    /// Those that are at home on another.
    Away,
}

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    /// Other nodes finish first, or are heard first.
    Await,
    /// An event begins: its notify and pre commands, and its own where one takes its place.
    Begin(EventName),
    /// It is known from here on which groups go this way.
    Gather(Way),
    /// An event of its own: its pre commands, this tier of the groups, its post commands.
    Part(EventName, Way, Tier, Whose),
    /// The applications of the groups are started; nobody waits for them.
    Start,
    /// The innermost event ends: its post and notify commands.
    End(EventName),
}

use Line::*;

const ACQUIRE: [Line; 3] = [
    Part(GetDiskVgFs, Way::Up, Tier::Storage, Whose::All),
    Part(AcquireServiceAddr, Way::Up, Tier::Addresses, Whose::Home),
    Part(AcquireTakeoverAddr, Way::Up, Tier::Addresses, Whose::Away),
];

const RELEASE: [Line; 4] = [
    Part(StopServer, Way::Down, Tier::Applications, Whose::All),
    Part(ReleaseTakeoverAddr, Way::Down, Tier::Addresses, Whose::Away),
    Part(ReleaseServiceAddr, Way::Down, Tier::Addresses, Whose::Home),
    Part(ReleaseVgFs, Way::Down, Tier::Storage, Whose::All),
];

/// What an event is on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// This node joins.
    Joins,
    /// Another node joins.
    OtherJoins,
    /// This node leaves and releases.
    Leaves,
    /// This node leaves, and everything stays up.
    LeavesAllUp,
    /// Another node leaves or is lost.
    OtherLeaves,
    /// A group leaves this node, while no node joins or leaves.
    MovesAway,
    /// A group comes to this node, while no node joins or leaves.
    MovesHere,
    /// Applications are started.
    Starts,
    /// Another configuration is in force.
    Reconfigures,
    /// The same, with other nodes, networks or timers.
    ReconfiguresTopology,
    /// An event without parts.
    Single(EventName),
}

impl Kind {
    /// Its lines.
    pub(crate) fn lines(self) -> Vec<Line> {
        let up = [&[Gather(Way::Up)][..], &ACQUIRE].concat();
        let down = [&[Gather(Way::Down)][..], &RELEASE].concat();
        match self {
            Self::Joins => [
                vec![Await],
                nested(NodeUp, NodeUpLocal, &up),
                nested(NodeUpComplete, NodeUpLocalComplete, &[Start]),
            ]
            .concat(),
            Self::OtherJoins => [
                vec![Await],
                nested(NodeUp, NodeUpRemote, &down),
                nested(NodeUpComplete, NodeUpRemoteComplete, &[]),
            ]
            .concat(),
            Self::Leaves => {
                [nested(NodeDown, NodeDownLocal, &down), nested(NodeDownComplete, NodeDownLocalComplete, &[])]
                    .concat()
            }
            Self::LeavesAllUp => {
                [nested(NodeDown, NodeDownLocal, &[]), nested(NodeDownComplete, NodeDownLocalComplete, &[])]
                    .concat()
            }
            Self::OtherLeaves => [
                vec![Await],
                nested(NodeDown, NodeDownRemote, &up),
                nested(NodeDownComplete, NodeDownRemoteComplete, &[Start]),
            ]
            .concat(),
            Self::MovesAway => {
                [nested(RgMove, RgMoveRelease, &down), vec![Begin(RgMoveComplete), End(RgMoveComplete)]]
                    .concat()
            }
            Self::MovesHere => {
                [nested(RgMove, RgMoveAcquire, &up), vec![Begin(RgMoveComplete), Start, End(RgMoveComplete)]]
                    .concat()
            }
            Self::Starts => vec![Part(StartServer, Way::Up, Tier::Applications, Whose::All)],
            Self::Reconfigures | Self::ReconfiguresTopology => self.reconfigures(),
            Self::Single(name) => {
                // The restart of an application goes on after its event: what completes it is raised when it is up.
                let next = name.entry().complete.filter(|_| name != ServerRestart);
                let next = next.into_iter().flat_map(|next| [Begin(next), End(next)]);
                [Begin(name), End(name)].into_iter().chain(next).collect()
            }
        }
    }

    fn reconfigures(self) -> Vec<Line> {
        let topology = [ReconfigTopologyStart, ReconfigTopologyComplete].map(|name| [Begin(name), End(name)]);
        let topology = topology.concat().into_iter().filter(|_| self == Self::ReconfiguresTopology);
        topology
            .chain([Begin(ReconfigResourceRelease), Gather(Way::Down)])
            .chain(RELEASE)
            .chain([End(ReconfigResourceRelease), Begin(ReconfigResourceAcquire), Gather(Way::Up)])
            .chain(ACQUIRE)
            .chain([End(ReconfigResourceAcquire), Begin(ReconfigResourceComplete), Start])
            .chain([End(ReconfigResourceComplete)])
            .chain([Begin(ReconfigConfigurationComplete), End(ReconfigConfigurationComplete)])
            .collect()
    }
}

/// Lines within an event within another.
fn nested(outer: EventName, inner: EventName, lines: &[Line]) -> Vec<Line> {
    [&[Begin(outer), Begin(inner)][..], lines, &[End(inner), End(outer)]].concat()
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = |way: Way| if way == Way::Up { "come up" } else { "go down" };
        match self {
            Await => write!(f, "(other nodes first)"),
            Begin(name) => write!(f, "{name}"),
            Gather(w) => write!(f, "(it is known which groups {})", way(*w)),
            Part(name, w, tier, whose) => {
                let whose = match whose {
                    Whose::All => "",
                    Whose::Home => ", at home here",
                    Whose::Away => ", at home elsewhere",
                };
                let tier = format!("{tier:?}").to_lowercase();
                write!(f, "{name}: {tier} {}{whose}", way(*w))
            }
            Start => write!(f, "start_server for every group, nobody waits"),
            End(name) => write!(f, "{name} done"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(&str, Kind); 11] = [
        ("this node joins", Kind::Joins),
        ("another node joins", Kind::OtherJoins),
        ("this node leaves, graceful or takeover", Kind::Leaves),
        ("this node leaves, forced", Kind::LeavesAllUp),
        ("another node leaves or is lost", Kind::OtherLeaves),
        ("a group moves away", Kind::MovesAway),
        ("a group moves here", Kind::MovesHere),
        ("applications are started", Kind::Starts),
        ("another configuration", Kind::ReconfiguresTopology),
        ("an event without parts", Kind::Single(NetworkDown)),
        ("an application is restarted", Kind::Single(ServerRestart)),
    ];

    #[test]
    fn the_order_of_events_is_this_table() {
        let mut text = String::new();
        for (title, kind) in ALL {
            text += &format!("{title}:\n");
            let mut depth = 1;
            for line in kind.lines() {
                depth -= usize::from(matches!(line, End(_)));
                text += &format!("{:indent$}{line}\n", "", indent = depth * 2);
                depth += usize::from(matches!(line, Begin(_)));
            }
        }
        insta::assert_snapshot!(text);
    }

    #[test]
    fn every_event_that_begins_ends_and_parts_stand_where_their_groups_are_known() {
        for (title, kind) in ALL {
            let mut open = Vec::new();
            let mut known = if kind == Kind::Starts { vec![Way::Up] } else { Vec::new() };
            for line in kind.lines() {
                match line {
                    Begin(name) => open.push(name),
                    End(name) => assert_eq!(open.pop(), Some(name), "{title}"),
                    Gather(way) => known.push(way),
                    Part(name, way, ..) => {
                        assert!(known.contains(&way), "{title}");
                        assert!(!name.entry().own.is_replaceable() || name.word().ends_with("_server"));
                    }
                    Start => assert!(known.contains(&Way::Up), "{title}"),
                    Await => assert!(open.is_empty(), "{title}"),
                }
            }
            assert!(open.is_empty(), "{title}");
        }
    }
}
