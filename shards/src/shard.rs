//! shard: everything that one core owns, from its start to its end.
//!
//! Receives: its `Parts` from the engine; `Control` and `MeshMessage`s over the rings.
//! Sends:    one report of its start, its figures when asked and when it ends.
//! Owns:     the reactor, the spool's log of this shard, and one of each service.
//! Limits:   see the services; the stop waits `ringpost_drain_limit` for what is running.
//! On failure: a start that fails is reported and nothing is accepted; our own broken invariant aborts the process.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use ringpost_core::qmgr::ShardPlace;
use ringpost_core::smtpd::SmtpdSettings;
use ringpost_reactor::local::Notify;
use ringpost_reactor::ring::Receiver;
use ringpost_reactor::{Endpoint, Handle, ListenOptions, Listener, Reactor};
use ringpost_tables::{Catalogue, Shelf};
use signal_hook::consts::SIGTERM;

use crate::anvil::Anvil;
use crate::counters::{Counters, ShardFigures};
use crate::dns::Resolver;
use crate::drain::Drain;
use crate::engine::Started;
use crate::failure::{EX_UNAVAILABLE, Failure};
use crate::flush::Flush;
use crate::log::Log;
use crate::mesh::{Control, Loads, MeshEnds, MeshMessage, MeshSenders};
use crate::policy::PolicyClients;
use crate::qmgr::Qmgr;
use crate::settings::Settings;
use crate::slots::Slots;
use crate::smtp::{IdleBoard, SmtpTransport};
use crate::spool_disk::ShardSpool;
use crate::transcript::Transcripts;
use crate::{anvil, control, flush, listener, mesh, qmgr, slots, smtp, spool_disk, tables};

/// Clients that the kernel holds for us between two turns; `net.core.somaxconn` bounds it too.
const LISTEN_BACKLOG: u32 = 4096;

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
    /// What the shards show each other of their idle connections; none if there is one shard.
    pub idle_board: Option<Arc<IdleBoard>>,
    /// Where to tell that the shard has started.
    pub started: Started,
}

/// One shard. Services reach each other through it; none holds a lock, all run on one thread.
pub struct Shard {
    /// Number of the shard.
    pub index: usize,
    /// The configuration.
    pub settings: Arc<Settings>,
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
    /// The resolver.
    pub resolver: Resolver,
    /// Connections to policy servers.
    pub policy: PolicyClients,
    /// The lookup tables.
    pub tables: Shelf,
    /// The SMTP client's settings and kept connections.
    pub transport: SmtpTransport,
    /// The settings of each smtpd service, as its sessions share them.
    pub session_settings: Vec<Rc<SmtpdSettings>>,
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
}

impl Shard {
    /// Whether this shard has its share of `ringpost_session_limit`.
    pub fn sessions_full(&self) -> bool {
        self.loads.sessions(self.index) >= self.settings.sessions_max_per_shard
    }

    /// A number for a session or connection, to stand where Postfix's log has a process id. Unique over the shards
    /// until it wraps.
    pub fn next_session_number(&self) -> u32 {
        let next = self.session_numbers.get().wrapping_add(1);
        self.session_numbers.set(next);
        next.wrapping_mul(self.settings.shards as u32).wrapping_add(self.index as u32 + 1) % 10_000_000
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

/// The life of a shard's thread.
pub fn run(parts: Parts) -> ShardFigures {
    let started = parts.started.clone();
    // The engine waits for one report of each shard; it is gone only when the process ends anyway.
    let fail = |failure| {
        let _ = started.send(Err(failure));
        ShardFigures::default()
    };
    let reactor = match Reactor::start(parts.settings.reactor_options(parts.index)) {
        Ok(reactor) => reactor,
        Err(error) => return fail(Failure::new(EX_UNAVAILABLE, error.to_string())),
    };
    let handle = reactor.handle();
    reactor.run(async {
        match Shard::start(handle, parts).await {
            Ok(ready) => {
                let _ = started.send(Ok(()));
                ready.live().await
            }
            Err(failure) => fail(failure),
        }
    })
}

/// A shard that has recovered its spool and listens, and waits for the word to go.
struct Ready {
    shard: Rc<Shard>,
    listeners: Vec<Listener>,
    mesh: Vec<(usize, Receiver<MeshMessage>)>,
    control: Receiver<Control>,
}

impl Shard {
    /// Recovers the spool and takes the addresses; accepts and delivers nothing yet.
    async fn start(handle: Handle, parts: Parts) -> Result<Ready, Failure> {
        let Parts { index, settings, mesh, loads, catalogue, idle_board, started: _ } = parts;
        let log = Log::open(&handle, &settings)?;
        let spool = spool_disk::open(&handle, &settings, index).await?;
        let listeners = listen(&handle, &settings)?;
        let now_ms = handle.wall().as_micros() / 1000;
        let place = ShardPlace { index: index as u16, count: settings.shards as u16 };
        let shard = Rc::new(Shard {
            index,
            qmgr: Qmgr::new(settings.qmgr.clone(), place, now_ms),
            slots: Slots::default(),
            anvil: Anvil::new(settings.anvil_unit),
            flush: Flush::default(),
            resolver: Resolver::new(handle.clone(), settings.dns_servers.clone()),
            policy: PolicyClients::default(),
            tables: catalogue.shelf(),
            transport: SmtpTransport::new(&settings, index, idle_board),
            session_settings: settings
                .services
                .iter()
                .map(|service| Rc::new(service.session.clone()))
                .collect(),
            transcripts: Transcripts::new(handle.now().as_nanos() / 1_000_000),
            settings,
            handle,
            spool,
            log,
            counters: Counters::default(),
            drain: Drain::default(),
            mesh: RefCell::new(mesh.to),
            loads,
            session_ended: Notify::new(),
            quieter: Notify::new(),
            session_numbers: Cell::new(std::process::id()),
        });
        Ok(Ready { shard, listeners, mesh: mesh.from, control: mesh.control })
    }
}

fn listen(handle: &Handle, settings: &Settings) -> Result<Vec<Listener>, Failure> {
    let options = ListenOptions { reuse_port: true, backlog: LISTEN_BACKLOG, ..ListenOptions::default() };
    settings
        .listeners
        .iter()
        .map(|listener| {
            let endpoint = Endpoint::Inet(listener.address);
            handle.listen(&endpoint, &options).map_err(|error| Failure::listen(listener.address, error))
        })
        .collect()
}

impl Ready {
    /// From the report of the start to the end of the stop.
    async fn live(mut self) -> ShardFigures {
        let shard = self.shard.clone();
        let spool = shard.spool.clone();
        shard.handle.spawn(async move { spool.run().await });
        shard.handle.spawn(shard.log.clone().run());
        let mut listeners = Some(self.listeners);
        let signal = loop {
            match self.control.recv().await {
                Some(Control::Go) => {
                    if let Some(listeners) = listeners.take() {
                        shard.begin(listeners, std::mem::take(&mut self.mesh));
                    }
                }
                Some(Control::Figures(answer)) => {
                    // The asker may have given up waiting.
                    let _ = answer.send(shard.figures());
                }
                Some(Control::Ask(ask)) => control::answer(&shard, *ask),
                Some(Control::Drain { signal }) => break signal,
                None => break SIGTERM,
            }
        };
        drop(listeners);
        shard.stop(signal).await;
        shard.figures()
    }
}

impl Shard {
    /// A line of the whole system, which one shard says for all.
    fn say_of_all(&self, text: std::fmt::Arguments<'_>) {
        if self.index == 0 {
            self.log.info("master", std::process::id(), text);
        }
    }

    /// Takes up the recovered queue, then clients.
    fn begin(self: &Rc<Self>, listeners: Vec<Listener>, mesh: Vec<(usize, Receiver<MeshMessage>)>) {
        let version = env!("CARGO_PKG_VERSION");
        self.say_of_all(format_args!(
            "daemon started -- version {version}, configuration {}",
            self.settings.origin
        ));
        qmgr::recover(self);
        flush::recovered(self);
        self.handle.spawn(qmgr::run(self.clone()));
        if self.settings.shards > 1 {
            self.handle.spawn(slots::run(self.clone()));
        }
        for (from, receiver) in mesh {
            self.handle.spawn(mesh::hear(self.clone(), from, receiver));
        }
        anvil::start(self);
        if self.index == 0 {
            self.handle.spawn(tables::tell(self.clone()));
        }
        smtp::begin(self);
        for (service, listener) in listeners.into_iter().enumerate() {
            self.handle.spawn(listener::run(self.clone(), service as u16, listener));
        }
    }

    /// No new sessions and deliveries; those that are running get `ringpost_drain_limit` to finish.
    async fn stop(self: &Rc<Self>, signal: i32) {
        self.say_of_all(format_args!("terminating on signal {signal}"));
        self.drain.begin();
        qmgr::stop(self);
        anvil::tell_last_peaks(self).await;
        let quiet = async {
            while self.loads.sessions(self.index) > 0 || self.qmgr.deliveries_running() > 0 {
                self.quieter.notified().await;
            }
        };
        if self.handle.timeout(self.settings.drain_limit, quiet).await.is_err() {
            self.log.warning("master", 0, format_args!("stopping with sessions or deliveries unfinished"));
        }
        anvil::log_last_peaks(self).await;
        smtp::log_last_statistics(self);
        if let Err(error) = self.spool.close().await {
            self.log.warning("qmgr", 0, format_args!("the spool did not close cleanly: {error}"));
        }
        self.log.close().await;
    }
}
