//! reload: new settings for an engine that runs (`ringpost reload`, SIGHUP).
//!
//! Receives: the word to reload, from a control session or a signal; the configuration, by the same way as at the start.
//! Sends:    the steps of `shard::Step` to every shard, and to whoever asked what came of it.
//! Owns:     the settings and the tables that hold now; those of older generations until nobody uses them, so that no
//!           shard ever spends its time on freeing a large table.
//! Limits:   one reload at a time; another waits for it. [`LINES_MAX`] errors are told. A shard has `PATIENCE` to answer.
//! On failure: whatever is wrong is found before anything changes: the old settings keep running, untouched, and the log
//!           says why. What waits for a restart is told as a warning.
//! Standards: Postfix's `postfix reload`; master(8) for SIGHUP.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ringpost_core::config::{Config, names};
use ringpost_tables::{Catalogue, TableOptions};

use crate::control::Switchboard;
use crate::engine::wait_for_address;
use crate::failure::{EX_TEMPFAIL, EX_UNAVAILABLE, Failure};
use crate::mesh::Control;
use crate::settings::Settings;
use crate::shard::{Next, Step};

/// Reads the configuration again, and checks it as for a start.
pub type Load = Box<dyn Fn() -> Result<Config, Failure> + Send + Sync>;

/// Errors of a configuration that are told, by a log line each; more are counted.
pub const LINES_MAX: usize = 100;
/// How long a shard may take for one step; it has stopped turning when it needs longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the wait for shards looks whether the engine stops.
const STOP_LOOK: Duration = Duration::from_millis(100);
/// A reload has a stack as large as the main thread's, which reads the configuration at the start: what can be read there
/// can be read here.
const STACK_BYTES: usize = 8 << 20;
/// How often older generations are looked at.
const RETIRED_LOOK: Duration = Duration::from_secs(1);

/// Gives an engine new settings.
pub struct Reloader {
    load: Load,
    switchboard: Arc<Switchboard>,
    /// Held for a whole reload.
    newest: Mutex<Newest>,
    /// Those that hold now; the lock is taken to copy or replace them only.
    settings: Mutex<Arc<Settings>>,
    retired: Arc<Mutex<Vec<Retired>>>,
    /// A signal's reload is about to begin.
    is_wanted: AtomicBool,
}

struct Newest {
    generation: u64,
    catalogue: Arc<Catalogue>,
}

/// What older sessions may still use.
struct Retired {
    settings: Arc<Settings>,
    catalogue: Arc<Catalogue>,
}

impl Retired {
    fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.settings) > 1 || Arc::strong_count(&self.catalogue) > 1
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What it guards is replaced as a whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reloader {
    /// For an engine that has started with these settings.
    pub fn new(
        load: Load,
        switchboard: Arc<Switchboard>,
        settings: Arc<Settings>,
        catalogue: Arc<Catalogue>,
    ) -> Reloader {
        Reloader {
            load,
            switchboard,
            newest: Mutex::new(Newest { generation: 0, catalogue }),
            settings: Mutex::new(settings),
            retired: Arc::default(),
            is_wanted: AtomicBool::new(false),
        }
    }

    /// The settings that hold now.
    pub fn settings(&self) -> Arc<Settings> {
        lock(&self.settings).clone()
    }

    /// Reloads in a thread of its own: a signal has asked. Signals that come before it begins are one.
    pub fn reload_later(self: &Arc<Self>) {
        if self.is_wanted.swap(true, Ordering::SeqCst) {
            return;
        }
        let reloader = self.clone();
        let work = move || {
            // Whoever signals from here on may have written the configuration after it was read.
            drop(lock(&reloader.newest));
            reloader.is_wanted.store(false, Ordering::SeqCst);
            // The log says what came of it.
            let _ = reloader.reload_here();
        };
        if let Err(error) = thread().spawn(work) {
            self.is_wanted.store(false, Ordering::SeqCst);
            eprintln!("ringpost: warning: no thread for a reload: {error}");
        }
    }

    /// Reads the configuration and has every shard take it. Answers when all have: what of it waits for a restart, a
    /// sentence each. **Blocks**, for as long as the largest table takes to open.
    ///
    /// # Errors
    /// Why nothing has changed; each line has file and line number where there are any.
    pub fn reload(self: &Arc<Self>) -> Result<Vec<String>, Failure> {
        let reloader = self.clone();
        let work = thread().spawn(move || reloader.reload_here());
        let work = work.map_err(|error| Failure::os("no thread for a reload", error))?;
        work.join().unwrap_or_else(|_| Err(Failure::software("the reload ended badly")))
    }

    fn reload_here(&self) -> Result<Vec<String>, Failure> {
        let mut newest = lock(&self.newest);
        let taken = self.next(&newest).and_then(|next| self.hand_out(&next).map(|()| next));
        let next = taken.map_err(|failure| self.refuse(failure))?;
        let settings = std::mem::replace(&mut *lock(&self.settings), next.settings.clone());
        let catalogue = std::mem::replace(&mut newest.catalogue, next.catalogue.clone());
        newest.generation = next.generation;
        catalogue.replaced();
        let mut warnings = next.warnings.clone();
        if let Err(error) = newest.catalogue.watch() {
            warnings.push(format!("changed tables are not noticed: no thread to watch them: {error}"));
        }
        drop(next);
        self.retire(Retired { settings, catalogue });
        Ok(warnings)
    }

    /// Everything that can be wrong without asking a shard.
    fn next(&self, newest: &Newest) -> Result<Arc<Next>, Failure> {
        let config = (self.load)()?;
        let running = self.settings();
        let (settings, warnings) =
            Settings::next(&config, &running).map_err(|failure| placed(&config, failure))?;
        for address in fresh_addresses(&running, &settings) {
            wait_for_address(address).map_err(|failure| {
                let message = format!("{}{failure}", place_of_listener(&config, address));
                Failure::new(failure.code, message)
            })?;
        }
        let options = TableOptions::of(&config.view());
        // What no file names may be missing, as at the start: nobody could mend that in the configuration.
        let is_default = |table: &_| config.place_of_table(table).is_none();
        let catalogue = newest.catalogue.next(config.tables(), &options, is_default).map_err(|unopened| {
            let line = |(table, reason)| match config.place_of_table(&table) {
                Some((place, parameter)) => format!("{place}: {parameter}: {table}: {reason}"),
                None => format!("{table}: {reason}"),
            };
            Failure::config(unopened.into_iter().map(line).collect::<Vec<_>>().join("\n"))
        })?;
        let probe_results = match &settings.probes {
            Some(probes) if config.place_of(names::ADDRESS_VERIFY_MAP.as_str()).is_some() => {
                Some(probes.try_open(&catalogue).map_err(|failure| placed(&config, failure))?)
            }
            probes => probes.as_ref().and_then(|probes| probes.open(&catalogue)),
        };
        let generation = newest.generation + 1;
        Ok(Arc::new(Next { generation, settings: Arc::new(settings), catalogue, probe_results, warnings }))
    }

    /// Has all shards take it, or none.
    fn hand_out(&self, next: &Arc<Next>) -> Result<(), Failure> {
        let prepared = self
            .ask_all(|answer| Step::Prepare { next: next.clone(), answer })
            .and_then(|answers| answers.into_iter().collect::<Result<(), Failure>>());
        if let Err(failure) = prepared {
            self.tell_all(|| Step::Abandon);
            return Err(failure);
        }
        // Nothing can fail any more: a shard that is late has the word in its ring and takes it when it turns again.
        if let Err(failure) = self.ask_all(|answer| Step::Commit { answer }) {
            eprintln!("ringpost: warning: reload: {failure}");
        }
        Ok(())
    }

    /// Says something to every shard and waits for all answers.
    fn ask_all<T>(&self, step: impl Fn(SyncSender<T>) -> Step) -> Result<Vec<T>, Failure> {
        let shards = self.switchboard.shards();
        let (sender, answers) = sync_channel(shards);
        self.tell_all(|| step(sender.clone()));
        drop(sender);
        (0..shards).map(|_| self.hear(&answers)).collect()
    }

    fn tell_all(&self, step: impl Fn() -> Step) {
        for shard in 0..self.switchboard.shards() {
            // A shard that does not hear does not answer either, which is told.
            let _ = self.switchboard.tell(shard, Control::Reload(Box::new(step())), PATIENCE);
        }
    }

    fn hear<T>(&self, answers: &Receiver<T>) -> Result<T, Failure> {
        let begun = Instant::now();
        loop {
            match answers.recv_timeout(STOP_LOOK) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Timeout) if begun.elapsed() >= PATIENCE => {
                    return Err(Failure::new(EX_UNAVAILABLE, "a shard does not answer"));
                }
                Err(RecvTimeoutError::Timeout) if !self.switchboard.is_stopping() => {}
                Err(_) => return Err(Failure::new(EX_TEMPFAIL, "the mail system is stopping")),
            }
        }
    }

    /// The log learns why nothing has changed.
    fn refuse(&self, failure: Failure) -> Failure {
        let all = failure.message.lines().count();
        let mut lines: Vec<&str> = failure.message.lines().take(LINES_MAX).collect();
        let more = format!("and {} more", all.saturating_sub(LINES_MAX));
        if all > LINES_MAX {
            lines.push(&more);
        }
        let reasons = lines.iter().map(|line| (*line).to_owned()).collect();
        let step = Control::Reload(Box::new(Step::Refused(reasons)));
        // At the stop nobody is left to tell.
        let _ = self.switchboard.tell(0, step, PATIENCE);
        Failure::new(failure.code, lines.join("\n"))
    }

    /// Keeps what older sessions use until they have ended.
    fn retire(&self, old: Retired) {
        let mut retired = lock(&self.retired);
        retired.push(old);
        if retired.len() > 1 {
            return;
        }
        let all = self.retired.clone();
        let work = move || {
            loop {
                std::thread::sleep(RETIRED_LOOK);
                let mut retired = lock(&all);
                let (in_use, free) = retired.drain(..).partition(Retired::is_in_use);
                *retired = in_use;
                let is_done = retired.is_empty();
                drop(retired);
                drop::<Vec<Retired>>(free);
                if is_done {
                    return;
                }
            }
        };
        if std::thread::Builder::new().name("retired settings".to_owned()).spawn(work).is_err() {
            // Whoever uses them last frees them.
            retired.clear();
        }
    }
}

fn thread() -> std::thread::Builder {
    std::thread::Builder::new().name("reload".to_owned()).stack_size(STACK_BYTES)
}

/// Addresses that are to be opened. One whose port is in use by another address of ours is left to the shards: 0.0.0.0
/// cannot be tried while 127.0.0.1 is open, and yet they may be open side by side for a moment.
fn fresh_addresses(running: &Settings, next: &Settings) -> Vec<SocketAddr> {
    let is_fresh = |address: &SocketAddr| {
        running.listeners.iter().all(|listener| listener.address.port() != address.port())
    };
    next.listeners.iter().map(|listener| listener.address).filter(is_fresh).collect()
}

/// `master.cf:12: ` for an address that a line of it has brought.
fn place_of_listener(config: &Config, address: SocketAddr) -> String {
    let listeners = config.listeners();
    let found = listeners.iter().find(|spec| spec.addresses(config).contains(&address));
    found.map(|spec| format!("{}: ", spec.service.place)).unwrap_or_default()
}

/// A failure that begins with the name of a parameter, with the place where that is set.
fn placed(config: &Config, failure: Failure) -> Failure {
    let parameter = failure.message.split_once(':').map_or("", |(name, _)| name);
    match config.place_of(parameter) {
        Some(place) => Failure::new(failure.code, format!("{place}: {failure}")),
        None => failure,
    }
}
