//! When a turn is worth waiting for: gathers completions while they come fast, like a network card's interrupt
//! moderation.
//!
//! - **Owns** the rate at which completions came lately, of one reactor.
//! - A turn costs a system call, and often a sleep and a wake-up of the thread. At saturation many completions are there
//!   when it begins; below, the thread would wake for each. While [`WORTH_GATHERING`] of them are to be expected within
//!   [`GATHER_TIME`], a turn that has nothing else to do waits for twice that, at most so long. A few clients that wait
//!   for each answer never come near that rate, so they are answered at once.

use crate::time::Moment;
use std::time::Duration;

/// How long a turn waits for company at most: what it may add to the latency of one step, small beside a commit's.
const GATHER_TIME: Duration = Duration::from_micros(100);
/// Completions to be expected within [`GATHER_TIME`] that make waiting for them worth it. One client with a relay and a
/// server that answer at once makes about two.
const WORTH_GATHERING: u64 = 3;
/// How long completions are counted before their rate is known anew.
const WINDOW: Duration = Duration::from_millis(1);

/// How many completions a turn shall wait for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    window_began: Moment,
    completions_before: u64,
    expected: u64,
}

impl Pace {
    /// Takes note of the time and of how many completions there have been since the start.
    pub(crate) fn observe(&mut self, now: Moment, completions: u64) {
        let elapsed = now.since(self.window_began);
        if elapsed < WINDOW {
            return;
        }
        let came = completions - self.completions_before;
        let in_gather_time = u128::from(came) * GATHER_TIME.as_nanos() / elapsed.as_nanos();
        self.expected = u64::try_from(in_gather_time).unwrap_or(u64::MAX);
        (self.window_began, self.completions_before) = (now, completions);
    }

    /// How many completions to wait for and how long, when they come fast enough to wait for more than one.
    pub(crate) fn gather(&self) -> Option<(usize, Duration)> {
        let worth = self.expected >= WORTH_GATHERING;
        worth.then(|| (usize::try_from(self.expected.saturating_mul(2)).unwrap_or(usize::MAX), GATHER_TIME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reactor does that gets so many completions a second, evenly, and makes a turn every 50 µs.
    fn gathering_at(per_second: u64) -> Option<(usize, Duration)> {
        let mut pace = Pace::default();
        for turn in 1..=1000 {
            let now_ns = turn * 50_000;
            pace.observe(Moment::from_nanos(now_ns), now_ns * per_second / 1_000_000_000);
        }
        pace.gather()
    }

    #[test]
    fn a_busy_reactor_waits_for_company_and_a_quiet_one_does_not() {
        assert_eq!(gathering_at(50_000), Some((10, GATHER_TIME)));
        assert_eq!(gathering_at(20_000), None);
        assert_eq!(gathering_at(0), None);
    }

    #[test]
    fn a_pause_ends_the_gathering() {
        let mut pace = Pace::default();
        pace.observe(Moment::from_nanos(1_000_000), 1000);
        assert!(pace.gather().is_some());
        pace.observe(Moment::from_nanos(1_000_000_000), 1001);
        assert!(pace.gather().is_none());
    }
}
