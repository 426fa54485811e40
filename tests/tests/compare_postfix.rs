//! Ringpost decides like Postfix on the same configurations; `make compare-postfix` says more dialogues.

use std::path::PathBuf;
use std::process::Command;

use ringpost_tests::compare::{self, Case, Kind, Wanted};
use ringpost_tests::{engine, peers, skip};

/// Dialogues where Postfix is compared with itself.
const DIALOGUES_WITH_ITSELF: usize = 12;

/// Dialogues for each configuration where Ringpost is compared: together about a hundred, in half a minute.
const DIALOGUES: &str = "4";

/// What the dialogues are made from. Another seed than that of `make compare-postfix`.
const SEED: &str = "4";

fn postfix() -> Result<Kind, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("Postfix starts as root only".to_owned());
    }
    let tool = peers::postfix_tool("postmap")?;
    let peers = tool.parent().and_then(|bin| bin.parent()).map(PathBuf::from);
    peers.map(Kind::Postfix).ok_or_else(|| "the peers' directory has no parent".to_owned())
}

#[test]
fn postfix_is_like_itself_and_unlike_itself_with_another_configuration() {
    let postfix = match postfix() {
        Ok(postfix) => postfix,
        Err(why) => skip!("{why}"),
    };
    let cases = Case::all();
    let plain = cases.iter().find(|case| case.name == "plain_relay").expect("there is a case plain_relay");
    let wanted = Wanted { seed: 1, dialogues: DIALOGUES_WITH_ITSELF, ..Wanted::default() };
    let report = compare::run(plain, &postfix, &postfix, &wanted);
    assert!(
        report.differences.is_empty(),
        "the comparison sees what is not there: {:#?}",
        report.differences
    );
    let mut other = plain.clone();
    other.main_cf +=
        "relayhost = @SINK2@\nsmtpd_sender_restrictions = check_sender_access inline:{ {<>=REJECT} }\n";
    let report = compare::run_both((&postfix, plain), (&postfix, &other), &wanted);
    let differs = |what: &str| report.differences.iter().any(|difference| difference.what.starts_with(what));
    for what in ["reply to RCPT", "delivered", "verdict"] {
        assert!(differs(what), "the comparison does not see that {what} differs");
    }
}

#[test]
fn ringpost_is_like_postfix_on_every_configuration() {
    if let Err(why) = postfix() {
        skip!("{why}");
    }
    let words = ["--dialogues", DIALOGUES, "--seed", SEED, "--ringpost"];
    let mut comparison = Command::new(env!("CARGO_BIN_EXE_compare-postfix"));
    comparison.args(words).arg(engine::binary());
    let output = comparison.output().unwrap_or_else(|error| panic!("cannot run {comparison:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
