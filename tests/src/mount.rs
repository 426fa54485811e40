//! Small file systems for tests of a full disk: an ext4 image on a loop device, or a tmpfs with a limit.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::scratch::Scratch;

/// A mounted file system; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    directory: PathBuf,
    // Holds the mount point and the image; goes after the mount.
    _scratch: Scratch,
    kind: &'static str,
}

impl Mounted {
    /// A file system of `mebibytes` in a directory whose name begins with `name`: ext4 in an image if this machine can, else a tmpfs.
    ///
    /// # Errors
    /// Why neither can be mounted here.
    pub fn small(name: &str, mebibytes: u64) -> Result<Mounted, String> {
        let scratch = Scratch::new(name);
        let directory = scratch.join("small");
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let image = scratch.join("image");
        let ext4 = make_image(&image, mebibytes).and_then(|()| mount(&["-o", "loop"], &image, &directory));
        let Err(no_ext4) = ext4 else { return Ok(Mounted { directory, _scratch: scratch, kind: "ext4" }) };
        let size = format!("size={mebibytes}m");
        match mount(&["-t", "tmpfs", "-o", &size], Path::new("none"), &directory) {
            Ok(()) => Ok(Mounted { directory, _scratch: scratch, kind: "tmpfs" }),
            Err(no_tmpfs) => Err(format!("no small file system: {no_ext4}; {no_tmpfs}")),
        }
    }

    /// Where it is mounted.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `ext4` or `tmpfs`.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Makes it read-only, or writable again.
    ///
    /// # Panics
    /// When the system refuses: it allowed the mount.
    pub fn set_read_only(&self, read_only: bool) {
        let option = if read_only { "remount,ro" } else { "remount,rw" };
        let directory = self.directory.to_string_lossy();
        run("mount", &["-o", option, &directory]).unwrap_or_else(|why| panic!("{why}"));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let directory = self.directory.to_string_lossy();
        // Lazily: a relay that a failing test left behind may still be ending.
        if let Err(why) = run("umount", &["-l", &directory]) {
            eprintln!("{why}");
        }
    }
}

fn make_image(image: &Path, mebibytes: u64) -> Result<(), String> {
    let file = std::fs::File::create(image).map_err(|error| error.to_string())?;
    file.set_len(mebibytes << 20).map_err(|error| error.to_string())?;
    // No blocks reserved for root, no lazy work in the background.
    let options = ["-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
    let image = image.to_string_lossy();
    run("mkfs.ext4", &[&options[..], &[&*image]].concat())
}

fn mount(options: &[&str], what: &Path, directory: &Path) -> Result<(), String> {
    let (what, directory) = (what.to_string_lossy(), directory.to_string_lossy());
    run("mount", &[options, &[&*what, &*directory]].concat())
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}
