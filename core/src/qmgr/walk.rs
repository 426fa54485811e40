//! Walking the table of messages, piece by piece, for listings and for commands that are for all messages.

use super::MessageId;
use super::action::MessageState;
use super::scheduler::Scheduler;

impl Scheduler {
    /// Calls `each` with the messages in the table's entries from `from` on (and their entries), at most
    /// `entries_max` entries looked at, until it answers false. Answers where to go on; `None` at the end.
    ///
    /// Entries do not move: a message that stays in its queue during a walk is met exactly once, one that changes its
    /// queue meanwhile may be met again or not at all.
    pub fn walk(
        &self,
        from: u32,
        entries_max: u32,
        mut each: impl FnMut(u32, MessageId, MessageState) -> bool,
    ) -> Option<u32> {
        let span = self.roster.span();
        let end = span.min(from.saturating_add(entries_max));
        for index in from..end {
            if let Some(state) = self.roster.place(index).state()
                && !each(index, self.roster.id(index), state)
            {
                return Some(index + 1).filter(|&next| next < span);
            }
        }
        Some(end).filter(|&next| next < span)
    }
}

#[cfg(test)]
mod tests {
    use super::super::QmgrSettings;
    use super::*;

    #[test]
    fn a_walk_in_pieces_meets_each_message_once_and_skips_the_deleted() {
        let mut scheduler = Scheduler::new(QmgrSettings::default(), 1_000);
        for number in 0..1000 {
            scheduler.recovered(MessageId(number << 10), 5_000_000, 1_000);
        }
        for number in (0..1000).step_by(3) {
            assert!(scheduler.delete(MessageId(number << 10), 1_000));
        }
        let (mut met, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let mut left = 10;
            from = scheduler.walk(at, 64, |_, id, state| {
                assert_eq!(state, MessageState::Deferred);
                met.push(id.0 >> 10);
                left -= 1;
                left > 0
            });
        }
        assert_eq!(met, (0..1000).filter(|number| number % 3 != 0).collect::<Vec<_>>());
    }
}
