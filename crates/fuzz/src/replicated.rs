//! What the members have agreed on: entries of the log, and whole states.

use regent_engine::format::{read, write};
use regent_model::format::{NEWEST, Speaks};
use regent_model::state::{Command, NodeMode, Proposal, ReleaseReason, State, StopMode};
use regent_model::{Epoch, GroupName};
use regent_planner::{View, decide};

use crate::world::{LX4, LX5, life, proposal, state, voters};

/// An entry is refused, or it is applied, on every member in the same way, to a state that is whole afterwards.
pub(crate) fn entry(bytes: &[u8]) {
    let Ok(entry) = read::<Proposal>(bytes, Speaks::THIS) else { return };
    let again = write(NEWEST, &entry);
    assert!(read::<Proposal>(&again, Speaks::THIS).as_ref() == Ok(&entry), "what is written is what is read");
    let (mut one, mut other) = (state(), state());
    let changes = one.apply(&entry, &voters());
    assert!(changes == other.apply(&entry, &voters()) && one == other, "two members differ");
    plans(&one);
}

fn plans(state: &State) {
    let view = View { voters: voters(), heard: voters().into_iter().map(life).collect(), ..View::default() };
    let _what_is_next = decide(state, &view);
}

pub(crate) fn entries() -> Vec<Vec<u8>> {
    let group = || GroupName::new("cacheha1").unwrap_or_else(|e| panic!("{e}"));
    let commands = [
        Command::Present,
        Command::Release { group: group(), epoch: Epoch(1), reason: ReleaseReason::Restart },
        Command::Released { group: group(), epoch: Epoch(1), failure: Some("why".into()) },
        Command::Stuck { group: group(), epoch: Epoch(1), reason: "it hangs".into() },
        Command::Adopt { group: group(), epoch: Epoch(1), to: life(LX4) },
        Command::HoldWithoutLease { about: life(LX4) },
        Command::SetMode { node: LX4, mode: NodeMode::Stopping(StopMode::Takeover) },
        Command::Move { group: group(), to: LX5 },
        Command::Disable(group()),
        Command::ConfirmDead {
            about: life(LX4),
            who: "root".into(),
            why: "seen".into(),
            given_ms: 1,
            minutes: 30,
        },
        Command::ExpireWord { group: group(), epoch: Epoch(1) },
    ];
    (500..).zip(commands).map(|(number, command)| write(NEWEST, &proposal(number, command))).collect()
}

/// A state is refused, or it is taken as it stands.
pub(crate) fn snapshot(bytes: &[u8]) {
    let Ok(state) = read::<State>(bytes, Speaks::THIS) else { return };
    let again = write(NEWEST, &state);
    assert!(
        read::<State>(&again, Speaks::THIS).is_ok_and(|same| same == state),
        "what is written is what is read"
    );
}

pub(crate) fn snapshots() -> Vec<Vec<u8>> {
    vec![write(NEWEST, &state())]
}
