//! Processor time and memory of a process and all its descendants, from /proc.
//!
//! A child that ended and was waited for has added its time to its parent's, so the sum over the living misses
//! nothing: that is what makes a server of many short-lived processes comparable to one of a few threads.

use std::collections::HashMap;
use std::fs;

/// What a tree of processes has used.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processor time, user and system, in microseconds; the kernel counts in ticks of 10 ms.
    pub cpu_us: u64,
    /// Resident memory now, in bytes; pages that processes share count once for each.
    pub resident_bytes: u64,
    /// The largest it has been (of several processes: the sum of the largest of each), in bytes.
    pub resident_peak_bytes: u64,
    /// How many processes.
    pub processes: usize,
}

struct Stat {
    parent: u32,
    ticks: u64,
    resident_pages: u64,
}

/// What `root` and its descendants have used so far. All zero when `root` is gone.
pub fn usage(root: u32) -> Usage {
    let stats = all_processes();
    let mut usage = Usage::default();
    for (&pid, stat) in &stats {
        if descends(pid, root, &stats) {
            usage.cpu_us += stat.ticks * 1_000_000 / rustix::param::clock_ticks_per_second();
            usage.resident_bytes += stat.resident_pages * rustix::param::page_size() as u64;
            usage.resident_peak_bytes += resident_peak_bytes(pid);
            usage.processes += 1;
        }
    }
    usage
}

fn descends(pid: u32, root: u32, stats: &HashMap<u32, Stat>) -> bool {
    let mut at = pid;
    // A snapshot taken while processes come and go may hold a loop of re-used numbers: stop at its length.
    for _ in 0..=stats.len() {
        if at == root {
            return true;
        }
        match stats.get(&at) {
            Some(stat) if stat.parent != at => at = stat.parent,
            _ => return false,
        }
    }
    false
}

fn all_processes() -> HashMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: u32| Some((pid, parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect()
}

/// 0 for a process that has just ended.
fn resident_peak_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// proc(5): pid (name) state parent …; utime, stime, cutime, cstime are fields 14 to 17, rss is field 24.
fn parse(stat: &str) -> Option<Stat> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let ticks = number(14)? + number(15)? + number(16)? + number(17)?;
    Some(Stat { parent: u32::try_from(number(4)?).ok()?, ticks, resident_pages: number(24)? })
}

#[cfg(test)]
mod tests {
    use super::usage;
    use std::process::{Command, Stdio};

    #[test]
    fn children_count_while_they_live_and_after() {
        let before = usage(std::process::id());
        assert!(before.processes >= 1 && before.resident_bytes > 0);
        assert!(before.resident_peak_bytes >= before.resident_bytes / 2);
        let mut child =
            Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("cat can be run");
        assert_eq!(usage(std::process::id()).processes, before.processes + 1);
        drop(child.stdin.take());
        child.wait().expect("cat ends with its input");
        let mut busy = Command::new("sh")
            .args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"])
            .spawn()
            .expect("sh can be run");
        busy.wait().expect("the loop ends");
        assert!(
            usage(std::process::id()).cpu_us >= before.cpu_us + 20_000,
            "a waited child's time is counted"
        );
    }
}
