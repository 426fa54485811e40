//! The source: many SMTP sessions that send tracked messages and remember which were acknowledged.
//!
//! Receives: replies. Sends: messages of a [`Plan`].
//! Owns: the numbers of acknowledged messages, the latencies, the counts of errors.
//! Limits: one buffer of a message's size per session (of 128 KiB at most), 64 KiB of read buffer per thread.
//! On failure: a message that was not acknowledged is sent again under a *new* id after a pause (so a second copy of an
//! id is never the source's doing); one refused with 5xx is counted and given up. A target that is away is tried
//! again, with pauses from [`BACKOFF_MIN`] doubling to [`BACKOFF_MAX`].
//! Standards: RFC 5321, RFC 2920 (MAIL to DATA in one flight), RFC 1870.

mod session;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;
use glommio::timer::sleep;
use hdrhistogram::Histogram;

use crate::id_file::{IdFile, IdLines};
use crate::message::{Generator, Plan, TrackingId};
use crate::net::ReadBuffer;
use crate::report::{LatencySummary, SourceFigures, new_histogram, per_message};
use crate::{Failure, executor};

/// First pause after a failure.
pub const BACKOFF_MIN: Duration = Duration::from_millis(10);
/// Longest pause after repeated failures: a relay that comes back is noticed within so long.
pub const BACKOFF_MAX: Duration = Duration::from_millis(640);

/// After a stop, transactions under way may take so long to finish.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// How soon a thread notices a stop, and how often ids go to their file.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// What a source is to do.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Where to send.
    pub target: SocketAddr,
    /// What to send.
    pub plan: Arc<Plan>,
    /// Sessions at once, over all threads.
    pub sessions: usize,
    /// Messages to have acknowledged (or refused) in all; none: until stopped.
    pub messages: Option<u64>,
    /// Messages begun per second, over all threads; none: as fast as sessions allow.
    pub rate: Option<f64>,
    /// Many messages per connection, or one.
    pub keep_connections: bool,
    /// Use PIPELINING where it is offered.
    pub pipelining: bool,
    /// Threads, 1 to [`executor::THREADS_MAX`].
    pub threads: usize,
    /// Longest wait for a connection, a reply, or room to send.
    pub timeout: Duration,
    /// Where the ids of acknowledged messages are written, one per line.
    pub acknowledged: Option<PathBuf>,
}

/// A message that was answered with 250 after the dot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its number in the run.
    pub sequence: u64,
    /// Recipients that were refused at RCPT: not accepted, so not to be delivered.
    pub refused_recipients: Vec<u32>,
}

/// Live figures of a source. Each is a plain count: nothing else is ordered by it.
#[derive(Debug, Default)]
pub struct SourceCounters {
    /// Messages acknowledged.
    pub acknowledged: CachePadded<AtomicU64>,
    /// Recipients of acknowledged messages that were accepted.
    pub recipients: AtomicU64,
    /// Messages refused with 5xx.
    pub refused: AtomicU64,
    /// Attempts that ended in 4xx, a lost connection or a timeout, and were repeated.
    pub repeated: AtomicU64,
    /// Connections made.
    pub connections: AtomicU64,
}

/// What the threads share.
pub(crate) struct SourceShared {
    settings: SourceSettings,
    counters: SourceCounters,
    stop: AtomicBool,
    /// Messages begun: the next one's place in the schedule.
    tickets: CachePadded<AtomicU64>,
    /// The next sequence number.
    sequences: CachePadded<AtomicU64>,
    /// Threads that have not ended.
    running: AtomicUsize,
    started: Instant,
}

/// What the sessions of one thread share.
pub(crate) struct ThreadShared {
    source: Arc<SourceShared>,
    generator: RefCell<Generator>,
    acknowledged: RefCell<Vec<Acknowledged>>,
    lines: Option<RefCell<IdLines>>,
    reply_latency: RefCell<Histogram<u64>>,
    response_latency: RefCell<Histogram<u64>>,
    errors: RefCell<BTreeMap<String, u64>>,
    random: RefCell<fastrand::Rng>,
    read_buffer: ReadBuffer,
    sessions_left: Cell<usize>,
    /// Since the start of the source.
    last_acknowledged: Cell<Duration>,
}

/// What a source has seen, once it has ended.
pub struct SourceReport {
    /// Messages refused with 5xx.
    pub refused: u64,
    /// Attempts repeated under a new number.
    pub repeated: u64,
    /// Connections made.
    pub connections: u64,
    /// Everything that was acknowledged, in no order.
    pub acknowledged: Vec<Acknowledged>,
    /// From the final dot to its 250, µs.
    pub reply_latency: Histogram<u64>,
    /// With a rate: from the intended time of sending to the 250, µs.
    pub response_latency: Histogram<u64>,
    /// Errors by what went wrong: code and stage, or what broke.
    pub errors: BTreeMap<String, u64>,
    /// From the start to the last acknowledgement.
    pub elapsed: Duration,
    /// CPU time of all threads.
    pub cpu: Duration,
}

/// What one thread has at its end.
struct ThreadEnd {
    acknowledged: Vec<Acknowledged>,
    reply_latency: Histogram<u64>,
    response_latency: Histogram<u64>,
    errors: BTreeMap<String, u64>,
    elapsed: Duration,
    cpu: Duration,
}

impl SourceReport {
    /// The figures for people and programs.
    pub fn figures(&self) -> SourceFigures {
        let acknowledged = self.acknowledged.len() as u64;
        let elapsed_s = self.elapsed.as_secs_f64();
        SourceFigures {
            acknowledged,
            refused: self.refused,
            repeated: self.repeated,
            connections: self.connections,
            elapsed_s,
            messages_per_s: if elapsed_s > 0.0 { acknowledged as f64 / elapsed_s } else { 0.0 },
            reply_latency: LatencySummary::of(&self.reply_latency),
            response_latency: LatencySummary::of(&self.response_latency),
            cpu_us_per_message: per_message(self.cpu, acknowledged),
            errors: self.errors.clone(),
        }
    }
}

/// A running source.
pub struct Source {
    shared: Arc<SourceShared>,
    lines: Option<IdFile>,
    threads: Vec<JoinHandle<Result<ThreadEnd, Failure>>>,
}

impl Source {
    /// Starts sending.
    ///
    /// # Errors
    /// If a limit, a file or a thread is not to be had.
    pub fn start(settings: SourceSettings) -> Result<Source, Failure> {
        settings.plan.check().map_err(Failure::Usage)?;
        executor::prepare_limits(settings.threads)?;
        let lines = settings.acknowledged.as_deref().map(IdFile::create).transpose()?;
        let generator = Generator::new(Arc::clone(&settings.plan));
        // No more sessions than messages: an idle one would only connect and quit.
        let sessions = settings.messages.map_or(settings.sessions, |messages| {
            settings.sessions.min(usize::try_from(messages).unwrap_or(usize::MAX))
        });
        let threads = settings.threads.min(sessions.max(1));
        let shared = Arc::new(SourceShared {
            settings,
            counters: SourceCounters::default(),
            stop: AtomicBool::new(false),
            tickets: CachePadded::default(),
            sequences: CachePadded::default(),
            running: AtomicUsize::new(threads),
            started: Instant::now(),
        });
        let mut source = Source { shared, lines, threads: Vec::new() };
        for number in 0..threads {
            let share = sessions / threads + usize::from(number < sessions % threads);
            let shared = Arc::clone(&source.shared);
            let generator = generator.clone();
            let lines = source.lines.as_ref().map(IdFile::lines);
            let spawned = executor::spawn(&format!("source-{number}"), move || async move {
                let random = fastrand::Rng::with_seed(shared.settings.plan.seed ^ number as u64);
                let thread = Rc::new(ThreadShared {
                    source: shared,
                    generator: RefCell::new(generator),
                    acknowledged: RefCell::default(),
                    lines: lines.map(RefCell::new),
                    reply_latency: RefCell::new(new_histogram()),
                    response_latency: RefCell::new(new_histogram()),
                    errors: RefCell::default(),
                    random: RefCell::new(random),
                    read_buffer: ReadBuffer::new(),
                    sessions_left: Cell::new(share),
                    last_acknowledged: Cell::default(),
                });
                send_all(&thread, share).await;
                thread.end()
            });
            match spawned {
                Ok(thread) => source.threads.push(thread),
                Err(error) => {
                    source.stop();
                    return Err(Failure::Environment(format!("cannot start a thread: {error}")));
                }
            }
        }
        Ok(source)
    }

    /// Live figures.
    pub fn counters(&self) -> &SourceCounters {
        &self.shared.counters
    }

    /// Whether all threads have ended.
    pub fn is_finished(&self) -> bool {
        // A thread whose executor did not start never counted itself out.
        self.shared.running.load(Relaxed) == 0 || self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Begins no further message; transactions under way may finish.
    pub fn stop(&self) {
        self.shared.stop.store(true, Relaxed);
    }

    /// Waits for the threads and gathers what they saw.
    ///
    /// # Errors
    /// If a thread failed, or the file of ids could not be written.
    pub fn finish(self) -> Result<SourceReport, Failure> {
        let counters = &self.shared.counters;
        let mut whole = SourceReport {
            refused: 0,
            repeated: 0,
            connections: 0,
            acknowledged: Vec::new(),
            reply_latency: new_histogram(),
            response_latency: new_histogram(),
            errors: BTreeMap::new(),
            elapsed: Duration::ZERO,
            cpu: Duration::ZERO,
        };
        for thread in self.threads {
            let report =
                thread.join().map_err(|_| Failure::Environment("a source thread panicked".into()))??;
            whole.acknowledged.extend(report.acknowledged);
            // Histograms with the same bounds can always be added.
            let _ = whole.reply_latency.add(&report.reply_latency);
            let _ = whole.response_latency.add(&report.response_latency);
            for (error, count) in report.errors {
                *whole.errors.entry(error).or_default() += count;
            }
            whole.elapsed = whole.elapsed.max(report.elapsed);
            whole.cpu += report.cpu;
        }
        whole.refused = counters.refused.load(Relaxed);
        whole.repeated = counters.repeated.load(Relaxed);
        whole.connections = counters.connections.load(Relaxed);
        if let Some(file) = self.lines {
            file.finish()?;
        }
        Ok(whole)
    }
}

/// Runs a thread's sessions until all have ended, or a stop and its grace are over.
async fn send_all(thread: &Rc<ThreadShared>, sessions: usize) {
    for _ in 0..sessions {
        let thread = Rc::clone(thread);
        glommio::spawn_local(async move {
            session::run(&thread).await;
            thread.sessions_left.set(thread.sessions_left.get() - 1);
        })
        .detach();
    }
    let mut stopped_at = None;
    while thread.sessions_left.get() > 0 {
        let pause = if stopped_at.is_some() { STOP_CHECK / 5 } else { STOP_CHECK };
        sleep(pause).await;
        if let Some(lines) = &thread.lines {
            lines.borrow_mut().flush();
        }
        if thread.is_stopped() && stopped_at.get_or_insert_with(Instant::now).elapsed() > STOP_GRACE {
            break;
        }
    }
}

impl ThreadShared {
    fn is_stopped(&self) -> bool {
        self.source.stop.load(Relaxed)
    }

    /// The next message's place in the schedule; none when all have been begun or the source is stopped.
    fn take_ticket(&self) -> Option<u64> {
        if self.is_stopped() {
            return None;
        }
        let ticket = self.source.tickets.fetch_add(1, Relaxed);
        (self.source.settings.messages.is_none_or(|messages| ticket < messages)).then_some(ticket)
    }

    fn next_sequence(&self) -> u64 {
        self.source.sequences.fetch_add(1, Relaxed)
    }

    /// When a ticket's message is to be begun, if there is a rate.
    fn intended_start(&self, ticket: u64) -> Option<Instant> {
        let rate = self.source.settings.rate?;
        Some(self.source.started + Duration::from_secs_f64(ticket as f64 / rate))
    }

    fn count_error(&self, error: String) {
        *self.errors.borrow_mut().entry(error).or_default() += 1;
    }

    fn acknowledge(&self, acknowledged: Acknowledged) {
        let settings = &self.source.settings;
        let counters = &self.source.counters;
        let accepted = u64::from(settings.plan.recipients) - acknowledged.refused_recipients.len() as u64;
        counters.acknowledged.fetch_add(1, Relaxed);
        counters.recipients.fetch_add(accepted, Relaxed);
        if let Some(lines) = &self.lines {
            let id = TrackingId { run: settings.plan.run, sequence: acknowledged.sequence };
            lines.borrow_mut().line(format_args!("{id}"));
        }
        self.last_acknowledged.set(self.source.started.elapsed());
        self.acknowledged.borrow_mut().push(acknowledged);
    }

    fn end(&self) -> ThreadEnd {
        if let Some(lines) = &self.lines {
            lines.borrow_mut().flush();
        }
        let end = ThreadEnd {
            acknowledged: self.acknowledged.take(),
            reply_latency: self.reply_latency.replace(new_histogram()),
            response_latency: self.response_latency.replace(new_histogram()),
            errors: self.errors.take(),
            elapsed: self.last_acknowledged.get(),
            cpu: executor::thread_cpu_time(),
        };
        self.source.running.fetch_sub(1, Relaxed);
        end
    }
}
