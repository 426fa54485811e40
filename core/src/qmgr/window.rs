//! A site's window, kept by its home: how many deliveries may run, by Postfix's concurrency feedback.
//!
//! The window opens with deliveries that meet no trouble and closes with connection and handshake failures; after
//! a cohort of failures without a success the site is dead for a while. Everything works on the sum over shards. On a
//! shard that is not the home, a window only remembers what the home last said of the site's standing.

use super::settings::TransportSettings;
use super::slots::{Outcomes, Standing};

/// Times are scheduler time in milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Window {
    /// Deliveries that may run; at least 1.
    width: u32,
    success: f64,
    failure: f64,
    failed_cohorts: f64,
    /// Grants that have not come back, over all shards.
    granted: u32,
    dead_until_ms: Option<u64>,
    /// The rate delay runs until then.
    closed_until_ms: u64,
}

impl Window {
    pub fn new(settings: &TransportSettings) -> Self {
        Self {
            width: initial(settings),
            success: 0.0,
            failure: 0.0,
            failed_cohorts: 0.0,
            granted: 0,
            dead_until_ms: None,
            closed_until_ms: 0,
        }
    }

    pub fn width(&self) -> u32 {
        self.width
    }

    pub fn granted(&self) -> u32 {
        self.granted
    }

    /// How many more deliveries may be granted now.
    pub fn room(&mut self, settings: &TransportSettings, now_ms: u64) -> u32 {
        let open = self.standing(settings, now_ms) == Standing::Open && now_ms >= self.closed_until_ms;
        if open { self.width.saturating_sub(self.granted) } else { 0 }
    }

    /// Counts grants that are given out.
    pub fn grant(&mut self, deliveries: u32) {
        self.granted += deliveries;
    }

    /// Counts grants that come back unused.
    pub fn take_back(&mut self, unused: u32) {
        assert!(unused <= self.granted, "a site gave back {unused} of {} grants", self.granted);
        self.granted -= unused;
    }

    /// Learns from what became of deliveries, and takes back the grants that were returned with it.
    pub fn done(
        &mut self,
        settings: &TransportSettings,
        outcomes: &Outcomes,
        now_ms: u64,
        dead_ms: u64,
    ) -> Standing {
        for _ in 0..outcomes.sent {
            self.succeed(settings);
        }
        for _ in 0..outcomes.trouble {
            self.fail(settings, now_ms, dead_ms);
        }
        self.take_back(outcomes.returned);
        if settings.rate_delay_ms > 0 && outcomes.sent + outcomes.trouble > 0 {
            self.closed_until_ms = now_ms + settings.rate_delay_ms;
        }
        self.standing(settings, now_ms)
    }

    /// Whether the site is dead; a death whose time is over ends here.
    pub fn standing(&mut self, settings: &TransportSettings, now_ms: u64) -> Standing {
        match self.dead_until_ms {
            Some(until_ms) if now_ms < until_ms => Standing::Dead { until_ms },
            Some(_) => {
                self.revive(settings);
                Standing::Open
            }
            None => Standing::Open,
        }
    }

    /// When the rate delay lets the next delivery start.
    pub fn closed_until_ms(&self) -> u64 {
        self.closed_until_ms
    }

    /// Nothing is queued and nothing runs: like Postfix, the next message finds the initial concurrency. A death
    /// and a rate delay outlive that.
    pub fn forget_history(&mut self, settings: &TransportSettings) {
        assert_eq!(self.granted, 0, "a site with grants is not idle");
        *self = Self {
            dead_until_ms: self.dead_until_ms,
            closed_until_ms: self.closed_until_ms,
            ..Self::new(settings)
        };
    }

    /// The settings have changed: the width stays within them, and what is learned stays. A pause that has begun lasts no
    /// longer than the new delay.
    pub fn renew(&mut self, old: &TransportSettings, new: &TransportSettings, now_ms: u64) {
        if initial(new) > initial(old) {
            self.width = self.width.max(initial(new));
        }
        self.width = self.width.min(limit(new));
        self.closed_until_ms = self.closed_until_ms.min(now_ms + new.rate_delay_ms);
    }

    /// Ends a death: its time is over, a delivery went through after all, or an operator flushes.
    pub fn revive(&mut self, settings: &TransportSettings) {
        if self.dead_until_ms.take().is_some() {
            self.width = if self.granted > 0 { self.granted } else { initial(settings) };
            (self.success, self.failure, self.failed_cohorts) = (0.0, 0.0, 0.0);
        }
    }

    /// The home says so.
    pub fn set_dead(&mut self, until_ms: u64) {
        self.dead_until_ms = Some(until_ms);
    }

    /// The delivery that succeeded still counts as granted.
    fn succeed(&mut self, settings: &TransportSettings) {
        self.failed_cohorts = 0.0;
        if self.dead_until_ms.is_some() {
            self.revive(settings);
            return;
        }
        let limit = limit(settings);
        if self.width >= limit || self.width >= self.granted.saturating_add(settings.concurrency_initial) {
            return;
        }
        let feedback = settings.positive_feedback.value(self.width);
        self.success += feedback;
        while self.success + feedback / 2.0 >= 1.0 {
            self.width += 1;
            self.success -= 1.0;
            self.failure = 0.0;
        }
        self.width = self.width.min(limit);
    }

    fn fail(&mut self, settings: &TransportSettings, now_ms: u64, dead_ms: u64) {
        if self.dead_until_ms.is_some() {
            return;
        }
        self.failed_cohorts += 1.0 / f64::from(self.width);
        let failed_cohorts_max = settings.failed_cohorts_max;
        if failed_cohorts_max > 0 && self.failed_cohorts >= f64::from(failed_cohorts_max) {
            self.dead_until_ms = Some(now_ms + dead_ms);
            return;
        }
        let feedback = settings.negative_feedback.value(self.width);
        self.failure -= feedback;
        while self.failure - feedback / 2.0 < 0.0 {
            self.width = self.width.saturating_sub(1).max(1);
            self.success = 0.0;
            self.failure += 1.0;
        }
    }
}

/// The widest window; with a rate delay deliveries go one at a time.
fn limit(settings: &TransportSettings) -> u32 {
    match settings.concurrency_max {
        _ if settings.rate_delay_ms > 0 => 1,
        0 => u32::MAX,
        limit => limit,
    }
}

fn initial(settings: &TransportSettings) -> u32 {
    settings.concurrency_initial.clamp(1, limit(settings))
}

#[cfg(test)]
mod tests {
    use super::super::settings::Feedback;
    use super::*;

    const DEAD_MS: u64 = 300_000;

    fn ended(sent: u32, trouble: u32) -> Outcomes {
        Outcomes { sent, trouble, returned: sent + trouble, reason: None }
    }

    /// Grants as many as asked for and there is room for.
    fn want(window: &mut Window, settings: &TransportSettings, deliveries: u32, now_ms: u64) -> u32 {
        let granted = window.room(settings, now_ms).min(deliveries);
        window.grant(granted);
        granted
    }

    /// Plays outcomes (`+` sent, `-` trouble) on a site that is kept busy, and writes the widths; `X` = dead.
    fn widths(settings: &TransportSettings, outcomes: &str) -> String {
        let mut window = Window::new(settings);
        let mut seen = Vec::new();
        for outcome in outcomes.chars() {
            want(&mut window, settings, u32::MAX, 0);
            let (sent, trouble) = if outcome == '+' { (1, 0) } else { (0, 1) };
            match window.done(settings, &ended(sent, trouble), 0, DEAD_MS) {
                Standing::Open => seen.push(window.width().to_string()),
                Standing::Dead { .. } => seen.push("X".to_owned()),
            }
        }
        seen.join(" ")
    }

    fn defaults() -> TransportSettings {
        TransportSettings::default()
    }

    #[test]
    fn three_failures_from_the_initial_concurrency_make_a_site_dead() {
        assert_eq!(widths(&defaults(), "---"), "3 2 X");
    }

    #[test]
    fn thirteen_failures_from_the_limit_make_a_site_dead() {
        let settings = TransportSettings { concurrency_initial: 20, ..defaults() };
        assert_eq!(widths(&settings, "-------------"), "18 17 16 15 14 13 12 11 10 9 8 7 X");
    }

    #[test]
    fn successes_double_the_window_with_each_cohort_up_to_the_limit() {
        assert_eq!(
            widths(&defaults(), "++++++++++++++++++"),
            "6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 20 20 20"
        );
    }

    #[test]
    fn mixed_outcomes_follow_the_vector() {
        assert_eq!(widths(&defaults(), "+++++-+++-"), "6 7 8 9 10 8 9 10 11 9");
    }

    #[test]
    fn feedback_per_concurrency_follows_the_vectors() {
        let settings = TransportSettings {
            positive_feedback: Feedback::PerConcurrency(1.0),
            negative_feedback: Feedback::PerConcurrency(1.0),
            failed_cohorts_max: 10,
            ..defaults()
        };
        assert_eq!(widths(&settings, "----------"), "4 4 4 3 3 3 2 2 1 1");
        assert_eq!(widths(&settings, "+++++++++++"), "5 5 5 5 6 6 6 6 6 6 7");
    }

    #[test]
    fn without_a_cohort_limit_a_site_never_dies() {
        let settings = TransportSettings { failed_cohorts_max: 0, ..defaults() };
        assert_eq!(widths(&settings, "------"), "3 2 1 1 1 1");
    }

    #[test]
    fn a_site_that_is_not_busy_does_not_grow_beyond_what_it_uses() {
        let settings = defaults();
        let mut window = Window::new(&settings);
        for _ in 0..50 {
            assert_eq!(want(&mut window, &settings, 1, 0), 1);
            window.done(&settings, &ended(1, 0), 0, DEAD_MS);
        }
        assert_eq!(window.width(), 6, "one busy delivery and the initial five");
    }

    #[test]
    fn a_dead_site_grants_nothing_until_its_time_and_then_starts_at_the_initial_concurrency() {
        let settings = defaults();
        let mut window = Window::new(&settings);
        want(&mut window, &settings, 3, 0);
        let standing = window.done(&settings, &ended(0, 3), 1000, DEAD_MS);
        assert_eq!(standing, Standing::Dead { until_ms: 301_000 });
        assert_eq!(want(&mut window, &settings, 9, 300_999), 0);
        assert_eq!(want(&mut window, &settings, 9, 301_000), 5);
    }

    #[test]
    fn a_late_success_revives_a_dead_site_at_its_busy_count() {
        let settings = defaults();
        let mut window = Window::new(&settings);
        want(&mut window, &settings, 5, 0);
        window.done(&settings, &ended(0, 3), 0, DEAD_MS);
        let standing = window.done(&settings, &ended(1, 0), 1, DEAD_MS);
        assert_eq!((standing, window.width()), (Standing::Open, 2));
    }

    #[test]
    fn a_rate_delay_lets_one_delivery_run_and_pauses_after_it() {
        let settings = TransportSettings { rate_delay_ms: 2000, ..defaults() };
        let mut window = Window::new(&settings);
        assert_eq!(want(&mut window, &settings, 4, 0), 1);
        assert_eq!(want(&mut window, &settings, 4, 0), 0);
        window.done(&settings, &ended(1, 0), 500, DEAD_MS);
        assert_eq!(want(&mut window, &settings, 4, 2499), 0);
        assert_eq!(want(&mut window, &settings, 4, 2500), 1);
    }
}
