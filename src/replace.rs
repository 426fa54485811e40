//! replace: gives a file a new content, wholly or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

/// How often the lock is tried anew because somebody else's edit ended meanwhile.
const TRIES_MAX: u32 = 1_000;

/// Replaces the content of the file at `path`, symbolic links followed, by what `change` makes of it, through a file
/// `PATH.tmp` beside it that keeps owner and mode and is on the disk before it takes the other's name. Edits at the
/// same time wait for each other.
pub fn replace<E: From<io::Error>>(
    path: &Path,
    change: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    let path = fs::canonicalize(path)?;
    let mut temporary = path.clone().into_os_string();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let mut file = locked(&temporary)?;
    let outcome = rewrite(&path, &temporary, &mut file, change);
    if outcome.is_err() {
        // Ours as long as the lock is held; what goes wrong here cannot be mended, and the other error tells more.
        let _ = fs::remove_file(&temporary);
    }
    outcome
}

fn rewrite<E: From<io::Error>>(
    path: &Path,
    temporary: &Path,
    file: &mut File,
    change: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    let mut source = File::open(path)?;
    let as_it_is = source.metadata()?;
    let mut content = Vec::new();
    source.read_to_end(&mut content)?;
    let content = change(content)?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&content)?;
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (as_it_is.uid(), as_it_is.gid()) {
        fchown(&*file, Some(as_it_is.uid()), Some(as_it_is.gid()))?;
    }
    file.set_permissions(fs::Permissions::from_mode(as_it_is.mode() & 0o7777))?;
    file.sync_all()?;
    fs::rename(temporary, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

/// The file at `path`, made if need be, locked against other edits.
fn locked(path: &Path) -> io::Result<File> {
    let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..TRIES_MAX {
        let file = File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?);
        flock(&file, FlockOperation::LockExclusive)?;
        let locked = file.metadata()?;
        match fs::symlink_metadata(path) {
            Ok(there) if (there.dev(), there.ino()) == (locked.dev(), locked.ino()) => return Ok(file),
            // The edit that held the lock gave the file its name.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(format!("{} is edited all the time", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_keeps_the_mode_and_follows_links() {
        let directory = std::env::temp_dir().join(format!("ringpost-replace-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("the directory for temporary files is writable");
        let (real, link) = (directory.join("real.cf"), directory.join("main.cf"));
        fs::write(&real, "a = 1\n").expect("writable");
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("ours");
        std::os::unix::fs::symlink("real.cf", &link).expect("writable");
        replace::<io::Error>(&link, |text| Ok([&text, &b"b = 2\n"[..]].concat())).expect("writable");
        assert_eq!(fs::read(&real).expect("there"), b"a = 1\nb = 2\n");
        assert_eq!(fs::metadata(&real).expect("there").mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).expect("there").is_symlink());
        let refused = replace(&link, |_| Err(io::Error::other("no")));
        assert_eq!(refused.map_err(|error| error.to_string()), Err("no".to_owned()));
        assert_eq!(fs::read_dir(&directory).expect("there").count(), 2, "nothing is left behind");
        fs::remove_dir_all(&directory).expect("ours");
    }
}
