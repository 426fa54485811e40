//! settings: the configuration as the shards use it, shared by all of them and never changed. A reload makes new ones
//! ([`Settings::next`]), which take the place of the old for everything that begins afterwards.

mod access;
mod cleanup;
mod next;
mod notices;
mod outgoing;
mod qmgr;
mod queue;
mod resolve;
mod smtp;
mod smtpd;
mod tls;
mod verify;

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringpost_core::cleanup::{CleanupSettings, MappingSettings};
use ringpost_core::config::{Config, Name, View, names, types};
use ringpost_core::control::UserList;
use ringpost_core::domain_list::DomainList;
use ringpost_core::qmgr::QmgrSettings;
use ringpost_core::resolve::ResolveSettings;
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
pub use self::smtp::SmtpSettings;
pub use self::smtpd::SmtpdService;
pub use self::tls::SmtpTls;
pub use self::verify::ProbeSettings;

/// Entries of a shard's submission queue: more operations than this in one turn are submitted in two goes.
const RING_ENTRIES: u32 = 1024;
/// Receive buffers of a shard: what may have arrived and not been looked at. 16 MiB together.
const RECEIVE_BUFFERS: u16 = 2048;
/// Bytes of each: a 4 KiB message with its commands in one piece.
const RECEIVE_BUFFER_BYTES: u32 = 8192;

/// One listening address of one `master.cf` line.
#[derive(Clone, Debug)]
pub struct ListenAddress {
    /// Where to listen.
    pub address: SocketAddr,
    /// Index into [`Settings::services`].
    pub service: usize,
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
    /// The names of all services that there have been since the start, by [`SmtpdService::number`].
    service_names: Vec<String>,
    /// The SMTP client.
    pub smtp: SmtpSettings,
    /// The queue manager, for one shard.
    pub qmgr: QmgrSettings,
    /// Routes.
    pub resolve: ResolveSettings,
    /// How addresses are probed; none where no restriction wants to know.
    pub probes: Option<Box<ProbeSettings>>,
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
    /// Reads the settings of an engine that starts; `config` has been checked, and refusals have stopped the start
    /// before.
    pub fn from_config(config: &Config, origin: &str) -> Result<Settings, Failure> {
        let view = config.view();
        let wanted = shards_wanted(&view);
        let shards = wanted.max(shards_with_a_queue(Path::new(&view.text(names::QUEUE_DIRECTORY))));
        Settings::read(config, origin, shards, Vec::new())
    }

    /// The settings for so many shards. `service_names` are those of all services that there have been.
    fn read(
        config: &Config,
        origin: &str,
        shards: usize,
        mut service_names: Vec<String>,
    ) -> Result<Settings, Failure> {
        let view = config.view();
        let mut listeners = Vec::new();
        let mut services = Vec::new();
        for spec in config.listeners() {
            for address in spec.addresses(config) {
                listeners.push(ListenAddress { address, service: services.len() });
            }
            let number = smtpd::number(&mut service_names, &spec.service.name)?;
            services.push(smtpd::read(config, &config.for_service(spec.service), number)?);
        }
        if listeners.is_empty() {
            return Err(Failure::config("master.cf has no smtpd line that listens: nothing to serve"));
        }
        let wants_probes = services.iter().any(|service| service.access.rules.probes());
        let probes = wants_probes.then(|| ProbeSettings::read(&view, shards).map(Box::new)).transpose()?;
        let sessions = view.number(names::RINGPOST_SESSION_LIMIT).div_ceil(shards as u64);
        let maillog_file = view.text(names::MAILLOG_FILE);
        let trace = view.text(names::RINGPOST_REACTOR_TRACE);
        Ok(Settings {
            origin: origin.to_owned(),
            shards,
            shards_wanted: shards_wanted(&view),
            listeners,
            services,
            service_names,
            smtp: smtp::read(config)?,
            qmgr: qmgr::read(config, shards),
            resolve: resolve_settings(&view),
            probes,
            agents: Agents::of(config),
            hosts: view.host().hosts.clone(),
            dns_servers: dns_servers(&view)?,
            queue_directory: view.text(names::QUEUE_DIRECTORY).into(),
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

    /// The service of a listening address; `None` if nobody listens there.
    pub fn service_at(&self, address: SocketAddr) -> Option<usize> {
        let listener = self.listeners.iter().find(|listener| listener.address == address)?;
        Some(listener.service)
    }

    /// The name of the service with this [`SmtpdService::number`], which may be gone.
    pub fn service_name(&self, number: u16) -> &str {
        self.service_names.get(usize::from(number)).map_or("", String::as_str)
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

    /// Bytes that the spool leaves free on the file system.
    pub fn spool_free_bytes_min(&self) -> u64 {
        self.spool_options(0).free_bytes_min
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

fn shards_wanted(view: &View<'_>) -> usize {
    match view.count(names::RINGPOST_SHARDS) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        shards => shards,
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
