//! engine: the process of all shards, from the checks before the start to the exit code.
//!
//! Receives: a checked configuration; SIGTERM and SIGINT (drain), SIGHUP (reload), SIGUSR1 (figures).
//! Sends:    `Control` messages to every shard; the line `ringpost: ready` on standard error once all listen.
//! Owns:     the spool's lock, the shard threads, `figures.json` in the queue directory.
//! Limits:   shards = cores by default; open files are raised to the hard limit.
//! On failure: whatever stops the start is told with its reason and a sysexits code before any mail is taken; a
//!           panic on a shard aborts the process, and the next start recovers from the spool.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringpost_core::config::Config;
use ringpost_tables::{Catalogue, TableOptions};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use crate::control::{self, Switchboard};
use crate::counters::{EngineFigures, ShardFigures};
use crate::failure::Failure;
use crate::mesh::{self, Control, Loads};
use crate::reload::{Load, Reloader};
use crate::settings::Settings;
use crate::shard;
use crate::smtp::IdleBoard;

/// How long a listening address may stay taken by a process that is just ending.
const ADDRESS_WAIT: Duration = Duration::from_secs(2);
/// How long a shard may take to tell its figures.
const FIGURES_WAIT: Duration = Duration::from_secs(2);

/// Runs the relay in the foreground until it is told to stop. `origin` says where the configuration comes from, `load`
/// reads it again.
pub fn serve(config: &Config, origin: &str, load: Load) -> Result<(), Failure> {
    let settings = Arc::new(Settings::from_config(config, origin)?);
    abort_when_a_shard_panics();
    let signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGUSR1])
        .map_err(|error| Failure::os("cannot watch for signals", error))?;
    let _lock = settings.take_spool()?;
    raise_open_files();
    for listener in &settings.listeners {
        wait_for_address(listener.address)?;
    }
    warn_of_more_shards(&settings);
    let catalogue = Catalogue::open(config.tables(), &TableOptions::of(&config.view()));
    catalogue.watch().map_err(|error| Failure::os("cannot start the thread that watches tables", error))?;
    let mut engine = Engine::start(settings, catalogue, load)?;
    eprintln!("ringpost: ready");
    let signal = engine.obey(signals);
    engine.stop(signal)
}

struct Engine {
    reloader: Arc<Reloader>,
    switchboard: Arc<Switchboard>,
    threads: Vec<JoinHandle<ShardFigures>>,
}

impl Engine {
    /// Starts every shard and lets them go once all have recovered their spool and listen.
    fn start(settings: Arc<Settings>, catalogue: Arc<Catalogue>, load: Load) -> Result<Engine, Failure> {
        let shards = settings.shards;
        let loads = Loads::new(shards);
        let idle_board = (shards > 1).then(|| IdleBoard::new(shards));
        let probe_results = settings.probes.as_ref().and_then(|probes| probes.open(&catalogue));
        let (started, reports) = sync_channel(shards);
        let (ends, controls): (Vec<_>, Vec<_>) = mesh::rings(shards).into_iter().unzip();
        let switchboard = Arc::new(Switchboard::new(controls));
        let mut threads = Vec::new();
        for (index, ends) in ends.into_iter().enumerate() {
            let parts = shard::Parts {
                index,
                settings: settings.clone(),
                mesh: ends,
                loads: loads.clone(),
                catalogue: catalogue.clone(),
                probe_results: probe_results.clone(),
                idle_board: idle_board.clone(),
                started: started.clone(),
            };
            let thread = std::thread::Builder::new()
                .name(format!("shard-{index:02}"))
                .spawn(move || shard::run(parts))
                .map_err(|error| Failure::os("cannot start a shard's thread", error))?;
            threads.push(thread);
        }
        drop(started);
        wait_until_started(&reports, shards)?;
        switchboard.tell_all(|| Control::Go);
        let reloader = Arc::new(Reloader::new(load, switchboard.clone(), settings, catalogue));
        control::start(reloader.clone(), switchboard.clone())
            .map_err(|error| Failure::os("cannot start the control thread", error))?;
        Ok(Engine { reloader, switchboard, threads })
    }

    /// Works until a signal says stop, and answers which.
    fn obey(&mut self, mut signals: Signals) -> i32 {
        for signal in signals.forever() {
            match signal {
                SIGUSR1 => {
                    let figures = self.figures();
                    self.write_figures(&figures);
                }
                SIGHUP => self.reloader.reload_later(),
                signal => return signal,
            }
        }
        SIGTERM
    }

    fn stop(mut self, signal: i32) -> Result<(), Failure> {
        self.switchboard.stop();
        control::close(&self.reloader.settings().queue_directory);
        self.switchboard.tell_all(|| Control::Drain { signal });
        let mut figures = Vec::new();
        for thread in std::mem::take(&mut self.threads) {
            figures.push(thread.join().map_err(|_| Failure::software("a shard ended badly"))?);
        }
        self.write_figures(&EngineFigures::of(figures));
        Ok(())
    }

    fn figures(&mut self) -> EngineFigures {
        let (sender, receiver) = sync_channel(self.switchboard.shards());
        self.switchboard.tell_all(|| Control::Figures(sender.clone()));
        drop(sender);
        let mut figures = Vec::new();
        for _ in 0..self.switchboard.shards() {
            match receiver.recv_timeout(FIGURES_WAIT) {
                Ok(shard) => figures.push(shard),
                Err(_) => eprintln!("ringpost: warning: a shard did not tell its figures in time"),
            }
        }
        EngineFigures::of(figures)
    }

    fn write_figures(&self, figures: &EngineFigures) {
        let path = self.reloader.settings().queue_directory.join("figures.json");
        if let Err(error) = replace_file(&path, figures.to_json().as_bytes()) {
            eprintln!("ringpost: warning: cannot write {}: {error}", path.display());
        }
    }
}

/// What a shard says once it is ready to go, or why it cannot.
pub type Started = SyncSender<Result<(), Failure>>;

fn wait_until_started(reports: &Receiver<Result<(), Failure>>, shards: usize) -> Result<(), Failure> {
    for _ in 0..shards {
        reports.recv().map_err(|_| Failure::software("a shard ended at its start"))??;
    }
    Ok(())
}

/// Whether an address is free. SO_REUSEPORT would let two engines share a port in silence, so it is first taken without it.
/// **Blocks** for a process that is just ending.
pub fn wait_for_address(address: SocketAddr) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        match TcpListener::bind(address) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && begun.elapsed() < ADDRESS_WAIT => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) => return Err(Failure::listen(address, error)),
        }
    }
}

fn warn_of_more_shards(settings: &Settings) {
    if settings.shards > settings.shards_wanted {
        eprintln!(
            "ringpost: warning: {} holds the queues of {} shards, so all of these run and share {} cores; to run \
             fewer, stop when the queue is empty and remove the directories spool/shard-NN that are too many",
            settings.queue_directory.display(),
            settings.shards,
            settings.shards_wanted
        );
    }
}

fn abort_when_a_shard_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        std::process::abort();
    }));
}

fn raise_open_files() {
    if let Err(error) = ringpost_reactor::process::raise_open_files() {
        eprintln!("ringpost: warning: cannot raise the limit of open files: {error}");
    }
}

fn replace_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    ringpost_reactor::fs::replace_small(path, bytes)
}
