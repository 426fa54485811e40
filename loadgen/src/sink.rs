//! The sink: an SMTP or LMTP server that accepts everything, keeps books, and misbehaves where a script tells it to.
//!
//! Receives: connections on any number of addresses. Sends: replies; nothing onward.
//! Owns: the [`Ledger`]s (one per thread), the counters, the file of accepted ids.
//! Limits: [`SinkSettings::connections_max`] connections (further ones get 421), 64 KiB of read buffer per thread, at
//! most 16 KiB of headers per connection, 256 KiB of a bounce.
//! On failure: a session that breaks is closed; a port that is taken is told at the start.
//! Standards: RFC 5321, RFC 2033 (LMTP), RFC 2920, RFC 1870, RFC 6152, RFC 3461 (offered, not acted on), RFC 3464.

mod content;
mod session;

use std::cell::RefCell;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use glommio::net::TcpListener;
use glommio::timer::sleep;
use hdrhistogram::Histogram;

use crate::id_file::{IdFile, IdLines};
use crate::ledger::Ledger;
use crate::net::ReadBuffer;
use crate::report::{LatencySummary, SinkFigures, new_histogram, per_message};
use crate::script::Script;
use crate::{Failure, executor};

/// How soon a thread notices that the sink is to stop. Also how often collected ids go to their file.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// Pause after a failed accept (no more file descriptors, say), so that trouble does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// So long somebody must go on listening to be taken as alive: an io_uring process that was killed keeps its listener
/// for some milliseconds after its death.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Between two looks at who is listening.
const PROBE_PAUSE: Duration = Duration::from_millis(20);

/// Longest wait for a thread to start listening.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// What a sink is to do.
#[derive(Clone, Debug)]
pub struct SinkSettings {
    /// Addresses to listen on; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Speak LMTP instead of SMTP.
    pub lmtp: bool,
    /// Threads, 1 to [`executor::THREADS_MAX`].
    pub threads: usize,
    /// Connections served at once, over all threads.
    pub connections_max: usize,
    /// A client that is silent for so long is dropped.
    pub timeout: Duration,
    /// Name in the greeting.
    pub name: String,
    /// Behaviour.
    pub script: Arc<Script>,
    /// Where each accepted id and recipient is written, one line per delivery.
    pub accepted: Option<PathBuf>,
}

impl Default for SinkSettings {
    fn default() -> SinkSettings {
        SinkSettings {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
            lmtp: false,
            threads: 1,
            connections_max: 20_000,
            timeout: Duration::from_secs(300),
            name: "sink.ringpost.invalid".into(),
            script: Arc::default(),
            accepted: None,
        }
    }
}

/// Live figures of a sink. Each is a plain count: nothing else is ordered by it.
#[derive(Debug, Default)]
pub struct SinkCounters {
    /// Connections accepted so far.
    pub connections: AtomicU64,
    /// Connections open now.
    pub connections_now: AtomicUsize,
    /// Most connections open at once.
    pub connections_peak: AtomicUsize,
    /// Sessions between MAIL and the end of their transaction now.
    pub transactions_now: AtomicUsize,
    /// Most of them at once.
    pub transactions_peak: AtomicUsize,
    /// Messages accepted.
    pub messages: AtomicU64,
    /// Recipients accepted.
    pub deliveries: AtomicU64,
    /// Bytes of content accepted.
    pub bytes: AtomicU64,
    /// Failed recipients told by bounces.
    pub bounces: AtomicU64,
    /// Accepted messages without a tracking id that are not bounces.
    pub unidentified: AtomicU64,
    /// Accepted messages whose body is not the one that was sent.
    pub damaged: AtomicU64,
    /// Commands and contents refused with 4xx.
    pub deferrals: AtomicU64,
    /// Commands and contents refused with 5xx.
    pub rejections: AtomicU64,
    /// Connections that the script closed.
    pub drops: AtomicU64,
}

/// What the threads of one sink share.
pub(crate) struct SinkShared {
    settings: SinkSettings,
    counters: SinkCounters,
    stop: AtomicBool,
}

/// What the sessions of one thread share.
pub(crate) struct ThreadShared {
    sink: Arc<SinkShared>,
    ledger: Arc<Mutex<Ledger>>,
    accepted: Option<RefCell<IdLines>>,
    random: RefCell<fastrand::Rng>,
    greylist: RefCell<session::Greylist>,
    latency: RefCell<Histogram<u64>>,
    read_buffer: ReadBuffer,
}

/// What a thread has at its end.
struct ThreadEnd {
    latency: Histogram<u64>,
    cpu: Duration,
}

/// A running sink.
pub struct Sink {
    shared: Arc<SinkShared>,
    addresses: Vec<SocketAddr>,
    ledgers: Vec<Arc<Mutex<Ledger>>>,
    accepted: Option<IdFile>,
    threads: Vec<JoinHandle<Result<ThreadEnd, Failure>>>,
}

/// What a sink has seen, once it has stopped.
pub struct SinkReport {
    /// From the time of sending in the message to its acceptance, µs.
    pub latency: Histogram<u64>,
    /// CPU time of all its threads.
    pub cpu: Duration,
}

impl Sink {
    /// Binds the addresses and starts the threads; when this returns, connections are being accepted.
    ///
    /// # Errors
    /// If an address cannot be bound, a file not created, or a thread not started.
    pub fn start(mut settings: SinkSettings) -> Result<Sink, Failure> {
        executor::prepare_limits(settings.threads)?;
        for address in &mut settings.listen {
            *address = reserve(*address)?;
        }
        let addresses = settings.listen.clone();
        let accepted = settings.accepted.as_deref().map(IdFile::create).transpose()?;
        let threads = settings.threads;
        let shared = Arc::new(SinkShared {
            settings,
            counters: SinkCounters::default(),
            stop: AtomicBool::new(false),
        });
        let mut sink = Sink { shared, addresses, ledgers: Vec::new(), accepted, threads: Vec::new() };
        let (ready, is_ready) = channel();
        for number in 0..threads {
            let ledger = Arc::new(Mutex::new(Ledger::default()));
            sink.ledgers.push(Arc::clone(&ledger));
            let (shared, ready) = (Arc::clone(&sink.shared), ready.clone());
            let lines = sink.accepted.as_ref().map(IdFile::lines);
            let thread = executor::spawn(&format!("sink-{number}"), move || async move {
                let thread = Rc::new(ThreadShared {
                    sink: shared,
                    ledger,
                    accepted: lines.map(RefCell::new),
                    random: RefCell::new(fastrand::Rng::new()),
                    greylist: RefCell::default(),
                    latency: RefCell::new(new_histogram()),
                    read_buffer: ReadBuffer::new(),
                });
                let listeners: Result<Vec<TcpListener>, String> = thread
                    .sink
                    .settings
                    .listen
                    .iter()
                    .map(|address| TcpListener::bind(address).map_err(|error| format!("{address}: {error}")))
                    .collect();
                match listeners {
                    Ok(listeners) => {
                        // The starter may have given up waiting; then the stop flag is set already.
                        let _ = ready.send(Ok(()));
                        serve(Rc::clone(&thread), listeners).await;
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
                let latency = thread.latency.replace(new_histogram());
                if let Some(lines) = &thread.accepted {
                    lines.borrow_mut().flush();
                }
                ThreadEnd { latency, cpu: executor::thread_cpu_time() }
            })
            .map_err(|error| Failure::Environment(format!("cannot start a thread: {error}")))?;
            sink.threads.push(thread);
        }
        drop(ready);
        match await_listeners(&is_ready, threads) {
            Ok(()) => Ok(sink),
            Err(trouble) => {
                // The thread's own failure says more than its silence.
                sink.stop().map(|_| ())?;
                Err(Failure::Environment(trouble))
            }
        }
    }

    /// The addresses it listens on, with real ports.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Live figures.
    pub fn counters(&self) -> &SinkCounters {
        &self.shared.counters
    }

    /// The books, one per thread.
    pub fn ledgers(&self) -> &[Arc<Mutex<Ledger>>] {
        &self.ledgers
    }

    /// The figures of a stopped sink.
    pub fn figures(&self, report: &SinkReport) -> SinkFigures {
        let counters = self.counters();
        let messages = counters.messages.load(Relaxed);
        let duplicated = self.ledgers.iter().map(|ledger| {
            let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.iter().map(|(_, _, fate)| u64::from(fate.delivered.saturating_sub(1))).sum::<u64>()
        });
        SinkFigures {
            messages,
            deliveries: counters.deliveries.load(Relaxed),
            bounces: counters.bounces.load(Relaxed),
            bytes: counters.bytes.load(Relaxed),
            unidentified: counters.unidentified.load(Relaxed),
            damaged: counters.damaged.load(Relaxed),
            duplicated: duplicated.sum(),
            deferrals: counters.deferrals.load(Relaxed),
            rejections: counters.rejections.load(Relaxed),
            drops: counters.drops.load(Relaxed),
            connections: counters.connections.load(Relaxed),
            connections_peak: counters.connections_peak.load(Relaxed),
            transactions_peak: counters.transactions_peak.load(Relaxed),
            latency: LatencySummary::of(&report.latency),
            cpu_us_per_message: per_message(report.cpu, messages),
        }
    }

    /// Closes all connections, ends the threads, completes the file of ids.
    ///
    /// # Errors
    /// If a thread failed or the file could not be written.
    pub fn stop(&mut self) -> Result<SinkReport, Failure> {
        self.shared.stop.store(true, Relaxed);
        let mut report = SinkReport { latency: new_histogram(), cpu: Duration::ZERO };
        for thread in self.threads.drain(..) {
            let end = thread.join().map_err(|_| Failure::Environment("a sink thread panicked".into()))??;
            // Both histograms have the same bounds, so adding cannot fail.
            let _ = report.latency.add(&end.latency);
            report.cpu += end.cpu;
        }
        if let Some(file) = self.accepted.take() {
            file.finish()?;
        }
        Ok(report)
    }
}

/// Makes sure that nobody else listens on an address, and chooses the port if it is 0.
///
/// The threads share the port by `SO_REUSEPORT`, which would otherwise let a second sink quietly take half of the mail.
/// A plain bind would not do as a test: it fails for a minute after the last sink, for its connections' sake.
fn reserve(address: SocketAddr) -> Result<SocketAddr, Failure> {
    if address.port() != 0 {
        let deadline = Instant::now() + PROBE_TIMEOUT;
        while TcpStream::connect_timeout(&address, PROBE_TIMEOUT).is_ok() {
            if Instant::now() >= deadline {
                return Err(Failure::Environment(format!(
                    "cannot listen on {address}: somebody does already"
                )));
            }
            std::thread::sleep(PROBE_PAUSE);
        }
        return Ok(address);
    }
    StdListener::bind(address)
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Failure::Environment(format!("cannot listen on {address}: {error}")))
}

fn await_listeners(ready: &Receiver<Result<(), String>>, threads: usize) -> Result<(), String> {
    let deadline = Instant::now() + START_TIMEOUT;
    for _ in 0..threads {
        match ready.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(result) => result.map_err(|error| format!("cannot listen on {error}"))?,
            Err(RecvTimeoutError::Timeout) => return Err("the sink's threads do not start".into()),
            Err(RecvTimeoutError::Disconnected) => {
                return Err("a thread of the sink ended at its start".into());
            }
        }
    }
    Ok(())
}

/// Accepts on all listeners until the sink is stopped. Sessions end with the executor.
async fn serve(thread: Rc<ThreadShared>, listeners: Vec<TcpListener>) {
    for listener in listeners {
        let thread = Rc::clone(&thread);
        glommio::spawn_local(accept(thread, listener)).detach();
    }
    while !thread.sink.stop.load(Relaxed) {
        sleep(STOP_CHECK).await;
        if let Some(lines) = &thread.accepted {
            lines.borrow_mut().flush();
        }
    }
}

async fn accept(thread: Rc<ThreadShared>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok(stream) => {
                glommio::spawn_local(session::serve(Rc::clone(&thread), stream)).detach();
            }
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}
