//! The SMTP server session, through its public door: every dialogue of `tests/transcripts`, and hostile input.

mod hostile_input;
mod server;
mod transcript;
mod world;

use transcript::{Cut, Transcript, all, parse, play};

fn play_all(cut: Cut, wanted: impl Fn(&Transcript) -> bool) {
    let failures: Vec<String> =
        all().iter().filter(|t| wanted(t)).filter_map(|t| play(t, cut).err()).collect();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn each_dialogue_goes_as_written() {
    play_all(Cut::Whole, |_| true);
}

#[test]
fn each_dialogue_goes_the_same_when_every_byte_comes_alone() {
    play_all(Cut::EveryByte, |transcript| !transcript.whole_only);
}

#[test]
fn a_wrong_expectation_is_noticed() {
    let right = "S: 220 mx.example ESMTP Postfix\nC: NOOP\nS: 250 2.0.0 Ok\nC: QUIT\nS: 221 2.0.0 Bye\nE:\n";
    assert_eq!(play(&parse("right", right), Cut::Whole), Ok(()));
    for (old, new) in [("2.0.0 Ok", "2.0.0 ok"), ("E:\n", ""), ("S: 221 2.0.0 Bye\n", ""), ("C: NOOP\n", "")]
    {
        let wrong = right.replace(old, new);
        assert!(play(&parse("wrong", &wrong), Cut::Whole).is_err(), "{wrong}");
    }
}
