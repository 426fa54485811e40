//! The command line.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ringpost_loadgen::Failure;
use ringpost_loadgen::executor::THREADS_MAX;
use ringpost_loadgen::message::Plan;
use ringpost_loadgen::queue_commands::TEMPLATE_PREFIX;
use ringpost_loadgen::relay_process::RelayCommand;
use ringpost_loadgen::run::{RelayChoice, RunSettings};
use ringpost_loadgen::script::Script;
use ringpost_loadgen::sink::SinkSettings;
use ringpost_loadgen::size::SizeDistribution;
use ringpost_loadgen::source::SourceSettings;
use ringpost_loadgen::torture::{CommandSettings, TortureSettings};

/// Messages of a run when the user does not say.
const DEFAULT_MESSAGES: u64 = 100_000;

/// Messages per second under torture when the user does not say.
const TORTURE_RATE: f64 = 2000.0;

/// What the sink does under torture when the user does not say: without mail that waits, queue commands would find none.
const TORTURE_SCRIPT: &str =
    "[[rule]]\nstage = \"rcpt\"\nshare = 0.2\nreply = \"451 4.7.1 Come back later\"\n";

/// Most sessions of a source: each is a socket and a task.
const SESSIONS_MAX: u64 = 60_000;

/// SMTP source, sink, measuring run and torture for mail transfer agents.
#[derive(Parser)]
#[command(version, propagate_version = true)]
pub struct CommandLine {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Send tracked messages to an SMTP server and measure its answers
    Source(SourceOptions),
    /// Measure a relay between a source and a sink; exit 0 only if every accepted message arrived exactly once
    Run(RunOptions),
    /// Kill a relay again and again under load; exit 0 only if nothing that it accepted was lost
    Torture(TortureOptions),
    /// Accept mail by SMTP or LMTP, count every message, misbehave by script
    Sink(SinkOptions),
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Switch {
    On,
    Off,
}

/// Whether something is done.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhereOffered {
    /// If the relay offers it
    Auto,
    /// A relay without it is a failure
    On,
    Off,
}

/// What is sent; shared by `source`, `run` and `torture`.
#[derive(Args)]
#[command(next_help_heading = "Traffic")]
pub struct TrafficOptions {
    /// Sessions at once
    #[arg(short, long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=SESSIONS_MAX))]
    pub sessions: u64,
    /// Messages in all
    #[arg(short, long, value_name = "N")]
    pub messages: Option<u64>,
    /// Messages begun per second, whether or not the server keeps up (open loop)
    #[arg(short, long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,
    /// Message size in bytes: 4096, 4k, 1k-64k (uniform) or lognormal:MEDIAN,SIGMA[,LARGEST]
    #[arg(short = 'l', long, default_value = "4096")]
    pub size: SizeDistribution,
    /// Recipients of each message
    #[arg(short = 'R', long, value_name = "N", default_value_t = 1)]
    pub recipients: u32,
    /// Recipient domains, used in turn
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub domains: u32,
    /// Recipient address: {n} its number in the message, {d} its domain's number, {i} the message's number
    #[arg(long, value_name = "ADDRESS", default_value = "r{n}@d{d}.ringpost.invalid")]
    pub recipient_template: String,
    /// Envelope sender; "" for the null sender
    #[arg(long, value_name = "ADDRESS", default_value = "sender@source.ringpost.invalid")]
    pub sender: String,
    /// Many messages per connection (the default)
    #[arg(long, conflicts_with = "fresh")]
    pub kept: bool,
    /// One connection per message
    #[arg(long)]
    pub fresh: bool,
    /// Send MAIL to DATA in one flight where the server offers it
    #[arg(long, value_name = "SWITCH", default_value = "on")]
    pub pipelining: Switch,
    /// Threads of the source
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX as u64))]
    pub source_threads: u64,
    /// Longest wait for a connection, a reply or room to send
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub timeout: u64,
    /// Seed of sizes, texts and pauses
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Write the ids of acknowledged messages (250 after the dot) here
    #[arg(long, value_name = "FILE")]
    pub acknowledged: Option<PathBuf>,
}

#[derive(Args)]
pub struct SourceOptions {
    /// Server to send to
    #[arg(short, long, value_name = "ADDRESS:PORT")]
    pub target: String,
    #[command(flatten)]
    pub traffic: TrafficOptions,
    /// Give up after so many seconds without an answer to any message
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub give_up: u64,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
}

/// The relay under test; shared by `run` and `torture`.
#[derive(Args)]
#[command(next_help_heading = "Relay")]
pub struct RelayOptions {
    /// Where the relay listens (or will listen)
    #[arg(short, long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:2525")]
    pub target: String,
    /// Where the sink listens; the relay must send there. Port 0: a free one, told to a relay that is started
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub sink: String,
    /// Start this Ringpost binary on its embedded default
    #[arg(long, value_name = "PROGRAM", conflicts_with = "relay_command")]
    pub ringpost: Option<PathBuf>,
    /// Directory for the queue and the log of --ringpost
    #[arg(long, value_name = "DIRECTORY", requires = "ringpost")]
    pub directory: Option<PathBuf>,
    /// Start this command (words parted by spaces; or give it after --). {sink_host}, {sink_port}, {target_host} and
    /// {target_port} are replaced
    #[arg(long, value_name = "COMMAND")]
    pub relay_command: Option<String>,
    /// File for the output of the relay that is started
    #[arg(long, value_name = "FILE")]
    pub relay_log: Option<PathBuf>,
    /// The relay's spool directory, where it writes figures.json
    #[arg(long, value_name = "DIRECTORY")]
    pub spool: Option<PathBuf>,
    /// The relay's command and its arguments
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["relay_command", "ringpost"])]
    pub words: Vec<String>,
}

#[derive(Args)]
pub struct RunOptions {
    #[command(flatten)]
    pub relay: RelayOptions,
    /// Measure the process of a relay that is running already
    #[arg(long, value_name = "PID", conflicts_with_all = ["relay_command", "ringpost", "words"])]
    pub relay_pid: Option<u32>,
    #[command(flatten)]
    pub traffic: TrafficOptions,
    #[command(flatten)]
    pub behaviour: BehaviourOptions,
    /// Everything must have arrived after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub deadline: u64,
    /// Bounces do not fail the run
    #[arg(long)]
    pub allow_bounces: bool,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct TortureOptions {
    #[command(flatten)]
    pub relay: RelayOptions,
    /// How often to kill the relay
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub kills: u64,
    /// Shortest time between its greeting and its death
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 100)]
    pub life_min: u64,
    /// Longest
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1500)]
    pub life_max: u64,
    /// Fire the relay's queue commands (PROGRAM postqueue …, postsuper …) at random messages; wants the spool directory.
    /// The sink then puts off a fifth of all recipients, if there is no --script
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub commands: WhereOffered,
    #[command(flatten)]
    pub traffic: TrafficOptions,
    #[command(flatten)]
    pub behaviour: BehaviourOptions,
    /// After the last kill, everything must have arrived within so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub deadline: u64,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args)]
pub struct SinkOptions {
    /// Where to listen; may be given several times
    #[arg(short, long, value_name = "ADDRESS:PORT", required = true)]
    pub listen: Vec<String>,
    #[command(flatten)]
    pub behaviour: BehaviourOptions,
    /// Stop after so many deliveries (recipients)
    #[arg(long, value_name = "N")]
    pub deliveries: Option<u64>,
    /// Stop after so many seconds
    #[arg(long, value_name = "SECONDS")]
    pub for_seconds: Option<u64>,
    /// Report as JSON
    #[arg(long)]
    pub json: bool,
}

/// How the sink behaves; shared by `sink`, `run` and `torture`.
#[derive(Args)]
#[command(next_help_heading = "Sink")]
pub struct BehaviourOptions {
    /// Speak LMTP
    #[arg(long)]
    pub lmtp: bool,
    /// Misbehave as this TOML file says (delays, refusals, greylisting, lost connections; see the manual)
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Write each accepted id and recipient here, one line per delivery
    #[arg(long, value_name = "FILE")]
    pub accepted: Option<PathBuf>,
    /// Connections served at once; further ones get 421
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    pub connections: usize,
    /// Threads of the sink
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=THREADS_MAX as u64))]
    pub sink_threads: u64,
    /// A client that is silent for so long is dropped
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub sink_timeout: u64,
}

impl TrafficOptions {
    /// The source that these options ask for.
    pub fn settings(&self, target: SocketAddr) -> Result<SourceSettings, Failure> {
        if let Some(rate) = self.rate
            && !(rate.is_finite() && rate > 0.0)
        {
            return Err(Failure::Usage(format!("--rate: more than 0, not {rate}")));
        }
        let plan = Plan {
            run: new_run(),
            sender: self.sender.clone(),
            recipients: self.recipients,
            domains: self.domains,
            recipient_template: self.recipient_template.clone(),
            sizes: self.size,
            seed: self.seed,
        };
        plan.check().map_err(Failure::Usage)?;
        Ok(SourceSettings {
            target,
            plan: Arc::new(plan),
            sessions: self.sessions as usize,
            messages: self.messages,
            rate: self.rate,
            keep_connections: !self.fresh,
            pipelining: self.pipelining == Switch::On,
            threads: self.source_threads as usize,
            timeout: Duration::from_secs(self.timeout),
            acknowledged: self.acknowledged.clone(),
        })
    }
}

impl SourceOptions {
    pub fn settings(&self) -> Result<SourceSettings, Failure> {
        self.traffic.settings(resolve(&self.target)?)
    }
}

impl BehaviourOptions {
    /// The sink that these options ask for.
    pub fn settings(&self, listen: Vec<SocketAddr>) -> Result<SinkSettings, Failure> {
        let script = self.script.as_deref().map(Script::read).transpose()?;
        Ok(SinkSettings {
            listen,
            lmtp: self.lmtp,
            threads: self.sink_threads as usize,
            connections_max: self.connections,
            timeout: Duration::from_secs(self.sink_timeout),
            script: Arc::new(script.unwrap_or_default()),
            accepted: self.accepted.clone(),
            ..SinkSettings::default()
        })
    }
}

impl RelayOptions {
    /// The command that starts the relay, if one is to be started.
    pub fn command(&self) -> Result<Option<RelayCommand>, Failure> {
        let words = if let Some(program) = &self.ringpost {
            let directory = self.directory.as_ref().ok_or_else(|| {
                Failure::Usage("--ringpost needs --directory, for its queue and its log".into())
            })?;
            let mut words = vec![program.display().to_string(), "serve".into()];
            for setting in [
                format!("queue_directory={}", directory.join("spool").display()),
                format!("maillog_file={}", directory.join("mail.log").display()),
                "relayhost=[{sink_host}]:{sink_port}".into(),
            ] {
                words.extend(["-o".into(), setting]);
            }
            words
        } else if let Some(command) = &self.relay_command {
            command.split_whitespace().map(str::to_owned).collect()
        } else {
            self.words.clone()
        };
        Ok((!words.is_empty()).then(|| RelayCommand { words, log: self.relay_log.clone() }))
    }

    fn spool(&self) -> Option<PathBuf> {
        self.spool.clone().or_else(|| self.directory.as_ref().map(|directory| directory.join("spool")))
    }
}

impl RunOptions {
    pub fn settings(&self) -> Result<RunSettings, Failure> {
        let mut source = self.traffic.settings(resolve(&self.relay.target)?)?;
        source.messages = source.messages.or(Some(DEFAULT_MESSAGES));
        Ok(RunSettings {
            source,
            sink: self.behaviour.settings(vec![resolve(&self.relay.sink)?])?,
            relay: self.relay.command()?.map_or(RelayChoice::Running(self.relay_pid), RelayChoice::Start),
            spool: self.relay.spool(),
            deadline: Duration::from_secs(self.deadline),
            allow_bounces: self.allow_bounces,
        })
    }
}

impl TortureOptions {
    pub fn settings(&self) -> Result<TortureSettings, Failure> {
        let relay = self.relay.command()?.ok_or_else(|| {
            Failure::Usage(
                "torture starts the relay itself: give --ringpost, --relay-command, or -- COMMAND".into(),
            )
        })?;
        if self.life_min > self.life_max {
            return Err(Failure::Usage("--life-min is longer than --life-max".into()));
        }
        let mut source = self.traffic.settings(resolve(&self.relay.target)?)?;
        // Without a bound the queue would grow faster than a relay that dies every second can empty it.
        source.rate = source.rate.or(Some(TORTURE_RATE));
        let mut sink = self.behaviour.settings(vec![resolve(&self.relay.sink)?])?;
        let commands = match (self.commands, self.relay.spool()) {
            (WhereOffered::Off, _) | (WhereOffered::Auto, None) => None,
            (WhereOffered::On, None) => {
                return Err(Failure::Usage("--commands wants --spool or --directory".into()));
            }
            (when, Some(spool)) => Some(CommandSettings { spool, required: when == WhereOffered::On }),
        };
        if commands.is_some() {
            let mut plan = (*source.plan).clone();
            plan.recipient_template.insert_str(0, TEMPLATE_PREFIX);
            plan.check().map_err(Failure::Usage)?;
            source.plan = Arc::new(plan);
            if self.behaviour.script.is_none() {
                sink.script = Arc::new(Script::parse(TORTURE_SCRIPT).map_err(Failure::Usage)?);
            }
        }
        Ok(TortureSettings {
            source,
            sink,
            commands,
            relay,
            kills: self.kills,
            life_min: Duration::from_millis(self.life_min),
            life_max: Duration::from_millis(self.life_max),
            seed: self.traffic.seed,
            deadline: Duration::from_secs(self.deadline),
        })
    }
}

impl SinkOptions {
    pub fn settings(&self) -> Result<SinkSettings, Failure> {
        let listen: Result<Vec<SocketAddr>, Failure> =
            self.listen.iter().map(|address| resolve(address)).collect();
        self.behaviour.settings(listen?)
    }
}

/// An address with port; names are looked up.
pub fn resolve(text: &str) -> Result<SocketAddr, Failure> {
    text.to_socket_addrs()
        .map_err(|error| Failure::Usage(format!("{text:?} is not ADDRESS:PORT: {error}")))?
        .next()
        .ok_or_else(|| Failure::Usage(format!("{text:?} has no address")))
}

/// A number that no other run has: time and process, scrambled.
fn new_run() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    fastrand::Rng::with_seed(now.as_nanos() as u64 ^ (u64::from(std::process::id()) << 40)).u64(..)
}
