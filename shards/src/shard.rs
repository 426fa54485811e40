//! shard: everything that one core owns, from its start to its end.
//!
//! Receives: its `Parts` from the engine; `Control` and `MeshMessage`s over the rings.
//! Sends:    one report of its start, its figures when asked and when it ends; one answer to each step of a reload.
//! Owns:     the reactor, the spool's log of this shard, and one of each service.
//! Limits:   see the services; the stop waits `ringpost_drain_limit` for what is running.
//! On failure: a start that fails is reported and nothing is accepted; our own broken invariant aborts the process.
//!
//! ```text
//!  session, delivery, notice … ── Rc<Shard> ──► generation 1: settings, tables  ─┐
//!  those that began later      ── Rc<Shard> ──► generation 2: settings, tables  ─┼─► Lasting: spool, queue manager, log …
//!  tasks without an end        ── Rc<Lasting> ── newest() at each step ──────────┘
//! ```
//!
//! Settings are never changed: a reload makes a new generation. Whatever has an end (a session, a delivery, a notice)
//! holds the [`Shard`] with which it began, and so keeps its settings and tables to its end; whatever has none holds the
//! [`Lasting`] part and takes the newest generation each time. Nothing on the path of a message looks for a newer one but
//! the queue manager's pump.

mod life;
mod reload;

use std::cell::{Cell, RefCell};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use ringpost_core::smtp::ClientSettings;
use ringpost_core::smtpd::SmtpdSettings;
use ringpost_reactor::Handle;
use ringpost_reactor::local::Notify;
use ringpost_tables::proxywrite::Writable;
use ringpost_tables::{Catalogue, Shelf};

use crate::anvil::Anvil;
use crate::counters::{Counters, ShardFigures};
use crate::dns::Resolver;
use crate::drain::Drain;
use crate::engine::Started;
use crate::flush::Flush;
use crate::log::Log;
use crate::mesh::{Loads, MeshEnds, MeshSenders};
use crate::policy::PolicyClients;
use crate::qmgr::Qmgr;
use crate::settings::Settings;
use crate::slots::Slots;
use crate::smtp::{IdleBoard, SmtpTransport};
use crate::spool_disk::ShardSpool;
use crate::transcript::Transcripts;
use crate::verify::Verify;

use self::reload::{OpenListeners, Prepared};

pub use self::life::run;
pub use self::reload::{Next, Step};

/// What the engine gives a shard.
pub struct Parts {
    /// Number of the shard, from 0; also its core.
    pub index: usize,
    /// The configuration, shared and never changed.
    pub settings: Arc<Settings>,
    /// This shard's ends of the rings.
    pub mesh: MeshEnds,
    /// The load counters of all shards.
    pub loads: Arc<Loads>,
    /// The lookup tables of the configuration.
    pub catalogue: Arc<Catalogue>,
    /// What probes found out, if any are sent.
    pub probe_results: Option<Writable>,
    /// What the shards show each other of their idle connections; none if there is one shard.
    pub idle_board: Option<Arc<IdleBoard>>,
    /// Where to tell that the shard has started.
    pub started: Started,
}

/// One shard with one generation of settings. Services reach each other through it; none holds a lock, all run on one
/// thread.
pub struct Shard {
    /// Counts reloads; the same on all shards once a reload is done.
    pub generation: u64,
    /// The configuration.
    pub settings: Arc<Settings>,
    /// The lookup tables.
    pub tables: Shelf,
    /// The settings of each smtpd service, as its sessions share them.
    pub session_settings: Vec<Rc<SmtpdSettings>>,
    /// The settings of the SMTP client, as its sessions share them.
    pub client_settings: Rc<ClientSettings>,
    /// What probes of addresses found out; none where no restriction asks.
    pub probe_results: Option<Writable>,
    /// The resolver; its cache outlives a reload that leaves the name servers as they are.
    pub resolver: Resolver,
    lasting: Rc<Lasting>,
}

/// What of a shard outlives its generations of settings.
pub struct Lasting {
    /// Number of the shard.
    pub index: usize,
    /// How many shards there are.
    pub shards: usize,
    /// The reactor.
    pub handle: Handle,
    /// The queue store.
    pub spool: ShardSpool,
    /// The queue manager.
    pub qmgr: Qmgr,
    /// What the queue managers say to each other.
    pub slots: Slots,
    /// Counts of clients.
    pub anvil: Anvil,
    /// Lists of deferred mail that sites may ask for.
    pub flush: Flush,
    /// Probes of addresses.
    pub verify: Verify,
    /// Connections to policy servers.
    pub policy: PolicyClients,
    /// The SMTP client's kept connections.
    pub transport: SmtpTransport,
    /// Reports of sessions that had errors.
    pub transcripts: Transcripts,
    /// The mail log.
    pub log: Log,
    /// What has been done.
    pub counters: Counters,
    /// The stop signal.
    pub drain: Drain,
    /// Sending ends of the rings.
    pub mesh: RefCell<MeshSenders>,
    /// Sessions on all shards.
    pub loads: Arc<Loads>,
    /// Told whenever a session ends.
    pub session_ended: Notify,
    /// Told whenever something ends that a stop waits for.
    pub quieter: Notify,
    session_numbers: Cell<u32>,
    /// The generation that everything new begins with; none before the shard has started and after it has ended.
    newest: RefCell<Option<Rc<Shard>>>,
    /// The generation of a reload that not all shards have agreed to yet.
    prepared: RefCell<Option<Prepared>>,
    listeners: OpenListeners,
}

impl Deref for Shard {
    type Target = Lasting;

    fn deref(&self) -> &Lasting {
        &self.lasting
    }
}

impl Shard {
    /// A generation of `lasting`.
    fn of(
        generation: u64,
        settings: Arc<Settings>,
        catalogue: &Arc<Catalogue>,
        probe_results: Option<Writable>,
        resolver: Resolver,
        lasting: Rc<Lasting>,
    ) -> Rc<Shard> {
        let services = settings.services.iter();
        Rc::new(Shard {
            generation,
            tables: catalogue.shelf(),
            session_settings: services.map(|service| Rc::new(service.session.clone())).collect(),
            client_settings: Rc::new(settings.smtp.client.clone()),
            probe_results,
            resolver,
            settings,
            lasting,
        })
    }

    /// The part that outlives this generation, for a task that has no end of its own.
    pub fn lasting(&self) -> &Rc<Lasting> {
        &self.lasting
    }

    /// Whether no reload has replaced these settings. A connection asks it before it takes another delivery.
    pub fn is_newest(&self) -> bool {
        self.lasting.newest.borrow().as_ref().is_some_and(|newest| newest.generation == self.generation)
    }

    /// Whether this shard has its share of `ringpost_session_limit`.
    pub fn sessions_full(&self) -> bool {
        self.loads.sessions(self.index) >= self.settings.sessions_max_per_shard
    }
}

impl Lasting {
    /// The shard with the settings that hold now. Who waits for something asks again afterwards.
    pub fn newest(&self) -> Rc<Shard> {
        self.newest.borrow().clone().expect("a shard has settings from its start to its end")
    }

    /// A number for a session or connection, to stand where Postfix's log has a process id. Unique over the shards
    /// until it wraps.
    pub fn next_session_number(&self) -> u32 {
        let next = self.session_numbers.get().wrapping_add(1);
        self.session_numbers.set(next);
        next.wrapping_mul(self.shards as u32).wrapping_add(self.index as u32 + 1) % 10_000_000
    }

    /// A line of the whole system, which one shard says for all.
    fn say_of_all(&self, text: std::fmt::Arguments<'_>) {
        if self.index == 0 {
            self.log.info("master", std::process::id(), text);
        }
    }

    /// The counts so far.
    pub fn figures(&self) -> ShardFigures {
        let count = &self.counters;
        let spool = self.spool.figures();
        let reactor = self.handle.figures();
        ShardFigures {
            shard: self.index,
            sessions: count.sessions.value(),
            sessions_handed_over: count.sessions_handed_over.value(),
            messages_accepted: count.messages_accepted.value(),
            bytes_accepted: count.bytes_accepted.value(),
            messages_refused: count.messages_refused.value(),
            recipients_sent: count.recipients_sent.value(),
            recipients_deferred: count.recipients_deferred.value(),
            recipients_bounced: count.recipients_bounced.value(),
            notices: count.notices.value(),
            connections_out: count.connections_out.value(),
            connections_reused: count.connections_reused.value(),
            connections_handed_over: count.connections_handed_over.value(),
            reloads: count.reloads.value(),
            slot_messages: count.slot_messages.value(),
            slot_messages_refused: count.slot_messages_refused.value(),
            log_lines_lost: self.log.lines_lost(),
            turns: reactor.turns,
            submissions: reactor.submissions,
            completions: reactor.completions,
            queued: spool.queued,
            commits: spool.commits,
            messages_stored: spool.messages_stored,
            commit_latency_us_sum: spool.commit_ns_sum / 1000,
            commit_latency_buckets: spool.commit_latency_buckets.counts().to_vec(),
            ..ShardFigures::default()
        }
    }
}
