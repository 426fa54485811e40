//! A queue of entries that may be millions long, and is rid of the buried ones in steps.

use super::roster::{List, Roster};

/// A first-in first-out list, of which a front part may have been swept already.
pub(super) struct Fifo {
    swept: List,
    rest: List,
}

impl Fifo {
    pub const EMPTY: Fifo = Fifo { swept: List::EMPTY, rest: List::EMPTY };

    /// Whether nothing is in it, buried entries included.
    pub fn is_empty(&self) -> bool {
        self.swept.is_empty() && self.rest.is_empty()
    }

    pub fn push_back(&mut self, roster: &mut Roster, index: u32) {
        roster.push_back(&mut self.rest, index);
    }

    /// Takes the first entry that is not buried. `None` also when so many buried ones were met that the rest has to wait:
    /// then it is not [empty](Self::is_empty).
    pub fn pop_front(&mut self, roster: &mut Roster) -> Option<u32> {
        let list = if self.swept.is_empty() { &mut self.rest } else { &mut self.swept };
        roster.pop_front(list)
    }

    /// Puts a whole list behind.
    pub fn append(&mut self, roster: &mut Roster, mut list: List) {
        roster.append(&mut self.rest, &mut list);
    }

    /// Takes everything out.
    pub fn take(&mut self, roster: &mut Roster) -> List {
        let mut all = std::mem::replace(&mut self.swept, List::EMPTY);
        roster.append(&mut all, &mut self.rest);
        all
    }

    /// Frees buried entries, looking at `budget` entries at most, which it lowers. True when all have been looked at.
    pub fn sweep(&mut self, roster: &mut Roster, budget: &mut u32) -> bool {
        let done = roster.sift(&mut self.rest, &mut self.swept, budget);
        if done {
            self.rest = std::mem::replace(&mut self.swept, List::EMPTY);
        }
        done
    }
}

#[cfg(test)]
mod tests {
    use super::super::MessageId;
    use super::super::roster::Place;
    use super::*;

    fn push(roster: &mut Roster, fifo: &mut Fifo, ids: std::ops::Range<u64>) {
        for n in ids {
            let index = roster.insert(MessageId(n), Place::Deferred, 1);
            fifo.push_back(roster, index);
        }
    }

    #[test]
    fn a_queue_that_is_being_swept_keeps_its_order() {
        let (mut roster, mut fifo) = (Roster::new(), Fifo::EMPTY);
        push(&mut roster, &mut fifo, 0..100);
        for n in (0..100).filter(|n| n % 3 != 0) {
            roster.bury(roster.find(MessageId(n)).expect("inserted"));
        }
        let mut left = Vec::new();
        for round in 0..20 {
            let mut budget = 7;
            fifo.sweep(&mut roster, &mut budget);
            left.extend(fifo.pop_front(&mut roster).map(|index| roster.id(index).0));
            push(&mut roster, &mut fifo, 100 + round..101 + round);
        }
        while let Some(index) = fifo.pop_front(&mut roster) {
            left.push(roster.id(index).0);
        }
        let expected: Vec<u64> = (0..100).filter(|n| n % 3 == 0).chain(100..120).collect();
        assert_eq!(left, expected);
        assert_eq!(roster.count(Place::Buried), 0);
    }

    #[test]
    fn a_sweep_ends_and_begins_anew_and_frees_memory() {
        let (mut roster, mut fifo) = (Roster::new(), Fifo::EMPTY);
        for round in 0..50 {
            push(&mut roster, &mut fifo, round * 4000..(round + 1) * 4000);
            for n in round * 4000..(round + 1) * 4000 {
                roster.bury(roster.find(MessageId(n)).expect("inserted"));
                if roster.wants_pruning() {
                    fifo.sweep(&mut roster, &mut 32);
                }
            }
        }
        assert_eq!(roster.len(), 0);
        assert!(roster.span() < 20_000, "{} entries in use", roster.span());
        while !fifo.sweep(&mut roster, &mut 32) {}
        assert!(fifo.is_empty());
    }
}
