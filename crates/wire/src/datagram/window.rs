//! Which numbers of one sender's session were already seen on one network.

const WORDS: usize = 16;

/// A datagram may be overtaken by up to so many later numbers of its session and still be accepted. Wide,
/// because all networks and receivers share one row of numbers.
pub const WINDOW: u64 = (WORDS as u64 - 1) * 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    Seen,
    TooOld,
}

/// A ring of bits: the word of the highest number and the `WORDS - 1` before it are valid.
#[derive(Debug, Clone)]
pub(super) struct Window {
    highest: u64,
    seen: [u64; WORDS],
}

const fn place(number: u64) -> (usize, u64) {
    ((number / 64 % WORDS as u64) as usize, 1 << (number % 64))
}

impl Window {
    pub(super) const fn new() -> Self {
        Self { highest: 0, seen: [0; WORDS] }
    }

    pub(super) fn judge(&self, number: u64) -> Verdict {
        if number > self.highest {
            return Verdict::New;
        }
        if self.highest - number >= WINDOW {
            return Verdict::TooOld;
        }
        let (word, bit) = place(number);
        if self.seen[word] & bit == 0 { Verdict::New } else { Verdict::Seen }
    }

    /// Marks a number as seen, whose datagram was shown to be genuine.
    pub(super) fn mark(&mut self, number: u64) {
        if number > self.highest {
            let steps = (number / 64 - self.highest / 64).min(WORDS as u64);
            for step in 0..steps {
                let (word, _) = place(number - step * 64);
                self.seen[word] = 0;
            }
            self.highest = number;
        }
        let (word, bit) = place(number);
        self.seen[word] |= bit;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_window_agrees_with_a_set_of_all_numbers_seen(
            steps in prop::collection::vec(prop_oneof![-1200_i64..100, 0_i64..40, 900_i64..3000], 1..300)
        ) {
            let (mut window, mut seen, mut at) = (Window::new(), BTreeSet::new(), 1_i64);
            for step in steps {
                at = (at + step).max(1);
                let number = at.unsigned_abs();
                let highest = seen.last().copied().unwrap_or(0);
                let expected = if number <= highest && highest - number >= WINDOW {
                    Verdict::TooOld
                } else if seen.contains(&number) {
                    Verdict::Seen
                } else {
                    Verdict::New
                };
                prop_assert_eq!(window.judge(number), expected, "number {}, highest {}", number, highest);
                if expected == Verdict::New {
                    window.mark(number);
                    seen.insert(number);
                }
            }
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let mut window = Window::new();
        window.mark(u64::MAX);
        assert_eq!(window.judge(u64::MAX), Verdict::Seen);
        assert_eq!(window.judge(u64::MAX - 1), Verdict::New);
        assert_eq!(window.judge(1), Verdict::TooOld);
    }
}
