//! Switching one condition off, to show that the checkers notice. A build without debug assertions and without the
//! feature `mutants`, which every release is, has nothing to switch: there `off` is a constant `false`.

pub use regent_model::mutants::Condition;

/// Which condition is switched off, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Mutants {
    #[cfg(any(test, feature = "mutants", debug_assertions))]
    off: Option<Condition>,
}

impl Mutants {
    /// Every condition holds.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            #[cfg(any(test, feature = "mutants", debug_assertions))]
            off: None,
        }
    }

    /// Every condition but this one holds.
    #[cfg(any(test, feature = "mutants", debug_assertions))]
    #[must_use]
    pub const fn without(condition: Condition) -> Self {
        Self { off: Some(condition) }
    }

    /// Whether this condition is switched off.
    #[cfg(any(test, feature = "mutants", debug_assertions))]
    #[must_use]
    pub fn off(self, condition: Condition) -> bool {
        self.off == Some(condition)
    }

    /// Whether this condition is switched off: never.
    #[cfg(not(any(test, feature = "mutants", debug_assertions)))]
    #[must_use]
    pub const fn off(self, _condition: Condition) -> bool {
        false
    }
}
