//! A guard with a rule switched off, so that torture (`docs/reliability.md`) can show that it would be noticed.
//!
//! A build with debug assertions, which no release is, leaves a rule off when the file [`FILE`] lies beside it and names
//! it: `guard-keeps` (what is held stays when the lease ends, and nothing is reset), or a condition of the lease as
//! `regent_model::mutants::Condition` has it. The daemon beside it reads the same file ([`weaken_the_daemon`]). A release
//! build has none of it.

use regent_lease::Guard;

/// The file beside the executables that names the rule.
pub const FILE: &str = "rule-off";

/// The rule that is off, if any.
#[cfg(debug_assertions)]
fn rule() -> &'static str {
    static RULE: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    RULE.get_or_init(|| {
        let file = std::env::current_exe().map(|own| own.with_file_name(FILE));
        file.and_then(std::fs::read_to_string).unwrap_or_default().trim().to_owned()
    })
}

/// Whether what is held stays when the lease ends.
#[cfg(debug_assertions)]
pub(crate) fn keeps() -> bool {
    rule() == "guard-keeps"
}

/// Whether what is held stays when the lease ends: never.
#[cfg(not(debug_assertions))]
pub(crate) const fn keeps() -> bool {
    false
}

/// Whether the kernel answers for an address for as long as nobody takes it away.
#[cfg(debug_assertions)]
pub(crate) fn kernel_answers_on() -> bool {
    keeps() || is_late() || named() == Some(regent_lease::mutants::Condition::KernelEndsAddresses)
}

/// Whether the kernel answers for an address for as long as nobody takes it away: never.
#[cfg(not(debug_assertions))]
pub(crate) const fn kernel_answers_on() -> bool {
    false
}

/// Whether what the daemon asks for is done however late it is, and stays: the gate is off, and with it what stands
/// behind it.
#[cfg(debug_assertions)]
pub(crate) fn is_late() -> bool {
    named() == Some(regent_lease::mutants::Condition::L12Gate)
}

/// Whether what the daemon asks for is done however late it is: never.
#[cfg(not(debug_assertions))]
pub(crate) const fn is_late() -> bool {
    false
}

/// The condition that the file names.
#[cfg(debug_assertions)]
fn named() -> Option<regent_lease::mutants::Condition> {
    regent_lease::mutants::Condition::ALL.into_iter().find(|c| format!("{c:?}") == rule())
}

/// Switches the condition off that the file names, for what this thread of the daemon applies and decides.
#[cfg(debug_assertions)]
pub fn weaken_the_daemon() {
    if let Some(condition) = named() {
        tracing::error!("{condition:?} is switched off: this daemon proves nothing");
        regent_model::mutants::switch_off(Some(condition));
    }
}

/// Switches nothing off.
#[cfg(not(debug_assertions))]
pub const fn weaken_the_daemon() {}

/// The guard with the condition off that the file names.
#[cfg(debug_assertions)]
pub(crate) fn weakened(guard: Guard) -> Guard {
    use regent_lease::mutants::Mutants;
    match named() {
        Some(condition) => {
            tracing::error!("{condition:?} is switched off: this guard proves nothing");
            guard.with_mutants(Mutants::without(condition))
        }
        None => guard,
    }
}

/// The guard as it is.
#[cfg(not(debug_assertions))]
pub(crate) const fn weakened(guard: Guard) -> Guard {
    guard
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_file_every_rule_holds() {
        assert!(rule().is_empty() && !keeps(), "nothing lies beside the tests");
    }
}
