//! Which proofs of a node's end stand, and what bears on them: withdrawn promises (L5) and fence requests.

use std::collections::BTreeSet;

use crate::ids::{IncarnationOf, NodeId};
use crate::mutants::{Condition, off};
use crate::proof::{Promise, Proof};
use crate::state::apply::{Changes, void};
use crate::state::{Change, FenceRequest, State};

impl State {
    pub(super) fn proof_stands(
        &self,
        about: IncarnationOf,
        proof: &Proof,
        voters: &BTreeSet<NodeId>,
    ) -> Result<(), String> {
        match proof {
            Proof::LeaseEnded { promises } => {
                let good: BTreeSet<NodeId> = promises
                    .iter()
                    .filter(|p| self.promise_stands(p, about, voters))
                    .map(|p| p.voter)
                    .collect();
                if good.len() > voters.len() / 2 {
                    Ok(())
                } else {
                    Err(format!(
                        "{} of {} voters promised: no majority for {about}",
                        good.len(),
                        voters.len()
                    ))
                }
            }
            // A fence proof names one incarnation and a request made after it was known: all devices of one level.
            Proof::Fenced { device } => match self.fence_requests.get(&about) {
                Some(request) if &request.words() == device && !request.is_storage() => Ok(()),
                _ => Err(format!("nobody asked {device} to cut {about}")),
            },
            Proof::CutOff { device } => self.cut_off_stands(about, device),
            _ => Err(format!("{} is no proof of a node's end", proof.word())),
        }
    }

    /// Whether a promise is about `about`, by a voter, and was not withdrawn (L5).
    #[must_use]
    pub fn promise_stands(&self, promise: &Promise, about: IncarnationOf, voters: &BTreeSet<NodeId>) -> bool {
        let withdrawn = self.withdrawn.contains(promise) && !off(Condition::L5CitedWithdrawn);
        promise.about == about && voters.contains(&promise.voter) && !withdrawn
    }

    pub(super) fn withdraw(&mut self, promise: Promise) -> Changes {
        if self.is_ended(promise.about) {
            return void(format!("{} is over; the promise stands", promise.about));
        }
        if !self.withdrawn.insert(promise) {
            return void("withdrawn before");
        }
        vec![Change::Withdrawn(promise)]
    }

    pub(super) fn request_fence(&mut self, about: IncarnationOf, request: &FenceRequest) -> Changes {
        let registered = self.lives.get(&about.node).is_some_and(|l| l.incarnation == about.incarnation);
        if !registered {
            return void(format!("{about} is not the registered incarnation: fencing it would hit another"));
        }
        if let Err(why) = self.may_cut_off(about, request) {
            return void(why);
        }
        let attempt = self.fence_requests.get(&about).map_or(0, |r| r.attempt);
        if request.attempt != attempt + 1 {
            return void(format!("attempt {attempt} is under way"));
        }
        if request.is_storage()
            && let Some(life) = self.lives.get_mut(&about.node)
        {
            life.cut = true;
        }
        self.fence_requests.insert(about, request.clone());
        vec![Change::FenceRequested(about, request.clone())]
    }
}
