//! `compare-postfix`: says the same dialogues to Postfix and to Ringpost on the same configurations and tells every
//! difference that is not meant to be. Exits 1 if there is one.
//!
//! `--dialogues N` for each case (default 80), `--seed N` (default 1), `--case NAME` (may come again), `--jobs N` cases
//! at a time (default 3), `--shown N` differences in full for each case (default 40), `--transcript N` (tells
//! dialogue N in full), `--logs DIRECTORY` (leaves the logs there), `--self-test` (Postfix against
//! Postfix: shows what the comparison itself gets wrong), `--ringpost PATH`.

use std::path::PathBuf;
use std::process::ExitCode;

use ringpost_tests::compare::{self, Case, Inside, Kind, Wanted};
use ringpost_tests::{engine, peers};

/// Differences that are printed in full for each case unless the words say otherwise; the rest is counted.
const SHOWN: usize = 40;
/// Cases at a time: most of the time is spent waiting for disks and for each other.
const JOBS: usize = 3;

struct Words {
    wanted: Wanted,
    jobs: usize,
    shown: usize,
    cases: Vec<String>,
    self_test: bool,
    ringpost: Option<PathBuf>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match compare::inside(words.clone()) {
        // Lives until both servers have ended.
        Inside::Here(_names, words) => compare_all(words),
        Inside::Ended(status) => {
            ExitCode::from(status.code().and_then(|code| code.try_into().ok()).unwrap_or(70))
        }
        Inside::Refused(why) => {
            eprintln!("compare-postfix: names are looked up by this machine's own servers: {why}");
            compare_all(words)
        }
    }
}

fn compare_all(words: Vec<String>) -> ExitCode {
    let words = match read_words(words.into_iter()) {
        Ok(words) => words,
        Err(wrong) => {
            eprintln!("compare-postfix: {wrong}");
            return ExitCode::from(64);
        }
    };
    let peers = match peers::postfix_tool("postmap") {
        Ok(tool) => tool.parent().and_then(|bin| bin.parent()).map(PathBuf::from).unwrap_or_default(),
        Err(missing) => {
            eprintln!("compare-postfix: {missing}");
            return ExitCode::from(69);
        }
    };
    let postfix = Kind::Postfix(peers);
    let other = match words.self_test {
        true => postfix.clone(),
        false => Kind::Ringpost(words.ringpost.unwrap_or_else(engine::binary)),
    };
    let cases: Vec<Case> = Case::all()
        .into_iter()
        .filter(|case| words.cases.is_empty() || words.cases.contains(&case.name))
        .collect();
    let mut total = 0;
    let mut dialogues = 0;
    let run = |case: &Case| compare::run(case, &postfix, &other, &words.wanted);
    compare::run_all(&cases, words.jobs, run, |report| {
        for difference in report.differences.iter().take(words.shown) {
            println!("{difference}");
        }
        print!("{}", report.transcript);
        let [replies, deliveries, lines] = report.kinds;
        println!(
            "{}: {} dialogues ({replies} different replies, {deliveries} envelopes, {lines} log lines), {} differences",
            report.case,
            report.dialogues,
            report.differences.len()
        );
        for (reason, times) in &report.intended {
            println!("    intended {times} times: {reason}");
        }
        total += report.differences.len();
        dialogues += report.dialogues;
    });
    println!("{} configurations, {dialogues} dialogues, {total} differences", cases.len());
    if total == 0 && !cases.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read_words(mut arguments: impl Iterator<Item = String>) -> Result<Words, String> {
    let mut words = Words {
        wanted: Wanted { seed: 1, dialogues: 80, transcript: None, logs: None },
        jobs: JOBS,
        shown: SHOWN,
        cases: Vec::new(),
        self_test: false,
        ringpost: None,
    };
    while let Some(word) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{word} wants a value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--dialogues" => words.wanted.dialogues = number(value()?)? as usize,
            "--seed" => words.wanted.seed = number(value()?)?,
            "--logs" => words.wanted.logs = Some(value()?.into()),
            "--transcript" => words.wanted.transcript = Some(number(value()?)? as usize),
            "--jobs" => words.jobs = number(value()?)? as usize,
            "--shown" => words.shown = number(value()?)? as usize,
            "--case" => words.cases.push(value()?),
            "--ringpost" => words.ringpost = Some(value()?.into()),
            "--self-test" => words.self_test = true,
            _ => return Err(format!("{word} is not known")),
        }
    }
    Ok(words)
}
