//! The life of a shard's thread: recovery, work, stop.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;

use ringpost_core::qmgr::ShardPlace;
use ringpost_reactor::local::Notify;
use ringpost_reactor::ring::Receiver;
use ringpost_reactor::{Endpoint, Handle, ListenOptions, Listener, Reactor};
use signal_hook::consts::SIGTERM;

use super::reload::OpenListeners;
use super::{Lasting, Parts, Shard};
use crate::anvil::Anvil;
use crate::counters::{Counters, ShardFigures};
use crate::dns::Resolver;
use crate::drain::Drain;
use crate::failure::{EX_UNAVAILABLE, Failure};
use crate::flush::Flush;
use crate::log::Log;
use crate::mesh::{Control, MeshMessage};
use crate::policy::PolicyClients;
use crate::qmgr::Qmgr;
use crate::slots::Slots;
use crate::smtp::SmtpTransport;
use crate::transcript::Transcripts;
use crate::verify::{self, Verify};
use crate::{anvil, control, flush, mesh, qmgr, slots, smtp, spool_disk, tables};

/// Clients that the kernel holds for us between two turns; `net.core.somaxconn` bounds it too.
const LISTEN_BACKLOG: u32 = 4096;

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
        match start(handle, parts).await {
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
    lasting: Rc<Lasting>,
    listeners: Vec<(SocketAddr, Listener)>,
    mesh: Vec<(usize, Receiver<MeshMessage>)>,
    control: Receiver<Control>,
}

/// Recovers the spool and takes the addresses; accepts and delivers nothing yet.
async fn start(handle: Handle, parts: Parts) -> Result<Ready, Failure> {
    let Parts { index, settings, mesh, loads, catalogue, probe_results, idle_board, started: _ } = parts;
    let log = Log::open(&handle, &settings)?;
    let spool = spool_disk::open(&handle, &settings, index).await?;
    let addresses = settings.listeners.iter().map(|listener| listener.address);
    let listeners = addresses.map(|address| Ok((address, listen(&handle, address)?)));
    let listeners = listeners.collect::<Result<Vec<_>, Failure>>()?;
    let now_ms = handle.wall().as_micros() / 1000;
    let place = ShardPlace { index: index as u16, count: settings.shards as u16 };
    let resolver = Resolver::new(handle.clone(), settings.dns_servers.clone());
    let lasting = Rc::new(Lasting {
        index,
        shards: settings.shards,
        qmgr: Qmgr::new(settings.qmgr.clone(), place, now_ms),
        slots: Slots::default(),
        anvil: Anvil::new(settings.anvil_unit),
        flush: Flush::default(),
        verify: Verify::default(),
        policy: PolicyClients::default(),
        transport: SmtpTransport::new(index, idle_board),
        transcripts: Transcripts::new(handle.now().as_nanos() / 1_000_000),
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
        newest: RefCell::default(),
        prepared: RefCell::default(),
        listeners: OpenListeners::default(),
    });
    let first = Shard::of(0, settings, &catalogue, probe_results, resolver, lasting.clone());
    lasting.newest.replace(Some(first));
    Ok(Ready { lasting, listeners, mesh: mesh.from, control: mesh.control })
}

/// This shard's socket of a listening address.
pub(super) fn listen(handle: &Handle, address: SocketAddr) -> Result<Listener, Failure> {
    let options = ListenOptions { reuse_port: true, backlog: LISTEN_BACKLOG, ..ListenOptions::default() };
    let listener = handle.listen(&Endpoint::Inet(address), &options);
    listener.map_err(|error| Failure::listen(address, error))
}

impl Ready {
    /// From the report of the start to the end of the stop.
    async fn live(mut self) -> ShardFigures {
        let lasting = self.lasting;
        let spool = lasting.spool.clone();
        lasting.handle.spawn(async move { spool.run().await });
        lasting.handle.spawn(lasting.log.clone().run());
        let mut listeners = Some(self.listeners);
        let signal = loop {
            match self.control.recv().await {
                Some(Control::Go) => {
                    if let Some(listeners) = listeners.take() {
                        begin(&lasting, listeners, std::mem::take(&mut self.mesh));
                    }
                }
                Some(Control::Figures(answer)) => {
                    // The asker may have given up waiting.
                    let _ = answer.send(lasting.figures());
                }
                Some(Control::Ask(ask)) => control::answer(&lasting.newest(), *ask),
                Some(Control::Reload(step)) => lasting.take_step(*step),
                Some(Control::Drain { signal }) => break signal,
                None => break SIGTERM,
            }
        };
        drop(listeners);
        stop(&lasting, signal).await;
        // It holds this, too.
        lasting.newest.take();
        lasting.figures()
    }
}

/// Takes up the recovered queue, then clients.
fn begin(
    lasting: &Rc<Lasting>,
    listeners: Vec<(SocketAddr, Listener)>,
    mesh: Vec<(usize, Receiver<MeshMessage>)>,
) {
    let shard = lasting.newest();
    let version = env!("CARGO_PKG_VERSION");
    let origin = &shard.settings.origin;
    lasting.say_of_all(format_args!("daemon started -- version {version}, configuration {origin}"));
    qmgr::recover(&shard);
    flush::recovered(&shard);
    lasting.handle.spawn(qmgr::run(lasting.clone()));
    if lasting.shards > 1 {
        lasting.handle.spawn(slots::run(lasting.clone()));
    }
    for (from, receiver) in mesh {
        lasting.handle.spawn(mesh::hear(lasting.clone(), from, receiver));
    }
    if lasting.index == 0 {
        let notes = shard.tables.catalogue().notes().clone();
        lasting.handle.spawn(tables::tell(lasting.clone(), notes));
    }
    smtp::begin(&shard);
    lasting.start_services();
    for (address, listener) in listeners {
        lasting.open_listener(address, listener);
    }
}

impl Lasting {
    /// Starts the tasks that only some settings need, unless they run already.
    pub(super) fn start_services(self: &Rc<Self>) {
        anvil::start(self);
        verify::start(self);
        smtp::start_statistics(self);
    }
}

/// No new sessions and deliveries; those that are running get `ringpost_drain_limit` to finish.
async fn stop(lasting: &Rc<Lasting>, signal: i32) {
    lasting.say_of_all(format_args!("terminating on signal {signal}"));
    lasting.drain.begin();
    let shard = lasting.newest();
    qmgr::stop(&shard);
    anvil::tell_last_peaks(&shard).await;
    let quiet = async {
        while lasting.loads.sessions(lasting.index) > 0 || lasting.qmgr.deliveries_running() > 0 {
            lasting.quieter.notified().await;
        }
    };
    if lasting.handle.timeout(shard.settings.drain_limit, quiet).await.is_err() {
        lasting.log.warning("master", 0, format_args!("stopping with sessions or deliveries unfinished"));
    }
    anvil::log_last_peaks(&shard).await;
    smtp::log_last_statistics(&shard);
    if let Err(error) = lasting.spool.close().await {
        lasting.log.warning("qmgr", 0, format_args!("the spool did not close cleanly: {error}"));
    }
    lasting.log.close().await;
}
