//! What a sink does on purpose: delays, refusals, greylisting, lost connections, by stage and by recipient.
//!
//! A script is a TOML file:
//!
//! ```toml
//! connection_limit = 100            # further connections get 421
//!
//! [[rule]]
//! stage = "rcpt"                    # banner, hello, mail, rcpt, data or dot
//! domain = "slow.example"           # or recipient = "*@*.example", or sender = "…"; none: always
//! delay_ms = 500                    # before the answer
//! reply = "451 4.7.1 Come back"     # instead of the usual answer
//! # greylist_s = 5                  # 450 at the first sight of sender and recipient, for so many seconds
//! # drop = true                     # close the connection instead of (or after) the answer
//! # times = 3                       # only the first three times
//! # share = 0.1                     # only so often, by chance
//! # account = "lose"                # at the dot: "lose" answers 250 and forgets, "twice" counts double
//! ```
//!
//! At each stage the first rule that matches counts. At `data` and `dot` a pattern for recipients matches if one of the
//! message's recipients does (LMTP answers the dot recipient by recipient).

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;

use crate::Failure;

/// Most rules of a script: each is looked at for every command of its stage.
const RULES_MAX: usize = 1000;

/// When a rule acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// On connection, before the greeting.
    Banner,
    /// At HELO, EHLO or LHLO.
    Hello,
    /// At MAIL.
    Mail,
    /// At RCPT.
    Rcpt,
    /// At DATA.
    Data,
    /// After the content.
    Dot,
}

/// Stages, for tables indexed by [`Stage`].
const STAGES: usize = Stage::Dot as usize + 1;

/// How the sink's books treat a message that it accepts. For testing the checker: an honest sink counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accounting {
    /// As it is.
    #[default]
    Once,
    /// Says 250 and forgets the message.
    Lose,
    /// Counts the message twice.
    Twice,
}

/// What to do at a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Action {
    /// Wait before the answer.
    pub delay: Duration,
    /// Answer so instead of as usual: code, text, CRLF. A code of 4 or 5 refuses.
    pub reply: Option<Vec<u8>>,
    /// Refuse the first sight of sender and recipient, and for this long.
    pub greylist: Option<Duration>,
    /// Close the connection: instead of the answer, or after it if `reply` is given.
    pub drop: bool,
    /// Honest or not.
    pub accounting: Accounting,
}

/// A sink's whole script.
#[derive(Debug, Default)]
pub struct Script {
    /// Connections served at once; further ones get 421.
    pub connection_limit: Option<usize>,
    stages: [Vec<Rule>; STAGES],
}

#[derive(Debug)]
struct Rule {
    recipient: Option<String>,
    sender: Option<String>,
    times_left: Option<AtomicU64>,
    share: f64,
    action: Action,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptText {
    connection_limit: Option<usize>,
    #[serde(default, rename = "rule")]
    rules: Vec<RuleText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleText {
    stage: Stage,
    recipient: Option<String>,
    domain: Option<String>,
    sender: Option<String>,
    #[serde(default)]
    delay_ms: u64,
    reply: Option<String>,
    greylist_s: Option<f64>,
    #[serde(default)]
    drop: bool,
    times: Option<u64>,
    share: Option<f64>,
    #[serde(default)]
    account: Accounting,
}

impl Script {
    /// Reads a script file.
    ///
    /// # Errors
    /// `Failure::File` if it cannot be read, `Failure::Usage` with file and place if it is wrong.
    pub fn read(path: &Path) -> Result<Script, Failure> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::File(format!("{}: {error}", path.display())))?;
        Script::parse(&text).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
    }

    /// Reads a script.
    ///
    /// # Errors
    /// A sentence for the user, with the line where TOML itself is wrong and the rule's number where a rule is.
    pub fn parse(text: &str) -> Result<Script, String> {
        let parsed: ScriptText = toml::from_str(text).map_err(|error| error.to_string())?;
        if parsed.rules.len() > RULES_MAX {
            return Err(format!("at most {RULES_MAX} rules"));
        }
        let mut script = Script { connection_limit: parsed.connection_limit, ..Script::default() };
        for (index, text) in parsed.rules.into_iter().enumerate() {
            let stage = text.stage;
            let rule = text.check().map_err(|error| format!("rule {}: {error}", index + 1))?;
            script.stages[stage as usize].push(rule);
        }
        Ok(script)
    }

    /// Whether any rule acts at a stage: lets the usual case cost nothing.
    pub fn acts_at(&self, stage: Stage) -> bool {
        !self.stages[stage as usize].is_empty()
    }

    /// The action for a stage, a sender and any of the recipients; uses up `times`.
    pub fn action<'a>(
        &self,
        stage: Stage,
        sender: &[u8],
        recipients: impl Iterator<Item = &'a [u8]> + Clone,
        random: &mut fastrand::Rng,
    ) -> Option<&Action> {
        self.stages[stage as usize]
            .iter()
            .find(|rule| rule.matches(sender, recipients.clone()) && rule.is_due(random))
            .map(|rule| &rule.action)
    }
}

impl RuleText {
    fn check(self) -> Result<Rule, String> {
        let recipient = match (self.recipient, self.domain) {
            (Some(_), Some(_)) => return Err("either recipient or domain".into()),
            (Some(pattern), None) => Some(pattern.to_ascii_lowercase()),
            (None, Some(domain)) => Some(format!("*@{}", domain.to_ascii_lowercase())),
            (None, None) => None,
        };
        if recipient.is_some() && self.stage < Stage::Rcpt {
            return Err("a pattern for recipients works at rcpt, data and dot".into());
        }
        if self.sender.is_some() && self.stage < Stage::Mail {
            return Err("a pattern for senders works at mail and after".into());
        }
        if self.greylist_s.is_some() && self.stage != Stage::Rcpt {
            return Err("greylisting happens at rcpt".into());
        }
        if self.account != Accounting::Once && self.stage != Stage::Dot {
            return Err("account works at dot".into());
        }
        let share = self.share.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&share) {
            return Err(format!("share: 0 to 1, not {share}"));
        }
        let greylist = match self.greylist_s {
            None => None,
            Some(seconds) => {
                Some(Duration::try_from_secs_f64(seconds).map_err(|error| format!("greylist_s: {error}"))?)
            }
        };
        let reply = match self.reply {
            None => None,
            Some(text) => {
                let code_is_fine = text.len() >= 4
                    && text.is_char_boundary(4)
                    && matches!(text.as_bytes()[0], b'2'..=b'5')
                    && text.as_bytes()[1..3].iter().all(u8::is_ascii_digit)
                    && text.as_bytes()[3] == b' ';
                if !code_is_fine || text.contains(['\r', '\n']) {
                    return Err(format!("{text:?} is not one line such as \"451 4.7.1 Come back\""));
                }
                Some(format!("{text}\r\n").into_bytes())
            }
        };
        let action = Action {
            delay: Duration::from_millis(self.delay_ms),
            reply,
            greylist,
            drop: self.drop,
            accounting: self.account,
        };
        if action == Action::default() {
            return Err("does nothing: give delay_ms, reply, greylist_s, drop or account".into());
        }
        Ok(Rule {
            recipient,
            sender: self.sender.map(|pattern| pattern.to_ascii_lowercase()),
            times_left: self.times.map(AtomicU64::new),
            share,
            action,
        })
    }
}

impl Rule {
    fn matches<'a>(&self, sender: &[u8], mut recipients: impl Iterator<Item = &'a [u8]>) -> bool {
        let sender_fits = self.sender.as_ref().is_none_or(|pattern| glob(pattern.as_bytes(), sender));
        sender_fits
            && self
                .recipient
                .as_ref()
                .is_none_or(|pattern| recipients.any(|recipient| glob(pattern.as_bytes(), recipient)))
    }

    fn is_due(&self, random: &mut fastrand::Rng) -> bool {
        if self.share < 1.0 && random.f64() >= self.share {
            return false;
        }
        // A counter on its own: nothing else is published with it.
        self.times_left.as_ref().is_none_or(|left| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        })
    }
}

/// Whether `text` (in any case) fits a pattern in lower case in which `*` stands for anything.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut last_star = None;
    while at_text < text.len() {
        if pattern.get(at_pattern) == Some(&b'*') {
            last_star = Some((at_pattern, at_text));
            at_pattern += 1;
        } else if pattern.get(at_pattern) == Some(&text[at_text].to_ascii_lowercase()) {
            at_pattern += 1;
            at_text += 1;
        } else if let Some((star, from)) = last_star {
            // Let the last star stand for one byte more.
            last_star = Some((star, from + 1));
            at_pattern = star + 1;
            at_text = from + 1;
        } else {
            return false;
        }
    }
    pattern[at_pattern..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action<'a>(script: &'a Script, stage: Stage, sender: &str, recipients: &[&str]) -> Option<&'a Action> {
        let mut random = fastrand::Rng::with_seed(1);
        script.action(stage, sender.as_bytes(), recipients.iter().map(|text| text.as_bytes()), &mut random)
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let script = Script::parse(
            r#"
            connection_limit = 7
            [[rule]]
            stage = "rcpt"
            domain = "Dead.example"
            reply = "550 5.1.1 No such user"
            [[rule]]
            stage = "rcpt"
            recipient = "slow*@*.example"
            delay_ms = 250
            [[rule]]
            stage = "dot"
            sender = "*@client.example"
            drop = true
            "#,
        )
        .expect("a script");
        assert_eq!(script.connection_limit, Some(7));
        let dead = action(&script, Stage::Rcpt, "", &["A@DEAD.example"]).expect("an action");
        assert_eq!(dead.reply.as_deref(), Some(&b"550 5.1.1 No such user\r\n"[..]));
        let slow = action(&script, Stage::Rcpt, "", &["slow-1@mx.example"]).expect("an action");
        assert_eq!((slow.delay, slow.drop), (Duration::from_millis(250), false));
        assert_eq!(action(&script, Stage::Rcpt, "", &["fast@mx.example"]), None);
        assert_eq!(action(&script, Stage::Dot, "a@other.example", &["x@y"]), None);
        assert!(action(&script, Stage::Dot, "a@client.example", &["x@y"]).expect("an action").drop);
        assert!(!script.acts_at(Stage::Mail));
    }

    #[test]
    fn a_rule_may_be_limited_to_some_times() {
        let script =
            Script::parse("[[rule]]\nstage = \"mail\"\ntimes = 2\nreply = \"450 later\"").expect("a script");
        let answers: Vec<bool> = (0..4).map(|_| action(&script, Stage::Mail, "", &[]).is_some()).collect();
        assert_eq!(answers, [true, true, false, false]);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("[[rule]]\nstage = \"rcpt\"", "rule 1: does nothing"),
            ("[[rule]]\nstage = \"mail\"\ndomain = \"x\"\ndrop = true", "pattern for recipients"),
            ("[[rule]]\nstage = \"dot\"\nreply = \"hello\"", "is not one line"),
            ("[[rule]]\nstage = \"dot\"\nreply = \"45\u{e9} x\"", "is not one line"),
            ("[[rule]]\nstage = \"dot\"\ngreylist_s = 1", "greylisting happens at rcpt"),
            ("[[rule]]\nstage = \"dot\"\nshare = 2.0\ndrop = true", "share"),
            ("[[rule]]\nstage = \"nowhere\"", "line 2"),
            ("unknown = 1", "unknown"),
        ] {
            let error = Script::parse(text).expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "AC", true),
            ("a*c", "acb", false),
            ("*@x.example", "me@X.example", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*ab", "aab", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), fits, "{pattern} {text}");
        }
    }
}
