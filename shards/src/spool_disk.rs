//! spool_disk: the spool of one shard on the reactor's files.

use ringpost_reactor::Handle;
use ringpost_spool::disk::ReactorDisk;
use ringpost_spool::{OpenError, Spool};

use crate::failure::{EX_CANTCREAT, EX_IOERR, Failure};
use crate::settings::{Settings, spool_directory};

/// The spool as shards use it.
pub type ShardSpool = Spool<ReactorDisk>;

/// Opens and recovers the log of shard `index`.
pub async fn open(handle: &Handle, settings: &Settings, index: usize) -> Result<ShardSpool, Failure> {
    let directory = spool_directory(&settings.queue_directory, index);
    let fail = |error: OpenError| {
        let code = match &error {
            OpenError::Disk { error, .. } if error.kind() != std::io::ErrorKind::PermissionDenied => EX_IOERR,
            _ => EX_CANTCREAT,
        };
        Failure::new(code, format!("spool {}: {error}", directory.display()))
    };
    ringpost_reactor::fs::create_dir_all(&directory).map_err(|error| {
        Failure::new(EX_CANTCREAT, format!("cannot make spool directory {}: {error}", directory.display()))
    })?;
    let disk = ReactorDisk::new(handle.clone(), &directory)
        .map_err(|error| fail(OpenError::Disk { what: "open the directory".to_owned(), error }))?;
    Spool::open(disk, settings.spool_options(index)).await.map_err(fail)
}
