//! log: one shard's mail log, written in batches.
//!
//! Receives: lines, from every service of the shard; their text is made by `ringpost_core::logline`.
//! Sends:    whole batches of lines to `maillog_file` by one appending write, which keeps lines of shards apart.
//! Owns:     the buffer and the file.
//! Limits:   `BUFFER_BYTES_MAX`; a batch waits at most `BATCH_WAIT`.
//! On failure: lines that find the buffer full are lost and counted, and the loss is logged once there is room; a
//!           write error is told on standard error and those lines count as lost. Mail goes on.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use ringpost_core::cleanup::CleanupNote;
use ringpost_core::date::Zone;
use ringpost_core::logline::{LogLines, Severity};
use ringpost_reactor::local::Notify;
use ringpost_reactor::{AppendFile, Handle};

use crate::failure::{EX_CANTCREAT, Failure};
use crate::race::race;
use crate::settings::Settings;
use crate::zone::LocalZone;

/// A busy shard writes about 8 MiB of lines a second: this is half a second of a log disk that hangs.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// A batch of this size does not wait for more.
const BATCH_BYTES: usize = 64 << 10;
/// How long a line may wait for others.
const BATCH_WAIT: Duration = Duration::from_millis(50);

/// The log of one shard. Cheap to clone.
#[derive(Clone)]
pub struct Log(Rc<Inner>);

struct Inner {
    handle: Handle,
    lines: RefCell<LogLines>,
    buffer: RefCell<Vec<u8>>,
    /// The batch before, empty: its memory is used again.
    spare: RefCell<Vec<u8>>,
    file: RefCell<Rc<AppendFile>>,
    path: RefCell<PathBuf>,
    some: Notify,
    much: Notify,
    writing: Cell<bool>,
    written: Notify,
    lines_lost: Cell<u64>,
    lines_lost_told: Cell<u64>,
    zone: LocalZone,
    zone_of_lines: Cell<Zone>,
}

/// Where lines go, and what stands in each.
pub struct LogSettings<'a> {
    /// The file; it is appended to.
    pub file: &'a Path,
    /// `myhostname`.
    pub hostname: &'a str,
    /// `syslog_name`.
    pub syslog_name: &'a str,
    /// `delay_logging_resolution_limit`.
    pub delay_decimals: u8,
}

fn open(handle: &Handle, path: &Path) -> Result<AppendFile, Failure> {
    handle.open_append(path).map_err(|error| {
        Failure::new(EX_CANTCREAT, format!("cannot open maillog_file {}: {error}", path.display()))
    })
}

impl Log {
    /// Opens the log of an engine.
    pub fn open(handle: &Handle, settings: &Settings) -> Result<Log, Failure> {
        Log::open_file(
            handle,
            &LogSettings {
                file: &settings.maillog_file,
                hostname: &settings.myhostname,
                syslog_name: &settings.syslog_name,
                delay_decimals: settings.delay_decimals,
            },
        )
    }

    /// Opens a log.
    pub fn open_file(handle: &Handle, settings: &LogSettings<'_>) -> Result<Log, Failure> {
        let file = open(handle, settings.file)?;
        let lines =
            LogLines::new(settings.hostname, settings.syslog_name, Zone::UTC, settings.delay_decimals);
        Ok(Log(Rc::new(Inner {
            handle: handle.clone(),
            lines: RefCell::new(lines),
            buffer: RefCell::new(Vec::with_capacity(2 * BATCH_BYTES)),
            spare: RefCell::new(Vec::with_capacity(2 * BATCH_BYTES)),
            file: RefCell::new(Rc::new(file)),
            path: RefCell::new(settings.file.to_owned()),
            some: Notify::new(),
            much: Notify::new(),
            writing: Cell::new(false),
            written: Notify::new(),
            lines_lost: Cell::new(0),
            lines_lost_told: Cell::new(0),
            zone: LocalZone::new(),
            zone_of_lines: Cell::new(Zone::UTC),
        })))
    }

    /// Opens the file that newer settings name: anew also if it has the same name, for it may have been moved away.
    /// `None` for the standard output that is open already.
    pub fn open_again(&self, settings: &Settings) -> Result<Option<AppendFile>, Failure> {
        let path = &settings.maillog_file;
        let is_kept = path.starts_with("/dev") && *path == *self.0.path.borrow();
        if is_kept { Ok(None) } else { open(&self.0.handle, path).map(Some) }
    }

    /// Lines from now on are written to `file`, if there is another, and as newer settings say.
    pub fn renew(&self, file: Option<AppendFile>, settings: &Settings) {
        let inner = &self.0;
        if let Some(file) = file {
            inner.file.replace(Rc::new(file));
            inner.path.replace(settings.maillog_file.clone());
        }
        let (name, decimals) = (&settings.syslog_name, settings.delay_decimals);
        let zone = inner.zone_of_lines.get();
        inner.lines.replace(LogLines::new(&settings.myhostname, name, zone, decimals));
    }

    /// Appends lines: `write` gets the line maker, the buffer and the time in seconds.
    pub fn write(&self, write: impl FnOnce(&mut LogLines, &mut Vec<u8>, i64)) {
        let inner = &self.0;
        let mut buffer = inner.buffer.borrow_mut();
        if buffer.len() >= BUFFER_BYTES_MAX {
            inner.lines_lost.set(inner.lines_lost.get() + 1);
            return;
        }
        let before = buffer.len();
        let mut lines = inner.lines.borrow_mut();
        let now_s = inner.handle.wall().as_secs() as i64;
        let zone = inner.zone.at(now_s);
        if inner.zone_of_lines.replace(zone) != zone {
            lines.set_zone(zone);
        }
        write(&mut lines, &mut buffer, now_s);
        if before == 0 {
            inner.some.notify();
        }
        if before < BATCH_BYTES && buffer.len() >= BATCH_BYTES {
            inner.much.notify();
        }
    }

    /// A warning of a service, not about one message.
    pub fn warning(&self, process: &str, number: u32, text: fmt::Arguments<'_>) {
        self.say(Severity::Warning, process, number, text);
    }

    /// An ordinary line of a service, not about one message.
    pub fn info(&self, process: &str, number: u32, text: fmt::Arguments<'_>) {
        self.say(Severity::Info, process, number, text);
    }

    /// What cleanup's checks and tables have said about a message.
    pub fn notes(&self, process: &str, number: u32, queue_id: &str, notes: &[CleanupNote]) {
        for note in notes {
            let severity = if note.is_warning { Severity::Warning } else { Severity::Info };
            self.say(severity, process, number, format_args!("{queue_id}: {}", note.text));
        }
    }

    fn say(&self, severity: Severity, process: &str, number: u32, text: fmt::Arguments<'_>) {
        self.write(|lines, out, now_s| {
            lines.message(out, now_s, process, u64::from(number), severity, text.to_string().as_bytes());
        });
    }

    /// The local time zone.
    pub fn zone(&self) -> Zone {
        self.0.zone.at(self.0.handle.wall().as_secs() as i64)
    }

    /// Lines lost so far.
    pub fn lines_lost(&self) -> u64 {
        self.0.lines_lost.get()
    }

    /// Writes batch after batch; the shard spawns it.
    pub async fn run(self) {
        loop {
            if self.0.buffer.borrow().is_empty() {
                self.0.some.notified().await;
            }
            if self.0.buffer.borrow().len() < BATCH_BYTES {
                race(self.0.much.notified(), self.0.handle.sleep(BATCH_WAIT)).await;
            }
            self.write_batch().await;
        }
    }

    /// Writes what has gathered, for those who write more lines than a batch waits for.
    pub async fn write_out(&self) {
        self.write_batch().await;
    }

    /// Writes what is left and syncs it.
    pub async fn close(&self) {
        self.write_batch().await;
        let file = self.0.file.borrow().clone();
        if let Err(error) = file.sync_data().await
            && error.kind() != std::io::ErrorKind::InvalidInput
        {
            self.tell_on_standard_error(format_args!("cannot sync the mail log: {error}"));
        }
    }

    async fn write_batch(&self) {
        while self.0.writing.get() {
            self.0.written.notified().await;
        }
        if self.0.buffer.borrow().is_empty() {
            return;
        }
        let batch = self.0.buffer.replace(self.0.spare.take());
        self.0.writing.set(true);
        let file = self.0.file.borrow().clone();
        let (result, mut batch) = file.write(batch).await;
        self.0.writing.set(false);
        self.0.written.notify_all();
        if let Err(error) = result {
            let lines = memchr::memchr_iter(b'\n', &batch).count() as u64;
            self.0.lines_lost.set(self.0.lines_lost.get() + lines);
            self.tell_on_standard_error(format_args!("cannot write {lines} lines of the mail log: {error}"));
        }
        batch.clear();
        batch.shrink_to(2 * BATCH_BYTES);
        self.0.spare.replace(batch);
        self.tell_losses();
    }

    fn tell_losses(&self) {
        let lost = self.0.lines_lost.get();
        let news = lost - self.0.lines_lost_told.replace(lost);
        if news > 0 {
            self.warning("postlogd", 0, format_args!("{news} log lines were lost"));
        }
    }

    fn tell_on_standard_error(&self, text: fmt::Arguments<'_>) {
        // Where standard error is gone too there is nobody left to tell; the lines are counted.
        let _ = writeln!(std::io::stderr(), "ringpost: warning: {text}");
    }
}
