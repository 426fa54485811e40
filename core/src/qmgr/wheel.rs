//! The *deferred* queue: a timer wheel of seconds over the roster's entries.
//!
//! A near ring of 8192 slots of one second takes every due time up to 2 h 16 min ahead, so that a retry at Postfix's
//! `maximal_backoff_time` (4000 s) is filed once and never moved. A far ring of 4096 slots of 8192 seconds reaches
//! 388 days; what lies beyond waits in its last slot and is filed again from there. What has come due is joined to
//! the due list a slot at a time, at a constant cost however many messages it holds. A far slot's entries are filed
//! anew one by one when its time begins, [`FILED_A_STEP`] with each call: of millions some are due a second late.

use super::fifo::Fifo;
use super::roster::{List, Roster, VALUE_MAX};

const NEAR_SLOTS: u32 = 8192;
const FAR_SLOTS: u32 = 4096;
/// Entries of a far slot that one step files: less than half a millisecond.
const FILED_A_STEP: u32 = 2048;

pub(super) struct Wheel {
    /// Everything due at this second or earlier has left the rings.
    cursor_s: u32,
    near: Ring,
    far: Ring,
    /// The entries of far slots whose time has begun, to be filed anew.
    opened: Fifo,
    due: Fifo,
    sweeping: Sweeping,
}

/// Which part the sweep has come to.
#[derive(Clone, Copy)]
enum Sweeping {
    Due,
    Opened,
    Near,
    Far,
}

impl Wheel {
    pub fn new() -> Self {
        Self {
            cursor_s: 0,
            near: Ring::new(NEAR_SLOTS),
            far: Ring::new(FAR_SLOTS),
            opened: Fifo::EMPTY,
            due: Fifo::EMPTY,
            sweeping: Sweeping::Due,
        }
    }

    /// Files an entry whose value is its due second.
    pub fn insert(&mut self, roster: &mut Roster, index: u32) {
        let due_s = roster.value(index);
        if due_s <= self.cursor_s {
            self.due.push_back(roster, index);
        } else if due_s - self.cursor_s < NEAR_SLOTS {
            self.near.push(roster, due_s % NEAR_SLOTS, index);
        } else {
            let span = (due_s / NEAR_SLOTS).min(self.cursor_s / NEAR_SLOTS + FAR_SLOTS - 1);
            self.far.push(roster, span % FAR_SLOTS, index);
        }
    }

    /// Lets what is due at `now_s` or earlier join the due list: everything, if no far slot is open after that. To be
    /// called again at once while [`next_s`](Self::next_s) is not later than `now_s`.
    pub fn advance(&mut self, roster: &mut Roster, now_s: u32) {
        let now_s = now_s.min(VALUE_MAX);
        while self.cursor_s < now_s {
            let span_end = (self.cursor_s / NEAR_SLOTS + 1) * NEAR_SLOTS;
            let until = now_s.min(span_end);
            while let Some(ahead) = self.near.first_occupied((self.cursor_s + 1) % NEAR_SLOTS) {
                let due_s = self.cursor_s + 1 + ahead;
                if due_s > until {
                    break;
                }
                let slot = self.near.take(roster, due_s % NEAR_SLOTS);
                self.due.append(roster, slot);
            }
            self.cursor_s = until;
            if until == span_end {
                let slot = self.far.take(roster, until / NEAR_SLOTS % FAR_SLOTS);
                self.opened.append(roster, slot);
            }
        }
        for _ in 0..FILED_A_STEP {
            let Some(index) = self.opened.pop_front(roster) else { break };
            self.insert(roster, index);
        }
    }

    /// Takes the message that has been due longest; see [`Fifo::pop_front`].
    pub fn pop_due(&mut self, roster: &mut Roster) -> Option<u32> {
        self.due.pop_front(roster)
    }

    /// Whether something is in the due list, if only buried entries.
    pub fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// The second at which [`advance`](Self::advance) has something to do; due messages need no time to pass.
    pub fn next_s(&self) -> Option<u32> {
        if !self.opened.is_empty() {
            return Some(self.cursor_s);
        }
        let near =
            self.near.first_occupied((self.cursor_s + 1) % NEAR_SLOTS).map(|ahead| self.cursor_s + 1 + ahead);
        let span = self.cursor_s / NEAR_SLOTS + 1;
        let far = self.far.first_occupied(span % FAR_SLOTS).map(|ahead| (span + ahead) * NEAR_SLOTS);
        near.into_iter().chain(far).min()
    }

    /// Makes everything due now.
    pub fn flush(&mut self, roster: &mut Roster) {
        let Self { near, far, opened, due, .. } = self;
        let list = opened.take(roster);
        due.append(roster, list);
        near.drain(roster, due);
        far.drain(roster, due);
    }

    /// Takes everything that is due.
    pub fn take_due(&mut self, roster: &mut Roster) -> List {
        self.due.take(roster)
    }

    /// Frees buried entries, looking at `budget` entries at most, which it lowers. True when all have been looked at.
    pub fn sweep(&mut self, roster: &mut Roster, budget: &mut u32) -> bool {
        loop {
            let (done, next) = match self.sweeping {
                Sweeping::Due => (self.due.sweep(roster, budget), Sweeping::Opened),
                Sweeping::Opened => (self.opened.sweep(roster, budget), Sweeping::Near),
                Sweeping::Near => (self.near.sweep(roster, budget), Sweeping::Far),
                Sweeping::Far => (self.far.sweep(roster, budget), Sweeping::Due),
            };
            if !done {
                return false;
            }
            self.sweeping = next;
            if matches!(next, Sweeping::Due) {
                return true;
            }
        }
    }
}

/// Lists in a circle and a bit for each that is not empty.
struct Ring {
    slots: Box<[List]>,
    occupied: Box<[u64]>,
    /// A bit for each word of `occupied` that is not zero: the wheel is asked after every delivery when it wants to be
    /// turned, and is mostly empty.
    words: u128,
    /// The slot that is being swept, and its front part, which has been.
    sweep_at: u32,
    swept: List,
}

impl Ring {
    fn new(slots: u32) -> Self {
        assert!(slots.is_multiple_of(64) && slots / 64 <= u128::BITS);
        Self {
            slots: vec![List::EMPTY; slots as usize].into_boxed_slice(),
            occupied: vec![0; slots as usize / 64].into_boxed_slice(),
            words: 0,
            sweep_at: 0,
            swept: List::EMPTY,
        }
    }

    fn push(&mut self, roster: &mut Roster, slot: u32, index: u32) {
        roster.push_back(&mut self.slots[slot as usize], index);
        self.occupied[slot as usize / 64] |= 1 << (slot % 64);
        self.words |= 1 << (slot / 64);
    }

    fn vacate(&mut self, slot: u32) {
        let word = &mut self.occupied[slot as usize / 64];
        *word &= !(1 << (slot % 64));
        if *word == 0 {
            self.words &= !(1 << (slot / 64));
        }
    }

    fn take(&mut self, roster: &mut Roster, slot: u32) -> List {
        self.vacate(slot);
        let mut rest = std::mem::replace(&mut self.slots[slot as usize], List::EMPTY);
        if slot != self.sweep_at {
            return rest;
        }
        let mut all = std::mem::replace(&mut self.swept, List::EMPTY);
        roster.append(&mut all, &mut rest);
        all
    }

    /// How many slots after `start` the first one lies that is not empty.
    fn first_occupied(&self, start: u32) -> Option<u32> {
        if self.words == 0 {
            return None;
        }
        let first = start / 64;
        let from_start = self.occupied[first as usize] >> (start % 64) << (start % 64);
        let (word, bits) = if from_start != 0 {
            (first, from_start)
        } else {
            // The words behind, then from the top; at last what stands before `start` in its own word.
            let behind = self.words & u128::MAX.checked_shl(first + 1).unwrap_or(0);
            let word = if behind != 0 { behind.trailing_zeros() } else { self.words.trailing_zeros() };
            (word, self.occupied[word as usize])
        };
        let slots = self.slots.len() as u32;
        Some((word * 64 + bits.trailing_zeros() + slots - start) % slots)
    }

    fn drain(&mut self, roster: &mut Roster, into: &mut Fifo) {
        while let Some(slot) = self.first_occupied(0) {
            let list = self.take(roster, slot);
            into.append(roster, list);
        }
    }

    /// See [`Wheel::sweep`].
    fn sweep(&mut self, roster: &mut Roster, budget: &mut u32) -> bool {
        let slots = self.slots.len() as u32;
        while let Some(ahead) = self.first_occupied(self.sweep_at) {
            if self.sweep_at + ahead >= slots {
                break;
            }
            // Those between are empty, and so is the front part of the one that was left, if any is.
            self.sweep_at += ahead;
            let slot = self.sweep_at as usize;
            if !roster.sift(&mut self.slots[slot], &mut self.swept, budget) {
                return false;
            }
            self.slots[slot] = std::mem::replace(&mut self.swept, List::EMPTY);
            if self.slots[slot].is_empty() {
                self.vacate(slot as u32);
            }
            self.sweep_at += 1;
            if self.sweep_at == slots {
                break;
            }
        }
        self.sweep_at = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::MessageId;
    use super::super::roster::Place;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const DAY_S: u32 = 86_400;

    #[derive(Clone, Debug)]
    enum Step {
        File { ahead_s: u32 },
        Bury { nth: usize },
        Advance { by_s: u32 },
        Flush,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let ahead = prop_oneof![
            0..4000u32,
            8000..9000u32,
            5 * DAY_S..6 * DAY_S,
            99 * DAY_S..101 * DAY_S,
            380 * DAY_S..900 * DAY_S
        ];
        let by = prop_oneof![0..3u32, 0..4000u32, 8190..8194u32, 0..200 * DAY_S];
        let step = prop_oneof![
            6 => ahead.prop_map(|ahead_s| Step::File { ahead_s }),
            1 => any::<usize>().prop_map(|nth| Step::Bury { nth }),
            3 => by.prop_map(|by_s| Step::Advance { by_s }),
            1 => Just(Step::Flush),
        ];
        prop::collection::vec(step, 1..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn the_wheel_gives_what_a_sorted_set_gives(steps in steps()) {
            let (mut roster, mut wheel) = (Roster::new(), Wheel::new());
            let mut model: BTreeSet<(u32, u64)> = BTreeSet::new();
            let mut now_s = 0;
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::File { ahead_s } => {
                        let index = roster.insert(MessageId(n as u64), Place::Deferred, now_s + ahead_s);
                        wheel.insert(&mut roster, index);
                        model.insert((now_s + ahead_s, n as u64));
                    }
                    Step::Bury { nth } if !model.is_empty() => {
                        let entry = *model.iter().nth(nth % model.len()).unwrap();
                        model.remove(&entry);
                        roster.bury(roster.find(MessageId(entry.1)).unwrap());
                        wheel.sweep(&mut roster, &mut ((nth % 5) as u32));
                    }
                    Step::Bury { .. } => {}
                    Step::Advance { by_s } => now_s = (now_s + by_s).min(VALUE_MAX - 1000 * DAY_S),
                    Step::Flush => {
                        wheel.flush(&mut roster);
                        model = model.into_iter().map(|(_, id)| (0, id)).collect();
                    }
                }
                if let (Some(&(due_s, _)), true) = (model.first(), model.first().is_some_and(|m| m.0 > now_s)) {
                    let next_s = wheel.next_s();
                    prop_assert!(next_s.is_some_and(|s| s <= due_s), "sleeps past {due_s}: {next_s:?}");
                }
                wheel.advance(&mut roster, now_s);
                let later = model.split_off(&(now_s + 1, 0));
                let expected: BTreeSet<u64> = std::mem::replace(&mut model, later).into_iter().map(|m| m.1).collect();
                let mut left = BTreeSet::new();
                while let Some(index) = wheel.pop_due(&mut roster) {
                    left.insert(roster.id(index).0);
                    roster.remove(index);
                }
                prop_assert_eq!(left, expected);
            }
        }
    }

    #[test]
    fn messages_due_in_the_same_second_leave_in_the_order_they_came() {
        let (mut roster, mut wheel) = (Roster::new(), Wheel::new());
        for n in 0..10 {
            let index = roster.insert(MessageId(n), Place::Deferred, 300);
            wheel.insert(&mut roster, index);
        }
        wheel.advance(&mut roster, 299);
        assert!(wheel.pop_due(&mut roster).is_none());
        wheel.advance(&mut roster, 300);
        let mut left = Vec::new();
        while let Some(index) = wheel.pop_due(&mut roster) {
            left.push(roster.id(index).0);
        }
        assert_eq!(left, (0..10).collect::<Vec<_>>());
    }
}
