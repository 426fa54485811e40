//! What the queue manager of one shard needs to know.

use ringpost_core::config::{Config, ServiceType, View, names};
use ringpost_core::qmgr::{QmgrSettings, TransportSettings};

use super::clamped;

/// Destinations without work that a shard remembers by name.
const IDLE_SITES_MAX: u32 = 10_000;

/// One shard's part of `shards`.
pub(super) fn read(config: &Config, shards: usize) -> QmgrSettings {
    let view = config.view();
    let milliseconds = |name| view.time(name).as_millis() as u64;
    let share = |total: u64| total.div_ceil(shards as u64);
    let memory = share(view.number(names::RINGPOST_MESSAGE_MEMORY));
    // What master.cf does not name cannot deliver; the two that this system has of itself count as named.
    let unix = config.services().iter().filter(|service| service.kind == ServiceType::Unix);
    let named = unix.map(|service| service.name.as_str()).chain(["smtp", "relay"]);
    let transports = named.map(|name| (name.to_owned(), transport(&view, Some(name), shards))).collect();
    QmgrSettings {
        active_messages_max: clamped(share(view.number(names::QMGR_MESSAGE_ACTIVE_LIMIT))).max(1),
        active_recipients_max: clamped(share(view.number(names::QMGR_MESSAGE_RECIPIENT_LIMIT))),
        message_recipients_min: clamped(view.number(names::QMGR_MESSAGE_RECIPIENT_MINIMUM)),
        active_bytes_max: memory,
        incoming_kept_bytes_max: memory / 2,
        idle_sites_max: IDLE_SITES_MAX.max(clamped(view.number(names::SMTPD_RECIPIENT_LIMIT))),
        minimal_backoff_ms: milliseconds(names::MINIMAL_BACKOFF_TIME),
        transport_retry_ms: milliseconds(names::TRANSPORT_RETRY_TIME),
        maximal_backoff_ms: milliseconds(names::MAXIMAL_BACKOFF_TIME)
            .max(milliseconds(names::MINIMAL_BACKOFF_TIME)),
        queue_run_delay_ms: milliseconds(names::QUEUE_RUN_DELAY),
        maximal_queue_lifetime_ms: milliseconds(names::MAXIMAL_QUEUE_LIFETIME),
        bounce_queue_lifetime_ms: milliseconds(names::BOUNCE_QUEUE_LIFETIME),
        clog_warn_ms: milliseconds(names::QMGR_CLOG_WARN_TIME),
        deferred_transports: view.list(names::DEFER_TRANSPORTS),
        default_transport: transport(&view, None, shards),
        transports,
        ..QmgrSettings::default()
    }
}

/// The parameters of the transport with this name, or the general ones.
fn transport(view: &View<'_>, name: Option<&str>, shards: usize) -> TransportSettings {
    let number = |parameter| {
        clamped(match name {
            Some(name) => view.transport_number(name, parameter),
            None => view.number(parameter),
        })
    };
    let milliseconds = |parameter| {
        let time = match name {
            Some(name) => view.transport_time(name, parameter),
            None => view.time(parameter),
        };
        time.as_millis() as u64
    };
    let feedback = |parameter| match name {
        Some(name) => view.transport_feedback(name, parameter),
        None => view.feedback(parameter),
    };
    let share = |total: u32| total.div_ceil(shards as u32);
    TransportSettings {
        concurrency_max: number(names::DEFAULT_DESTINATION_CONCURRENCY_LIMIT),
        concurrency_initial: number(names::INITIAL_DESTINATION_CONCURRENCY).max(1),
        recipients_max: number(names::DEFAULT_DESTINATION_RECIPIENT_LIMIT),
        positive_feedback: feedback(names::DEFAULT_DESTINATION_CONCURRENCY_POSITIVE_FEEDBACK),
        negative_feedback: feedback(names::DEFAULT_DESTINATION_CONCURRENCY_NEGATIVE_FEEDBACK),
        failed_cohorts_max: number(names::DEFAULT_DESTINATION_CONCURRENCY_FAILED_COHORT_LIMIT),
        rate_delay_ms: milliseconds(names::DEFAULT_DESTINATION_RATE_DELAY),
        transport_rate_delay_ms: milliseconds(names::DEFAULT_TRANSPORT_RATE_DELAY),
        recipients_in_memory_max: share(number(names::DEFAULT_RECIPIENT_LIMIT)),
        extra_recipients_max: share(number(names::DEFAULT_EXTRA_RECIPIENT_LIMIT)),
        refill_recipients: number(names::DEFAULT_RECIPIENT_REFILL_LIMIT),
        refill_delay_ms: milliseconds(names::DEFAULT_RECIPIENT_REFILL_DELAY),
        slot_cost: number(names::DEFAULT_DELIVERY_SLOT_COST),
        slot_loan: number(names::DEFAULT_DELIVERY_SLOT_LOAN),
        slot_discount_percent: number(names::DEFAULT_DELIVERY_SLOT_DISCOUNT),
        minimum_slots: number(names::DEFAULT_MINIMUM_DELIVERY_SLOTS),
    }
}
