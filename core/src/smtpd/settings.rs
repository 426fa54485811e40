//! What the administrator decided for this service: the parameters the session needs, already read and checked.

use crate::content::BareNewline;
use crate::transcript::ErrorClasses;
use crate::verp::VerpDelimiters;

/// Parameters of one smtpd service. Defaults are Postfix's (3.9 where it changed them).
#[derive(Debug, Clone)]
pub struct SmtpdSettings {
    /// `myhostname`.
    pub myhostname: String,
    /// The service's name in `master.cf`, for the log.
    pub service_name: String,
    /// `smtpd_banner`, expanded: the text after `220 `.
    pub banner: String,
    /// `message_size_limit` in bytes; 0 for none.
    pub message_size_limit: u64,
    /// `smtpd_recipient_limit`: recipients a transaction.
    pub recipient_limit: usize,
    /// `smtpd_recipient_overshoot_limit`: refusals beyond that limit before each counts as an error.
    pub recipient_overshoot_limit: usize,
    /// `smtpd_soft_error_limit`: errors from which on every reply is delayed.
    pub soft_error_limit: u32,
    /// `smtpd_hard_error_limit`: errors after which the session is closed.
    pub hard_error_limit: u32,
    /// `smtpd_junk_command_limit`: HELO, EHLO, NOOP, VRFY, ETRN and RSET without mail in between.
    pub junk_command_limit: u32,
    /// `smtpd_error_sleep_time` in milliseconds.
    pub error_sleep_ms: u64,
    /// `line_length_limit` for commands, in bytes without the line end.
    pub line_length_limit: usize,
    /// `smtpd_forbid_bare_newline`, for clients that are not excluded ([`super::Client::bare_newline_excluded`]).
    pub bare_newline: BareNewline,
    /// `smtpd_forbid_unauth_pipelining`: close a session that sends before its turn.
    pub forbid_unauth_pipelining: bool,
    /// `smtpd_client_port_logging`: the client's port behind its address wherever it is named.
    pub client_port_logging: bool,
    /// `smtpd_helo_required`.
    pub helo_required: bool,
    /// `disable_vrfy_command`.
    pub disable_vrfy: bool,
    /// `strict_rfc821_envelopes`.
    pub strict_rfc821_envelopes: bool,
    /// `smtputf8_enable`.
    pub smtputf8_enable: bool,
    /// `strict_smtputf8`: a non-ASCII address needs the SMTPUTF8 option of MAIL.
    pub strict_smtputf8: bool,
    /// `default_verp_delimiters`: of XVERP without a value.
    pub default_verp_delimiters: VerpDelimiters,
    /// `verp_delimiter_filter`: characters that XVERP may name.
    pub verp_delimiter_filter: String,
    /// Those of `notify_classes` for which a transcript of the session goes to the postmaster; without any, none is kept.
    pub reported_errors: ErrorClasses,
    /// `smtpd_history_flush_threshold`: lines of a transcript that may gather before EHLO, RSET or the end of a message
    /// report or forget it.
    pub history_flush_threshold: u32,
    /// `soft_bounce`: every 5xx becomes 4xx.
    pub soft_bounce: bool,
    /// `smtpd_discard_ehlo_keywords`.
    pub discard_ehlo_keywords: Vec<Extension>,
    /// `inet_protocols` has IPv6: XCLIENT may name such an address.
    pub knows_ipv6: bool,
    /// There is an `smtpd_command_filter`: each command is shown to it.
    pub filters_commands: bool,
    /// HELO and EHLO are answered by the shard ([`super::Request::Helo`]): there are restrictions, and
    /// `smtpd_delay_reject` is off.
    pub asks_at_helo: bool,
    /// Command words of `smtpd_forbidden_commands`, in any case. A word that begins with no letter is always forbidden.
    pub forbidden_commands: Vec<String>,
    /// Command words of `smtpd_noop_commands`, in any case: answered like NOOP, whatever else they mean.
    pub noop_commands: Vec<String>,
}

impl SmtpdSettings {
    /// Postfix's defaults for a host of this name. `strict_smtputf8` is on: what a client did not declare the next
    /// hop cannot be promised.
    pub fn new(myhostname: &str) -> SmtpdSettings {
        SmtpdSettings {
            myhostname: myhostname.to_owned(),
            service_name: "smtp".to_owned(),
            banner: format!("{myhostname} ESMTP Postfix"),
            message_size_limit: 10_240_000,
            recipient_limit: 1000,
            recipient_overshoot_limit: 1000,
            soft_error_limit: 10,
            hard_error_limit: 20,
            junk_command_limit: 100,
            error_sleep_ms: 1000,
            line_length_limit: 2048,
            bare_newline: BareNewline::Normalize,
            forbid_unauth_pipelining: true,
            client_port_logging: false,
            helo_required: false,
            disable_vrfy: false,
            strict_rfc821_envelopes: false,
            smtputf8_enable: true,
            strict_smtputf8: true,
            default_verp_delimiters: VerpDelimiters::DEFAULT,
            verp_delimiter_filter: "-=+".to_owned(),
            reported_errors: ErrorClasses::NONE,
            history_flush_threshold: 100,
            soft_bounce: false,
            discard_ehlo_keywords: Vec::new(),
            knows_ipv6: true,
            filters_commands: false,
            asks_at_helo: false,
            forbidden_commands: ["CONNECT", "GET", "POST"].map(str::to_owned).to_vec(),
            noop_commands: Vec::new(),
        }
    }

    /// Whether the service has this extension at all.
    pub(super) fn has(&self, extension: Extension) -> bool {
        match extension {
            Extension::Vrfy => !self.disable_vrfy,
            Extension::Smtputf8 => self.smtputf8_enable,
            _ => true,
        }
    }
}

/// The extensions that EHLO lists, in the order it lists them. STARTTLS and AUTH take their places after ETRN when
/// the session learns them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// RFC 2920.
    Pipelining,
    /// RFC 1870, with `message_size_limit` as its value.
    Size,
    /// RFC 5321 §3.5.3.
    Vrfy,
    /// RFC 1985.
    Etrn,
    /// Variable envelope return paths, to clients that may ask for them only.
    Xverp,
    /// To clients that may speak for others only; its value are the attributes.
    Xclient,
    /// To clients that may pass on what they know of theirs only; its value are the attributes.
    Xforward,
    /// RFC 2034.
    EnhancedStatusCodes,
    /// RFC 6152.
    EightBitMime,
    /// RFC 3461.
    Dsn,
    /// RFC 6531.
    Smtputf8,
    /// RFC 3030.
    Chunking,
}

impl Extension {
    /// Every extension, in EHLO's order.
    pub const ALL: [Extension; 12] = [
        Extension::Pipelining,
        Extension::Size,
        Extension::Vrfy,
        Extension::Etrn,
        Extension::Xverp,
        Extension::Xclient,
        Extension::Xforward,
        Extension::EnhancedStatusCodes,
        Extension::EightBitMime,
        Extension::Dsn,
        Extension::Smtputf8,
        Extension::Chunking,
    ];

    /// The keyword as EHLO prints it.
    pub fn keyword(self) -> &'static str {
        match self {
            Extension::Pipelining => "PIPELINING",
            Extension::Size => "SIZE",
            Extension::Vrfy => "VRFY",
            Extension::Etrn => "ETRN",
            Extension::Xverp => "XVERP",
            Extension::Xclient => "XCLIENT",
            Extension::Xforward => "XFORWARD",
            Extension::EnhancedStatusCodes => "ENHANCEDSTATUSCODES",
            Extension::EightBitMime => "8BITMIME",
            Extension::Dsn => "DSN",
            Extension::Smtputf8 => "SMTPUTF8",
            Extension::Chunking => "CHUNKING",
        }
    }

    /// What stands behind the keyword, if that is always the same.
    pub(super) fn attributes(self) -> &'static str {
        match self {
            Extension::Xclient => " NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT",
            Extension::Xforward => " NAME ADDR PROTO HELO SOURCE PORT IDENT",
            _ => "",
        }
    }

    /// The extension of this keyword, in any case, as `smtpd_discard_ehlo_keywords` names it.
    pub fn named(keyword: &str) -> Option<Extension> {
        // Postfix knows it by this name there.
        if keyword.eq_ignore_ascii_case("VERP") {
            return Some(Extension::Xverp);
        }
        Extension::ALL.into_iter().find(|extension| extension.keyword().eq_ignore_ascii_case(keyword))
    }
}
