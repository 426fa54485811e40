//! What the disk below a directory counted: flushes of its write cache, as the kernel's block layer saw them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The block device under a directory.
#[derive(Clone, Debug)]
pub struct Disk {
    stat: PathBuf,
}

impl Disk {
    /// The device that holds `directory`, or why it cannot be seen (tmpfs, overlay, a hidden /sys).
    pub fn below(directory: &Path) -> Result<Disk, String> {
        let device = std::fs::metadata(directory)
            .map_err(|error| format!("cannot look at {}: {error}", directory.display()))?
            .dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let stat = PathBuf::from(format!("/sys/dev/block/{major}:{minor}/stat"));
        let disk = Disk { stat };
        disk.try_flushes().map(|_| disk.clone())
    }

    /// Whether the device has a volatile write cache: without one the kernel drops flushes before they are counted.
    pub fn has_write_cache(&self) -> bool {
        let directory = self.stat.parent().expect("the statistics lie in the device's directory");
        // A partition has no queue of its own; its whole disk does.
        let mode = std::fs::read_to_string(directory.join("queue/write_cache"))
            .or_else(|_| std::fs::read_to_string(directory.join("../queue/write_cache")));
        mode.is_ok_and(|text| text.trim() == "write back")
    }

    /// Flushes finished since boot.
    pub fn flushes(&self) -> u64 {
        self.try_flushes().unwrap_or_else(|why| panic!("{why}"))
    }

    fn try_flushes(&self) -> Result<u64, String> {
        let text = std::fs::read_to_string(&self.stat)
            .map_err(|error| format!("cannot read {}: {error}", self.stat.display()))?;
        // Documentation/block/stat.rst: the 16th number counts flushes; Linux 5.5 added it.
        let sixteenth = text.split_whitespace().nth(15).and_then(|number| number.parse().ok());
        sixteenth.ok_or_else(|| format!("{} counts no flushes", self.stat.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::Disk;
    use crate::Scratch;
    use std::io::Write;

    #[test]
    fn a_sync_counts_as_a_flush() {
        let scratch = Scratch::new("flushes");
        let disk = match Disk::below(scratch.path()) {
            Ok(disk) if disk.has_write_cache() => disk,
            Ok(_) => skip!("the disk has no write cache to flush"),
            Err(why) => skip!("{why}"),
        };
        let before = disk.flushes();
        let mut file =
            std::fs::File::create(scratch.join("file")).expect("the scratch directory is writable");
        for _ in 0..3 {
            file.write_all(b"x").and_then(|()| file.sync_all()).expect("the disk takes a byte");
        }
        assert!(disk.flushes() >= before + 3, "{} flushes before, {} after", before, disk.flushes());
    }
}
