//! A measuring run: source → relay under test → sink, all in one report.
//!
//! Owns: the relay it started (stopped by SIGTERM at the end, and exit status 0 required of it).
//! On failure: a relay that ends early, does not greet, or keeps messages back past the deadline makes the run fail.

use std::fmt;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::Failure;
use crate::account::{Account, Missing};
use crate::relay_process::{Relay, RelayCommand, SpoolFigures, Usage, refuse_taken, usage};
use crate::report::{SinkFigures, SourceFigures};
use crate::sink::{Sink, SinkSettings};
use crate::source::{Source, SourceSettings};

/// How often progress is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Longest wait for the relay's greeting.
pub const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for the relay's end after SIGTERM.
pub const END_TIMEOUT: Duration = Duration::from_secs(30);

/// The relay under test.
#[derive(Clone, Debug)]
pub enum RelayChoice {
    /// Start it, stop it at the end.
    Start(RelayCommand),
    /// It is running already; with its pid, its CPU time and memory are measured.
    Running(Option<u32>),
}

/// What to run.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// Sends to the relay. `messages` must be given.
    pub source: SourceSettings,
    /// Receives from the relay.
    pub sink: SinkSettings,
    /// The relay.
    pub relay: RelayChoice,
    /// Its spool directory, for the figures it writes there.
    pub spool: Option<PathBuf>,
    /// Everything must have arrived by then.
    pub deadline: Duration,
    /// Bounced recipients do not fail the run.
    pub allow_bounces: bool,
}

/// What a run reports.
#[derive(Debug, Serialize)]
pub struct RunReport {
    /// Every acknowledged recipient was delivered exactly once, the source was done in time, the relay ended well.
    pub ok: bool,
    /// What was wrong otherwise.
    pub complaints: Vec<String>,
    /// The reckoning.
    pub account: Account,
    /// Acknowledged messages per second.
    pub messages_in_per_s: f64,
    /// Messages that arrived per second, from the start to the last arrival.
    pub messages_out_per_s: f64,
    /// CPU time of the relay per acknowledged message, µs.
    pub relay_cpu_us_per_message: Option<f64>,
    /// Peak of the relay's resident memory, bytes.
    pub relay_rss_peak_bytes: Option<u64>,
    /// Group commits per second.
    pub commits_per_s: Option<f64>,
    /// Messages per group commit.
    pub messages_per_commit: Option<f64>,
    /// What the relay wrote about its spool.
    pub spool: Option<SpoolFigures>,
    /// The source's side.
    pub source: SourceFigures,
    /// The sink's side.
    pub sink: SinkFigures,
}

/// Runs to the end, or until `stop` is set.
///
/// # Errors
/// If one of the three does not start, or the relay ends by itself.
pub fn run(mut settings: RunSettings, stop: &AtomicBool) -> Result<RunReport, Failure> {
    let messages =
        settings.source.messages.ok_or_else(|| Failure::Usage("a run needs a number of messages".into()))?;
    let plan = std::sync::Arc::clone(&settings.source.plan);
    let begun = SystemTime::now();
    let mut sink = Sink::start(settings.sink)?;
    let mut relay = None;
    let pid = match settings.relay {
        RelayChoice::Start(command) => {
            let command = command.with_addresses(sink.addresses()[0], settings.source.target);
            refuse_taken(settings.source.target)?;
            let started = relay.insert(Relay::start(&command)?);
            started.wait_until_greeting(settings.source.target, Instant::now() + START_TIMEOUT)?;
            Some(started.pid())
        }
        RelayChoice::Running(pid) => pid,
    };
    let mut complaints = Vec::new();
    let before = pid.and_then(usage);
    let spool_before = match (&relay, pid, &settings.spool) {
        (None, Some(pid), Some(spool)) => SpoolFigures::ask(pid, spool),
        _ => None,
    };

    let started = Instant::now();
    let deadline = started + settings.deadline;
    settings.source.messages = Some(messages);
    let wanted = messages * u64::from(plan.recipients);
    let source = Source::start(settings.source)?;
    let bar = progress_bar(wanted);
    let mut relay_ended = None;
    while !source.is_finished() {
        if stop.load(Relaxed) || Instant::now() >= deadline || relay_ended.is_some() {
            source.stop();
        }
        if relay_ended.is_none()
            && let Some(relay) = &mut relay
        {
            relay_ended = relay.status()?;
        }
        bar.set_position(sink.counters().deliveries.load(Relaxed));
        bar.set_message(format!("{} in", source.counters().acknowledged.load(Relaxed)));
        std::thread::sleep(LOOK);
    }
    let source = source.finish()?;

    // What has been acknowledged must arrive.
    let mut missing = Missing::find(&plan, &source.acknowledged, sink.ledgers());
    let mut left = missing.update(sink.ledgers());
    let mut last_arrival = started.elapsed();
    while left > 0 && relay_ended.is_none() && !stop.load(Relaxed) && Instant::now() < deadline {
        std::thread::sleep(LOOK);
        bar.set_position(sink.counters().deliveries.load(Relaxed));
        if let Some(relay) = &mut relay {
            relay_ended = relay.status()?;
        }
        let now_left = missing.update(sink.ledgers());
        if now_left < left {
            last_arrival = started.elapsed();
        }
        left = now_left;
    }
    bar.finish_and_clear();

    let after = pid.and_then(usage);
    let mut spool = match (&relay, pid, &settings.spool) {
        (None, Some(pid), Some(spool)) => {
            SpoolFigures::ask(pid, spool).map(|after| after.since(spool_before.as_ref()))
        }
        _ => None,
    };
    if let Some(status) = relay_ended {
        complaints.push(format!("the relay ended by itself: {status}"));
    } else if let Some(relay) = &mut relay {
        match relay.terminate(Instant::now() + END_TIMEOUT)? {
            Some(status) if status.success() => {}
            Some(status) => complaints.push(format!("the relay ended badly after SIGTERM: {status}")),
            None => complaints.push(format!("the relay did not end within {END_TIMEOUT:?} of SIGTERM")),
        }
    }
    if relay.is_some()
        && let Some(directory) = &settings.spool
    {
        spool = SpoolFigures::read(directory, begun);
    }
    let sink_report = sink.stop()?;
    let account = Account::settle(&plan, &source.acknowledged, sink.ledgers());
    let (source, sink) = (source.figures(), sink.figures(&sink_report));
    if source.acknowledged + source.refused < messages {
        complaints.push(format!("only {} of {messages} messages were sent in time", source.acknowledged));
    } else if source.acknowledged == 0 {
        complaints.push("no message was accepted".into());
    }
    if sink.damaged > 0 {
        complaints.push(format!("{} messages arrived damaged", sink.damaged));
    }
    if !account.is_exactly_once(settings.allow_bounces) {
        complaints.push(format!(
            "{} lost, {} duplicated, {} bounced",
            account.lost, account.duplicated, account.bounced
        ));
    }
    let cpu = before.zip(after).map(|(before, after)| Usage {
        cpu: after.cpu.saturating_sub(before.cpu),
        rss_peak_bytes: after.rss_peak_bytes,
    });
    let seconds = last_arrival.as_secs_f64().max(1e-6);
    let commits = spool.and_then(|spool| spool.commits);
    Ok(RunReport {
        ok: complaints.is_empty(),
        complaints,
        messages_in_per_s: source.messages_per_s,
        messages_out_per_s: sink.messages as f64 / seconds,
        relay_cpu_us_per_message: cpu
            .filter(|_| source.acknowledged > 0)
            .map(|usage| usage.cpu.as_secs_f64() * 1e6 / source.acknowledged as f64),
        relay_rss_peak_bytes: cpu.map(|usage| usage.rss_peak_bytes),
        commits_per_s: commits.map(|commits| commits / seconds),
        messages_per_commit: spool
            .and_then(|spool| spool.messages_stored.zip(spool.commits))
            .filter(|&(_, commits)| commits > 0.0)
            .map(|(stored, commits)| stored / commits),
        spool,
        account,
        source,
        sink,
    })
}

/// A bar of deliveries on standard error; silent where that is not a terminal.
pub(crate) fn progress_bar(deliveries: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr_with_hz(5)
    } else {
        ProgressDrawTarget::hidden()
    };
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} out, {msg}, {per_sec}, {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(deliveries), target).with_style(style)
}

impl fmt::Display for RunReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_na = |value: Option<String>| value.unwrap_or_else(|| "n/a".into());
        writeln!(formatter, "{}", self.source)?;
        writeln!(formatter, "{}", self.sink)?;
        writeln!(
            formatter,
            "relay:  {:.0} messages/s in, {:.0} messages/s out; {} µs CPU per message, peak memory {} MiB",
            self.messages_in_per_s,
            self.messages_out_per_s,
            or_na(self.relay_cpu_us_per_message.map(|us| format!("{us:.1}"))),
            or_na(self.relay_rss_peak_bytes.map(|bytes| (bytes / (1024 * 1024)).to_string())),
        )?;
        writeln!(
            formatter,
            "        {} commits/s, {} messages per commit, commit latency mean {} µs, p99 {} µs",
            or_na(self.commits_per_s.map(|value| format!("{value:.0}"))),
            or_na(self.messages_per_commit.map(|value| format!("{value:.1}"))),
            or_na(self.spool.and_then(|spool| spool.commit_latency_us_mean).map(|us| format!("{us:.0}"))),
            or_na(self.spool.and_then(|spool| spool.commit_latency_us_p99).map(|us| format!("{us:.0}"))),
        )?;
        write!(formatter, "{}", self.account)?;
        for complaint in &self.complaints {
            write!(formatter, "\nFAILED: {complaint}")?;
        }
        if self.ok {
            write!(formatter, "\nOK: every accepted message was delivered exactly once")?;
        }
        Ok(())
    }
}

impl SpoolFigures {
    /// What was added since earlier figures; latencies stay those of the whole time.
    fn since(self, before: Option<&SpoolFigures>) -> SpoolFigures {
        let less = |now: Option<f64>, then: Option<f64>| now.map(|now| now - then.unwrap_or(0.0));
        SpoolFigures {
            commits: less(self.commits, before.and_then(|before| before.commits)),
            messages_stored: less(self.messages_stored, before.and_then(|before| before.messages_stored)),
            ..self
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "account: {} recipients acknowledged = {} delivered + {} bounced + {} lost",
            self.acknowledged, self.delivered, self.bounced, self.lost,
        )?;
        if self.deleted + self.deletion_unanswered + self.queued > 0 {
            write!(
                formatter,
                " + {} queued + {} deleted + {} whose deletion was not answered",
                self.queued, self.deleted, self.deletion_unanswered
            )?;
        }
        write!(
            formatter,
            "; {} duplicated, {} delivered without acknowledgement",
            self.duplicated, self.unacknowledged_delivered
        )?;
        for example in &self.lost_examples {
            write!(formatter, "\n         lost: {example}")?;
        }
        Ok(())
    }
}
