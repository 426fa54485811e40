//! Completing and checking messages on their way into the queue.

use crate::config::parameter::parameters;

parameters! {
    ALWAYS_ADD_MISSING_HEADERS "always_add_missing_headers" Bool = "no", Honoured("cleanup"),
        "Whether missing headers are added to every client's mail.";
    BOUNCE_SIZE_LIMIT "bounce_size_limit" Size = "50000", Honoured("bounce"),
        "How much of a message a bounce returns.";
    CLEANUP_REPLACE_STRAY_CR_LF "cleanup_replace_stray_cr_lf" Bool = "yes", Honoured("smtpd"),
        "Whether a stray carriage return or line feed in content becomes a space.";
    DOUBLE_BOUNCE_SENDER "double_bounce_sender" Text = "double-bounce", Honoured("bounce"),
        "The local part of the sender of mail that must never bounce.";
    HEADER_SIZE_LIMIT "header_size_limit" Int(1024, 16777216) = "102400", Honoured("cleanup"),
        "The longest header; what is beyond is discarded.";
    HOPCOUNT_LIMIT "hopcount_limit" Int(1, 10000) = "50", Honoured("cleanup"),
        "Received headers from which a message is taken to be looping.";
    LOCAL_HEADER_REWRITE_CLIENTS "local_header_rewrite_clients" List = "permit_inet_interfaces", Honoured("cleanup"),
        "Clients whose messages get missing headers: permit_inet_interfaces, permit_mynetworks.";
    MESSAGE_DROP_HEADERS "message_drop_headers" List = "bcc, content-length, resent-bcc, return-path", Honoured("cleanup"),
        "Headers that are removed.";
}
