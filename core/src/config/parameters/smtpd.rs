//! The SMTP server.

use crate::config::parameter::{Weakens, parameters};

parameters! {
    BROKEN_SASL_AUTH_CLIENTS "broken_sasl_auth_clients" Bool = "no", WithoutEffect("nobody can authenticate"),
        "Whether AUTH is also announced in the form for old clients.";
    CYRUS_SASL_CONFIG_PATH "cyrus_sasl_config_path" Text = "", WithoutEffect("nobody can authenticate"),
        "Where the Cyrus library looks for its configuration.";
    DISABLE_VRFY_COMMAND "disable_vrfy_command" Bool = "no", Honoured("smtpd"),
        "Whether VRFY is refused.";
    ENABLE_IDNA2003_COMPATIBILITY "enable_idna2003_compatibility" Bool = "no", WithoutEffect("domains are not converted"),
        "Whether domains are converted by the older rules.";
    LINE_LENGTH_LIMIT "line_length_limit" Int(512, 1048576) = "2048", Honoured("smtpd"),
        "The longest command line.";
    MESSAGE_SIZE_LIMIT "message_size_limit" Size = "10240000", Honoured("smtpd"),
        "The largest message that is accepted, headers included.";
    QMQPD_AUTHORIZED_CLIENTS "qmqpd_authorized_clients" List = "", Refused { reason: "the QMQP server is not served yet", weakens: Weakens::Never },
        "Clients of the QMQP server.";
    QMQPD_CLIENT_PORT_LOGGING "qmqpd_client_port_logging" Bool = "no", Refused { reason: "the QMQP server is not served yet", weakens: Weakens::Never },
        "Whether the client's port is logged.";
    QMQPD_ERROR_DELAY "qmqpd_error_delay" Time(Seconds) = "1s", Refused { reason: "the QMQP server is not served yet", weakens: Weakens::Never },
        "The pause before a refusal.";
    QMQPD_TIMEOUT "qmqpd_timeout" Time(Seconds) = "300s", Refused { reason: "the QMQP server is not served yet", weakens: Weakens::Never },
        "The longest wait for a client.";
    QUEUE_MINFREE "queue_minfree" Size = "0", Honoured("smtpd"),
        "The room that must stay free in the queue's file system for mail to be accepted.";
    RECEIVE_OVERRIDE_OPTIONS "receive_override_options" List = "", Honoured("cleanup, smtpd"),
        "Checks and rewriting that are left out on reception.";
    RECIPIENT_DELIMITER "recipient_delimiter" Text = "", Honoured("keys of tables"),
        "The characters that separate a user's name from an extension.";
    REJECT_CODE "reject_code" Int(400, 599) = "554", Honoured("smtpd"),
        "The reply code of the restriction reject.";
    RELAY_CLIENTCERTS "relay_clientcerts" List = "", WithoutEffect("TLS is not served yet"),
        "Certificates of clients that may relay.";
    RELAY_DOMAINS_REJECT_CODE "relay_domains_reject_code" Int(400, 599) = "554", Honoured("smtpd"),
        "The reply code when relaying is denied.";
    RELAY_RECIPIENT_MAPS "relay_recipient_maps" Maps = "", Honoured("smtpd"),
        "Tables of the recipients in relay domains; others are refused.";
    SMTPD_AUTHORIZED_VERP_CLIENTS "smtpd_authorized_verp_clients" Networks = "$authorized_verp_clients", Honoured("smtpd"),
        "Clients that may ask for variable envelope return paths.";
    SMTPD_AUTHORIZED_XCLIENT_HOSTS "smtpd_authorized_xclient_hosts" Networks = "", Honoured("smtpd"),
        "Clients that may speak for others with XCLIENT.";
    SMTPD_AUTHORIZED_XFORWARD_HOSTS "smtpd_authorized_xforward_hosts" Networks = "", Honoured("smtpd"),
        "Clients that may pass on what they know of theirs with XFORWARD.";
    SMTPD_BANNER "smtpd_banner" Text = "$myhostname ESMTP $mail_name", Honoured("smtpd"),
        "The text after 220 in the greeting.";
    SMTPD_CLIENT_AUTH_RATE_LIMIT "smtpd_client_auth_rate_limit" Int = "0", Honoured("anvil"),
        "The most AUTH commands of a client in a unit of time; 0 for no limit.";
    SMTPD_CLIENT_CONNECTION_COUNT_LIMIT "smtpd_client_connection_count_limit" Int = "50", Honoured("anvil"),
        "The most sessions of one client at a time; 0 for no limit.";
    SMTPD_CLIENT_CONNECTION_RATE_LIMIT "smtpd_client_connection_rate_limit" Int = "0", Honoured("anvil"),
        "The most connections of a client in a unit of time; 0 for no limit.";
    SMTPD_CLIENT_EVENT_LIMIT_EXCEPTIONS "smtpd_client_event_limit_exceptions" Networks = "${smtpd_client_connection_limit_exceptions:$mynetworks}", Honoured("anvil"),
        "Clients that have no limits.";
    SMTPD_CLIENT_IPV4_PREFIX_LENGTH "smtpd_client_ipv4_prefix_length" Int(0, 32) = "32", Honoured("anvil"),
        "How many bits of an IPv4 address are one client for the limits.";
    SMTPD_CLIENT_IPV6_PREFIX_LENGTH "smtpd_client_ipv6_prefix_length" Int(0, 128) = "84", Honoured("anvil"),
        "How many bits of an IPv6 address are one client for the limits.";
    SMTPD_CLIENT_MESSAGE_RATE_LIMIT "smtpd_client_message_rate_limit" Int = "0", Honoured("anvil"),
        "The most messages of a client in a unit of time; 0 for no limit.";
    SMTPD_CLIENT_NEW_TLS_SESSION_RATE_LIMIT "smtpd_client_new_tls_session_rate_limit" Int = "0", Refused { reason: "TLS is not served yet", weakens: Weakens::Never },
        "The most new TLS sessions of a client in a unit of time; 0 for no limit.";
    SMTPD_CLIENT_PORT_LOGGING "smtpd_client_port_logging" Bool = "no", Honoured("log"),
        "Whether the client's port is logged.";
    SMTPD_CLIENT_RECIPIENT_RATE_LIMIT "smtpd_client_recipient_rate_limit" Int = "0", Honoured("anvil"),
        "The most recipients of a client in a unit of time; 0 for no limit.";
    SMTPD_CLIENT_RESTRICTIONS "smtpd_client_restrictions" Restrictions = "", Honoured("smtpd"),
        "Restrictions on clients.";
    SMTPD_COMMAND_FILTER "smtpd_command_filter" Maps = "", Honoured("smtpd"),
        "A table that rewrites commands before they are read.";
    SMTPD_DATA_RESTRICTIONS "smtpd_data_restrictions" Restrictions = "", Honoured("smtpd"),
        "Restrictions at DATA.";
    SMTPD_DELAY_OPEN_UNTIL_VALID_RCPT "smtpd_delay_open_until_valid_rcpt" Bool = "yes", WithoutEffect("nothing is stored before the content has come"),
        "Whether a transaction begins only with the first good recipient.";
    SMTPD_DELAY_REJECT "smtpd_delay_reject" Bool = "yes", Honoured("smtpd"),
        "Whether refusals of the client, HELO and MAIL stages wait for RCPT.";
    SMTPD_DISCARD_EHLO_KEYWORD_ADDRESS_MAPS "smtpd_discard_ehlo_keyword_address_maps" Maps = "", Honoured("smtpd"),
        "EHLO keywords that are not announced to single clients.";
    SMTPD_DISCARD_EHLO_KEYWORDS "smtpd_discard_ehlo_keywords" List = "", Honoured("smtpd"),
        "EHLO keywords that are not announced.";
    SMTPD_DNS_REPLY_FILTER "smtpd_dns_reply_filter" Maps = "", Refused { reason: "answers of the DNS are taken as they are", weakens: Weakens::Never },
        "A table that changes DNS answers.";
    SMTPD_END_OF_DATA_RESTRICTIONS "smtpd_end_of_data_restrictions" Restrictions = "", Honoured("smtpd"),
        "Restrictions after the final dot.";
    SMTPD_ERROR_SLEEP_TIME "smtpd_error_sleep_time" Time(Seconds) = "1s", Honoured("smtpd"),
        "The delay of an answer after many errors.";
    SMTPD_ETRN_RESTRICTIONS "smtpd_etrn_restrictions" Restrictions = "", Honoured("smtpd"),
        "Restrictions at ETRN.";
    SMTPD_EXPANSION_FILTER "smtpd_expansion_filter" Raw = "\\t\\40!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\\\]^_`abcdefghijklmnopqrstuvwxyz{|}~", Honoured("smtpd"),
        "Characters that may stand in expanded replies.";
    SMTPD_FORBID_BARE_NEWLINE "smtpd_forbid_bare_newline" Word("no" "yes" "note" "normalize" "reject") = "normalize", Honoured("smtpd"),
        "What is done about lines of content that end without a carriage return.";
    SMTPD_FORBID_BARE_NEWLINE_EXCLUSIONS "smtpd_forbid_bare_newline_exclusions" Networks = "$mynetworks", Honoured("smtpd"),
        "Clients that may end lines without a carriage return.";
    SMTPD_FORBID_BARE_NEWLINE_REJECT_CODE "smtpd_forbid_bare_newline_reject_code" Int(400, 599) = "550", Refused { reason: "the code is always 550", weakens: Weakens::Never },
        "The reply code for a bare newline where that is refused.";
    SMTPD_FORBID_UNAUTH_PIPELINING "smtpd_forbid_unauth_pipelining" Bool = "yes", Honoured("smtpd"),
        "Whether a client that sends commands before their turn is disconnected.";
    SMTPD_FORBIDDEN_COMMANDS "smtpd_forbidden_commands" List = "CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}", Honoured("smtpd"),
        "Commands that end a session at once, because no mail client gives them.";
    SMTPD_HARD_ERROR_LIMIT "smtpd_hard_error_limit" Int(1, 1000000) = "${stress?{1}:{20}}", Honoured("smtpd"),
        "Errors after which a session ends.";
    SMTPD_HELO_REQUIRED "smtpd_helo_required" Bool = "no", Honoured("smtpd"),
        "Whether a session must begin with HELO or EHLO.";
    SMTPD_HELO_RESTRICTIONS "smtpd_helo_restrictions" Restrictions = "", Honoured("smtpd"),
        "Restrictions at HELO and EHLO.";
    SMTPD_HISTORY_FLUSH_THRESHOLD "smtpd_history_flush_threshold" Int = "100", Honoured("smtpd"),
        "How many commands are kept for an error report.";
    SMTPD_JUNK_COMMAND_LIMIT "smtpd_junk_command_limit" Int(1, 1000000) = "${stress?{1}:{100}}", Honoured("smtpd"),
        "Commands without mail in between that a client may give before each counts as an error.";
    SMTPD_MILTER_MAPS "smtpd_milter_maps" Maps = "", Refused { reason: "milters are not served yet", weakens: Weakens::Always },
        "Milters of single clients.";
    SMTPD_MILTERS "smtpd_milters" List = "", Refused { reason: "milters are not served yet", weakens: Weakens::Always },
        "Milters for mail that comes by SMTP.";
    SMTPD_MIN_DATA_RATE "smtpd_min_data_rate" Int(1, 2147483647) = "500", Refused { reason: "only the time limit of each wait is kept", weakens: Weakens::Never },
        "The slowest data rate with a deadline for each request, in bytes a second.";
    SMTPD_NOOP_COMMANDS "smtpd_noop_commands" List = "", Honoured("smtpd"),
        "Commands that are answered like NOOP.";
    SMTPD_PEERNAME_LOOKUP "smtpd_peername_lookup" Bool = "yes", Honoured("smtpd"),
        "Whether a client's name is looked up.";
    SMTPD_PER_REQUEST_DEADLINE "smtpd_per_request_deadline" Bool = "${smtpd_per_record_deadline?{$smtpd_per_record_deadline}:{${stress?{yes}:{no}}}}", Refused { reason: "only the time limit of each wait is kept", weakens: Weakens::Never },
        "Whether time limits hold for a whole request instead of for each wait.";
    SMTPD_PROXY_EHLO "smtpd_proxy_ehlo" Text = "$myhostname", WithoutEffect("before-queue proxies are not served yet"),
        "The name given to a before-queue proxy.";
    SMTPD_PROXY_FILTER "smtpd_proxy_filter" Text = "", Refused { reason: "before-queue proxies are not served yet", weakens: Weakens::Always },
        "A proxy that sees mail before it is queued.";
    SMTPD_PROXY_OPTIONS "smtpd_proxy_options" List = "", WithoutEffect("before-queue proxies are not served yet"),
        "Options for a before-queue proxy.";
    SMTPD_PROXY_TIMEOUT "smtpd_proxy_timeout" Time(Seconds) = "100s", WithoutEffect("before-queue proxies are not served yet"),
        "The longest wait for a before-queue proxy.";
    SMTPD_RECIPIENT_LIMIT "smtpd_recipient_limit" Int(1, 1000000) = "1000", Honoured("smtpd"),
        "The most recipients of one message.";
    SMTPD_RECIPIENT_OVERSHOOT_LIMIT "smtpd_recipient_overshoot_limit" Int = "1000", Honoured("smtpd"),
        "How many recipients beyond the limit are refused before each counts as an error.";
    SMTPD_RECIPIENT_RESTRICTIONS "smtpd_recipient_restrictions" Restrictions = "", Honoured("smtpd"),
        "Further restrictions at RCPT.";
    SMTPD_REJECT_FOOTER "smtpd_reject_footer" Raw = "", Honoured("smtpd"),
        "A text that is added to every refusal.";
    SMTPD_REJECT_FOOTER_MAPS "smtpd_reject_footer_maps" Maps = "", Honoured("smtpd"),
        "Texts that are added to single refusals.";
    SMTPD_REJECT_UNLISTED_RECIPIENT "smtpd_reject_unlisted_recipient" Bool = "yes", Honoured("smtpd"),
        "Whether unknown recipients are refused without a restriction that says so.";
    SMTPD_REJECT_UNLISTED_SENDER "smtpd_reject_unlisted_sender" Bool = "no", Honoured("smtpd"),
        "Whether senders of ours that do not exist are refused.";
    SMTPD_RELAY_BEFORE_RECIPIENT_RESTRICTIONS "smtpd_relay_before_recipient_restrictions" Bool = "${{$compatibility_level} <level {3.6} ? {no} : {yes}}", Honoured("smtpd"),
        "Whether the relay restrictions are asked before the recipient restrictions.";
    SMTPD_RELAY_RESTRICTIONS "smtpd_relay_restrictions" Restrictions = "${{$compatibility_level} <level {1} ? {} : {permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination}}", Honoured("smtpd"),
        "Who may relay, asked at RCPT before the recipient restrictions.";
    SMTPD_SASL_AUTH_ENABLE "smtpd_sasl_auth_enable" Bool = "no", Refused { reason: "authentication is not served yet, so nobody can authenticate", weakens: Weakens::Never },
        "Whether clients can authenticate.";
    SMTPD_SASL_AUTHENTICATED_HEADER "smtpd_sasl_authenticated_header" Bool = "no", WithoutEffect("nobody can authenticate"),
        "Whether the Received header names the authenticated user.";
    SMTPD_SASL_EXCEPTIONS_NETWORKS "smtpd_sasl_exceptions_networks" List = "", WithoutEffect("nobody can authenticate"),
        "Clients to whom AUTH is not announced.";
    SMTPD_SASL_LOCAL_DOMAIN "smtpd_sasl_local_domain" Text = "", WithoutEffect("nobody can authenticate"),
        "The realm of local users.";
    SMTPD_SASL_MECHANISM_FILTER "smtpd_sasl_mechanism_filter" List = "!external, static:rest", WithoutEffect("nobody can authenticate"),
        "Mechanisms that are announced.";
    SMTPD_SASL_PATH "smtpd_sasl_path" Text = "smtpd", WithoutEffect("nobody can authenticate"),
        "The path or name that the SASL implementation is given.";
    SMTPD_SASL_RESPONSE_LIMIT "smtpd_sasl_response_limit" Size = "12288", WithoutEffect("nobody can authenticate"),
        "The longest answer of a client that authenticates.";
    SMTPD_SASL_SECURITY_OPTIONS "smtpd_sasl_security_options" List = "noanonymous", WithoutEffect("nobody can authenticate"),
        "Which mechanisms are safe enough.";
    SMTPD_SASL_SERVICE "smtpd_sasl_service" Text = "smtp", WithoutEffect("nobody can authenticate"),
        "The service name that the SASL implementation is given.";
    SMTPD_SASL_TLS_SECURITY_OPTIONS "smtpd_sasl_tls_security_options" List = "$smtpd_sasl_security_options", WithoutEffect("nobody can authenticate"),
        "Which mechanisms are safe enough under TLS.";
    SMTPD_SASL_TYPE "smtpd_sasl_type" Text = "cyrus", WithoutEffect("nobody can authenticate"),
        "The SASL implementation.";
    SMTPD_SENDER_LOGIN_MAPS "smtpd_sender_login_maps" Maps = "", Refused { reason: "tables of senders' owners are not served yet", weakens: Weakens::Always },
        "Who may use which sender address.";
    SMTPD_SENDER_RESTRICTIONS "smtpd_sender_restrictions" Restrictions = "", Honoured("smtpd"),
        "Restrictions at MAIL.";
    SMTPD_SOFT_ERROR_LIMIT "smtpd_soft_error_limit" Int = "10", Honoured("smtpd"),
        "Errors after which each answer is delayed.";
    SMTPD_TIMEOUT "smtpd_timeout" Time(Seconds) = "${stress?{10}:{300}}s", Honoured("smtpd"),
        "The longest wait for a client's next command or for it to take an answer.";
    SMTPD_UPSTREAM_PROXY_PROTOCOL "smtpd_upstream_proxy_protocol" Word("" "haproxy") = "", Honoured("smtpd"),
        "The protocol by which a proxy in front tells the client's address.";
    SMTPD_UPSTREAM_PROXY_TIMEOUT "smtpd_upstream_proxy_timeout" Time(Seconds) = "5s", Honoured("smtpd"),
        "The longest wait for the proxy in front.";
    SMTPUTF8_AUTODETECT_CLASSES "smtputf8_autodetect_classes" List = "sendmail, verify", WithoutEffect("clients declare SMTPUTF8 themselves"),
        "Sources of mail for which the need for SMTPUTF8 is found out.";
    SMTPUTF8_ENABLE "smtputf8_enable" Bool = "${{$compatibility_level} <level {1} ? {no} : {yes}}", Honoured("smtpd, smtp"),
        "Whether addresses and headers may be UTF-8.";
    STRICT_RFC821_ENVELOPES "strict_rfc821_envelopes" Bool = "no", Honoured("smtpd"),
        "Whether addresses in MAIL and RCPT must stand in angle brackets, without display names.";
    STRICT_SMTPUTF8 "strict_smtputf8" Bool = "no", Refused { reason: "not served yet", weakens: Weakens::Never },
        "Whether UTF-8 headers need SMTPUTF8 to be declared.";
}
