//! What differs between two outcomes, and which differences are meant to be.

use super::dialogue::Dialogue;
use super::outcome::Outcome;

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The case.
    pub case: String,
    /// The dialogue's number.
    pub dialogue: usize,
    /// `reply to RCPT TO:<…>`, `delivered`, `fate`, `verdict`, `unsettled`, `run`.
    pub what: String,
    /// What the left server was told last before, and said to it; empty if that was the greeting, or `what` is no reply.
    pub after: String,
    /// What the left server gave; empty if nothing.
    pub left: String,
    /// What the right server gave.
    pub right: String,
}

/// A difference that is meant to be.
#[derive(Debug)]
pub struct Intended {
    /// Why.
    pub reason: &'static str,
    /// Text that the left side must contain.
    pub left: &'static str,
    /// Text that the right side must contain.
    pub right: &'static str,
    /// Text that `what` must contain.
    pub what: &'static str,
    /// Text that `after` must contain.
    pub after: &'static str,
    /// What differs in the same dialogue from there on is a consequence: the sessions no longer stand at the same place.
    pub and_the_rest: bool,
}

impl Intended {
    /// Whether `difference` is this one.
    pub fn covers(&self, difference: &Difference) -> bool {
        difference.what.contains(self.what)
            && difference.after.contains(self.after)
            && difference.left.contains(self.left)
            && difference.right.contains(self.right)
    }
}

/// Every intended difference; Postfix is on the left.
pub const INTENDED: &[Intended] = &[
    Intended {
        reason: REFUSED_AT_END,
        what: "reply to MAIL FROM",
        after: "(content): 554 5.7.1 <end@",
        left: "503 5.5.1 Error: nested MAIL command",
        right: "250 2.1.0 Ok",
        and_the_rest: true,
    },
    Intended {
        reason: REFUSED_AT_END,
        what: "reply to ETRN",
        after: "(content): 554 5.7.1 <end@",
        left: "503 Error: MAIL transaction in progress",
        right: "459 <",
        and_the_rest: true,
    },
    Intended {
        reason: "each MAIL is judged by its own SIZE; Postfix 3.7 remembers the one of a MAIL that it refused, and \
                 refuses the next for it",
        what: "reply to MAIL FROM:<",
        after: "",
        left: "552 5.3.4 Message size exceeds fixed limit",
        right: "250 2.1.0 Ok",
        and_the_rest: true,
    },
    Intended {
        reason: "addresses are kept without the dot at their end; they name the same mailbox",
        what: "verdict",
        after: "",
        left: ".example.>",
        right: ".example>",
        and_the_rest: false,
    },
    Intended {
        reason: "a mailbox that is written with quotes and without gets one copy; Postfix 3.7 keeps both recipients",
        what: "delivered",
        after: "",
        left: "joe@inner.example joe@inner.example",
        right: "joe@inner.example\n",
        and_the_rest: false,
    },
    Intended {
        reason: "a part of a message that is encoded says so; Postfix 3.7 calls it 7bit",
        what: "delivered",
        after: "",
        left: "Content-Type: message/partial",
        right: "Content-Transfer-Encoding: quoted-printable",
        and_the_rest: false,
    },
    Intended {
        reason: HELP,
        what: "reply to HELP",
        after: "",
        left: "500 5.5.2 Error: command not recognized",
        right: "214 2.0.0 Commands: ",
        and_the_rest: false,
    },
    Intended {
        reason: HELP,
        what: "verdict",
        after: "",
        left: " unknown=0/",
        right: " help=",
        and_the_rest: false,
    },
];

const REFUSED_AT_END: &str = "smtpd_end_of_data_restrictions end the transaction that they refuse (RFC 5321 section \
                              4.1.1.4); Postfix 3.7 goes on with its sender and recipients, so that the next message \
                              is refused too";
const HELP: &str = "HELP is answered, as RFC 5321 section 4.1.1.8 wants it";

/// What differs.
pub fn differences(case: &str, dialogue: &Dialogue, left: &Outcome, right: &Outcome) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut differ = |what: String, after: String, left: &str, right: &str| {
        found.push(Difference {
            case: case.to_owned(),
            dialogue: dialogue.number,
            what,
            after,
            left: left.to_owned(),
            right: right.to_owned(),
        });
    };
    let replies = left.replies.len().max(right.replies.len());
    for index in 0..replies {
        let none = (String::from("(nothing said)"), String::new());
        let (said, one) = left.replies.get(index).unwrap_or(&none);
        let (also_said, other) = right.replies.get(index).unwrap_or(&none);
        if one != other || said != also_said {
            let before = left.replies.iter().take(index).map(|(said, reply)| format!("{said}: {reply}\n"));
            let before = before.collect::<String>();
            differ(format!("reply to {said}"), before, one, other);
        }
    }
    let mut sides = |what: &str, left: Vec<String>, right: Vec<String>| {
        let only_left: Vec<&String> = left.iter().filter(|item| !right.contains(item)).collect();
        let only_right: Vec<&String> = right.iter().filter(|item| !left.contains(item)).collect();
        for index in 0..only_left.len().max(only_right.len()) {
            let text = |side: &[&String]| side.get(index).map_or(String::new(), |text| (*text).clone());
            differ(what.to_owned(), String::new(), &text(&only_left), &text(&only_right));
        }
    };
    let mail = |outcome: &Outcome| {
        let delivered = outcome.delivered.iter();
        delivered.map(|one| format!("{}\n{}\n\n{}", one.envelope, one.header, one.body)).collect::<Vec<_>>()
    };
    sides("delivered", mail(left), mail(right));
    sides("fate", left.fates.iter().cloned().collect(), right.fates.iter().cloned().collect());
    sides("verdict", left.verdicts.iter().cloned().collect(), right.verdicts.iter().cloned().collect());
    let waited_for = |outcome: &Outcome| outcome.unsettled.clone();
    sides("unsettled", waited_for(left), waited_for(right));
    found
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let indent = |text: &str| text.replace('\n', "\n      ");
        writeln!(f, "{} dialogue {}: {}", self.case, self.dialogue, self.what)?;
        writeln!(f, "    < {}", indent(&self.left))?;
        write!(f, "    > {}", indent(&self.right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(reply: &str, fate: &str) -> Outcome {
        Outcome {
            replies: vec![("RCPT TO:<a@b>".to_owned(), reply.to_owned())],
            fates: [fate.to_owned()].into(),
            ..Outcome::default()
        }
    }

    #[test]
    fn a_reply_and_a_fate_that_differ_are_found() {
        let dialogue = Dialogue { number: 3, steps: Vec::new() };
        let one = outcome("250 2.1.5 Ok", "to=<a@b>, dsn=2.0.0, status=sent (Ok)");
        assert_eq!(differences("c", &dialogue, &one, &one), []);
        let other = outcome("550 5.1.1 no", "");
        let found = differences("c", &dialogue, &one, &other);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].what, "reply to RCPT TO:<a@b>");
        assert_eq!(
            (found[1].left.as_str(), found[1].right.as_str()),
            ("to=<a@b>, dsn=2.0.0, status=sent (Ok)", "")
        );
    }
}
