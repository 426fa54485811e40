//! Ringpost decides like Postfix on the same configuration; `make compare-postfix` runs more dialogues of the same.

use std::path::PathBuf;

use ringpost_tests::compare::{self, Case, Kind, Wanted};
use ringpost_tests::{peers, skip};

/// Dialogues a configuration here.
const DIALOGUES: usize = 12;

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
    let report =
        compare::run(plain, &postfix, &postfix, &Wanted { seed: 1, dialogues: DIALOGUES, transcript: None });
    assert!(
        report.differences.is_empty(),
        "the comparison sees what is not there: {:#?}",
        report.differences
    );
}
