//! What is done with a long queue: it is opened again after a stop, listed, delivered from, deleted.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::load::Load;
use crate::relay::{Kind, Relay};
use crate::running::Running;

/// Times in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Reopening {
    /// From the start of the relay's process until it takes mail.
    pub start_to_ready_s: f64,
    /// From the start of the relay's process until the destination, which now listens, has taken a message:
    /// `postqueue -f` comes as soon as the relay is ready. The sink is looked at every 50 ms.
    pub start_to_first_delivery_s: f64,
    /// `postqueue -j`, from its start to its end, while nothing else is done.
    pub listing_s: f64,
    /// Messages listed a second.
    pub listed_per_s: f64,
    /// `postsuper -d ALL` after another start, from its start to its end.
    pub deletion_s: f64,
    /// Messages that it deleted.
    pub deleted: u64,
}

/// Measures on the queue of `messages` messages that a relay left in `directory/relay`.
///
/// # Errors
/// When a program cannot be run or fails; when the listing lacks messages, or something is left after the deletion.
pub fn measure(
    binary: &Path,
    load: &Load,
    messages: u64,
    directory: &Path,
    listen: u16,
    port: u16,
) -> io::Result<Reopening> {
    let Load::Loadgen(loadgen) = load else {
        return Err(io::Error::other("only this project's sink ends after a delivery"));
    };
    let kind = Kind::Ringpost(binary.to_path_buf());
    let home = directory.join("relay");
    let start_again = || -> io::Result<(Relay, Instant)> {
        let start = Instant::now();
        Ok((Relay::start_again(&kind, &home, listen, port, &[])?, start))
    };

    // Nothing is due yet: the listing has the relay for itself.
    let (relay, _) = start_again()?;
    let start = Instant::now();
    let listed = count_listed(binary, &home)?;
    let listing = start.elapsed();
    if listed != messages {
        return Err(io::Error::other(format!("{listed} messages are listed, not {messages}")));
    }
    relay.stop()?;

    let mut sink = Command::new(loadgen);
    sink.args(["sink", "--listen", &format!("127.0.0.1:{port}"), "--json", "--deliveries", "1"]);
    let mut sink = Running::start(sink, directory, "first-delivery")?;
    sink.wait_for_port(port)?;
    let (relay, start) = start_again()?;
    let ready = start.elapsed();
    succeed(&mut command(binary, &["postqueue", "-c"], &home, "-f"))?;
    let first_delivery = sink.wait_for_success()?.duration_since(start);
    relay.stop()?;

    let (relay, _) = start_again()?;
    let start = Instant::now();
    let printed = fs::File::create(directory.join("deletion"))?;
    let mut deletion = command(binary, &["postsuper", "-c"], &home, "-d");
    succeed(deletion.arg("ALL").stderr(printed))?;
    let deletion = start.elapsed();
    let deleted = fs::read_to_string(directory.join("deletion"))?;
    let deleted = deleted.lines().filter(|line| line.ends_with(": removed")).count() as u64;
    let left = relay.stop()?.map(|figures| figures.queued);
    if left != Some(0) {
        return Err(io::Error::other(format!("{left:?} messages are left when all are deleted")));
    }
    Ok(Reopening {
        start_to_ready_s: ready.as_secs_f64(),
        start_to_first_delivery_s: first_delivery.as_secs_f64(),
        listing_s: listing.as_secs_f64(),
        listed_per_s: messages as f64 / listing.max(Duration::from_micros(1)).as_secs_f64(),
        deletion_s: deletion.as_secs_f64(),
        deleted,
    })
}

fn command(binary: &Path, words: &[&str], home: &Path, option: &str) -> Command {
    let mut command = Command::new(binary);
    command.args(words).arg(home).arg(option).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn succeed(command: &mut Command) -> io::Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} ended with {status}"))) }
}

/// Messages that `postqueue -j` lists; each is a line.
fn count_listed(binary: &Path, home: &Path) -> io::Result<u64> {
    let mut listing = command(binary, &["postqueue", "-c"], home, "-j").stdout(Stdio::piped()).spawn()?;
    let mut reader = BufReader::with_capacity(
        1 << 20,
        listing.stdout.take().ok_or_else(|| io::Error::other("the listing's output is a pipe"))?,
    );
    let mut lines = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            break;
        }
        lines += buffer.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let length = buffer.len();
        reader.consume(length);
    }
    let status = listing.wait()?;
    if status.success() {
        Ok(lines)
    } else {
        Err(io::Error::other(format!("postqueue -j ended with {status}")))
    }
}

impl fmt::Display for Reopening {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "opened again: ready after {:.2} s, first delivery after {:.2} s; listed in {:.2} s ({:.0} messages/s); \
             {} deleted in {:.2} s",
            self.start_to_ready_s,
            self.start_to_first_delivery_s,
            self.listing_s,
            self.listed_per_s,
            self.deleted,
            self.deletion_s
        )
    }
}
