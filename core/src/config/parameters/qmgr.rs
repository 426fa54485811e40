//! The queue manager.

use crate::config::parameter::{Weakens, parameters};

parameters! {
    BOUNCE_QUEUE_LIFETIME "bounce_queue_lifetime" Time(Days) = "5d", Honoured("qmgr"),
        "How long delivery of a bounce is tried.";
    DEFAULT_DELIVERY_SLOT_COST "default_delivery_slot_cost" Int(0, 100000) = "5", Honoured("qmgr"),
        "Deliveries of a message that earn one slot for others to overtake it; 0 for none.";
    DEFAULT_DELIVERY_SLOT_DISCOUNT "default_delivery_slot_discount" Int(0, 100) = "50", Honoured("qmgr"),
        "By how many percent a message needs fewer slots to overtake.";
    DEFAULT_DELIVERY_SLOT_LOAN "default_delivery_slot_loan" Int(0, 100000) = "3", Honoured("qmgr"),
        "Slots that are lent in advance.";
    DEFAULT_DELIVERY_STATUS_FILTER "default_delivery_status_filter" Maps = "", Refused { reason: "replies of servers are taken as they are", weakens: Weakens::Never },
        "Tables that change the enhanced status code of a delivery.";
    DEFAULT_DESTINATION_CONCURRENCY_FAILED_COHORT_LIMIT "default_destination_concurrency_failed_cohort_limit" Int(0, 10000) = "1", Honoured("qmgr"),
        "Windows full of failures after which a destination is dead; 0 for never.";
    DEFAULT_DESTINATION_CONCURRENCY_LIMIT "default_destination_concurrency_limit" Int(0, 100000) = "20", Honoured("qmgr"),
        "The most deliveries at a time to one destination; 0 for no limit.";
    DEFAULT_DESTINATION_CONCURRENCY_NEGATIVE_FEEDBACK "default_destination_concurrency_negative_feedback" Feedback = "1", Honoured("qmgr"),
        "How far a failure narrows a destination's window.";
    DEFAULT_DESTINATION_CONCURRENCY_POSITIVE_FEEDBACK "default_destination_concurrency_positive_feedback" Feedback = "1", Honoured("qmgr"),
        "How far a success widens a destination's window.";
    DEFAULT_DESTINATION_RATE_DELAY "default_destination_rate_delay" Time(Seconds) = "0s", Honoured("qmgr"),
        "The pause between two deliveries to one destination; beyond 0 they go one at a time.";
    DEFAULT_DESTINATION_RECIPIENT_LIMIT "default_destination_recipient_limit" Int(0, 100000) = "50", Honoured("qmgr"),
        "The most recipients of one delivery; 0 for no limit.";
    DEFAULT_EXTRA_RECIPIENT_LIMIT "default_extra_recipient_limit" Int(0, 100000000) = "1000", Honoured("qmgr"),
        "Recipients beyond the limit for messages that have few in memory.";
    DEFAULT_MINIMUM_DELIVERY_SLOTS "default_minimum_delivery_slots" Int(0, 100000) = "3", Honoured("qmgr"),
        "The slots that a message must be able to earn before it can be overtaken.";
    DEFAULT_PROCESS_LIMIT "default_process_limit" Int = "100", WithoutEffect("sessions are bounded by ringpost_session_limit, deliveries by the concurrency limits"),
        "The most processes of one service.";
    DEFAULT_RECIPIENT_LIMIT "default_recipient_limit" Int(0, 100000000) = "20000", Honoured("qmgr"),
        "The most recipients in memory for one transport.";
    DEFAULT_RECIPIENT_REFILL_DELAY "default_recipient_refill_delay" Time(Seconds) = "5s", Honoured("qmgr"),
        "How long after the last time more recipients are read.";
    DEFAULT_RECIPIENT_REFILL_LIMIT "default_recipient_refill_limit" Int(0, 100000000) = "100", Honoured("qmgr"),
        "How many recipients must be free before more are read.";
    DEFAULT_TRANSPORT "default_transport" Text = "smtp", Honoured("resolve"),
        "The transport, and perhaps the next hop, of mail for remote domains.";
    DEFAULT_TRANSPORT_RATE_DELAY "default_transport_rate_delay" Time(Seconds) = "0s", Honoured("qmgr"),
        "The pause between two deliveries by one transport; beyond 0 they go one at a time.";
    DEFER_TRANSPORTS "defer_transports" List = "", Honoured("qmgr"),
        "Transports whose mail waits for a flush.";
    EMPTY_ADDRESS_DEFAULT_TRANSPORT_MAPS_LOOKUP_KEY "empty_address_default_transport_maps_lookup_key" Text = "<>", Honoured("resolve"),
        "The key of the null sender in tables of default transports.";
    EMPTY_ADDRESS_LOCAL_LOGIN_SENDER_MAPS_LOOKUP_KEY "empty_address_local_login_sender_maps_lookup_key" Text = "<>", WithoutEffect("local submission is not served yet"),
        "The key of the null sender in tables of login names.";
    EMPTY_ADDRESS_RELAYHOST_MAPS_LOOKUP_KEY "empty_address_relayhost_maps_lookup_key" Text = "<>", Honoured("resolve"),
        "The key of the null sender in tables of relay hosts.";
    FAST_FLUSH_DOMAINS "fast_flush_domains" Domains = "$relay_domains", Honoured("flush"),
        "Domains whose mail can be asked for.";
    FAST_FLUSH_PURGE_TIME "fast_flush_purge_time" Time(Days) = "7d", WithoutEffect("a domain's list ends with its last message"),
        "The age at which an unused list of a domain's mail is removed.";
    FAST_FLUSH_REFRESH_TIME "fast_flush_refresh_time" Time(Hours) = "12h", WithoutEffect("listed messages are tried at their own times like all others"),
        "How often a domain's mail is tried although nobody asked.";
    INITIAL_DESTINATION_CONCURRENCY "initial_destination_concurrency" Int(1, 10000) = "5", Honoured("qmgr"),
        "Deliveries at a time with which a destination begins.";
    MAXIMAL_BACKOFF_TIME "maximal_backoff_time" Time(Seconds) = "4000s", Honoured("qmgr"),
        "The longest wait before a deferred message is tried again.";
    MAXIMAL_QUEUE_LIFETIME "maximal_queue_lifetime" Time(Days) = "5d", Honoured("qmgr"),
        "How long delivery is tried before a message is returned.";
    MINIMAL_BACKOFF_TIME "minimal_backoff_time" Time(Seconds) = "300s", Honoured("qmgr"),
        "The shortest wait before a deferred message is tried again, and the rest of a dead destination.";
    QMGR_CLOG_WARN_TIME "qmgr_clog_warn_time" Time(Seconds) = "300s", Honoured("qmgr"),
        "The pause between warnings that one destination fills the active queue.";
    QMGR_DAEMON_TIMEOUT "qmgr_daemon_timeout" Time(Seconds) = "1000s", WithoutEffect("there is no watchdog"),
        "The longest time for one request before a watchdog ends the queue manager.";
    QMGR_FUDGE_FACTOR "qmgr_fudge_factor" Int = "100", WithoutEffect("memory is bounded by bytes"),
        "How much of the memory one destination may take, in percent.";
    QMGR_IPC_TIMEOUT "qmgr_ipc_timeout" Time(Seconds) = "60s", WithoutEffect("services talk within one process"),
        "The longest wait of the queue manager for another service.";
    QMGR_MESSAGE_ACTIVE_LIMIT "qmgr_message_active_limit" Int(1, 10000000) = "20000", Honoured("qmgr"),
        "The most messages in the active queue.";
    QMGR_MESSAGE_RECIPIENT_LIMIT "qmgr_message_recipient_limit" Int(1, 100000000) = "20000", Honoured("qmgr"),
        "The most recipients in memory.";
    QMGR_MESSAGE_RECIPIENT_MINIMUM "qmgr_message_recipient_minimum" Int(1, 100000) = "10", Honoured("qmgr"),
        "The least recipients in memory for each message.";
    QUEUE_RUN_DELAY "queue_run_delay" Time(Seconds) = "300s", Honoured("qmgr"),
        "The most that a due message may be late.";
    RELAY_TRANSPORT "relay_transport" Text = "relay", Honoured("resolve"),
        "The transport, and perhaps the next hop, of mail for relay domains.";
    RELAYHOST "relayhost" Text = "", Honoured("resolve"),
        "The next hop of mail for remote domains, instead of the domain itself.";
    SENDER_DEPENDENT_DEFAULT_TRANSPORT_MAPS "sender_dependent_default_transport_maps" Maps = "", Honoured("resolve"),
        "Tables of default transports by sender.";
    SENDER_DEPENDENT_RELAYHOST_MAPS "sender_dependent_relayhost_maps" Maps = "", Honoured("resolve"),
        "Tables of relay hosts by sender.";
    TRANSPORT_MAPS "transport_maps" Maps = "", Honoured("resolve"),
        "Tables of transports and next hops by recipient.";
    TRANSPORT_RETRY_TIME "transport_retry_time" Time(Seconds) = "60s", Honoured("qmgr"),
        "The rest of a transport that failed, for want of descriptors or memory.";
}
