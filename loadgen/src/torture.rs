//! Torture: `kill -9` of the relay at random moments while mail flows, then the reckoning.
//!
//! The moments come from a seed, which is printed. One kill in `EARLY_KILL_EVERY` falls into the relay's start, so
//! that a crash during recovery is tried too.
//! Limits: copies are allowed (a crash between the sink's 250 and the relay's record of it makes one); losses are not.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Failure;
use crate::account::{Account, Missing};
use crate::relay_process::{Relay, RelayCommand, refuse_taken};
use crate::report::{SinkFigures, SourceFigures};
use crate::run::{END_TIMEOUT, START_TIMEOUT, progress_bar};
use crate::sink::{Sink, SinkSettings};
use crate::source::{Source, SourceSettings};

/// One kill in so many does not wait for the relay to be up again.
const EARLY_KILL_EVERY: u64 = 5;

/// How often the end is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What to do to the relay.
#[derive(Clone, Debug)]
pub struct TortureSettings {
    /// Sends until the last kill; a number of messages ends it earlier.
    pub source: SourceSettings,
    /// Receives.
    pub sink: SinkSettings,
    /// Starts the relay, each time the same.
    pub relay: RelayCommand,
    /// How often to kill it.
    pub kills: u64,
    /// Shortest time between its greeting and its death.
    pub life_min: Duration,
    /// Longest.
    pub life_max: Duration,
    /// Seed of the moments.
    pub seed: u64,
    /// After the last kill, everything must have arrived within so long.
    pub deadline: Duration,
}

/// What torture reports.
#[derive(Debug, Serialize)]
pub struct TortureReport {
    /// Nothing was lost, nothing damaged, and the relay ended well.
    pub ok: bool,
    /// What was wrong otherwise.
    pub complaints: Vec<String>,
    /// Kills carried out.
    pub kills: u64,
    /// Of these, while the relay was starting.
    pub early_kills: u64,
    /// Seed of the moments.
    pub seed: u64,
    /// The command that repeats it.
    pub repeat: String,
    /// Longest time from a start of the relay to its greeting, seconds.
    pub longest_start_s: f64,
    /// The reckoning.
    pub account: Account,
    /// The source's side.
    pub source: SourceFigures,
    /// The sink's side.
    pub sink: SinkFigures,
}

/// Runs to the end, or until `stop` is set. `repeat` is the command line that does the same again.
///
/// # Errors
/// If one of the three does not start, or the relay ends by itself.
pub fn torture(
    settings: TortureSettings,
    repeat: String,
    stop: &AtomicBool,
) -> Result<TortureReport, Failure> {
    let plan = Arc::clone(&settings.source.plan);
    let target = settings.source.target;
    let mut sink = Sink::start(settings.sink)?;
    let command = settings.relay.with_addresses(sink.addresses()[0], target);
    refuse_taken(target)?;
    let mut random = fastrand::Rng::with_seed(settings.seed);
    let mut longest_start = Duration::ZERO;
    let mut start = |wait: bool| -> Result<Relay, Failure> {
        let begun = Instant::now();
        let mut relay = Relay::start(&command)?;
        if wait {
            relay.wait_until_greeting(target, begun + START_TIMEOUT)?;
            longest_start = longest_start.max(begun.elapsed());
        }
        Ok(relay)
    };
    let mut relay = start(true)?;
    let source = Source::start(settings.source)?;
    let bar = progress_bar(settings.kills);
    let (mut kills, mut early_kills) = (0, 0);
    let life_ms = settings.life_min.as_millis() as u64..=settings.life_max.as_millis() as u64;
    let mut relay_is_up = true;
    while kills < settings.kills && !stop.load(Relaxed) && !source.is_finished() {
        let life = random.u64(life_ms.clone());
        // A start is short, so an early death must be too.
        let life = if relay_is_up { life } else { life / 20 };
        std::thread::sleep(Duration::from_millis(life));
        if let Some(status) = relay.status()? {
            source.stop();
            return Err(Failure::Relay(format!("the relay ended by itself after {kills} kills: {status}")));
        }
        relay.kill()?;
        kills += 1;
        early_kills += u64::from(!relay_is_up);
        bar.set_position(kills);
        bar.set_message(format!("{} acknowledged", source.counters().acknowledged.load(Relaxed)));
        // The last start is always waited for.
        relay_is_up = kills == settings.kills || random.u64(..EARLY_KILL_EVERY) != 0;
        relay = start(relay_is_up)?;
    }
    if !relay_is_up {
        relay.wait_until_greeting(target, Instant::now() + START_TIMEOUT)?;
    }
    bar.finish_and_clear();
    source.stop();
    let source = source.finish()?;

    let deadline = Instant::now() + settings.deadline;
    let mut missing = Missing::find(&plan, &source.acknowledged, sink.ledgers());
    let mut complaints = Vec::new();
    while missing.update(sink.ledgers()) > 0 && Instant::now() < deadline && !stop.load(Relaxed) {
        if relay.status()?.is_some() {
            break;
        }
        std::thread::sleep(LOOK);
    }
    match relay.terminate(Instant::now() + END_TIMEOUT)? {
        Some(status) if status.success() => {}
        Some(status) => complaints.push(format!("the relay ended badly: {status}")),
        None => complaints.push(format!("the relay did not end within {END_TIMEOUT:?} of SIGTERM")),
    }
    let sink_report = sink.stop()?;
    let account = Account::settle(&plan, &source.acknowledged, sink.ledgers());
    let (source, sink) = (source.figures(), sink.figures(&sink_report));
    if account.lost > 0 {
        complaints.push(format!("{} recipients of acknowledged messages were lost", account.lost));
    }
    if sink.damaged > 0 {
        complaints.push(format!("{} messages arrived damaged", sink.damaged));
    }
    if source.acknowledged == 0 {
        complaints.push("no message was accepted".into());
    }
    if kills < settings.kills {
        complaints.push(format!("only {kills} of {} kills", settings.kills));
    }
    Ok(TortureReport {
        ok: complaints.is_empty(),
        complaints,
        kills,
        early_kills,
        seed: settings.seed,
        repeat,
        longest_start_s: longest_start.as_secs_f64(),
        account,
        source,
        sink,
    })
}

impl fmt::Display for TortureReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.source)?;
        writeln!(formatter, "{}", self.sink)?;
        writeln!(
            formatter,
            "torture: {} kills ({} during a start), longest start {:.2} s; seed {}",
            self.kills, self.early_kills, self.longest_start_s, self.seed
        )?;
        writeln!(formatter, "         again: {}", self.repeat)?;
        write!(formatter, "{}", self.account)?;
        for complaint in &self.complaints {
            write!(formatter, "\nFAILED: {complaint}")?;
        }
        if self.ok {
            write!(formatter, "\nOK: nothing that was accepted was lost")?;
        }
        Ok(())
    }
}
