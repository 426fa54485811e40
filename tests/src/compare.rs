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
mod names;
mod outcome;
mod server;

pub use case::{Case, Words};
pub use dialogue::{Dialogue, Step};
pub use difference::{Difference, INTENDED, Intended, differences};
pub use names::{Inside, inside};
pub use outcome::{Outcome, Recorded};
pub use server::{Kind, Server};

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use crate::random::Random;

/// The most cases that run at once: each is a Postfix of about fifteen processes beside an engine of this project.
pub const JOBS_MAX: usize = 8;

/// What is asked of each case.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What the dialogues are made from.
    pub seed: u64,
    /// How many.
    pub dialogues: usize,
    /// The number of one that shall be told in full.
    pub transcript: Option<usize>,
    /// Where a copy of each server's log shall be left, as `CASE.left` and `CASE.right`.
    pub logs: Option<PathBuf>,
}

/// What one case gave.
#[derive(Debug, Default)]
pub struct Report {
    /// The case.
    pub case: String,
    /// Dialogues said to both.
    pub dialogues: usize,
    /// What both said in the dialogue that was asked for.
    pub transcript: String,
    /// How many different replies, deliveries and log lines the left server gave: how much was compared.
    pub kinds: [usize; 3],
    /// What differs without being intended.
    pub differences: Vec<Difference>,
    /// How often each intended difference was seen, by its reason.
    pub intended: Vec<(&'static str, usize)>,
}

/// Says dialogues of `case` to both kinds of server and compares. A server that does not start or breaks the
/// rules of its own log is a difference too.
pub fn run(case: &Case, left: &Kind, right: &Kind, wanted: &Wanted) -> Report {
    run_both((left, case), (right, case), wanted)
}

/// As [`run`], each server on a configuration of its own: to see that the comparison can find something.
pub fn run_both(
    (left, case): (&Kind, &Case),
    (right, other_case): (&Kind, &Case),
    wanted: &Wanted,
) -> Report {
    let mut random = Random::new(wanted.seed);
    let dialogues: Vec<Dialogue> =
        (0..wanted.dialogues).map(|number| Dialogue::generate(&case.words, number, &mut random)).collect();
    let (left, right) = std::thread::scope(|scope| {
        let log =
            |side| wanted.logs.as_ref().map(|directory| directory.join(format!("{}.{side}", case.name)));
        let (left_log, right_log) = (log("left"), log("right"));
        let dialogues = &dialogues;
        let left = scope.spawn(move || Server::start(left, case).converse(dialogues, left_log.as_deref()));
        let right =
            scope.spawn(move || Server::start(right, other_case).converse(dialogues, right_log.as_deref()));
        (left.join(), right.join())
    });
    let mut report = Report { case: case.name.clone(), dialogues: wanted.dialogues, ..Report::default() };
    let (left, right) = match (left, right) {
        (Ok(left), Ok(right)) => (left, right),
        (left, right) => {
            let said = |side: std::thread::Result<Vec<Outcome>>| {
                side.map_or_else(|panic| panicked_with(&*panic), |_| "ran".to_owned())
            };
            report.differences.push(Difference {
                case: case.name.clone(),
                dialogue: 0,
                what: "run".to_owned(),
                after: String::new(),
                left: said(left),
                right: said(right),
            });
            return report;
        }
    };
    if let Some(number) = wanted.transcript
        && let (Some(dialogue), Some(left), Some(right)) =
            (dialogues.get(number), left.get(number), right.get(number))
    {
        report.transcript = transcript(dialogue, left, right);
    }
    report.kinds = kinds(&left);
    for ((dialogue, left), right) in dialogues.iter().zip(&left).zip(&right) {
        let mut consequences_of = None;
        for difference in differences(&case.name, dialogue, left, right) {
            match consequences_of.or_else(|| INTENDED.iter().find(|known| known.covers(&difference))) {
                None => report.differences.push(difference),
                Some(known) => {
                    report.intend(known.reason);
                    consequences_of = known.and_the_rest.then_some(known);
                }
            }
        }
    }
    report
}

impl Report {
    fn intend(&mut self, reason: &'static str) {
        match self.intended.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, times)) => *times += 1,
            None => self.intended.push((reason, 1)),
        }
    }
}

fn kinds(outcomes: &[Outcome]) -> [usize; 3] {
    let (mut replies, mut deliveries, mut lines) = (HashSet::new(), HashSet::new(), HashSet::new());
    for outcome in outcomes {
        replies.extend(outcome.replies.iter().map(|(_, reply)| reply.as_str()));
        deliveries.extend(outcome.delivered.iter().map(|one| one.envelope.as_str()));
        lines.extend(outcome.fates.iter().chain(&outcome.verdicts).map(String::as_str));
    }
    [replies.len(), deliveries.len(), lines.len()]
}

fn transcript(dialogue: &Dialogue, left: &Outcome, right: &Outcome) -> String {
    let mut text = String::new();
    for step in &dialogue.steps {
        match step {
            Step::Say(line) => text += &format!("C: {line}\n"),
            Step::Content(content) => text += &format!("C: {}.\n", String::from_utf8_lossy(content)),
        }
    }
    for (mark, outcome) in [("<", left), (">", right)] {
        for (said, reply) in &outcome.replies {
            text += &format!("{mark} {said}: {reply}\n");
        }
        for line in outcome.fates.iter().chain(&outcome.verdicts).chain(&outcome.unsettled) {
            text += &format!("{mark} {line}\n");
        }
    }
    text
}

fn panicked_with(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// Runs `cases`, `jobs` of them at a time, and gives each report as soon as it is there.
pub fn run_all(
    cases: &[Case],
    jobs: usize,
    run: impl Fn(&Case) -> Report + Sync,
    mut report: impl FnMut(Report),
) {
    let next = AtomicUsize::new(0);
    let (give, take) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, JOBS_MAX) {
            let (give, next, run) = (give.clone(), &next, &run);
            scope.spawn(move || {
                // Relaxed: each thread only needs a number of its own.
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if give.send(run(case)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(give);
        take.iter().for_each(&mut report);
    });
}
