//! Command lines: put together from what arrives, shown to the filter, taken apart, and counted.

use std::mem;

use memchr::memchr;

use super::command::Verb;
use super::event::{Event, escaped};
use super::session::{Phase, Request, Session, Turn};
use crate::content::BareNewline;
use crate::transcript::ErrorClass;

impl Session {
    /// Reads one command line and carries it out.
    pub(super) fn take_command(&mut self, rest: &[u8], replies: &mut Vec<u8>, content: &mut Vec<u8>) -> Turn {
        if self.errors >= self.settings.hard_error_limit {
            self.note(Event::TooManyErrors { after: self.after });
            let line = format!("421 4.7.0 {} Error: too many errors", self.settings.myhostname);
            self.say_as(Some(ErrorClass::Protocol), replies, &line);
            return Turn { consumed: 0, request: None };
        }
        if let Some(line) = self.filtered.take() {
            let request = self.take_line(&line, rest, replies, content);
            return Turn { consumed: 0, request };
        }
        let limit = self.settings.line_length_limit + 1; // a CR may stand before the line's end
        let Some(end) = memchr(b'\n', rest) else {
            let room = limit.saturating_sub(self.line.len());
            self.line_too_long |= rest.len() > room;
            self.line.extend_from_slice(&rest[..rest.len().min(room)]);
            return Turn { consumed: rest.len(), request: Some(Request::MoreInput) };
        };
        let after = &rest[end + 1..];
        let request = if self.line.is_empty() && !self.line_too_long {
            self.take_or_filter(&rest[..end], after, replies, content)
        } else {
            let mut line = mem::take(&mut self.line);
            let room = limit.saturating_sub(line.len());
            self.line_too_long |= end > room;
            line.extend_from_slice(&rest[..end.min(room)]);
            let request = self.take_or_filter(&line, after, replies, content);
            line.clear();
            self.line = line;
            request
        };
        Turn { consumed: end + 1, request }
    }

    /// Commands are shown to the filter first, if there is one; what is no text, or too long, is none.
    pub(super) fn take_or_filter(
        &mut self,
        line: &[u8],
        after: &[u8],
        replies: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Option<Request> {
        if self.settings.filters_commands && !self.line_too_long && std::str::from_utf8(line).is_ok() {
            self.phase = Phase::AwaitFilter(line.to_vec());
            return Some(Request::Filter);
        }
        self.take_line(line, after, replies, content)
    }

    /// The command line that [`Request::Filter`] is about, without its line end.
    ///
    /// # Panics
    /// When none waits.
    pub fn command_line(&self) -> &str {
        match &self.phase {
            Phase::AwaitFilter(line) => {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                std::str::from_utf8(line).expect("only text is shown to the filter")
            }
            phase => panic!("no command waits for the filter: {phase:?}"),
        }
    }

    /// What is to be read instead of the command that waits; None for the command itself.
    ///
    /// # Panics
    /// When none waits.
    pub fn filtered(&mut self, instead: Option<&str>) {
        match mem::replace(&mut self.phase, Phase::Command) {
            Phase::AwaitFilter(line) => {
                self.filtered = Some(instead.map_or(line, |instead| format!("{instead}\r").into_bytes()));
            }
            phase => panic!("no command waits for the filter: {phase:?}"),
        }
    }

    /// The filter could not be asked about the command that waits: the session ends; the next step asks to close.
    pub fn refuse_local_error(&mut self, replies: &mut Vec<u8>) {
        self.phase = Phase::Command;
        let line = format!("421 4.3.0 {} Server local data error", self.settings.myhostname);
        self.note_reject(self.after, &line, None);
        self.end_now(replies, &line);
    }

    /// One line without its LF; `after` is what has already arrived behind it.
    pub(super) fn take_line(
        &mut self,
        line: &[u8],
        after: &[u8],
        replies: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Option<Request> {
        let (line, bare_lf) = match line.strip_suffix(b"\r") {
            Some(line) => (line, false),
            None => (line, true),
        };
        self.transcript.command(line, |word| Verb::of(word) != Verb::Unknown);
        if mem::take(&mut self.line_too_long) || line.len() > self.settings.line_length_limit {
            return self.fault(replies, "500 5.5.2 Error: command too long");
        }
        if bare_lf && self.bare_newline() == BareNewline::Reject {
            let text = format!("550 5.5.2 {} Error: bare <LF> received", self.settings.myhostname);
            self.note_reject(self.after, &text, None);
            self.say(replies, &text);
            self.closing = true;
            return None;
        }
        let Ok(line) = std::str::from_utf8(line) else {
            return self.fault(replies, "500 5.5.2 Error: bad UTF-8 syntax");
        };
        // A NUL or a stray CR has no place in any command; nothing after this test sees one. All bytes are looked at,
        // which is quicker than to stop at the first.
        let is_bad = |byte: u8| (byte < b' ') & (byte != b'\t') | (byte == 0x7f);
        let is_plain = !line.bytes().fold(false, |bad, byte| bad | is_bad(byte));
        let line = line.trim_ascii();
        if line.is_empty() || !is_plain {
            return self.fault(replies, "500 5.5.2 Error: bad syntax");
        }
        let word_end = line.bytes().position(|byte| matches!(byte, b' ' | b'\t')).unwrap_or(line.len());
        let (word, arguments) = line.split_at(word_end);
        let is_void = |void: &String| void.eq_ignore_ascii_case(word);
        if self.settings.noop_commands.iter().any(is_void) {
            // Like Postfix: not among the session's commands, but among those that get nothing done.
            self.say(replies, "250 2.0.0 Ok");
            self.junk_command();
            return None;
        }
        let verb = Verb::of(word);
        self.statistics.count(verb);
        self.after = verb.word();
        if self.denied && verb != Verb::Quit {
            let text = format!("503 5.7.0 Error: access denied for {}", self.client_text);
            return self.fault(replies, &text);
        }
        if verb == Verb::Unknown {
            if self.is_forbidden(word) {
                self.note(Event::NonSmtpCommand(escaped(line.as_bytes())));
                self.say(replies, "221 2.7.0 Error: I can break rules, too. Goodbye.");
                self.closing = true;
                return None;
            }
            return self.fault(replies, "500 5.5.2 Error: command not recognized");
        }
        let must_wait = verb.ends_a_group() || (!self.esmtp && verb != Verb::Bdat);
        if must_wait && !after.is_empty() && !self.pipelined_ahead {
            self.pipelined_ahead = true;
            self.note(Event::ImproperPipelining { after: verb.word(), input: escaped(after) });
            if self.settings.forbid_unauth_pipelining {
                self.say(replies, "554 5.5.0 Error: SMTP protocol synchronization");
                self.closing = true;
                return None;
            }
        }
        self.carry_out(verb, arguments.trim_ascii_start(), replies, content)
    }

    /// `smtpd_forbidden_commands`, and what looks like a header or begins with no letter: a web browser, or a client
    /// that sends content without having been asked.
    pub(super) fn is_forbidden(&self, word: &str) -> bool {
        let header_like = word
            .split_once(':')
            .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()));
        header_like
            || !word.as_bytes()[0].is_ascii_alphabetic()
            || self.settings.forbidden_commands.iter().any(|forbidden| forbidden.eq_ignore_ascii_case(word))
    }

    /// A line that is not even a command of ours: reply, and one error more.
    pub(super) fn fault(&mut self, replies: &mut Vec<u8>, line: &str) -> Option<Request> {
        self.say(replies, line);
        self.errors += 1;
        None
    }

    /// Counts a command as done or failed.
    pub(super) fn done(&mut self, verb: Verb, succeeded: bool) {
        if succeeded {
            self.statistics.succeeded(verb);
        } else {
            self.errors += 1;
        }
        if verb.is_junk() {
            self.junk_command();
        }
    }

    fn junk_command(&mut self) {
        if self.junk > self.settings.junk_command_limit {
            self.errors += 1;
        }
        self.junk = self.junk.saturating_add(1);
    }

    /// A message was accepted: earlier faults are forgiven, as Postfix does.
    pub(super) fn forgive(&mut self) {
        self.errors = 0;
        self.junk = 0;
    }
}
