//! The comparison with Postfix: both run the same configuration directories, hear the same dialogues, and must say the
//! same, deliver the same mail and log the same fate of every recipient. What differs on purpose is a list with reasons.
//!
//! ```text
//! tests/compare/NAME/{main.cf, words, tables}  ──► Case ──► Server (Postfix), Server (Ringpost), each with its sinks
//!                     words + seed             ──► Dialogue ──► said to both ──► Outcome, Outcome ──► differences
//! ```

mod case;
mod dialogue;
mod difference;
mod outcome;
mod server;

pub use case::{Case, Words};
pub use dialogue::{Dialogue, Step};
pub use difference::{Difference, INTENDED, Intended, differences};
pub use outcome::{Outcome, Recorded};
pub use server::{Kind, Server};

use crate::random::Random;

/// What one case gave.
#[derive(Debug)]
pub struct Report {
    /// The case.
    pub case: String,
    /// Dialogues said to both.
    pub dialogues: usize,
    /// What differs without being intended.
    pub differences: Vec<Difference>,
    /// How often each intended difference was seen, by its reason.
    pub intended: Vec<(&'static str, usize)>,
}

/// Says `count` dialogues of `case` to both kinds of server and compares.
///
/// # Panics
/// When a server cannot be started, or does not finish its mail in time.
pub fn run(case: &Case, left: &Kind, right: &Kind, seed: u64, count: usize) -> Report {
    run_both((left, case), (right, case), seed, count)
}

/// As [`run`], each server on a configuration of its own: to see that the comparison can find something.
///
/// # Panics
/// As [`run`].
pub fn run_both(
    (left, case): (&Kind, &Case),
    (right, other_case): (&Kind, &Case),
    seed: u64,
    count: usize,
) -> Report {
    let mut random = Random::new(seed);
    let dialogues: Vec<Dialogue> =
        (0..count).map(|number| Dialogue::generate(&case.words, number, &mut random)).collect();
    let (left, right) = std::thread::scope(|scope| {
        let left = scope.spawn(|| Server::start(left, case).converse(&dialogues));
        let right = scope.spawn(|| Server::start(right, other_case).converse(&dialogues));
        let join = |side: std::thread::ScopedJoinHandle<'_, Vec<Outcome>>| {
            side.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        (join(left), join(right))
    });
    let mut found = Vec::new();
    let mut intended: Vec<(&'static str, usize)> = Vec::new();
    for ((dialogue, left), right) in dialogues.iter().zip(&left).zip(&right) {
        for difference in differences(&case.name, dialogue, left, right) {
            match INTENDED.iter().find(|known| known.covers(&difference)) {
                None => found.push(difference),
                Some(known) => match intended.iter_mut().find(|(reason, _)| *reason == known.reason) {
                    Some((_, times)) => *times += 1,
                    None => intended.push((known.reason, 1)),
                },
            }
        }
    }
    Report { case: case.name.clone(), dialogues: count, differences: found, intended }
}
