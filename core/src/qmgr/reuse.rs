//! Whether connections to a site are worth keeping: Postfix's on-demand rule.
//!
//! One delivery after another to the same site within a second is *back-to-back*: from the first such delivery on,
//! connections are kept. They are no longer kept once a delivery runs alone and none has ended within that second.
//! A burst of no more mails than the initial concurrency keeps none, for nothing comes after it.

/// How soon after the end of a delivery the next must start to be back-to-back.
const BACK_TO_BACK_MS: u64 = 1000;

/// Times are scheduler time in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConnectionReuse {
    last_done_ms: Option<u64>,
    keeping: bool,
}

impl ConnectionReuse {
    /// A delivery of this site has ended.
    pub fn done(&mut self, now_ms: u64) {
        self.last_done_ms = Some(now_ms);
    }

    /// A delivery begins, the `running`th at this moment: whether its connection is to be kept when it is over.
    pub fn starts(&mut self, running: u32, now_ms: u64) -> bool {
        let back_to_back = self.last_done_ms.is_some_and(|done_ms| now_ms <= done_ms + BACK_TO_BACK_MS);
        self.keeping = match self.keeping {
            false => back_to_back,
            true => back_to_back || running > 1,
        };
        self.keeping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_keeps_nothing_until_one_of_it_has_ended_and_another_follows() {
        let mut reuse = ConnectionReuse::default();
        assert!((1..=5).all(|running| !reuse.starts(running, 0)));
        reuse.done(40_000);
        assert!(reuse.starts(5, 41_000));
    }

    #[test]
    fn keeping_goes_on_while_deliveries_overlap_or_follow_each_other_and_then_ends() {
        let mut reuse = ConnectionReuse::default();
        reuse.done(0);
        assert!(reuse.starts(1, 1000));
        assert!(reuse.starts(2, 60_000), "another one runs");
        assert!(!reuse.starts(1, 60_001), "alone, and the last one ended long ago");
        assert!(!reuse.starts(2, 60_002), "running side by side does not begin it");
    }
}
