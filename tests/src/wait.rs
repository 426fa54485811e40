//! Waiting for something another process does. Tests wait for an event or for a condition with a deadline; none
//! sleeps for a fixed time and hopes.

use std::time::{Duration, Instant};

/// How long a condition may take before the test fails: far above what any of them needs, so that a slow machine
/// does not fail a good build.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Looks at `probe` until it gives a value; panics with `what` after [`PATIENCE`].
pub fn until<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    until_within(PATIENCE, what, probe)
}

/// As [`until`], with a deadline of the caller's.
pub fn until_within<T>(patience: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain until {what}");
        // A pause between two looks, not a synchronisation: the loop ends on the condition alone.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As [`until_within`] for a yes-or-no condition; tells whether it came true in time and never panics.
pub fn holds_within(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() >= patience {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
