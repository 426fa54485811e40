//! What one `smtpd` line of `master.cf` decides.

use std::time::Duration;

use ringpost_core::access::Stage;
use ringpost_core::anvil::{ClientLimits, ClientPrefixes};
use ringpost_core::cleanup::{CleanupSettings, ContentSettings, MappingSettings};
use ringpost_core::config::{Config, View, names};
use ringpost_core::content::BareNewline;
use ringpost_core::envelope::RECIPIENTS_MAX;
use ringpost_core::smtpd::{Extension, SmtpdSettings};
use ringpost_core::transcript::ErrorClasses;
use ringpost_core::verp::VerpDelimiters;

use super::access::AccessSettings;
use super::cleanup::{LocalClients, ReceiveOverrides};
use super::{clamped, cleanup, notices};
use crate::failure::Failure;

/// What one `smtpd` line of `master.cf` decides, its `-o` settings included.
#[derive(Debug)]
pub struct SmtpdService {
    /// Names the service in counts of clients: another has it never, however often the configuration changes.
    pub number: u16,
    /// What the session itself needs.
    pub session: SmtpdSettings,
    /// What a client may do in a unit of time (`smtpd_client_…_limit`).
    pub client_limits: ClientLimits,
    /// How much of an address is one client.
    pub client_prefixes: ClientPrefixes,
    /// Who may do what.
    pub access: AccessSettings,
    /// `smtpd_timeout`.
    pub timeout: Duration,
    /// What cleanup needs.
    pub cleanup: CleanupSettings,
    /// What addresses become.
    pub mapping: MappingSettings,
    /// What is checked in content.
    pub content: ContentSettings,
    /// `remote_header_rewrite_domain` is set: headers of remote clients are rewritten, too.
    pub rewrites_remote_headers: bool,
    /// `receive_override_options`.
    pub overrides: ReceiveOverrides,
    /// `content_filter`; empty for none.
    pub content_filter: String,
    /// `always_add_missing_headers`.
    pub always_add_missing_headers: bool,
    /// `local_header_rewrite_clients`.
    pub local_clients: LocalClients,
}

impl SmtpdService {
    /// Whether a message gets the headers that it lacks; `is_local`: its client is one of [`LocalClients`].
    pub fn adds_missing_headers(&self, is_local: bool) -> bool {
        self.always_add_missing_headers || self.rewrites_remote_headers || is_local
    }
}

/// The number of the service with this name: the one that it has had before, or the next.
pub(super) fn number(names: &mut Vec<String>, name: &str) -> Result<u16, Failure> {
    let known = names.iter().position(|known| known == name);
    let place = known.unwrap_or(names.len());
    let number = u16::try_from(place).map_err(|_| {
        Failure::config("master.cf has had too many names of smtpd services since the start: restart")
    })?;
    if known.is_none() {
        names.push(name.to_owned());
    }
    Ok(number)
}

/// Reads what the service of `view` decides.
pub(super) fn read(config: &Config, view: &View<'_>, number: u16) -> Result<SmtpdService, Failure> {
    let mut session = SmtpdSettings::new(&view.text(names::MYHOSTNAME));
    session.service_name = view.text(names::SERVICE_NAME);
    session.banner = view.text(names::SMTPD_BANNER);
    session.message_size_limit = view.number(names::MESSAGE_SIZE_LIMIT);
    session.recipient_limit = view.count(names::SMTPD_RECIPIENT_LIMIT).min(RECIPIENTS_MAX as usize);
    session.recipient_overshoot_limit = view.count(names::SMTPD_RECIPIENT_OVERSHOOT_LIMIT);
    session.soft_error_limit = clamped(view.number(names::SMTPD_SOFT_ERROR_LIMIT));
    session.hard_error_limit = clamped(view.number(names::SMTPD_HARD_ERROR_LIMIT));
    session.junk_command_limit = clamped(view.number(names::SMTPD_JUNK_COMMAND_LIMIT));
    session.error_sleep_ms = view.time(names::SMTPD_ERROR_SLEEP_TIME).as_millis() as u64;
    session.line_length_limit = view.count(names::LINE_LENGTH_LIMIT);
    session.bare_newline = match view.text(names::SMTPD_FORBID_BARE_NEWLINE).as_str() {
        "no" => BareNewline::No,
        "reject" => BareNewline::Reject,
        _ => BareNewline::Normalize,
    };
    session.forbid_unauth_pipelining = view.flag(names::SMTPD_FORBID_UNAUTH_PIPELINING);
    session.client_port_logging = view.flag(names::SMTPD_CLIENT_PORT_LOGGING);
    session.helo_required = view.flag(names::SMTPD_HELO_REQUIRED);
    session.disable_vrfy = view.flag(names::DISABLE_VRFY_COMMAND);
    session.strict_rfc821_envelopes = view.flag(names::STRICT_RFC821_ENVELOPES);
    session.smtputf8_enable = view.flag(names::SMTPUTF8_ENABLE);
    session.soft_bounce = view.flag(names::SOFT_BOUNCE);
    session.reported_errors = notices::classes(view)?.and(ErrorClasses::OF_SERVERS);
    session.history_flush_threshold = clamped(view.number(names::SMTPD_HISTORY_FLUSH_THRESHOLD));
    (session.default_verp_delimiters, session.verp_delimiter_filter) = verp(view)?;
    session.discard_ehlo_keywords = view
        .list(names::SMTPD_DISCARD_EHLO_KEYWORDS)
        .iter()
        .filter_map(|word| Extension::named(word))
        .collect();
    session.forbidden_commands = view.list(names::SMTPD_FORBIDDEN_COMMANDS);
    session.noop_commands = view.list(names::SMTPD_NOOP_COMMANDS);
    let access = AccessSettings::read(config, view)?;
    session.knows_ipv6 = view.list(names::INET_PROTOCOLS).iter().any(|word| word == "all" || word == "ipv6");
    session.filters_commands = !access.command_filter.is_empty();
    session.asks_at_helo = !access.rules.is_idle(Stage::Helo);
    let cleanup_view = cleanup::service_view(config, view);
    Ok(SmtpdService {
        number,
        session,
        client_limits: client_limits(view),
        client_prefixes: ClientPrefixes {
            ipv4: view.number(names::SMTPD_CLIENT_IPV4_PREFIX_LENGTH) as u8,
            ipv6: view.number(names::SMTPD_CLIENT_IPV6_PREFIX_LENGTH) as u8,
        },
        access,
        timeout: view.time(names::SMTPD_TIMEOUT),
        cleanup: cleanup::head(&cleanup_view),
        mapping: cleanup::mapping(&cleanup_view)?,
        content: cleanup::content(&cleanup_view),
        rewrites_remote_headers: !view.text(names::REMOTE_HEADER_REWRITE_DOMAIN).is_empty(),
        overrides: ReceiveOverrides::read(view)?,
        content_filter: view.text(names::CONTENT_FILTER),
        always_add_missing_headers: view.flag(names::ALWAYS_ADD_MISSING_HEADERS),
        local_clients: LocalClients::read(view),
    })
}

fn client_limits(view: &View<'_>) -> ClientLimits {
    ClientLimits {
        connection_count: clamped(view.number(names::SMTPD_CLIENT_CONNECTION_COUNT_LIMIT)),
        connection_rate: clamped(view.number(names::SMTPD_CLIENT_CONNECTION_RATE_LIMIT)),
        message_rate: clamped(view.number(names::SMTPD_CLIENT_MESSAGE_RATE_LIMIT)),
        recipient_rate: clamped(view.number(names::SMTPD_CLIENT_RECIPIENT_RATE_LIMIT)),
        // No client can make a TLS session as long as STARTTLS is not served.
        new_tls_rate: 0,
        auth_rate: clamped(view.number(names::SMTPD_CLIENT_AUTH_RATE_LIMIT)),
    }
}

/// `default_verp_delimiters`, and `verp_delimiter_filter` which must hold them.
fn verp(view: &View<'_>) -> Result<(VerpDelimiters, String), Failure> {
    let (text, filter) = (view.text(names::DEFAULT_VERP_DELIMITERS), view.text(names::VERP_DELIMITER_FILTER));
    let delimiters = VerpDelimiters::parse(&text, &filter).ok_or_else(|| {
        Failure::config(format!("default_verp_delimiters: \"{text}\" is not two characters of {filter}"))
    })?;
    Ok((delimiters, filter))
}
