//! Which messages of a peer were delivered already: every message comes once per network.

/// How far a copy may lag behind the newest message and still be told from a new one.
const WINDOW: u64 = 8_192;
const WORD: u64 = 64;

/// The messages of one sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    session: u64,
    newest: u64,
    seen: Vec<u64>,
}

impl Window {
    pub(crate) fn new() -> Self {
        Self { session: 0, newest: 0, seen: vec![0; usize::try_from(WINDOW / WORD).unwrap_or(0)] }
    }

    /// Whether this message is to be delivered; if so, it never is again. Messages are numbered from 1 in each
    /// session; a later session ends the ones before it.
    pub(crate) fn take(&mut self, session: u64, number: u64) -> bool {
        if session < self.session || number == 0 {
            return false;
        }
        if session > self.session {
            *self = Self { session, ..Self::new() };
        }
        if number > self.newest {
            if number - self.newest >= WINDOW {
                self.seen.fill(0);
            } else {
                (self.newest + 1..number).for_each(|skipped| self.set(skipped, false));
            }
            self.newest = number;
            self.set(number, true);
            return true;
        }
        if self.newest - number >= WINDOW || self.is_set(number) {
            return false;
        }
        self.set(number, true);
        true
    }

    fn place(number: u64) -> (usize, u64) {
        let at = number % WINDOW;
        (usize::try_from(at / WORD).unwrap_or(0), 1 << (at % WORD))
    }

    fn is_set(&self, number: u64) -> bool {
        let (word, bit) = Self::place(number);
        self.seen[word] & bit != 0
    }

    fn set(&mut self, number: u64, seen: bool) {
        let (word, bit) = Self::place(number);
        if seen {
            self.seen[word] |= bit;
        } else {
            self.seen[word] &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_message_is_delivered_once_however_many_copies_come_in_whatever_order() {
        let mut window = Window::new();
        let mut random = 7_u64;
        let mut delivered = BTreeSet::new();
        let mut newest = 0_u64;
        for _ in 0..200_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let far = (random >> 20).is_multiple_of(2);
            let lag = (random >> 33) % if far { WINDOW + 200 } else { 6 };
            let number = (newest + 3).saturating_sub(lag).max(1);
            let is_new = window.take(1, number);
            let too_late = number + WINDOW <= newest;
            assert_eq!(is_new, !too_late && !delivered.contains(&number), "{number} after {newest}");
            if is_new {
                delivered.insert(number);
            }
            newest = newest.max(number);
        }
        assert!(newest > WINDOW * 3, "{newest}");
    }

    #[test]
    fn a_later_session_begins_anew_and_an_earlier_one_is_over() {
        let mut window = Window::new();
        assert!(window.take(4, 900) && !window.take(4, 900));
        assert!(window.take(5, 1) && !window.take(5, 1));
        assert!(!window.take(4, 901));
        assert!(!window.take(5, 0));
    }

    #[test]
    fn a_jump_beyond_the_window_forgets_what_was_before() {
        let mut window = Window::new();
        assert!(window.take(1, 5));
        assert!(window.take(1, 5 + 10 * WINDOW));
        assert!(!window.take(1, 6));
        assert!(window.take(1, 6 + 9 * WINDOW));
    }
}
