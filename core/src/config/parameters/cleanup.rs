//! Completing and checking messages on their way into the queue.

use crate::config::parameter::{Weakens, parameters};

parameters! {
    SECOND_BOUNCE_NOTICE_RECIPIENT "2bounce_notice_recipient" Text = "postmaster", Honoured("bounce"),
        "Who gets mail that could be neither delivered nor returned.";
    ALLOW_PERCENT_HACK "allow_percent_hack" Bool = "yes", Honoured("cleanup, qmgr"),
        "Whether user%domain becomes user@domain.";
    ALLOW_UNTRUSTED_ROUTING "allow_untrusted_routing" Bool = "no", Honoured("smtpd"),
        "Whether strangers may use addresses that route.";
    ALWAYS_ADD_MISSING_HEADERS "always_add_missing_headers" Bool = "no", Honoured("cleanup"),
        "Whether missing headers are added to every client's mail.";
    ALWAYS_BCC "always_bcc" Text = "", Honoured("cleanup"),
        "An address that gets a copy of every message.";
    APPEND_AT_MYORIGIN "append_at_myorigin" Bool = "yes", Honoured("cleanup, qmgr"),
        "Whether an address without a domain gets $myorigin.";
    APPEND_DOT_MYDOMAIN "append_dot_mydomain" Bool = "${{$compatibility_level} <level {1} ? {yes} : {no}}", Honoured("cleanup, qmgr"),
        "Whether a domain without a dot gets $mydomain.";
    BODY_CHECKS "body_checks" Maps = "", Honoured("cleanup"),
        "Tables of patterns for lines of bodies.";
    BODY_CHECKS_SIZE_LIMIT "body_checks_size_limit" Size = "51200", Honoured("cleanup"),
        "How much of each part the patterns for bodies see.";
    BOUNCE_NOTICE_RECIPIENT "bounce_notice_recipient" Text = "postmaster", Honoured("bounce"),
        "Who gets copies of bounces.";
    BOUNCE_SIZE_LIMIT "bounce_size_limit" Size = "50000", Honoured("bounce"),
        "How much of a message a bounce returns.";
    BOUNCE_TEMPLATE_FILE "bounce_template_file" Text = "", Honoured("bounce, defer, trace"),
        "A file with the texts of bounces.";
    CANONICAL_CLASSES "canonical_classes" List = "envelope_sender, envelope_recipient, header_sender, header_recipient", Honoured("cleanup"),
        "Which addresses canonical_maps change.";
    CANONICAL_MAPS "canonical_maps" Maps = "", Honoured("cleanup"),
        "Tables that change addresses in headers and envelopes.";
    CLEANUP_REPLACE_STRAY_CR_LF "cleanup_replace_stray_cr_lf" Bool = "yes", WithoutEffect("stray CRs always become spaces"),
        "Whether a stray carriage return or line feed in content becomes a space.";
    CONFIRM_DELAY_CLEARED "confirm_delay_cleared" Bool = "no", Honoured("trace"),
        "Whether a sender who was told of a delay is told of the delivery.";
    CONTENT_FILTER "content_filter" Text = "", Honoured("cleanup, qmgr"),
        "The transport and next hop through which all mail is filtered after it was queued.";
    DEFAULT_FILTER_NEXTHOP "default_filter_nexthop" Text = "", Honoured("qmgr"),
        "The next hop of a filter that names none.";
    DEFAULT_VERP_DELIMITERS "default_verp_delimiters" Text = "+=", Honoured("smtpd"),
        "The characters in variable envelope return paths.";
    DELAY_NOTICE_RECIPIENT "delay_notice_recipient" Text = "postmaster", Honoured("defer"),
        "Who gets copies of delay notices.";
    DELAY_WARNING_TIME "delay_warning_time" Time(Hours) = "0h", Honoured("defer"),
        "The age at which a sender is told that a message is late.";
    DETECT_8BIT_ENCODING_HEADER "detect_8bit_encoding_header" Bool = "yes", Honoured("cleanup"),
        "Whether a message whose Content-Transfer-Encoding says so counts as 8BITMIME.";
    DISABLE_MIME_INPUT_PROCESSING "disable_mime_input_processing" Bool = "no", Honoured("cleanup"),
        "Whether MIME is left alone on reception.";
    DISABLE_VERP_BOUNCES "disable_verp_bounces" Bool = "no", Honoured("bounce"),
        "Whether a bounce goes out once for each recipient with a variable return path.";
    DOUBLE_BOUNCE_SENDER "double_bounce_sender" Text = "double-bounce", Honoured("bounce, defer, qmgr"),
        "The local part of the sender of mail that must never bounce.";
    DUPLICATE_FILTER_LIMIT "duplicate_filter_limit" Int = "1000", Honoured("cleanup"),
        "The most recipients among which duplicates are looked for.";
    EMPTY_ADDRESS_RECIPIENT "empty_address_recipient" Text = "MAILER-DAEMON", Honoured("resolve"),
        "The recipient of mail that is addressed to the null sender.";
    ENABLE_ORIGINAL_RECIPIENT "enable_original_recipient" Bool = "yes", Honoured("cleanup"),
        "Whether the original recipient is kept beside the rewritten one.";
    ENABLE_THREADED_BOUNCES "enable_threaded_bounces" Bool = "no", Honoured("bounce, defer, trace"),
        "Whether bounces refer to the message that they return.";
    ERROR_NOTICE_RECIPIENT "error_notice_recipient" Text = "postmaster", Honoured("smtpd, smtp: transcripts of sessions"),
        "Who is told of errors.";
    HEADER_ADDRESS_TOKEN_LIMIT "header_address_token_limit" Int = "10240", Honoured("cleanup"),
        "The most tokens of an address header that are looked at.";
    HEADER_CHECKS "header_checks" Maps = "", Honoured("cleanup"),
        "Tables of patterns for headers.";
    HEADER_FROM_FORMAT "header_from_format" Word("standard" "obsolete") = "standard", Honoured("bounce, defer, trace; transcripts of sessions"),
        "The form of the From headers that this system writes.";
    HEADER_SIZE_LIMIT "header_size_limit" Int(1, 16777216) = "102400", Honoured("cleanup"),
        "The longest header; what is beyond is discarded.";
    HOPCOUNT_LIMIT "hopcount_limit" Int(1, 10000) = "50", Honoured("cleanup"),
        "Received headers from which a message is taken to be looping.";
    IN_FLOW_DELAY "in_flow_delay" Time(Seconds) = "1s", WithoutEffect("reception slows down by ringpost_message_memory"),
        "The pause when mail comes in faster than it is taken on.";
    INTERNAL_MAIL_FILTER_CLASSES "internal_mail_filter_classes" List = "", Refused { reason: "the content of mail of the system itself is not checked", weakens: Weakens::Never },
        "System mail that is checked like other mail.";
    LOCAL_HEADER_REWRITE_CLIENTS "local_header_rewrite_clients" Clients = "permit_inet_interfaces", Honoured("cleanup"),
        "Clients whose messages get missing headers, and complete addresses in headers.";
    MASQUERADE_CLASSES "masquerade_classes" List = "envelope_sender, header_sender, header_recipient", Honoured("cleanup"),
        "Which addresses are masqueraded.";
    MASQUERADE_DOMAINS "masquerade_domains" List = "", Honoured("cleanup"),
        "Domains whose sub-domains are hidden.";
    MASQUERADE_EXCEPTIONS "masquerade_exceptions" Domains = "", Honoured("cleanup"),
        "Users whose addresses are not masqueraded.";
    MESSAGE_DROP_HEADERS "message_drop_headers" List = "bcc, content-length, resent-bcc, return-path", Honoured("cleanup"),
        "Headers that are removed.";
    MESSAGE_REJECT_CHARACTERS "message_reject_characters" Text = "", Honoured("cleanup"),
        "Characters for which a message is refused.";
    MESSAGE_STRIP_CHARACTERS "message_strip_characters" Text = "", Honoured("cleanup"),
        "Characters that are taken out of messages.";
    MILTER_COMMAND_TIMEOUT "milter_command_timeout" Time(Seconds) = "30s", WithoutEffect("milters are not served yet"),
        "The longest wait for a milter's answer to a command.";
    MILTER_CONNECT_MACROS "milter_connect_macros" List = "j {daemon_name} {daemon_addr} v _", WithoutEffect("milters are not served yet"),
        "Macros that milters get at connection.";
    MILTER_CONNECT_TIMEOUT "milter_connect_timeout" Time(Seconds) = "30s", WithoutEffect("milters are not served yet"),
        "The longest wait for a connection to a milter.";
    MILTER_CONTENT_TIMEOUT "milter_content_timeout" Time(Seconds) = "300s", WithoutEffect("milters are not served yet"),
        "The longest wait for a milter's answer to content.";
    MILTER_DATA_MACROS "milter_data_macros" List = "i", WithoutEffect("milters are not served yet"),
        "Macros that milters get at DATA.";
    MILTER_DEFAULT_ACTION "milter_default_action" Text = "tempfail", WithoutEffect("milters are not served yet"),
        "What follows when a milter fails.";
    MILTER_END_OF_DATA_MACROS "milter_end_of_data_macros" List = "i", WithoutEffect("milters are not served yet"),
        "Macros that milters get at the end of a message.";
    MILTER_END_OF_HEADER_MACROS "milter_end_of_header_macros" List = "i", WithoutEffect("milters are not served yet"),
        "Macros that milters get at the end of the header.";
    MILTER_HEADER_CHECKS "milter_header_checks" Maps = "", Refused { reason: "milters are not served yet", weakens: Weakens::Always },
        "Tables of patterns for headers that milters add.";
    MILTER_HELO_MACROS "milter_helo_macros" List = "{tls_version} {cipher} {cipher_bits} {cert_subject} {cert_issuer}", WithoutEffect("milters are not served yet"),
        "Macros that milters get at HELO.";
    MILTER_MACRO_DAEMON_NAME "milter_macro_daemon_name" Text = "$myhostname", WithoutEffect("milters are not served yet"),
        "The macro {daemon_name}.";
    MILTER_MACRO_DEFAULTS "milter_macro_defaults" Raw = "", WithoutEffect("milters are not served yet"),
        "Defaults of macros.";
    MILTER_MACRO_V "milter_macro_v" Text = "$mail_name $mail_version", WithoutEffect("milters are not served yet"),
        "The macro v.";
    MILTER_MAIL_MACROS "milter_mail_macros" List = "i {auth_type} {auth_authen} {auth_author} {mail_addr} {mail_host} {mail_mailer}", WithoutEffect("milters are not served yet"),
        "Macros that milters get at MAIL.";
    MILTER_PROTOCOL "milter_protocol" Int = "6", WithoutEffect("milters are not served yet"),
        "The version of the milter protocol.";
    MILTER_RCPT_MACROS "milter_rcpt_macros" List = "i {rcpt_addr} {rcpt_host} {rcpt_mailer}", WithoutEffect("milters are not served yet"),
        "Macros that milters get at RCPT.";
    MILTER_UNKNOWN_COMMAND_MACROS "milter_unknown_command_macros" List = "", WithoutEffect("milters are not served yet"),
        "Macros that milters get at unknown commands.";
    MIME_BOUNDARY_LENGTH_LIMIT "mime_boundary_length_limit" Size = "2048", Honoured("cleanup"),
        "How much of a MIME boundary counts.";
    MIME_HEADER_CHECKS "mime_header_checks" Maps = "$header_checks", Honoured("cleanup"),
        "Tables of patterns for MIME headers.";
    MIME_NESTING_LIMIT "mime_nesting_limit" Int = "100", Honoured("cleanup"),
        "How deep MIME parts may nest.";
    NESTED_HEADER_CHECKS "nested_header_checks" Maps = "$header_checks", Honoured("cleanup"),
        "Tables of patterns for headers of attached messages.";
    NON_SMTPD_MILTERS "non_smtpd_milters" List = "", Refused { reason: "milters are not served yet", weakens: Weakens::Always },
        "Milters for mail that does not come by SMTP.";
    NOTIFY_CLASSES "notify_classes" List = "resource, software", Honoured("bounce, defer; smtpd and smtp: transcripts of sessions"),
        "Troubles that the postmaster is told of.";
    PROPAGATE_UNMATCHED_EXTENSIONS "propagate_unmatched_extensions" List = "canonical, virtual", Honoured("cleanup"),
        "Tables to whose results an address extension is carried over.";
    RECIPIENT_BCC_MAPS "recipient_bcc_maps" Maps = "", Honoured("cleanup"),
        "Tables of addresses that get copies, by recipient.";
    RECIPIENT_CANONICAL_CLASSES "recipient_canonical_classes" List = "envelope_recipient, header_recipient", Honoured("cleanup"),
        "Which addresses recipient_canonical_maps change.";
    RECIPIENT_CANONICAL_MAPS "recipient_canonical_maps" Maps = "", Honoured("cleanup"),
        "Tables that change recipients.";
    RELOCATED_MAPS "relocated_maps" Maps = "", Honoured("resolve"),
        "Tables of users who have moved.";
    REMOTE_HEADER_REWRITE_DOMAIN "remote_header_rewrite_domain" Text = "", Honoured("cleanup"),
        "The domain that is added to incomplete addresses in headers of remote clients.";
    RESOLVE_DEQUOTED_ADDRESS "resolve_dequoted_address" Bool = "yes", Honoured("resolve"),
        "Whether quotes in addresses are taken off before resolving.";
    RESOLVE_NULL_DOMAIN "resolve_null_domain" Bool = "no", Honoured("resolve"),
        "Whether user@ counts as a local address.";
    RESOLVE_NUMERIC_DOMAIN "resolve_numeric_domain" Bool = "no", Honoured("resolve"),
        "Whether user@1.2.3.4 counts as user@[1.2.3.4].";
    SENDER_BCC_MAPS "sender_bcc_maps" Maps = "", Honoured("cleanup"),
        "Tables of addresses that get copies, by sender.";
    SENDER_CANONICAL_CLASSES "sender_canonical_classes" List = "envelope_sender, header_sender", Honoured("cleanup"),
        "Which addresses sender_canonical_maps change.";
    SENDER_CANONICAL_MAPS "sender_canonical_maps" Maps = "", Honoured("cleanup"),
        "Tables that change senders.";
    STRICT_7BIT_HEADERS "strict_7bit_headers" Bool = "no", Honoured("cleanup"),
        "Whether 8-bit headers are refused.";
    STRICT_8BITMIME "strict_8bitmime" Bool = "no", Honoured("cleanup"),
        "Whether 8-bit content that is not declared is refused.";
    STRICT_8BITMIME_BODY "strict_8bitmime_body" Bool = "no", Honoured("cleanup"),
        "Whether 8-bit bodies that are not declared are refused.";
    STRICT_MIME_ENCODING_DOMAIN "strict_mime_encoding_domain" Bool = "no", Honoured("cleanup"),
        "Whether composite parts with a forbidden encoding are refused.";
    SWAP_BANGPATH "swap_bangpath" Bool = "yes", Honoured("cleanup, qmgr"),
        "Whether site!user becomes user@site.";
    UNDISCLOSED_RECIPIENTS_HEADER "undisclosed_recipients_header" Text = "", Honoured("cleanup"),
        "The header that is added to messages without recipients in the header.";
    VERP_DELIMITER_FILTER "verp_delimiter_filter" Text = "-=+", Honoured("smtpd"),
        "The characters that may be delimiters in variable return paths.";
    VIRTUAL_ALIAS_ADDRESS_LENGTH_LIMIT "virtual_alias_address_length_limit" Int = "1000", Honoured("cleanup"),
        "The longest address that expansion of aliases may give.";
    VIRTUAL_ALIAS_DOMAINS "virtual_alias_domains" Domains = "$virtual_alias_maps", Honoured("smtpd, qmgr"),
        "Domains whose addresses are aliases.";
    VIRTUAL_ALIAS_EXPANSION_LIMIT "virtual_alias_expansion_limit" Int = "1000", Honoured("cleanup"),
        "The most recipients that expansion of aliases may give.";
    VIRTUAL_ALIAS_MAPS "virtual_alias_maps" Maps = "$virtual_maps", Honoured("cleanup, smtpd"),
        "Tables of virtual aliases.";
    VIRTUAL_ALIAS_RECURSION_LIMIT "virtual_alias_recursion_limit" Int = "1000", Honoured("cleanup"),
        "How deep aliases may nest.";
}
