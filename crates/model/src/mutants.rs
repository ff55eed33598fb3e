//! The conditions of the four rules, and switching one of them off, to show that the checkers notice. A build without
//! debug assertions and without the feature `mutants`, which every release is, has nothing to switch: there [`off`] is a
//! constant `false`.

#[cfg(any(feature = "mutants", debug_assertions))]
use std::cell::Cell;

/// The conditions of the four rules, each at the line that implements it. Those marked *log* are kept by
/// whoever applies the replicated log or proposes to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// L1: what a voter has not heard since it started counts as acknowledged at its start, or at first sight.
    L1RestartWait,
    /// L1: a promise is durable before it counts, and a restarted voter keeps it (*log*, with the store).
    L1DurablePromise,
    /// L2: acknowledging ends before the promise is stored.
    L2StopBeforeStoring,
    /// L2: a promised incarnation is not acknowledged.
    L2PromiseEndsAcks,
    /// L3: the wait is stretched for a holder's slow and a voter's fast clock.
    L3Stretch,
    /// L3: the stretch covers both clocks, not only the voter's own.
    L3BothClocks,
    /// L3: the wait follows the lease that the keepalive carried, not the one configured now.
    L3OwnLease,
    /// L4: letting go begins early enough to be finished when the lease ends.
    L4FinishInTime,
    /// L5: only a committed entry withdraws a promise; a voter does not forget it by itself.
    L5OnlyTheLogWithdraws,
    /// L5: a withdrawal names a round; a later promise about the same incarnation stands.
    L5Round,
    /// L5: an epoch entry that cites a withdrawn promise does nothing (*log*).
    L5CitedWithdrawn,
    /// L6: what is held over from an earlier incarnation stays only if the log has adopted it.
    L6Adopt,
    /// L6: an adopt entry is void unless the old epoch is still current (*log*).
    L6StillCurrent,
    /// L7: a node's guard speaks for the node's vote about itself, so no promise is made about it.
    L7OwnVote,
    /// L8: nothing new is acquired until the lease is valid under the current voters.
    L8CurrentVoters,
    /// L8: voters change one at a time (*log*).
    L8OneAtATime,
    /// L8: the next change waits until every owner has confirmed its lease under this one (*log*).
    L8Barrier,
    /// L9: an incarnation that the log has ended is never acknowledged again.
    L9DeadStayDead,
    /// L10: the word that it holds without lease is about one incarnation, and no later one.
    L10OwnWord,
    /// L10: an incarnation that holds without lease is given nothing more, and nothing back (*log*).
    L10NothingMoreGiven,
    /// L10: adopting what was held without lease does not make `lease-ended` a proof; being online does (*log*).
    L10AdoptedStaysSo,
    /// L10: `lease-ended` is no proof for what is held without lease (*log*).
    L10NoLeaseProof,
    /// L11: a lapsed lease is final for its incarnation.
    L11LapseIsFinal,
    /// L12: the guard gates every acquisition.
    L12Gate,
    /// The kernel answers for an address no longer than the lease of its owner lasts (*kernel*).
    KernelEndsAddresses,
    /// What only a reboot ends is vacated by nothing less than a reboot (*log*).
    RebootAfterRelease,
    /// A level of fence devices is a proof only when each of them has confirmed.
    FenceWholeLevel,
    /// A life registers at each of its disks only once, before it owns anything there (*log*).
    RegistersOnce,
    /// Only whose lease has ended is cut off from its disks (*log*).
    CutOffAfterLease,
    /// What an owner acquired stays its own until the ownership ends, whatever is configured meanwhile (*log*).
    DefinitionInForce,
    /// A member is removed only when its last life is proven to be over, and it owns nothing (*log*).
    RemovedWhenOver,
    /// A node is heard only if it knows what it has said before, and votes no more if it does not (*log*).
    MemoryGoesOn,
}

impl Condition {
    /// Every condition that can be switched off.
    pub const ALL: [Self; 32] = [
        Self::L1RestartWait,
        Self::L1DurablePromise,
        Self::L2StopBeforeStoring,
        Self::L2PromiseEndsAcks,
        Self::L3Stretch,
        Self::L3BothClocks,
        Self::L3OwnLease,
        Self::L4FinishInTime,
        Self::L5OnlyTheLogWithdraws,
        Self::L5Round,
        Self::L5CitedWithdrawn,
        Self::L6Adopt,
        Self::L6StillCurrent,
        Self::L7OwnVote,
        Self::L8CurrentVoters,
        Self::L8OneAtATime,
        Self::L8Barrier,
        Self::L9DeadStayDead,
        Self::L10OwnWord,
        Self::L10NothingMoreGiven,
        Self::L10AdoptedStaysSo,
        Self::L10NoLeaseProof,
        Self::L11LapseIsFinal,
        Self::L12Gate,
        Self::KernelEndsAddresses,
        Self::RebootAfterRelease,
        Self::FenceWholeLevel,
        Self::RegistersOnce,
        Self::CutOffAfterLease,
        Self::DefinitionInForce,
        Self::RemovedWhenOver,
        Self::MemoryGoesOn,
    ];
}

#[cfg(any(feature = "mutants", debug_assertions))]
thread_local! {
    static OFF: Cell<Option<Condition>> = const { Cell::new(None) };
}

/// Switches this condition off, or none, for everything that this thread applies and decides from now on. A guard
/// is told apart, when it is made: a thread may run several.
#[cfg(any(feature = "mutants", debug_assertions))]
pub fn switch_off(condition: Option<Condition>) {
    OFF.set(condition);
}

/// Whether this condition is switched off on this thread.
#[cfg(any(feature = "mutants", debug_assertions))]
#[must_use]
pub fn off(condition: Condition) -> bool {
    OFF.get() == Some(condition)
}

/// Whether this condition is switched off: never.
#[cfg(not(any(feature = "mutants", debug_assertions)))]
#[must_use]
pub const fn off(_condition: Condition) -> bool {
    false
}
