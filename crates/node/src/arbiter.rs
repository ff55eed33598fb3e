//! The engine's questions to the disk that decides between two nodes, on their way to the threads that ask it.

use std::io;

use regent_agents::arbiter::{Act, DiskArbiter, Limits, Place};
use regent_engine::Input;
use regent_engine::io::{ArbiterAct, ArbiterPlace, ArbiterRun};

use crate::inbox::Inbox;

/// Where the engine's questions go.
pub(crate) struct ArbiterLine {
    hands: DiskArbiter,
    inbox: Inbox,
    place: Option<Place>,
}

impl ArbiterLine {
    /// Begins with no disk to ask.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(inbox: Inbox) -> io::Result<Self> {
        let (answers, troubles) = (inbox.clone(), inbox.clone());
        let hands = DiskArbiter::start(
            Limits::default(),
            move |number, input| answers.push(Input::Arbiter { number, input }),
            move |notice| troubles.push(Input::Notice(notice)),
        )?;
        Ok(Self { hands, inbox, place: None })
    }

    /// Does what the engine wants.
    pub(crate) fn carry_out(&mut self, place: Option<Option<ArbiterPlace>>, runs: Vec<ArbiterRun>) {
        if let Some(place) = place {
            self.place(place);
        }
        runs.into_iter().for_each(|run| self.run(run));
    }

    /// The area is here from now on, or there is none.
    fn place(&mut self, place: Option<ArbiterPlace>) {
        self.place = place.map(|ArbiterPlace { disk, area, cluster }| Place { disk, area, cluster });
        self.hands.place(self.place.clone());
    }

    /// Has this done. It is answered in any case.
    fn run(&self, run: ArbiterRun) {
        let ArbiterRun { number, area, act } = run;
        match (self.place.as_ref().filter(|place| place.area == area), act) {
            (Some(place), ArbiterAct::Write(record)) => {
                self.hands.act(number, place.clone(), Act::Write(record))
            }
            (Some(place), ArbiterAct::Read { own, other }) => {
                self.hands.act(number, place.clone(), Act::Read { own, other });
            }
            (None, ArbiterAct::Write(_)) => self.answer(number, regent_arbiter::Input::WriteFailed),
            (None, ArbiterAct::Read { .. }) => self.answer(number, regent_arbiter::Input::ReadFailed),
        }
    }

    fn answer(&self, number: u64, input: regent_arbiter::Input) {
        self.inbox.push(Input::Arbiter { number, input });
    }
}
