//! What a command that works on the queue itself needs of the configuration: nothing of services and clients, so that
//! a mistake there does not keep an operator from the queue.

use std::path::PathBuf;

use ringpost_core::cleanup::{CleanupSettings, MappingSettings};
use ringpost_core::config::{Config, names};
use ringpost_core::lookup::TableSpec;
use ringpost_core::resolve::ResolveSettings;
use ringpost_spool::SpoolOptions;
use ringpost_tables::TableOptions;

use super::{cleanup, resolve_settings};

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
    /// What addresses of requeued mail become; the mistake that keeps them from being mapped.
    pub own_mapping: Result<MappingSettings, String>,
    /// How addresses are completed.
    pub resolve: ResolveSettings,
    /// `content_filter`, for requeued mail; empty for none.
    pub own_content_filter: String,
    /// The tables of the configuration.
    pub tables: Vec<TableSpec>,
    /// How they are opened.
    pub table_options: TableOptions,
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
            own_mapping: cleanup::mapping(&cleanup::service_view(config, &view))
                .map_err(|failure| failure.message),
            resolve: resolve_settings(&view),
            own_content_filter: view.text(names::CONTENT_FILTER),
            tables: config.tables().to_vec(),
            table_options: TableOptions::of(&view),
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
