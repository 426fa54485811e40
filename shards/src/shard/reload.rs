//! reload: a shard's part in taking up a new generation of settings.
//!
//! A reload has two steps, so that either all shards take it or none: in the first each shard makes everything ready that
//! can fail (sockets, the log's file) and uses nothing of it; in the second nothing can fail any more.
//!
//! ```text
//! Reloader                     every shard
//!    Prepare {next}   ──────►  opens new addresses and the log's file, makes the generation
//!                     ◄──────  ready, or the reason why not
//!    Commit           ──────►  the generation is the newest; queue manager, log and listeners follow
//!                     ◄──────  done
//!    (or Abandon      ──────►  what was made ready is dropped)
//! ```
//!
//! Between the two a client may come from a shard that has committed already: its address is then found in what is
//! prepared here.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use hashbrown::HashMap;
use ringpost_reactor::local::{OneshotSender, oneshot};
use ringpost_reactor::{AppendFile, Listener};
use ringpost_tables::Catalogue;
use ringpost_tables::proxywrite::Writable;

use super::{Lasting, Shard, life};
use crate::dns::Resolver;
use crate::failure::Failure;
use crate::settings::Settings;
use crate::{listener, qmgr, smtp};

/// A generation of settings as the engine hands it to every shard.
pub struct Next {
    /// Its number, one more than the last.
    pub generation: u64,
    /// The settings.
    pub settings: Arc<Settings>,
    /// Their tables.
    pub catalogue: Arc<Catalogue>,
    /// What probes of addresses found out, if any are sent.
    pub probe_results: Option<Writable>,
    /// What of the configuration waits for a restart; one shard logs it.
    pub warnings: Vec<String>,
}

/// One step of a reload. The engine sends no second reload before the first is done or abandoned.
pub enum Step {
    /// Make it ready.
    Prepare {
        /// What.
        next: Arc<Next>,
        /// Where to say that it is, or why it cannot be. Has room for an answer of every shard.
        answer: SyncSender<Result<(), Failure>>,
    },
    /// Use what was made ready.
    Commit {
        /// Where to say that it is in use. Has room for an answer of every shard.
        answer: SyncSender<()>,
    },
    /// Forget what was made ready, if anything was.
    Abandon,
    /// The configuration was refused before anything was made ready: one shard logs why.
    Refused(Vec<String>),
}

/// What is ready and not in use.
pub(super) struct Prepared {
    shard: Rc<Shard>,
    listeners: Vec<(SocketAddr, Listener)>,
    log_file: Option<AppendFile>,
    warnings: Vec<String>,
}

/// The addresses that this shard listens on; what is dropped ends that.
#[derive(Default)]
pub(super) struct OpenListeners(RefCell<HashMap<SocketAddr, OneshotSender<()>>>);

impl Lasting {
    /// Accepts on `listener`, until the address is closed.
    pub(super) fn open_listener(self: &Rc<Self>, address: SocketAddr, listener: Listener) {
        let (open, closed) = oneshot();
        self.listeners.0.borrow_mut().insert(address, open);
        self.handle.spawn(listener::run(self.clone(), address, listener, closed));
    }

    /// The generation whose session a fresh client of this address gets, and its service. `None` when the address is
    /// closed.
    pub fn serving(&self, address: SocketAddr) -> Option<(Rc<Shard>, usize)> {
        let newest = self.newest();
        if let Some(service) = newest.settings.service_at(address) {
            return Some((newest, service));
        }
        let prepared = self.prepared.borrow();
        let shard = &prepared.as_ref()?.shard;
        Some((shard.clone(), shard.settings.service_at(address)?))
    }

    /// Does what the engine says.
    pub(super) fn take_step(self: &Rc<Self>, step: Step) {
        // Whoever reloads may have given up waiting for an answer; it has said so then, and says what follows.
        match step {
            Step::Prepare { next, answer } => {
                let ready = self.prepare(&next);
                let _ = answer.send(ready.map(|prepared| {
                    self.prepared.replace(Some(prepared));
                }));
            }
            Step::Commit { answer } => {
                self.commit();
                let _ = answer.send(());
            }
            Step::Abandon => drop(self.prepared.take()),
            Step::Refused(reasons) => {
                for reason in reasons {
                    self.log.warning("master", std::process::id(), format_args!("reload refused: {reason}"));
                }
            }
        }
    }

    fn prepare(self: &Rc<Self>, next: &Next) -> Result<Prepared, Failure> {
        let settings = &next.settings;
        let newest = self.newest();
        let listening = self.listeners.0.borrow();
        let added = settings.listeners.iter().map(|listener| listener.address);
        let added = added.filter(|address| !listening.contains_key(address));
        let listeners = added.map(|address| Ok((address, life::listen(&self.handle, address)?)));
        let listeners = listeners.collect::<Result<Vec<_>, Failure>>()?;
        let log_file = self.log.open_again(settings)?;
        let resolver = match newest.settings.dns_servers == settings.dns_servers {
            true => newest.resolver.clone(),
            false => Resolver::new(self.handle.clone(), settings.dns_servers.clone()),
        };
        let (tables, results) = (&next.catalogue, next.probe_results.clone());
        let shard = Shard::of(next.generation, settings.clone(), tables, results, resolver, self.clone());
        Ok(Prepared { shard, listeners, log_file, warnings: next.warnings.clone() })
    }

    /// From here on everything that begins does so with the new settings.
    fn commit(self: &Rc<Self>) {
        let Some(Prepared { shard, listeners, log_file, warnings }) = self.prepared.take() else { return };
        let settings = shard.settings.clone();
        self.log.renew(log_file, &settings);
        self.newest.replace(Some(shard.clone()));
        let (version, origin) = (env!("CARGO_PKG_VERSION"), &settings.origin);
        self.say_of_all(format_args!("reload -- version {version}, configuration {origin}"));
        if self.index == 0 {
            for warning in &warnings {
                self.log.warning("master", std::process::id(), format_args!("{warning}"));
            }
        }
        self.spool.set_free_bytes_min(settings.spool_free_bytes_min());
        self.anvil.set_unit(settings.anvil_unit);
        self.listeners.0.borrow_mut().retain(|address, _| settings.service_at(*address).is_some());
        for (address, listener) in listeners {
            self.open_listener(address, listener);
        }
        self.start_services();
        // Those that wait for room may have more now.
        self.session_ended.notify_all();
        smtp::end_idle(&shard);
        qmgr::renew(&shard);
    }
}
