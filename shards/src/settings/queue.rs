//! What a command that works on the queue itself needs of the configuration: nothing of services and clients, so that
//! a mistake there does not keep an operator from the queue.

use std::path::PathBuf;

use ringpost_core::cleanup::CleanupSettings;
use ringpost_core::config::{Config, names};
use ringpost_spool::SpoolOptions;

use super::cleanup;

/// The queue, its log, and the names that requeued mail gets.
#[derive(Clone, Debug)]
pub struct QueueSettings {
    /// `queue_directory`.
    pub queue_directory: PathBuf,
    /// `maillog_file`; none where the engine logs to its standard output.
    pub maillog_file: Option<PathBuf>,
    /// `myhostname`.
    pub myhostname: String,
    /// `syslog_name`.
    pub syslog_name: String,
    /// For the trace header of requeued mail.
    pub own_mail: CleanupSettings,
    segment_bytes: u64,
}

impl QueueSettings {
    /// Reads the settings; `config` has been checked.
    pub fn from_config(config: &Config) -> QueueSettings {
        let view = config.view();
        let maillog_file = view.text(names::MAILLOG_FILE);
        QueueSettings {
            queue_directory: view.text(names::QUEUE_DIRECTORY).into(),
            maillog_file: (!maillog_file.is_empty()).then(|| maillog_file.into()),
            myhostname: view.text(names::MYHOSTNAME),
            syslog_name: view.text(names::SYSLOG_NAME),
            own_mail: cleanup::head(&view),
            segment_bytes: view.number(names::RINGPOST_SPOOL_SEGMENT_SIZE),
        }
    }

    /// How the spool of shard `index` is opened. The room that the engine leaves free is for this, too: an operator
    /// deletes mail because the disk is full.
    pub fn spool_options(&self, index: u16) -> SpoolOptions {
        let mut options = SpoolOptions::new(index);
        options.segment_bytes = self.segment_bytes;
        options.free_bytes_min = 0;
        options
    }
}
