//! What a measurement ran on, and whether the machine was free for it.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

/// How long the processors are watched before a measurement begins.
const WATCH: Duration = Duration::from_secs(1);

/// Beyond this share of busy processor time, a machine is not idle.
const BUSY_SHARE_MAX: f64 = 0.1;

/// The machine, at the start of a measurement.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// The source's commit, as the caller names it.
    pub commit: String,
    /// Processor model.
    pub processor: String,
    /// Processors online.
    pub processors: usize,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Kernel release.
    pub kernel: String,
    /// Filesystem type and device that hold the queue.
    pub filesystem: String,
    /// Load average over one minute.
    pub load_average: f64,
    /// Share of processor time that something used during one second before the measurement.
    pub busy_share: f64,
}

impl Machine {
    /// Describes this machine; queues will lie below `directory`. Watches the processors for a second.
    ///
    /// # Errors
    /// When /proc cannot be read.
    pub fn describe(commit: &str, directory: &Path) -> io::Result<Machine> {
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let memory = field(&fs::read_to_string("/proc/meminfo")?, "MemTotal");
        let memory_kib = memory.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
        let load = fs::read_to_string("/proc/loadavg")?;
        let before = processor_ticks()?;
        std::thread::sleep(WATCH);
        let after = processor_ticks()?;
        let (busy, all) = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
        Ok(Machine {
            commit: commit.to_owned(),
            processor: field(&fs::read_to_string("/proc/cpuinfo")?, "model name").unwrap_or_default(),
            processors: std::thread::available_parallelism()?.get(),
            memory_mib: memory_kib.unwrap_or(0) / 1024,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            filesystem: filesystem(&directory.canonicalize()?)?,
            load_average: load.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0),
            busy_share: busy as f64 / all.max(1) as f64,
        })
    }

    /// What to tell the reader when something else is at work.
    pub fn warning(&self) -> Option<String> {
        (self.busy_share > BUSY_SHARE_MAX || self.load_average > self.processors as f64).then(|| {
            format!(
                "warning: this machine is not idle: {:.0}% of its processor time was in use just before, load average \
                 {:.1} (a build just before counts): do not compare these figures with others",
                self.busy_share * 100.0,
                self.load_average
            )
        })
    }

    /// A line for people.
    pub fn line(&self) -> String {
        format!(
            "commit {}; {} × {}, {} MiB; Linux {}; queue on {}; load average {:.2}, {:.0}% busy before",
            self.commit,
            self.processors,
            self.processor,
            self.memory_mib,
            self.kernel,
            self.filesystem,
            self.load_average,
            self.busy_share * 100.0
        )
    }
}

/// Busy and all ticks of all processors: proc(5), first line of /proc/stat; fields 4 and 5 are idle and waiting.
fn processor_ticks() -> io::Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    let all: u64 = ticks.iter().take(8).sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Ok((all - idle, all))
}

/// Type and device of the mount that holds `path`: proc(5), mountinfo, where " - " parts the two halves of a line.
fn filesystem(path: &Path) -> io::Result<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let holder = mounts
        .lines()
        .filter_map(|line| {
            let (first, second) = line.split_once(" - ")?;
            let mount_point = first.split_whitespace().nth(4)?;
            path.starts_with(mount_point).then_some((mount_point.len(), second))
        })
        .max_by_key(|(length, _)| *length);
    let words: Vec<&str> = holder.map_or("", |(_, second)| second).split_whitespace().take(2).collect();
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::Machine;

    #[test]
    fn this_machine_is_described() {
        let machine = Machine::describe("abc", &std::env::temp_dir()).expect("/proc can be read");
        assert!(machine.memory_mib > 0 && machine.processors > 0);
        assert!((0.0..=1.0).contains(&machine.busy_share), "{machine:?}");
        assert!(!machine.filesystem.is_empty() && machine.line().contains("commit abc"), "{machine:?}");
    }
}
