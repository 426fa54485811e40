//! settings: the configuration as the shards use it, read once at the start. Nothing here changes while the engine
//! runs, and all shards share it.

mod access;
mod cleanup;
mod notices;
mod outgoing;
mod queue;
mod resolve;
mod tls;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringpost_core::access::Stage;
use ringpost_core::anvil::{ClientLimits, ClientPrefixes};
use ringpost_core::cleanup::{CleanupSettings, ContentSettings, MappingSettings};
use ringpost_core::config::{Config, Name, ServiceType, View, names, types};
use ringpost_core::content::BareNewline;
use ringpost_core::control::UserList;
use ringpost_core::dns::AddressPreference;
use ringpost_core::domain_list::DomainList;
use ringpost_core::envelope::RECIPIENTS_MAX;
use ringpost_core::outgoing::OutgoingSettings;
use ringpost_core::qmgr::{QmgrSettings, TransportSettings};
use ringpost_core::resolve::ResolveSettings;
use ringpost_core::smtp::{ClientSettings, EhloKeywords, Protocol, StageTimeouts};
use ringpost_core::smtpd::{Extension, SmtpdSettings};
use ringpost_core::transcript::ErrorClasses;
use ringpost_core::verp::VerpDelimiters;
use ringpost_reactor::ReactorOptions;
use ringpost_spool::{EngineLock, LockError, SHARDS_MAX, SpoolOptions};

use crate::dns;
use crate::failure::{EX_CANTCREAT, EX_TEMPFAIL, Failure};

pub use self::access::{AccessSettings, Footers};
pub use self::cleanup::{
    LocalClients, ReceiveOverrides, mapping as mapping_settings, service_view as cleanup_view,
};
pub use self::notices::{NoticeSettings, templates};
pub use self::queue::QueueSettings;
pub use self::resolve::{Agent, Agents, resolve as resolve_settings};
pub use self::tls::SmtpTls;

/// Entries of a shard's submission queue: more operations than this in one turn are submitted in two goes.
const RING_ENTRIES: u32 = 1024;
/// Receive buffers of a shard: what may have arrived and not been looked at. 16 MiB together.
const RECEIVE_BUFFERS: u16 = 2048;
/// Bytes of each: a 4 KiB message with its commands in one piece.
const RECEIVE_BUFFER_BYTES: u32 = 8192;
/// Destinations without work that a shard remembers by name.
const IDLE_SITES_MAX: u32 = 10_000;

/// One listening address of one `master.cf` line.
#[derive(Clone, Debug)]
pub struct ListenAddress {
    /// Where to listen.
    pub address: SocketAddr,
    /// Index into [`Settings::services`].
    pub service: usize,
}

/// What one `smtpd` line of `master.cf` decides, its `-o` settings included.
#[derive(Debug)]
pub struct SmtpdService {
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

/// The SMTP client's part.
#[derive(Debug)]
pub struct SmtpSettings {
    /// What the session itself needs.
    pub client: ClientSettings,
    /// `smtp_bind_address`.
    pub bind_v4: Option<IpAddr>,
    /// `smtp_bind_address6`.
    pub bind_v6: Option<IpAddr>,
    /// `smtp_tcp_port`, for nexthops without one.
    pub port: u16,
    /// `smtp_line_length_limit`, bytes.
    pub line_length_max: usize,
    /// What becomes of mail as it leaves.
    pub outgoing: OutgoingSettings,
    /// TLS.
    pub tls: SmtpTls,
    /// `smtp_mx_address_limit`; 0 for none.
    pub mx_address_limit: usize,
    /// `smtp_mx_session_limit`, at least 1.
    pub mx_session_limit: usize,
    /// Addresses of equal preference are shuffled.
    pub randomize_addresses: bool,
    /// `smtp_connection_cache_on_demand`.
    pub keep_connections: bool,
    /// `smtp_connection_cache_destinations`.
    pub cache_destinations: DomainList,
    /// `smtp_connection_cache_time_limit`, at most `connection_cache_ttl_limit`.
    pub cache_time: Duration,
    /// `smtp_connection_reuse_time_limit`.
    pub reuse_time: Duration,
    /// `smtp_connection_reuse_count_limit`; 0 for none.
    pub reuse_count: u32,
    /// `smtp_address_preference`.
    pub address_preference: AddressPreference,
    /// `smtp_balance_inet_protocols`.
    pub balance_families: bool,
    /// `smtp_fallback_relay`: destinations for mail whose own put it off.
    pub fallback_relays: Vec<String>,
    /// `disable_dns_lookups`, or `smtp_dns_support_level = disabled`: domains have no exchangers.
    pub ignores_mx: bool,
    /// `ignore_mx_lookup_error`.
    pub forgives_mx_errors: bool,
    /// `smtp_defer_if_no_mx_address_found`.
    pub waits_for_addresses: bool,
    /// Families that may be used: IPv4, IPv6.
    pub families: (bool, bool),
}

impl SmtpSettings {
    /// Whether connections to this nexthop are kept even when mail does not come back-to-back. The list names it with or
    /// without brackets, and without a port.
    pub fn always_keeps(&self, nexthop: &str) -> bool {
        let (host, bare) = match nexthop.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((inner, _port)) => (&nexthop[..inner.len() + 2], inner),
            None => {
                let host = nexthop.split_once(':').map_or(nexthop, |(host, _port)| host);
                (host, host)
            }
        };
        [host, bare].iter().any(|name| self.cache_destinations.contains(name.as_bytes()))
    }

    /// The local address for a connection to `server`.
    pub fn bind_address(&self, server: SocketAddr) -> Option<SocketAddr> {
        let bind = if server.is_ipv4() { self.bind_v4 } else { self.bind_v6 };
        bind.map(|address| SocketAddr::new(address, 0))
    }
}

/// Everything that the engine and its shards need to know.
#[derive(Debug)]
pub struct Settings {
    /// Where the configuration comes from, for the log.
    pub origin: String,
    /// Shards that run: those that are wanted, and every one that has a queue already.
    pub shards: usize,
    /// `ringpost_shards`, or one for each core.
    pub shards_wanted: usize,
    /// Where to listen.
    pub listeners: Vec<ListenAddress>,
    /// The smtpd lines.
    pub services: Vec<SmtpdService>,
    /// The SMTP client.
    pub smtp: SmtpSettings,
    /// The queue manager, for one shard.
    pub qmgr: QmgrSettings,
    /// Routes.
    pub resolve: ResolveSettings,
    /// Who delivers by which transport.
    pub agents: Agents,
    /// Names of hosts and their addresses, as the host's own file has them.
    pub hosts: Vec<(String, Vec<IpAddr>)>,
    /// Name servers.
    pub dns_servers: Vec<SocketAddr>,
    /// `queue_directory`.
    pub queue_directory: PathBuf,
    /// `maillog_file`; standard output when empty.
    pub maillog_file: PathBuf,
    /// `myhostname`.
    pub myhostname: String,
    /// Addresses of this host: an MX host that has one is ourselves.
    pub own_addresses: Vec<IpAddr>,
    /// What cleanup needs for mail that the system itself writes.
    pub own_mail: CleanupSettings,
    /// What its addresses become.
    pub own_mapping: MappingSettings,
    /// `content_filter`, for mail that does not come by SMTP; empty for none.
    pub own_content_filter: String,
    /// `default_filter_nexthop`; empty for the recipient's domain.
    pub default_filter_nexthop: String,
    /// `myorigin`.
    pub myorigin: String,
    /// `mail_name`.
    pub mail_name: String,
    /// `syslog_name`.
    pub syslog_name: String,
    /// `delay_logging_resolution_limit`.
    pub delay_decimals: u8,
    /// What bounce, defer and trace need.
    pub notices: NoticeSettings,
    /// `soft_bounce`.
    pub soft_bounce: bool,
    /// Sessions of one shard.
    pub sessions_max_per_shard: u32,
    /// `anvil_rate_time_unit`, at least a second.
    pub anvil_unit: Duration,
    /// `anvil_status_update_time`, at least a second.
    pub anvil_status_update: Duration,
    /// `fast_flush_domains`.
    pub fast_flush_domains: DomainList,
    /// `ringpost_drain_limit`.
    pub drain_limit: Duration,
    /// `authorized_mailq_users`.
    pub mailq_users: UserList,
    /// `authorized_flush_users`.
    pub flush_users: UserList,
    segment_bytes: u64,
    free_bytes_min: u64,
    reactor_trace: Option<PathBuf>,
}

impl Settings {
    /// Reads the settings; `config` has been checked, and refusals have stopped the start before.
    pub fn from_config(config: &Config, origin: &str) -> Result<Settings, Failure> {
        let view = config.view();
        let queue_directory = PathBuf::from(view.text(names::QUEUE_DIRECTORY));
        let shards_wanted = match view.count(names::RINGPOST_SHARDS) {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            shards => shards,
        };
        let shards = shards_wanted.max(shards_with_a_queue(&queue_directory));
        let mut listeners = Vec::new();
        let mut services = Vec::new();
        for spec in config.listeners() {
            for address in spec.addresses(config) {
                listeners.push(ListenAddress { address, service: services.len() });
            }
            services.push(smtpd_service(config, &config.for_service(spec.service))?);
        }
        if listeners.is_empty() {
            return Err(Failure::config("master.cf has no smtpd line that listens: nothing to serve"));
        }
        let sessions = view.number(names::RINGPOST_SESSION_LIMIT).div_ceil(shards as u64);
        let maillog_file = view.text(names::MAILLOG_FILE);
        let trace = view.text(names::RINGPOST_REACTOR_TRACE);
        Ok(Settings {
            origin: origin.to_owned(),
            shards,
            shards_wanted,
            listeners,
            services,
            smtp: smtp(config)?,
            qmgr: qmgr(config, shards),
            resolve: resolve_settings(&view),
            agents: Agents::of(config),
            hosts: view.host().hosts.clone(),
            dns_servers: dns_servers(&view)?,
            queue_directory,
            maillog_file: if maillog_file.is_empty() { "/dev/stdout".into() } else { maillog_file.into() },
            myhostname: view.text(names::MYHOSTNAME),
            own_addresses: own_addresses(&view),
            own_mail: cleanup::head(&cleanup::service_view(config, &view)),
            own_mapping: cleanup::mapping(&cleanup::service_view(config, &view))?,
            own_content_filter: view.text(names::CONTENT_FILTER),
            default_filter_nexthop: view.text(names::DEFAULT_FILTER_NEXTHOP),
            myorigin: view.text(names::MYORIGIN),
            mail_name: view.text(names::MAIL_NAME),
            syslog_name: view.text(names::SYSLOG_NAME),
            delay_decimals: view.number(names::DELAY_LOGGING_RESOLUTION_LIMIT) as u8,
            notices: NoticeSettings::read(&view)?,
            soft_bounce: view.flag(names::SOFT_BOUNCE),
            sessions_max_per_shard: u32::try_from(sessions).unwrap_or(u32::MAX),
            anvil_unit: view.time(names::ANVIL_RATE_TIME_UNIT).max(Duration::from_secs(1)),
            anvil_status_update: view.time(names::ANVIL_STATUS_UPDATE_TIME).max(Duration::from_secs(1)),
            fast_flush_domains: view.domains(names::FAST_FLUSH_DOMAINS),
            drain_limit: view.time(names::RINGPOST_DRAIN_LIMIT),
            mailq_users: users(&view, names::AUTHORIZED_MAILQ_USERS)?,
            flush_users: users(&view, names::AUTHORIZED_FLUSH_USERS)?,
            segment_bytes: view.number(names::RINGPOST_SPOOL_SEGMENT_SIZE),
            free_bytes_min: view.number(names::QUEUE_MINFREE),
            reactor_trace: (!trace.is_empty()).then(|| trace.into()),
        })
    }

    /// Bytes that the spool must have room for before a message is begun: what the client declared, else half as much
    /// again as the largest message (Postfix's rule for `queue_minfree`).
    pub fn room_wanted(&self, service: &SmtpdService, declared_bytes: u64) -> u64 {
        match declared_bytes {
            0 => service.session.message_size_limit / 2 * 3,
            declared => declared,
        }
    }

    /// The scheduler's name for where this recipient goes: the nexthop, one destination however its name is spelled;
    /// where the transport takes one recipient a delivery, each recipient is a destination of its own, like Postfix's.
    pub fn site_name<'a>(&self, transport: &str, nexthop: &'a str, address: &str) -> Cow<'a, str> {
        if self.qmgr.transport(transport).recipients_max == 1 {
            let local = address.rsplit_once('@').map_or(address, |(local, _domain)| local);
            return Cow::Owned(format!("{local}@{}", nexthop.to_ascii_lowercase()));
        }
        match nexthop.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(nexthop.to_ascii_lowercase()),
            false => Cow::Borrowed(nexthop),
        }
    }

    /// Whether any service limits its clients.
    pub fn counts_clients(&self) -> bool {
        self.services.iter().any(|service| service.client_limits.any())
    }

    /// How the reactor of shard `index` is set up.
    pub fn reactor_options(&self, index: usize) -> ReactorOptions {
        ReactorOptions {
            ring_entries: RING_ENTRIES,
            buffer_count: RECEIVE_BUFFERS,
            buffer_bytes: RECEIVE_BUFFER_BYTES,
            core: Some(index % self.shards_wanted),
            trace: self.reactor_trace.as_ref().map(|path| numbered(path, index)),
        }
    }

    /// How the spool of shard `index` is kept.
    pub fn spool_options(&self, index: usize) -> SpoolOptions {
        let mut options = SpoolOptions::new(index as u16);
        options.segment_bytes = self.segment_bytes;
        options.free_bytes_min = options.free_bytes_min.max(self.free_bytes_min);
        options
    }

    /// Makes the queue directory and takes it for this engine.
    pub fn take_spool(&self) -> Result<EngineLock, Failure> {
        let directory = &self.queue_directory;
        let cannot = |error: &dyn std::fmt::Display| {
            Failure::new(EX_CANTCREAT, format!("cannot use queue_directory {}: {error}", directory.display()))
        };
        // Every user's mailq passes through it; the spool below is closed to them.
        ringpost_reactor::fs::create_open_dir(directory).map_err(|error| cannot(&error))?;
        EngineLock::take(directory).map_err(|error| match error {
            LockError::Held { .. } => Failure::new(EX_TEMPFAIL, error.to_string()),
            error => cannot(&error),
        })
    }
}

/// The spool of shard `index`.
pub fn spool_directory(queue_directory: &Path, index: usize) -> PathBuf {
    queue_directory.join("spool").join(format!("shard-{index:02}"))
}

/// One more than the highest number among the shards that have left a queue here: what a shard accepted must be
/// delivered even when fewer are wanted than before.
fn shards_with_a_queue(queue_directory: &Path) -> usize {
    let has_queue = |index: &usize| spool_directory(queue_directory, *index).exists();
    (0..SHARDS_MAX.into()).rev().find(has_queue).map_or(0, |index| index + 1)
}

fn numbered(path: &Path, index: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index:02}"));
    name.into()
}

fn smtpd_service(config: &Config, view: &View<'_>) -> Result<SmtpdService, Failure> {
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
    let access = AccessSettings::read(config, view)?;
    session.knows_ipv6 = view.list(names::INET_PROTOCOLS).iter().any(|word| word == "all" || word == "ipv6");
    session.filters_commands = !access.command_filter.is_empty();
    session.asks_at_helo = !access.rules.is_idle(Stage::Helo);
    let cleanup_view = cleanup::service_view(config, view);
    Ok(SmtpdService {
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

/// Every address that is this host's or stands for it.
fn own_addresses(view: &View<'_>) -> Vec<IpAddr> {
    let mut own: Vec<IpAddr> = view.host().interfaces.iter().map(|interface| interface.address).collect();
    own.extend(view.own_addresses());
    own.sort_unstable();
    own.dedup();
    own
}

fn users(view: &View<'_>, name: Name<types::List>) -> Result<UserList, Failure> {
    UserList::parse(&view.list(name)).map_err(|error| Failure::config(format!("{}: {error}", name.as_str())))
}

fn clamped(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn dns_servers(view: &View<'_>) -> Result<Vec<SocketAddr>, Failure> {
    let listed = view.list(names::RINGPOST_DNS_SERVERS);
    if listed.is_empty() {
        // A host without resolv.conf has no DNS: mail to domains is then deferred, and says why.
        let text =
            ringpost_reactor::fs::read_small(Path::new("/etc/resolv.conf"), 64 << 10).unwrap_or_default();
        return Ok(dns::servers_of_resolv_conf(&String::from_utf8_lossy(&text)));
    }
    let parse = |text: &String| {
        let with_port = text.parse::<SocketAddr>().ok();
        let address =
            with_port.or_else(|| text.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 53)));
        address.ok_or_else(|| Failure::config(format!("ringpost_dns_servers: \"{text}\" is no address")))
    };
    listed.iter().map(parse).collect()
}

fn ignores_mx(view: &View<'_>) -> Result<bool, Failure> {
    match view.text(names::SMTP_DNS_SUPPORT_LEVEL).as_str() {
        "" => Ok(view.flag(names::DISABLE_DNS_LOOKUPS)),
        "disabled" => Ok(true),
        "enabled" => Ok(false),
        level => Err(Failure::config(format!("smtp_dns_support_level: \"{level}\" is not served"))),
    }
}

fn smtp(config: &Config) -> Result<SmtpSettings, Failure> {
    let view = match config.transport("smtp") {
        Some(service) => config.for_service(service),
        None => config.view(),
    };
    let seconds = |name| clamped(view.time(name).as_secs());
    let client = ClientSettings {
        protocol: Protocol::Smtp,
        helo_name: view.text(names::SMTP_HELO_NAME),
        my_hostname: view.text(names::MYHOSTNAME),
        pipelining: true,
        discard_ehlo_keywords: EhloKeywords::from_list(
            &view.list(names::SMTP_DISCARD_EHLO_KEYWORDS).join(" "),
        ),
        forwards: view.flag(names::SMTP_SEND_XFORWARD_COMMAND),
        skip_5xx_greeting: view.flag(names::SMTP_SKIP_5XX_GREETING),
        reported_errors: notices::classes(&view)?.and(ErrorClasses::OF_CLIENTS),
        timeouts: StageTimeouts {
            connect: seconds(names::SMTP_CONNECT_TIMEOUT),
            helo: seconds(names::SMTP_HELO_TIMEOUT),
            starttls: seconds(names::SMTP_STARTTLS_TIMEOUT),
            mail: seconds(names::SMTP_MAIL_TIMEOUT),
            rcpt: seconds(names::SMTP_RCPT_TIMEOUT),
            data_init: seconds(names::SMTP_DATA_INIT_TIMEOUT),
            data_transfer: seconds(names::SMTP_DATA_XFER_TIMEOUT),
            data_done: seconds(names::SMTP_DATA_DONE_TIMEOUT),
            quit: seconds(names::SMTP_QUIT_TIMEOUT),
            rset: seconds(names::SMTP_RSET_TIMEOUT),
            forward: seconds(names::SMTP_XFORWARD_TIMEOUT),
        },
    };
    let address = |name: ringpost_core::config::Name<_>| {
        let text: String = view.text(name);
        match text.is_empty() {
            true => Ok(None),
            false => text
                .parse::<IpAddr>()
                .map(Some)
                .map_err(|_| Failure::config(format!("{}: \"{text}\" is no address", name.as_str()))),
        }
    };
    let port = view.text(names::SMTP_TCP_PORT);
    Ok(SmtpSettings {
        client,
        bind_v4: address(names::SMTP_BIND_ADDRESS)?,
        bind_v6: address(names::SMTP_BIND_ADDRESS6)?,
        port: ringpost_core::config::port(&port)
            .ok_or_else(|| Failure::config(format!("smtp_tcp_port: \"{port}\" is no port")))?,
        line_length_max: view.count(names::SMTP_LINE_LENGTH_LIMIT),
        outgoing: outgoing::outgoing(&view),
        tls: SmtpTls::read(&view)?,
        mx_address_limit: view.count(names::SMTP_MX_ADDRESS_LIMIT),
        mx_session_limit: view.count(names::SMTP_MX_SESSION_LIMIT).max(1),
        randomize_addresses: view.flag(names::SMTP_RANDOMIZE_ADDRESSES),
        keep_connections: view.flag(names::SMTP_CONNECTION_CACHE_ON_DEMAND),
        cache_destinations: view.domains(names::SMTP_CONNECTION_CACHE_DESTINATIONS),
        cache_time: view
            .time(names::SMTP_CONNECTION_CACHE_TIME_LIMIT)
            .min(view.time(names::CONNECTION_CACHE_TTL_LIMIT)),
        reuse_time: view.time(names::SMTP_CONNECTION_REUSE_TIME_LIMIT),
        reuse_count: clamped(view.number(names::SMTP_CONNECTION_REUSE_COUNT_LIMIT)),
        address_preference: match view.text(names::SMTP_ADDRESS_PREFERENCE).as_str() {
            "ipv4" => AddressPreference::Ipv4,
            "ipv6" => AddressPreference::Ipv6,
            _ => AddressPreference::Any,
        },
        balance_families: view.flag(names::SMTP_BALANCE_INET_PROTOCOLS),
        fallback_relays: view.list(names::SMTP_FALLBACK_RELAY),
        ignores_mx: ignores_mx(&view)?,
        forgives_mx_errors: view.flag(names::IGNORE_MX_LOOKUP_ERROR),
        waits_for_addresses: view.flag(names::SMTP_DEFER_IF_NO_MX_ADDRESS_FOUND),
        families: (
            view.uses_protocol(IpAddr::from([127, 0, 0, 1])),
            view.uses_protocol(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])),
        ),
    })
}

fn qmgr(config: &Config, shards: usize) -> QmgrSettings {
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
