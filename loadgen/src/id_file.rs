//! Files of message ids, one line each, written by a thread of their own so that no executor waits for a disk.
//!
//! Limits: `BATCHES_MAX` batches of `BATCH_BYTES` are under way to the thread; then the executor waits, because a
//! line that was not written down must not be forgotten.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::Failure;

/// Lines collected before they are handed to the writing thread.
const BATCH_BYTES: usize = 32 * 1024;

/// Batches waiting for the disk: 8 MiB of memory at most.
const BATCHES_MAX: usize = 256;

/// A file of lines and the thread that writes it.
pub struct IdFile {
    path: String,
    sender: SyncSender<Vec<u8>>,
    writer: JoinHandle<io::Result<()>>,
}

impl IdFile {
    /// Creates (or empties) the file.
    ///
    /// # Errors
    /// `Failure::File` with the path.
    pub fn create(path: &Path) -> Result<IdFile, Failure> {
        let text = path.display().to_string();
        let mut file = File::create(path).map_err(|error| Failure::File(format!("{text}: {error}")))?;
        let (sender, receiver) = sync_channel::<Vec<u8>>(BATCHES_MAX);
        let writer = std::thread::Builder::new()
            .name("id-file".into())
            .spawn(move || {
                let mut result = Ok(());
                for batch in receiver {
                    // After an error the rest is taken and dropped: the error itself is told at the end.
                    if result.is_ok() {
                        result = file.write_all(&batch);
                    }
                }
                result
            })
            .map_err(|error| Failure::Environment(format!("cannot start a thread: {error}")))?;
        Ok(IdFile { path: text, sender, writer })
    }

    /// A door for one thread.
    pub fn lines(&self) -> IdLines {
        IdLines { batch: Vec::new(), sender: self.sender.clone() }
    }

    /// Waits until everything is written. All [`IdLines`] must be gone.
    ///
    /// # Errors
    /// `Failure::File` if any write failed.
    pub fn finish(self) -> Result<(), Failure> {
        drop(self.sender);
        let result =
            self.writer.join().unwrap_or_else(|_| Err(io::Error::other("the writing thread panicked")));
        result.map_err(|error| Failure::File(format!("{}: {error}", self.path)))
    }
}

/// One thread's lines on their way to an [`IdFile`]. What is left is sent on drop.
pub struct IdLines {
    batch: Vec<u8>,
    sender: SyncSender<Vec<u8>>,
}

impl IdLines {
    /// Adds one line.
    pub fn line(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a Vec cannot fail.
        let _ = writeln!(self.batch, "{text}");
        if self.batch.len() >= BATCH_BYTES {
            self.flush();
        }
    }

    /// Hands over what has been collected.
    pub fn flush(&mut self) {
        if !self.batch.is_empty() {
            let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_BYTES + 128));
            // The receiver lives until the last sender is gone, so this fails only if the writer panicked, which
            // `finish` reports.
            let _ = self.sender.send(batch);
        }
    }
}

impl Drop for IdLines {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_in_the_file_after_finish() {
        let path = std::env::temp_dir().join(format!("ringpost-id-file-{}", std::process::id()));
        let file = IdFile::create(&path).expect("created");
        let mut lines = file.lines();
        for number in 0..10_000 {
            lines.line(format_args!("line {number}"));
        }
        drop(lines);
        file.finish().expect("written");
        let text = std::fs::read_to_string(&path).expect("readable");
        std::fs::remove_file(&path).expect("removable");
        assert_eq!(text.lines().count(), 10_000);
        assert!(text.lines().enumerate().all(|(number, line)| line == format!("line {number}")));
    }

    #[test]
    fn a_file_that_cannot_be_created_is_named() {
        let Err(error) = IdFile::create(Path::new("/nonexistent/ids")) else { panic!("created") };
        assert!(error.to_string().contains("/nonexistent/ids"));
    }
}
