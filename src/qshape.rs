//! `ringpost qshape`: how many messages wait for which destination since when, like Postfix's qshape(1).

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use ringpost_core::control::{Answer, Queue, Queues, Request};
use ringpost_shards::control::client::ControlError;
use ringpost_shards::failure::Failure;

use crate::EX_USAGE;
use crate::queue_command::{Options, failure, own_code, say};

/// How it is called.
pub const USAGE: &str = "qshape [-c config_dir] [-s] [-l] [-b buckets] [-t minutes] [-n lines] [queue...]";
/// Destinations that are counted one by one; those that come later are counted together. Bounds memory.
const DESTINATIONS_MAX: usize = 1_000_000;
/// Where those are counted.
const OTHERS: &str = "(others)";
const BUCKETS: usize = 10;
const BUCKETS_MAX: usize = 30;
const FIRST_BUCKET_MINUTES: u64 = 5;

/// `ringpost qshape`.
pub fn run(words: Vec<OsString>) -> Result<(), Failure> {
    let usage = || Failure::new(EX_USAGE, format!("usage: {USAGE}"));
    let options = Options::read(words, "sl", "btn", USAGE).map_err(|_| usage())?;
    let number = |letter: char, default: u64| {
        let given = options.letters.iter().rev().find(|(given, _)| *given == letter);
        given.map_or(Some(default), |(_, value)| value.parse().ok()).ok_or_else(usage)
    };
    let buckets = number('b', BUCKETS as u64)?.clamp(1, BUCKETS_MAX as u64) as usize;
    let limits = limits(buckets, number('t', FIRST_BUCKET_MINUTES)?.max(1), options.has('l'));
    let lines = usize::try_from(number('n', u64::MAX)?).unwrap_or(usize::MAX);
    let mut queues = Queues::NONE;
    for word in &options.words {
        queues = queues.with(Queue::named(word).ok_or_else(usage)?);
    }
    if options.words.is_empty() {
        queues = Queues::of(&[Queue::Incoming, Queue::Active]);
    }
    let mut reader =
        match options.reader(|| say("qshape", "warning: mail system is down -- accessing queue directly"))? {
            Ok(reader) => reader,
            Err(error) => {
                let code = own_code(&error);
                return failure(error, code);
            }
        };
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_micros() as u64);
    let mut shape = Shape::new(limits, options.has('s'));
    let outcome = reader.request(&Request::List { queues }, |answer| {
        match answer {
            Answer::Message(message) => {
                let age_minutes = now_us.saturating_sub(message.arrival_us) / 60_000_000;
                shape.message(message.sender, age_minutes);
            }
            Answer::Recipient { address, .. } => shape.recipient(address),
            _ => {}
        }
        Ok(())
    });
    let outcome = outcome.and_then(|_| {
        let mut out = BufWriter::new(io::stdout().lock());
        shape.print(&mut out, lines).and_then(|()| out.flush()).map_err(ControlError::Output)
    });
    outcome.or_else(|error| {
        let code = own_code(&error);
        failure(error, code)
    })
}

/// The ages, in minutes, at which the buckets end, the last one's excepted, which has none.
fn limits(buckets: usize, first: u64, linear: bool) -> Vec<u64> {
    let limit = |index: usize| if linear { first * (index as u64 + 1) } else { first << index.min(40) };
    (0..buckets.saturating_sub(1)).map(limit).collect()
}

/// The table.
struct Shape {
    limits: Vec<u64>,
    by_sender: bool,
    /// Of the message whose recipients come.
    bucket: usize,
    rows: HashMap<String, Vec<u64>>,
    total: Vec<u64>,
}

impl Shape {
    fn new(limits: Vec<u64>, by_sender: bool) -> Shape {
        let total = vec![0; limits.len() + 1];
        Shape { limits, by_sender, bucket: 0, rows: HashMap::new(), total }
    }

    fn message(&mut self, sender: &str, age_minutes: u64) {
        self.bucket = self.limits.iter().take_while(|limit| age_minutes >= **limit).count();
        if self.by_sender {
            self.count(if sender.is_empty() { "MAILER-DAEMON" } else { domain(sender) }.to_owned());
        }
    }

    fn recipient(&mut self, address: &str) {
        if !self.by_sender {
            self.count(domain(address).to_owned());
        }
    }

    fn count(&mut self, domain: String) {
        let mut domain = domain.to_ascii_lowercase();
        if self.rows.len() >= DESTINATIONS_MAX && !self.rows.contains_key(&domain) {
            OTHERS.clone_into(&mut domain);
        }
        let row = self.rows.entry(domain).or_insert_with(|| vec![0; self.limits.len() + 1]);
        row[self.bucket] += 1;
        self.total[self.bucket] += 1;
    }

    /// The busiest destinations first; equal ones by name.
    fn print(&self, out: &mut impl Write, lines: usize) -> io::Result<()> {
        let mut rows: Vec<(u64, &str, &[u64])> = self
            .rows
            .iter()
            .map(|(name, counts)| (counts.iter().sum(), name.as_str(), &counts[..]))
            .collect();
        rows.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        rows.truncate(lines);
        let total: u64 = self.total.iter().sum();
        let name_width = rows.iter().map(|(_, name, _)| name.len()).max().unwrap_or(0).max(5);
        let width =
            total.to_string().len().max(self.limits.last().map_or(0, |limit| limit.to_string().len() + 1));
        let mut heads: Vec<String> = vec!["T".to_owned()];
        heads.extend(self.limits.iter().map(u64::to_string));
        heads.push(self.limits.last().map_or("0+".to_owned(), |limit| format!("{limit}+")));
        write!(out, "{:name_width$}", "")?;
        heads.iter().try_for_each(|head| write!(out, " {head:>width$}"))?;
        writeln!(out)?;
        for (sum, name, counts) in std::iter::once((total, "TOTAL", &self.total[..])).chain(rows) {
            write!(out, "{name:>name_width$} {sum:>width$}")?;
            counts.iter().try_for_each(|count| write!(out, " {count:>width$}"))?;
            writeln!(out)?;
        }
        Ok(())
    }
}

/// What stands after the last `@`; the whole address where there is none.
fn domain(address: &str) -> &str {
    address.rsplit_once('@').map_or(address, |(_, domain)| domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_by_age_and_destination() {
        let mut shape = Shape::new(limits(4, 5, false), false);
        for (age, recipients) in
            [(0, &["a@Busy.test", "b@busy.test"][..]), (7, &["c@busy.test"]), (90, &["d@x.test"])]
        {
            shape.message("s@y", age);
            recipients.iter().for_each(|recipient| shape.recipient(recipient));
        }
        let mut out = Vec::new();
        shape.print(&mut out, usize::MAX).unwrap_or_else(|error| panic!("{error}"));
        let expected = "            T   5  10  20 20+\n    TOTAL   4   2   1   0   1\nbusy.test   3   2   1   0   0\n   x.test   1   0   0   0   1\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
