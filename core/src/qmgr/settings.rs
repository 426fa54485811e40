//! The queue manager's parameters, with Postfix's names and defaults.

use super::slots;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Everything that the scheduler is told at its start.
#[derive(Clone, Debug, PartialEq)]
pub struct QmgrSettings {
    /// `qmgr_message_active_limit`: messages that are active at a time.
    pub active_messages_max: u32,
    /// Bytes of active messages held in memory; at the limit nothing more is activated.
    pub active_bytes_max: u64,
    /// `qmgr_message_recipient_limit`: recipients in memory, over all messages, up to which more are read; beyond it
    /// each message has its minimum, and those with few may have the transport's `extra_recipients_max`.
    pub active_recipients_max: u32,
    /// `qmgr_message_recipient_minimum`: recipients that a message may have in memory whatever the others have; at
    /// least 1. With `active_messages_max` it bounds what the other limits do not.
    pub message_recipients_min: u32,
    /// Messages waiting in *incoming* whose bytes stay in memory; beyond it only the id is kept.
    pub incoming_kept_messages_max: u32,
    /// Bytes of those messages.
    pub incoming_kept_bytes_max: u64,
    /// Deliveries in progress on this shard: each may need a connection and its buffers.
    pub deliveries_max: u32,
    /// Sites without work that are remembered by name, so that a busy destination is not created anew each time.
    pub idle_sites_max: u32,
    /// `minimal_backoff_time`, milliseconds; a dead site is left alone for as long.
    pub minimal_backoff_ms: u64,
    /// `transport_retry_time`, milliseconds: the rest of a transport that has failed as a whole.
    pub transport_retry_ms: u64,
    /// `maximal_backoff_time`, milliseconds; at least the minimal one.
    pub maximal_backoff_ms: u64,
    /// `queue_run_delay`, milliseconds: while mail is deferred the caller never sleeps longer than this, so that a
    /// wall clock that jumped forward while it slept makes nothing later than this.
    pub queue_run_delay_ms: u64,
    /// `maximal_queue_lifetime`, milliseconds.
    pub maximal_queue_lifetime_ms: u64,
    /// `bounce_queue_lifetime`, milliseconds: the same for mail with the null sender.
    pub bounce_queue_lifetime_ms: u64,
    /// `qmgr_clog_warn_time`, milliseconds between warnings that one site fills the active queue; 0 for none.
    pub clog_warn_ms: u64,
    /// `defer_transports`: their mail is deferred without an attempt, until a flush.
    pub deferred_transports: Vec<String>,
    /// `default_*`: parameters of every transport that is not named below.
    pub default_transport: TransportSettings,
    /// `<transport>_*`: parameters by transport name.
    pub transports: BTreeMap<String, TransportSettings>,
}

impl Default for QmgrSettings {
    fn default() -> Self {
        Self {
            active_messages_max: 20_000,
            active_bytes_max: 64 << 20,
            active_recipients_max: 20_000,
            message_recipients_min: 10,
            incoming_kept_messages_max: 10_000,
            incoming_kept_bytes_max: 32 << 20,
            deliveries_max: 5_000,
            idle_sites_max: 10_000,
            minimal_backoff_ms: 300_000,
            transport_retry_ms: 60_000,
            maximal_backoff_ms: 4_000_000,
            queue_run_delay_ms: 300_000,
            maximal_queue_lifetime_ms: 5 * 86_400_000,
            bounce_queue_lifetime_ms: 5 * 86_400_000,
            clog_warn_ms: 300_000,
            deferred_transports: Vec::new(),
            default_transport: TransportSettings::default(),
            transports: BTreeMap::new(),
        }
    }
}

impl QmgrSettings {
    /// Limits of 0 that would stop all work count as 1, and `queue_run_delay` as at least a second.
    #[must_use]
    pub(super) fn sound(mut self) -> Self {
        for limit in [
            &mut self.active_messages_max,
            &mut self.active_recipients_max,
            &mut self.message_recipients_min,
            &mut self.deliveries_max,
        ] {
            *limit = (*limit).max(1);
        }
        self.active_bytes_max = self.active_bytes_max.max(1);
        self.queue_run_delay_ms = self.queue_run_delay_ms.max(1000);
        self
    }

    /// The parameters of the transport with this name.
    pub fn transport(&self, name: &str) -> &TransportSettings {
        self.transports.get(name).unwrap_or(&self.default_transport)
    }
}

/// What a transport's destinations share.
#[derive(Clone, Debug, PartialEq)]
pub struct TransportSettings {
    /// `default_destination_concurrency_limit`: deliveries to one site at a time; 0 = no limit.
    pub concurrency_max: u32,
    /// `initial_destination_concurrency`: where a site's window starts; at least 1.
    pub concurrency_initial: u32,
    /// `default_destination_recipient_limit`: recipients in one delivery; 0 = no limit. With 1 the caller names
    /// each recipient's address in the place of the nexthop, since concurrency then applies to each recipient.
    pub recipients_max: u32,
    /// `default_destination_concurrency_positive_feedback`.
    pub positive_feedback: Feedback,
    /// `default_destination_concurrency_negative_feedback`.
    pub negative_feedback: Feedback,
    /// `default_destination_concurrency_failed_cohort_limit`; 0 = a site never becomes dead.
    pub failed_cohorts_max: u32,
    /// `default_destination_rate_delay`, milliseconds; above 0 deliveries to a site go one at a time with this
    /// pause between the end of one and the start of the next.
    pub rate_delay_ms: u64,
    /// `default_transport_rate_delay`, milliseconds; above 0 deliveries go one at a time over the whole transport,
    /// with this pause between the end of one and the start of the next.
    pub transport_rate_delay_ms: u64,
    /// `default_recipient_limit`: recipients of the transport in memory, up to which more are read.
    pub recipients_in_memory_max: u32,
    /// `default_extra_recipient_limit`: as many more for messages that have fewer than `refill_recipients` in memory,
    /// so that one which fills the transport's share does not stop the others.
    pub extra_recipients_max: u32,
    /// `default_recipient_refill_limit`: so much of the share must be free before more recipients are read.
    pub refill_recipients: u32,
    /// `default_recipient_refill_delay`, milliseconds after which less will do.
    pub refill_delay_ms: u64,
    /// `default_delivery_slot_cost`: deliveries of a message that earn it one slot for others; 0 = no pre-emption.
    pub slot_cost: u32,
    /// `default_delivery_slot_loan`: slots lent in advance.
    pub slot_loan: u32,
    /// `default_delivery_slot_discount`, percent (0 to 100) of the needed slots that may be owed.
    pub slot_discount_percent: u32,
    /// `default_minimum_delivery_slots`: a message that can never earn this many is never pre-empted.
    pub minimum_slots: u32,
}

impl TransportSettings {
    /// The home of one of this transport's sites. A rate delay of the transport is kept by one shard: all its sites
    /// have the same home then.
    pub fn home_of(&self, transport: &str, nexthop: &str, shards: u16) -> u16 {
        let nexthop = if self.transport_rate_delay_ms > 0 { "" } else { nexthop };
        slots::home_of(transport, nexthop, shards)
    }
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            concurrency_max: 20,
            concurrency_initial: 5,
            recipients_max: 50,
            positive_feedback: Feedback::Constant(1.0),
            negative_feedback: Feedback::Constant(1.0),
            failed_cohorts_max: 1,
            rate_delay_ms: 0,
            transport_rate_delay_ms: 0,
            recipients_in_memory_max: 20_000,
            extra_recipients_max: 1000,
            refill_recipients: 100,
            refill_delay_ms: 5000,
            slot_cost: 5,
            slot_loan: 3,
            slot_discount_percent: 50,
            minimum_slots: 3,
        }
    }
}

/// How much one outcome moves a window of `w`: `x`, `x/concurrency` or `x/sqrt_concurrency`, with 0 ≤ x ≤ 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Feedback {
    /// x
    Constant(f64),
    /// x / w
    PerConcurrency(f64),
    /// x / √w
    PerSqrtConcurrency(f64),
}

impl Feedback {
    /// The value for a window of `window` (at least 1).
    pub fn value(self, window: u32) -> f64 {
        match self {
            Feedback::Constant(x) => x,
            Feedback::PerConcurrency(x) => x / f64::from(window),
            Feedback::PerSqrtConcurrency(x) => x / f64::from(window).sqrt(),
        }
    }
}

/// The text is not a feedback value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackError {
    text: String,
}

impl fmt::Display for FeedbackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bad feedback \"{}\": need x, x/concurrency or x/sqrt_concurrency with x from 0 to 1",
            self.text
        )
    }
}

impl std::error::Error for FeedbackError {}

impl FromStr for Feedback {
    type Err = FeedbackError;

    /// Reads the `main.cf` form: `1`, `1/concurrency`, `0.5 / sqrt_concurrency`.
    fn from_str(text: &str) -> Result<Self, FeedbackError> {
        let bad = || FeedbackError { text: text.to_owned() };
        let (number, kind) = match text.split_once('/') {
            Some((number, divisor)) => (number.trim(), Some(divisor.trim())),
            None => (text.trim(), None),
        };
        let x: f64 = number.parse().map_err(|_| bad())?;
        if !(0.0..=1.0).contains(&x) {
            return Err(bad());
        }
        match kind {
            None => Ok(Feedback::Constant(x)),
            Some("concurrency") => Ok(Feedback::PerConcurrency(x)),
            Some("sqrt_concurrency") => Ok(Feedback::PerSqrtConcurrency(x)),
            Some(_) => Err(bad()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_is_read_in_its_three_forms_and_refused_otherwise() {
        assert_eq!("1".parse(), Ok(Feedback::Constant(1.0)));
        assert_eq!("0.5/concurrency".parse(), Ok(Feedback::PerConcurrency(0.5)));
        assert_eq!("1 / sqrt_concurrency".parse(), Ok(Feedback::PerSqrtConcurrency(1.0)));
        for text in ["", "2", "-1", "NaN", "1/", "1/window", "concurrency"] {
            assert!(text.parse::<Feedback>().is_err(), "{text}");
        }
        assert_eq!(Feedback::PerSqrtConcurrency(1.0).value(16), 0.25);
    }
}
