//! What the kernel says of a running process: its memory, its processor time, its threads.

use std::collections::HashSet;
use std::path::PathBuf;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};

/// A running process, by number. Only looks; owns nothing.
#[derive(Clone, Copy, Debug)]
pub struct Process {
    pid: u32,
}

impl Process {
    /// The process numbered `pid`.
    pub fn new(pid: u32) -> Process {
        Process { pid }
    }

    fn read(self, name: &str) -> String {
        let path = PathBuf::from(format!("/proc/{}/{name}", self.pid));
        std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
    }

    fn status_kib(self, field: &str) -> u64 {
        let status = self.read("status");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let value = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {field} in the status of process {}", self.pid))
    }

    /// Resident memory now, in bytes.
    pub fn resident_bytes(self) -> u64 {
        self.status_kib("VmRSS") * 1024
    }

    /// The most resident memory so far, in bytes.
    pub fn resident_bytes_peak(self) -> u64 {
        self.status_kib("VmHWM") * 1024
    }

    /// Memory of its own, in bytes: resident, anonymous pages only.
    pub fn anonymous_bytes(self) -> u64 {
        self.status_kib("RssAnon") * 1024
    }

    /// Processor time so far, user and system of all threads, in microseconds (the kernel counts in ticks of 10 ms).
    pub fn cpu_us(self) -> u64 {
        let stat = self.read("stat");
        // The name in parentheses may hold spaces; the numbers come after the last parenthesis.
        let after_name = stat.rsplit_once(')').expect("the kernel puts the name in parentheses").1;
        let numbers: Vec<&str> = after_name.split_whitespace().collect();
        // proc(5): utime is the 14th field and stime the 15th; the state, the 3rd, is the first here.
        let ticks: u64 =
            [numbers[11], numbers[12]].iter().map(|number| number.parse::<u64>().unwrap_or(0)).sum();
        ticks * 1_000_000 / rustix::param::clock_ticks_per_second()
    }

    /// Lets it have descriptors with numbers below `limit`, or with none not one more than it has. What the limit was.
    ///
    /// # Panics
    /// When it is not the caller's to limit.
    pub fn limit_descriptors(self, limit: Option<u64>) -> u64 {
        let names = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).expect("it is the caller's child");
        let used: HashSet<u64> =
            names.filter_map(|name| name.ok()?.file_name().to_str()?.parse().ok()).collect();
        // The kernel gives the lowest number that is free.
        let lowest_free = (0..).find(|number| !used.contains(number)).expect("numbers do not end");
        let pid = Pid::from_raw(self.pid as i32).expect("a process has a number");
        let maximum = getrlimit(Resource::Nofile).maximum;
        let limit = Rlimit { current: Some(limit.unwrap_or(lowest_free)), maximum };
        let before = prlimit(Some(pid), Resource::Nofile, limit).expect("it is the caller's child");
        before.current.unwrap_or(u64::MAX)
    }

    /// The names of its threads, cut to 15 bytes by the kernel.
    pub fn thread_names(self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.map(|name| name.trim_end().to_owned()).collect()
    }

    /// How many threads it has.
    pub fn threads(self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.pid)).map_or(0, Iterator::count)
    }

    /// What the files and sockets are that it has open, as the kernel names them.
    pub fn open_file_names(self) -> Vec<String> {
        let links = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).into_iter().flatten();
        // One that is closed meanwhile has no name.
        let names = links.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// How many files and sockets it has open.
    pub fn open_files(self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).map_or(0, Iterator::count)
    }
}

#[cfg(test)]
mod tests {
    use super::Process;

    #[test]
    fn this_process_has_memory_threads_and_files() {
        let this = Process::new(std::process::id());
        assert!(this.resident_bytes() > 100_000);
        assert!(this.resident_bytes_peak() >= this.anonymous_bytes());
        assert!(this.threads() >= 1);
        assert!(this.open_files() >= 3);
    }

    #[test]
    fn work_shows_as_processor_time() {
        let this = Process::new(std::process::id());
        let before = this.cpu_us();
        let mut sum = 0_u64;
        while this.cpu_us() < before + 20_000 {
            sum = std::hint::black_box(sum.wrapping_mul(3) + 1);
        }
        assert!(this.cpu_us() >= before + 20_000);
    }
}
