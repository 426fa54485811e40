//! Torture: `kill -9` of the relay at random moments while mail flows, then the reckoning.
//!
//! The moments come from a seed, which is printed. One kill in `EARLY_KILL_EVERY` falls into the relay's start, so
//! that a crash during recovery is tried too. While it lives, the relay's own queue commands are fired at random messages,
//! and at half of the kills one is under way.
//! Limits: copies are allowed (a crash between the sink's 250 and the relay's record of it makes one); losses are not.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Failure;
use crate::account::{Account, Missing, Whereabouts};
use crate::queue_commands::{CommandFigures, QueueCommands};
use crate::relay_process::{Relay, RelayCommand, refuse_taken};
use crate::report::{SinkFigures, SourceFigures};
use crate::run::{END_TIMEOUT, START_TIMEOUT, progress_bar};
use crate::sink::{Sink, SinkSettings};
use crate::source::{Source, SourceSettings};

/// One kill in so many does not wait for the relay to be up again.
const EARLY_KILL_EVERY: u64 = 5;

/// How often the end is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// How often at the end all held mail is released and all deferred mail tried.
const LET_GO_EVERY: Duration = Duration::from_secs(2);

/// Between a command's start and a kill that shall hit it.
const LAST_COMMAND_LIFE_MS_MAX: u64 = 8;

/// The queue commands that are fired meanwhile.
#[derive(Clone, Debug)]
pub struct CommandSettings {
    /// The relay's queue directory.
    pub spool: PathBuf,
    /// Whether a relay without such commands is a failure, and not tortured without them.
    pub required: bool,
}

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
    /// Fire the relay's queue commands; their program is the first word of the relay's. The recipient template must
    /// begin with [`TEMPLATE_PREFIX`](crate::queue_commands::TEMPLATE_PREFIX).
    pub commands: Option<CommandSettings>,
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
    /// What the queue commands did, if the relay has them.
    pub commands: Option<CommandFigures>,
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
    let commands = queue_commands(settings.commands.as_ref(), &command)?;
    let firing = commands.as_ref().map(|commands| commands.fire_until_stopped(random.u64(..))).transpose()?;
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
        let last_command = match &commands {
            Some(commands) if random.bool() => {
                let fired = commands.fire(&mut random, "last")?;
                std::thread::sleep(Duration::from_millis(random.u64(..=LAST_COMMAND_LIFE_MS_MAX)));
                Some((commands, fired))
            }
            _ => None,
        };
        relay.kill()?;
        if let Some((commands, fired)) = last_command {
            commands.settle(fired)?;
        }
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
    if let Some(commands) = &commands {
        commands.stop();
    }
    if let Some(firing) = firing {
        firing.join().map_err(|_| Failure::Environment("the thread of the commands panicked".into()))??;
    }
    // Whoever may be deleted is not waited for, but counts as delivered should it arrive.
    let (deleted, deletion_unanswered) =
        commands.as_ref().map(|commands| commands.deletions()).unwrap_or_default();
    let is_awaited = |sequence| !deleted.contains(&sequence) && !deletion_unanswered.contains(&sequence);

    let deadline = Instant::now() + settings.deadline;
    let mut missing = Missing::find(&plan, &source.acknowledged, sink.ledgers());
    let mut complaints = Vec::new();
    let mut let_go_at = Instant::now();
    while missing.update(sink.ledgers()) > 0
        && missing.left_of(is_awaited) > 0
        && Instant::now() < deadline
        && !stop.load(Relaxed)
    {
        if relay.status()?.is_some() {
            break;
        }
        match &commands {
            Some(commands) if Instant::now() >= let_go_at => {
                commands.let_go()?;
                let_go_at = Instant::now() + LET_GO_EVERY;
            }
            _ => {}
        }
        std::thread::sleep(LOOK);
    }
    let queued = commands.as_ref().map(|commands| commands.queued()).transpose()?.unwrap_or_default();
    match relay.terminate(Instant::now() + END_TIMEOUT)? {
        Some(status) if status.success() => {}
        Some(status) => complaints.push(format!("the relay ended badly: {status}")),
        None => complaints.push(format!("the relay did not end within {END_TIMEOUT:?} of SIGTERM")),
    }
    let sink_report = sink.stop()?;
    let whereabouts = |sequence| match sequence {
        sequence if deleted.contains(&sequence) => Whereabouts::Deleted,
        sequence if deletion_unanswered.contains(&sequence) => Whereabouts::DeletionUnanswered,
        sequence if queued.contains(&sequence) => Whereabouts::Queued,
        _ => Whereabouts::Lost,
    };
    let account = Account::settle_knowing(&plan, &source.acknowledged, sink.ledgers(), whereabouts);
    let commands = commands.map(|commands| commands.figures());
    let (source, sink) = (source.figures(), sink.figures(&sink_report));
    if account.lost > 0 {
        complaints.push(format!("{} recipients of acknowledged messages were lost", account.lost));
    }
    if account.queued > 0 {
        complaints.push(format!("{} recipients are still queued", account.queued));
    }
    for fault in commands.iter().flat_map(|commands| &commands.faults) {
        complaints.push(format!("a queue command: {fault}"));
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
        commands,
        account,
        source,
        sink,
    })
}

/// The commands that are to be fired; none if the relay, which is up, has none and may do without.
fn queue_commands(
    wanted: Option<&CommandSettings>,
    relay: &RelayCommand,
) -> Result<Option<Arc<QueueCommands>>, Failure> {
    let (Some(wanted), Some(program)) = (wanted, relay.words.first()) else { return Ok(None) };
    let commands = QueueCommands::new(program, &wanted.spool)?;
    if commands.are_answered() {
        return Ok(Some(Arc::new(commands)));
    }
    if wanted.required {
        return Err(Failure::Relay(format!("{program} has no queue commands, or they get no answer")));
    }
    Ok(None)
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
        match &self.commands {
            Some(commands) => writeln!(formatter, "{commands}")?,
            None => writeln!(formatter, "         no queue commands were fired")?,
        }
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
