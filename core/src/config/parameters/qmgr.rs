//! The queue manager.

use crate::config::parameter::parameters;

parameters! {
    BOUNCE_QUEUE_LIFETIME "bounce_queue_lifetime" Time(Days) = "5d", Honoured("qmgr"),
        "How long delivery of a bounce is tried.";
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
    DEFAULT_PROCESS_LIMIT "default_process_limit" Int = "100", WithoutEffect("sessions are bounded by ringpost_session_limit, deliveries by the concurrency limits"),
        "The most processes of one service.";
    DEFAULT_TRANSPORT "default_transport" Text = "smtp", Honoured("qmgr"),
        "The transport, and perhaps the next hop, of mail for remote domains.";
    DEFAULT_TRANSPORT_RATE_DELAY "default_transport_rate_delay" Time(Seconds) = "0s", Honoured("qmgr"),
        "The pause between two deliveries by one transport; beyond 0 they go one at a time.";
    INITIAL_DESTINATION_CONCURRENCY "initial_destination_concurrency" Int(1, 10000) = "5", Honoured("qmgr"),
        "Deliveries at a time with which a destination begins.";
    MAXIMAL_BACKOFF_TIME "maximal_backoff_time" Time(Seconds) = "4000s", Honoured("qmgr"),
        "The longest wait before a deferred message is tried again.";
    MAXIMAL_QUEUE_LIFETIME "maximal_queue_lifetime" Time(Days) = "5d", Honoured("qmgr"),
        "How long delivery is tried before a message is returned.";
    MINIMAL_BACKOFF_TIME "minimal_backoff_time" Time(Seconds) = "300s", Honoured("qmgr"),
        "The shortest wait before a deferred message is tried again, and the rest of a dead destination.";
    QMGR_MESSAGE_ACTIVE_LIMIT "qmgr_message_active_limit" Int(1, 10000000) = "20000", Honoured("qmgr"),
        "The most messages in the active queue.";
    QMGR_MESSAGE_RECIPIENT_LIMIT "qmgr_message_recipient_limit" Int(1, 100000000) = "20000", Honoured("qmgr"),
        "The most recipients in memory.";
    QUEUE_RUN_DELAY "queue_run_delay" Time(Seconds) = "300s", Honoured("qmgr"),
        "The most that a due message may be late.";
    RELAYHOST "relayhost" Text = "", Honoured("qmgr"),
        "The next hop of mail for remote domains, instead of the domain itself.";
}
