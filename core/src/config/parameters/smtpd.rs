//! The SMTP server.

use crate::config::parameter::parameters;

parameters! {
    DISABLE_VRFY_COMMAND "disable_vrfy_command" Bool = "no", Honoured("smtpd"),
        "Whether VRFY is refused.";
    LINE_LENGTH_LIMIT "line_length_limit" Int(512, 1048576) = "2048", Honoured("smtpd"),
        "The longest command line.";
    MESSAGE_SIZE_LIMIT "message_size_limit" Size = "10240000", Honoured("smtpd"),
        "The largest message that is accepted, headers included.";
    QUEUE_MINFREE "queue_minfree" Size = "0", Honoured("smtpd"),
        "The room that must stay free in the queue's file system for mail to be accepted.";
    REJECT_CODE "reject_code" Int(400, 599) = "554", Honoured("smtpd"),
        "The reply code of the restriction reject.";
    RELAY_DOMAINS_REJECT_CODE "relay_domains_reject_code" Int(400, 599) = "554", Honoured("smtpd"),
        "The reply code when relaying is denied.";
    SMTPD_BANNER "smtpd_banner" Text = "$myhostname ESMTP $mail_name", Honoured("smtpd"),
        "The text after 220 in the greeting.";
    SMTPD_CLIENT_PORT_LOGGING "smtpd_client_port_logging" Bool = "no", Honoured("log"),
        "Whether the client's port is logged.";
    SMTPD_CLIENT_RESTRICTIONS "smtpd_client_restrictions" Restrictions = "", Honoured("smtpd"),
        "Restrictions on clients.";
    SMTPD_DATA_RESTRICTIONS "smtpd_data_restrictions" Restrictions = "", Honoured("smtpd"),
        "Restrictions at DATA.";
    SMTPD_DELAY_REJECT "smtpd_delay_reject" Bool = "yes", Honoured("smtpd"),
        "Whether refusals of the client, HELO and MAIL stages wait for RCPT.";
    SMTPD_DISCARD_EHLO_KEYWORDS "smtpd_discard_ehlo_keywords" List = "", Honoured("smtpd"),
        "EHLO keywords that are not announced.";
    SMTPD_END_OF_DATA_RESTRICTIONS "smtpd_end_of_data_restrictions" Restrictions = "", Honoured("smtpd"),
        "Restrictions after the final dot.";
    SMTPD_ERROR_SLEEP_TIME "smtpd_error_sleep_time" Time(Seconds) = "1s", Honoured("smtpd"),
        "The delay of an answer after many errors.";
    SMTPD_ETRN_RESTRICTIONS "smtpd_etrn_restrictions" Restrictions = "", Honoured("smtpd"),
        "Restrictions at ETRN.";
    SMTPD_FORBID_BARE_NEWLINE "smtpd_forbid_bare_newline" Word("no" "yes" "note" "normalize" "reject") = "normalize", Honoured("smtpd"),
        "What is done about lines of content that end without a carriage return.";
    SMTPD_FORBID_BARE_NEWLINE_EXCLUSIONS "smtpd_forbid_bare_newline_exclusions" Networks = "$mynetworks", Honoured("smtpd"),
        "Clients that may end lines without a carriage return.";
    SMTPD_FORBID_BARE_NEWLINE_REJECT_CODE "smtpd_forbid_bare_newline_reject_code" Int(400, 599) = "550", Honoured("smtpd"),
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
    SMTPD_JUNK_COMMAND_LIMIT "smtpd_junk_command_limit" Int(1, 1000000) = "${stress?{1}:{100}}", Honoured("smtpd"),
        "Commands without mail in between that a client may give before each counts as an error.";
    SMTPD_RECIPIENT_LIMIT "smtpd_recipient_limit" Int(1, 1000000) = "1000", Honoured("smtpd"),
        "The most recipients of one message.";
    SMTPD_RECIPIENT_OVERSHOOT_LIMIT "smtpd_recipient_overshoot_limit" Int = "1000", Honoured("smtpd"),
        "How many recipients beyond the limit are refused before each counts as an error.";
    SMTPD_RECIPIENT_RESTRICTIONS "smtpd_recipient_restrictions" Restrictions = "", Honoured("smtpd"),
        "Further restrictions at RCPT.";
    SMTPD_RELAY_BEFORE_RECIPIENT_RESTRICTIONS "smtpd_relay_before_recipient_restrictions" Bool = "${{$compatibility_level} <level {3.6} ? {no} : {yes}}", Honoured("smtpd"),
        "Whether the relay restrictions are asked before the recipient restrictions.";
    SMTPD_RELAY_RESTRICTIONS "smtpd_relay_restrictions" Restrictions = "${{$compatibility_level} <level {1} ? {} : {permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination}}", Honoured("smtpd"),
        "Who may relay, asked at RCPT before the recipient restrictions.";
    SMTPD_SENDER_RESTRICTIONS "smtpd_sender_restrictions" Restrictions = "", Honoured("smtpd"),
        "Restrictions at MAIL.";
    SMTPD_SOFT_ERROR_LIMIT "smtpd_soft_error_limit" Int = "10", Honoured("smtpd"),
        "Errors after which each answer is delayed.";
    SMTPD_TIMEOUT "smtpd_timeout" Time(Seconds) = "${stress?{10}:{300}}s", Honoured("smtpd"),
        "The longest wait for a client's next command or for it to take an answer.";
    SMTPUTF8_ENABLE "smtputf8_enable" Bool = "${{$compatibility_level} <level {1} ? {no} : {yes}}", Honoured("smtpd, smtp"),
        "Whether addresses and headers may be UTF-8.";
    STRICT_RFC821_ENVELOPES "strict_rfc821_envelopes" Bool = "no", Honoured("smtpd"),
        "Whether addresses in MAIL and RCPT must stand in angle brackets, without display names.";
}
