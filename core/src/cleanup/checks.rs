//! What header_checks(5) and body_checks(5) say of a line, carried out.
//!
//! Receives: the value that a table has for a header or a line of a body. Sends: what becomes of the line ([`Fate`]); lines
//! for the log. Owns: what is to be done with the whole message, and whether it is refused.
//! On failure: a value that says nothing sensible is warned of, and the line stays.

use super::note::CleanupNote;
use crate::dsn::Status;
use crate::message_actions::MessageActions;
use crate::reply::Reply;

/// Bytes of a header or line that the log shows.
pub(crate) const LOGGED_BYTES_MAX: usize = 200;

/// What stands in the log behind a line that a check names.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// `name[address]`.
    pub client: &'a str,
    /// The sender after mapping.
    pub sender: &'a str,
    /// The last recipient after mapping.
    pub recipient: &'a str,
    /// `SMTP` or `ESMTP`.
    pub protocol: &'a str,
    /// HELO.
    pub helo: &'a str,
}

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inspected {
    Header,
    Body,
    /// Either, looked through for characters.
    Content,
}

impl Inspected {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Inspected::Header => "header",
            Inspected::Body => "body",
            Inspected::Content => "content",
        }
    }
}

/// What becomes of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    Keep,
    Drop,
    /// This stands in its place.
    Replace(String),
    /// It stays, and this stands before it.
    Prepend(String),
}

/// An action that changes one line, and nothing else of the message: mail that leaves knows only these.
pub(crate) struct LineEdit {
    pub(crate) fate: Fate,
    /// The verb of its line in the log; some are not told of.
    pub(crate) told_as: Option<&'static str>,
}

impl LineEdit {
    /// The action with this name, in upper case; what is wrong with it, for the log; or `None` for a name of no such
    /// action.
    pub(crate) fn named(
        verb: &str,
        what: Inspected,
        text: &str,
        parameter: &str,
    ) -> Option<Result<LineEdit, String>> {
        let edit = |fate, told_as| Some(Ok(LineEdit { fate, told_as }));
        match verb {
            "PREPEND" | "REPLACE" if text.is_empty() => {
                Some(Err(format!("{verb} action without text in {parameter} map")))
            }
            "PREPEND" | "REPLACE" if what == Inspected::Header && !is_header(text) => Some(Err(format!(
                "bad {verb} header text \"{text}\" in {parameter} map -- need \"headername: headervalue\""
            ))),
            "PREPEND" => edit(Fate::Prepend(text.into()), Some("prepend")),
            "REPLACE" => edit(Fate::Replace(text.into()), Some("replace")),
            "STRIP" => edit(Fate::Drop, Some("strip")),
            "IGNORE" => edit(Fate::Drop, None),
            "DUNNO" | "OK" => edit(Fate::Keep, None),
            _ => None,
        }
    }
}

/// What checks have said so far.
#[derive(Debug)]
pub(super) struct Checks {
    /// Lines are still inspected.
    pub(super) on: bool,
    pub(super) actions: MessageActions,
    pub(super) refusal: Option<Reply>,
    pub(super) notes: Vec<CleanupNote>,
}

impl Checks {
    pub(super) fn new(on: bool) -> Checks {
        Checks { on, actions: MessageActions::default(), refusal: None, notes: Vec::new() }
    }

    /// Carries out `value`, which the table of `parameter` has for `line`.
    pub(super) fn act(
        &mut self,
        what: Inspected,
        line: &[u8],
        value: &str,
        parameter: &str,
        origin: &Origin<'_>,
    ) -> Fate {
        let word_end = value.find([' ', '\t']).unwrap_or(value.len());
        let (word, text) = (&value[..word_end], value[word_end..].trim_start_matches([' ', '\t']));
        match word.to_ascii_uppercase().as_str() {
            "REJECT" => self.reject(what, line, text, parameter, origin),
            "WARN" => self.log("warning", what, line, text, origin),
            "INFO" => self.log("info", what, line, text, origin),
            "PASS" => {
                self.log("pass", what, line, text, origin);
                self.on = false;
            }
            "DISCARD" => {
                self.log("discard", what, line, text, origin);
                self.actions.discard = true;
                self.on = false;
            }
            "HOLD" => {
                if !self.actions.hold && !self.actions.discard {
                    self.log("hold", what, line, text, origin);
                    self.actions.hold = true;
                }
            }
            "FILTER" if text.is_empty() => {
                self.warn(format!("missing FILTER command argument in {parameter} map"));
            }
            "FILTER" if !text.contains(':') => {
                self.warn(format!("bad FILTER command {text} in {parameter} -- need transport:destination"))
            }
            "FILTER" => {
                self.actions.filter = Some(text.into());
                self.log("filter", what, line, text, origin);
            }
            "REDIRECT" if !text.contains('@') => {
                self.warn(format!("bad REDIRECT target \"{text}\" in {parameter} map -- need user@domain"))
            }
            "REDIRECT" => {
                self.actions.redirect = Some(text.into());
                self.log("redirect", what, line, text, origin);
                self.on = false;
            }
            "BCC" if !text.contains('@') => {
                self.warn(format!("bad BCC address \"{text}\" in {parameter} map -- need user@domain"))
            }
            "BCC" => {
                if self.actions.add_bcc(text) {
                    self.log("bcc", what, line, text, origin);
                } else {
                    self.warn(format!("too many BCC recipients by {parameter}"));
                }
            }
            verb => match LineEdit::named(verb, what, text, parameter) {
                Some(Ok(edit)) => {
                    if let Some(verb) = edit.told_as {
                        self.log(verb, what, line, text, origin);
                    }
                    return edit.fate;
                }
                Some(Err(wrong)) => self.warn(wrong),
                None => self.warn(format!("unknown command in {parameter} map: {value}")),
            },
        }
        Fate::Keep
    }

    /// Refuses the message for this line.
    pub(super) fn reject(
        &mut self,
        what: Inspected,
        line: &[u8],
        text: &str,
        parameter: &str,
        origin: &Origin<'_>,
    ) {
        let (status, text) = match split_status(text) {
            _ if text.is_empty() => ("5.7.1".to_owned(), "message content rejected"),
            Some((status, rest)) => (status.to_owned(), rest),
            None => ("5.7.1".to_owned(), text),
        };
        let status = match status.as_bytes()[0] {
            b'4' | b'5' => status,
            _ => {
                self.warn(format!("bad DSN action in {parameter} -- need 4.x.x or 5.x.x"));
                format!("4{}", &status[1..])
            }
        };
        let code = if status.starts_with('4') { 451 } else { 550 };
        self.refusal.get_or_insert_with(|| Reply::new(code, &status, text));
        self.on = false;
        self.log("reject", what, line, &format!("{status} {text}"), origin);
    }

    fn log(&mut self, action: &str, what: Inspected, line: &[u8], text: &str, origin: &Origin<'_>) {
        let shown = String::from_utf8_lossy(&line[..line.len().min(LOGGED_BYTES_MAX)]);
        let Origin { client, sender, recipient, protocol, helo } = origin;
        let mut note = format!("{action}: {} {shown} from {client}; from=<{sender}>", what.word());
        if !recipient.is_empty() {
            note.push_str(&format!(" to=<{recipient}>"));
        }
        note.push_str(&format!(" proto={protocol}"));
        if !helo.is_empty() {
            note.push_str(&format!(" helo=<{helo}>"));
        }
        if !text.is_empty() {
            note.push_str(&format!(": {text}"));
        }
        self.notes.push(CleanupNote::info(note));
    }

    pub(super) fn warn(&mut self, text: String) {
        self.notes.push(CleanupNote::warning(text));
    }
}

/// A status code at the beginning of a text.
fn split_status(text: &str) -> Option<(&str, &str)> {
    let (status, rest) = text.split_once([' ', '\t'])?;
    Status::parse(status)?;
    Some((status, rest.trim_start_matches([' ', '\t'])))
}

/// Whether a text begins like a header.
pub(super) fn is_header(text: &str) -> bool {
    let name = text.split(':').next().unwrap_or_default().trim_end_matches([' ', '\t']);
    text.contains(':') && !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
}
