//! Our own parameters, in Postfix's style.

use crate::config::parameter::parameters;

parameters! {
    RINGPOST_BOUNCE_WHEN "ringpost_bounce_when" Word("message" "attempt") = "attempt", Honoured("bounce"),
        "When a sender is told of failed recipients: at the end of each attempt, as Postfix does, or once, when all recipients of the message are done.";
    RINGPOST_DNS_SERVERS "ringpost_dns_servers" List = "", Honoured("dns"),
        "Name servers as address:port; empty for those of /etc/resolv.conf.";
    RINGPOST_DRAIN_LIMIT "ringpost_drain_limit" Time(Seconds) = "10s", Honoured("stop"),
        "How long transactions may go on after the stop was asked for.";
    RINGPOST_LOOKUP_TIME_LIMIT "ringpost_lookup_time_limit" Time(Seconds) = "100s", Honoured("tables"),
        "The longest wait for the server of a lookup table that has no time limit of its own.";
    RINGPOST_MESSAGE_MEMORY "ringpost_message_memory" Int(1048576, 1099511627776) = "67108864", Honoured("smtpd, qmgr"),
        "The memory of all shards for messages on their way, in bytes; what does not fit is read back from the spool.";
    RINGPOST_REACTOR_TRACE "ringpost_reactor_trace" Text = "", Honoured("reactor"),
        "A file into which every submission and completion of the reactor is written, for tests; empty for none.";
    RINGPOST_SESSION_LIMIT "ringpost_session_limit" Int(1, 10000000) = "10000", Honoured("smtpd"),
        "The most sessions of clients on all shards; beyond it new ones wait to be accepted.";
    RINGPOST_SHARDS "ringpost_shards" Int(0, 1024) = "0", Honoured("start"),
        "How many shards run; 0 for one on each core.";
    RINGPOST_SPOOL_SEGMENT_SIZE "ringpost_spool_segment_size" Int(4194304, 1073741824) = "67108864", Honoured("spool"),
        "The size of a spool segment in bytes; bounds recovery time and the unit of recycling.";
}
