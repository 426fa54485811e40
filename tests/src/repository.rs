//! The sources, for the tests that look at the code and its documents themselves.

use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this package lies below the root").to_path_buf()
}

/// Reads a file given by its path from the root.
///
/// # Panics
/// When it cannot be read.
pub fn read(path: &str) -> String {
    let full = root().join(path);
    std::fs::read_to_string(&full).unwrap_or_else(|error| panic!("cannot read {}: {error}", full.display()))
}

/// Every file that git tracks or would track, as paths from the root, in order.
///
/// Outside a git work tree (an unpacked archive) all files but those in hidden and target directories.
pub fn files() -> Vec<String> {
    let listed = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let mut files = match listed {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
        }
        _ => walk(&root()),
    };
    files.retain(|path| root().join(path).is_file());
    files.sort();
    files
}

fn walk(root: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(directory) = waiting.pop() {
        let entries = std::fs::read_dir(&directory)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", directory.display()));
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if entry.path().is_dir() {
                if !name.starts_with('.') && name != "target" && name != "ringpost-data" {
                    waiting.push(entry.path());
                }
            } else if let Ok(path) = entry.path().strip_prefix(root) {
                files.push(path.to_string_lossy().into_owned());
            }
        }
    }
    files
}
