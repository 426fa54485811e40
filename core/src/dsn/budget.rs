//! How often the postmaster is written to about sessions.

/// Reports that may be sent one after the other: what an administrator who looks for something may want to see at
/// once. A spammer's thousand connections a minute must not become a thousand messages.
pub const REPORTS_AT_ONCE_MAX: u32 = 50;

/// After that there is one more each time that this many milliseconds have passed: 600 an hour.
pub const REPORT_INTERVAL_MS: u64 = 6_000;

/// What becomes of one more report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allowance {
    /// It is sent; so many were not since the last one that was.
    Granted {
        /// How many.
        refused_before: u64,
    },
    /// It is not sent.
    Refused {
        /// The first that is not: worth a line in the log.
        is_first: bool,
    },
}

/// The reports that one shard may still send.
#[derive(Debug)]
pub struct ReportBudget {
    left: u32,
    /// Up to when the passing of time was counted, milliseconds of the caller's clock.
    counted_until_ms: u64,
    refused: u64,
}

impl ReportBudget {
    /// A budget that nothing was taken from.
    pub fn new(now_ms: u64) -> ReportBudget {
        ReportBudget { left: REPORTS_AT_ONCE_MAX, counted_until_ms: now_ms, refused: 0 }
    }

    /// Asks for one report.
    pub fn take(&mut self, now_ms: u64) -> Allowance {
        let earned = now_ms.saturating_sub(self.counted_until_ms) / REPORT_INTERVAL_MS;
        self.counted_until_ms += earned * REPORT_INTERVAL_MS;
        self.left =
            u32::try_from(earned).unwrap_or(u32::MAX).saturating_add(self.left).min(REPORTS_AT_ONCE_MAX);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Allowance::Granted { refused_before: std::mem::take(&mut self.refused) }
            }
            None => {
                self.refused += 1;
                Allowance::Refused { is_first: self.refused == 1 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_cut_and_time_gives_more() {
        let mut budget = ReportBudget::new(1_000);
        for _ in 0..REPORTS_AT_ONCE_MAX {
            assert_eq!(budget.take(1_000), Allowance::Granted { refused_before: 0 });
        }
        assert_eq!(budget.take(1_000), Allowance::Refused { is_first: true });
        assert_eq!(budget.take(1_000 + REPORT_INTERVAL_MS - 1), Allowance::Refused { is_first: false });
        assert_eq!(budget.take(1_000 + REPORT_INTERVAL_MS), Allowance::Granted { refused_before: 2 });
        assert_eq!(budget.take(1_000 + REPORT_INTERVAL_MS), Allowance::Refused { is_first: true });
        // However long it is quiet, no more than one burst is saved up; and a clock that steps back harms nobody.
        let late = u64::MAX / 2;
        let granted = (0..2 * REPORTS_AT_ONCE_MAX)
            .filter(|_| matches!(budget.take(late), Allowance::Granted { .. }))
            .count();
        assert_eq!(granted, REPORTS_AT_ONCE_MAX as usize);
        assert_eq!(budget.take(0), Allowance::Refused { is_first: false });
    }
}
