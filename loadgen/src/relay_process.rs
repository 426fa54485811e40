//! The relay under test as a process: started, watched through /proc, signalled by its pid.
//!
//! Limits: only processes that this one started, and their descendants, are ever killed; a relay that was running
//! already is only looked at (and sent SIGUSR1 if the user names its spool).

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::Failure;

/// How often a condition is looked at again.
const LOOK: Duration = Duration::from_millis(10);

/// Longest wait for the greeting of a relay that accepts connections.
const GREETING_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest wait for figures after SIGUSR1.
const FIGURES_TIMEOUT: Duration = Duration::from_secs(2);

/// How to start the relay.
#[derive(Clone, Debug)]
pub struct RelayCommand {
    /// Program and arguments, with `{sink_host}`, `{sink_port}`, `{target_host}` and `{target_port}` replaced.
    pub words: Vec<String>,
    /// Where its output goes; none: to ours.
    pub log: Option<PathBuf>,
}

impl RelayCommand {
    /// Replaces the places of the addresses in every word.
    pub fn with_addresses(mut self, sink: SocketAddr, target: SocketAddr) -> RelayCommand {
        for word in &mut self.words {
            *word = word
                .replace("{sink_host}", &sink.ip().to_string())
                .replace("{sink_port}", &sink.port().to_string())
                .replace("{target_host}", &target.ip().to_string())
                .replace("{target_port}", &target.port().to_string());
        }
        self
    }
}

/// CPU time and memory of a process and its descendants.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// User and system time, of children that have ended, too.
    pub cpu: Duration,
    /// Sum of the peaks of resident memory, bytes.
    pub rss_peak_bytes: u64,
}

/// A relay that this process started.
pub struct Relay {
    child: Child,
}

/// Refuses a target on which something answers already: a relay that is started could not listen there, and the mail
/// would go to whoever does.
///
/// # Errors
/// `Failure::Relay` with the address.
pub fn refuse_taken(target: SocketAddr) -> Result<(), Failure> {
    match TcpStream::connect(target) {
        Ok(_) => Err(Failure::Relay(format!("something answers on {target} before the relay is started"))),
        Err(_) => Ok(()),
    }
}

impl Relay {
    /// Starts it.
    ///
    /// # Errors
    /// `Failure::Relay` with the program's name, `Failure::File` if its log cannot be opened.
    pub fn start(command: &RelayCommand) -> Result<Relay, Failure> {
        let [program, arguments @ ..] = &command.words[..] else {
            return Err(Failure::Usage("the relay's command is empty".into()));
        };
        let mut process = Command::new(program);
        process.args(arguments).stdin(Stdio::null());
        if let Some(path) = &command.log {
            let named = |error| Failure::File(format!("{}: {error}", path.display()));
            let log = fs::OpenOptions::new().create(true).append(true).open(path).map_err(named)?;
            process.stdout(log.try_clone().map_err(named)?).stderr(log);
        } else {
            // Our own standard output carries the report.
            process.stdout(Stdio::null());
        }
        let child =
            process.spawn().map_err(|error| Failure::Relay(format!("cannot start {program}: {error}")))?;
        Ok(Relay { child })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it greets with 220.
    ///
    /// # Errors
    /// `Failure::Relay` if it ends, or does not greet before the deadline.
    pub fn wait_until_greeting(&mut self, target: SocketAddr, deadline: Instant) -> Result<(), Failure> {
        loop {
            if let Some(status) = self.status()? {
                return Err(Failure::Relay(format!("the relay ended at its start: {status}")));
            }
            if greets(target) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(Failure::Relay(format!("the relay does not answer on {target}")));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn status(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.child
            .try_wait()
            .map_err(|error| Failure::Environment(format!("cannot wait for the relay: {error}")))
    }

    /// `kill -9` to it and everything it started; waits until it is gone.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn kill(&mut self) -> Result<(), Failure> {
        // The relay itself last: it would otherwise be able to replace a child that is gone.
        let descendants = descendants(self.pid());
        self.child.kill().map_err(|error| Failure::Environment(format!("cannot kill the relay: {error}")))?;
        for pid in descendants {
            // One that has just ended by itself is as good.
            let _ = signal(pid, Signal::KILL);
        }
        self.child
            .wait()
            .map(|_| ())
            .map_err(|error| Failure::Environment(format!("cannot wait for the relay: {error}")))
    }

    /// SIGTERM, then waits for the end. At the deadline it is killed and none is returned.
    ///
    /// # Errors
    /// If the system does not let us.
    pub fn terminate(&mut self, deadline: Instant) -> Result<Option<ExitStatus>, Failure> {
        if let Some(status) = self.status()? {
            return Ok(Some(status));
        }
        signal(self.pid(), Signal::TERM)?;
        while Instant::now() < deadline {
            if let Some(status) = self.status()? {
                return Ok(Some(status));
            }
            std::thread::sleep(LOOK);
        }
        self.kill()?;
        Ok(None)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // Nothing more can be done at this point than to try.
            let _ = self.kill();
        }
    }
}

fn signal(pid: u32, signal: Signal) -> Result<(), Failure> {
    let target = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let target = target.ok_or_else(|| Failure::Usage(format!("{pid} is not a process")))?;
    kill_process(target, signal)
        .map_err(|error| Failure::Environment(format!("cannot signal {pid}: {error}")))
}

/// Whether a server answers on `target` with 220; takes leave with QUIT.
fn greets(target: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&target, GREETING_TIMEOUT) else { return false };
    let mut greeting = [0; 3];
    let greeted =
        stream.set_read_timeout(Some(GREETING_TIMEOUT)).and_then(|()| stream.read_exact(&mut greeting));
    // Whether the goodbye arrives changes nothing.
    let _ = stream.write_all(b"QUIT\r\n");
    greeted.is_ok() && &greeting == b"220"
}

/// CPU time and memory of a process and its descendants; none if it is gone.
pub fn usage(pid: u32) -> Option<Usage> {
    let mut usage = usage_of_one(pid)?;
    for child in descendants(pid) {
        if let Some(child) = usage_of_one(child) {
            usage.cpu += child.cpu;
            usage.rss_peak_bytes += child.rss_peak_bytes;
        }
    }
    Some(usage)
}

fn usage_of_one(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything; fields are counted after it. utime is field 14 of proc(5),
    // then stime and the same of children that have ended.
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_whitespace().collect();
    let ticks: u64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rss_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|value| value.trim().strip_suffix("kB")?.trim().parse().ok())
        .unwrap_or(0);
    let ticks_per_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Usage {
        cpu: Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64),
        rss_peak_bytes: rss_kib * 1024,
    })
}

/// All processes below one in the tree.
fn descendants(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let parents: Vec<(u32, u32)> = entries
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let parent = stat[stat.rfind(')')? + 1..].split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut family = vec![pid];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        let children = parents.iter().filter(|&&(child, its)| its == parent && !family.contains(&child));
        let children: Vec<u32> = children.map(|&(child, _)| child).collect();
        family.extend(children);
        next += 1;
    }
    family.split_off(1)
}

/// What the relay writes about its queue into `figures.json` in its spool directory, at SIGUSR1 and at its end.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct SpoolFigures {
    /// Group commits.
    pub commits: Option<f64>,
    /// Messages stored.
    pub messages_stored: Option<f64>,
    /// Mean time of a commit, µs.
    pub commit_latency_us_mean: Option<f64>,
    /// 99 of 100 commits took no longer, µs.
    pub commit_latency_us_p99: Option<f64>,
}

impl SpoolFigures {
    /// Reads the file if it was written after `since`; none if there is no such file or it is not what we know.
    pub fn read(spool: &Path, since: SystemTime) -> Option<SpoolFigures> {
        let path = spool.join("figures.json");
        let written = fs::metadata(&path).ok()?.modified().ok()?;
        // File times are as coarse as the kernel's tick.
        if written + Duration::from_millis(20) < since {
            return None;
        }
        serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
    }

    /// Asks a running relay for them by SIGUSR1. Only for relays known to take it: to others it is deadly.
    pub fn ask(pid: u32, spool: &Path) -> Option<SpoolFigures> {
        let asked = SystemTime::now();
        signal(pid, Signal::USR1).ok()?;
        let deadline = Instant::now() + FIGURES_TIMEOUT;
        while Instant::now() < deadline {
            if let Some(figures) = SpoolFigures::read(spool, asked) {
                return Some(figures);
            }
            std::thread::sleep(LOOK);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_of_this_process_is_read() {
        let usage = usage(std::process::id()).expect("we exist");
        assert!(usage.rss_peak_bytes > 100_000);
        assert!(super::usage(u32::MAX).is_none());
    }

    #[test]
    fn addresses_are_put_into_the_command() {
        let words =
            vec!["relay".into(), "relayhost=[{sink_host}]:{sink_port}".into(), "{target_port}".into()];
        let command = RelayCommand { words, log: None }
            .with_addresses(([127, 0, 0, 1], 2600).into(), ([127, 0, 0, 1], 2525).into());
        assert_eq!(command.words[1..], ["relayhost=[127.0.0.1]:2600", "2525"]);
    }

    #[test]
    fn a_relay_is_stopped_and_one_that_ends_early_is_told() {
        let command = |words: &[&str]| RelayCommand {
            words: words.iter().map(|&word| word.into()).collect(),
            log: None,
        };
        let mut sleeper = Relay::start(&command(&["sleep", "600"])).expect("sleep starts");
        let deadline = Instant::now() + Duration::from_secs(10);
        let status = sleeper.terminate(deadline).expect("waited").expect("in time");
        assert!(!status.success(), "sleep dies of SIGTERM");

        let mut family = Relay::start(&command(&["sh", "-c", "sleep 5 & wait"])).expect("sh starts");
        family.kill().expect("killed");
        assert!(usage(family.pid()).is_none());

        let mut ended = Relay::start(&command(&["false"])).expect("false starts");
        let error = ended.wait_until_greeting(([127, 0, 0, 1], 9).into(), deadline).expect_err("it ended");
        assert!(error.to_string().contains("ended at its start"), "{error}");
        assert!(Relay::start(&command(&["/nonexistent/relay"])).is_err());
    }

    #[test]
    fn a_target_that_answers_is_refused() {
        // An address of its own: on 127.0.0.1 another test may be given the port as soon as it is free.
        let listener = std::net::TcpListener::bind("127.77.1.9:0").unwrap();
        let target = listener.local_addr().unwrap();
        assert!(refuse_taken(target).is_err());
        drop(listener);
        assert!(refuse_taken(target).is_ok());
    }
}
