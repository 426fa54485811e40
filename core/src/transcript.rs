//! transcript: what was said in an SMTP session, kept for the postmaster in case something goes wrong.
//!
//! - Receives: the lines of both sides as a session hears and says them; the classes of the errors that it meets.
//! - Sends: an [`Excerpt`], if an error was of a class that is reported (`notify_classes`).
//! - Owns: the last lines of the dialogue. Content of messages is no part of it.
//! - Limits: [`TRANSCRIPT_BYTES_MAX`] a session, [`LINE_BYTES_MAX`] a line; without a class to report, nothing at all.
//! - On failure: what exceeds the limits is left out, and the excerpt says how much.
//! - Standards: the classes are Postfix's. Unlike there, no secret is written down: of AUTH the mechanism only, of
//!   what may answer its challenge nothing, and no unknown command that looks like a login.

mod class;
mod excerpt;

pub use class::{ErrorClass, ErrorClasses};
pub use excerpt::{Excerpt, Side};

/// Bytes of dialogue that a session keeps. `smtpd_history_flush_threshold` lines of usual length fit; a client that
/// sends longer ones loses the oldest.
pub const TRANSCRIPT_BYTES_MAX: usize = 8 * 1024;

/// Bytes of one line that are kept: addresses fit, and sixteen of the longest lines.
pub const LINE_BYTES_MAX: usize = 500;

/// What a transcript begins with: a session with one message has room in it.
const FIRST_BYTES: usize = 1024;

/// What stands for a line that may hold a secret.
const HIDDEN: &str = "(hidden: it may hold a password)";

/// Mechanisms whose names are shown. What else follows AUTH may be a misplaced secret.
const MECHANISMS: [&str; 12] = [
    "ANONYMOUS",
    "CRAM-MD5",
    "DIGEST-MD5",
    "EXTERNAL",
    "GSSAPI",
    "LOGIN",
    "NTLM",
    "OAUTHBEARER",
    "PLAIN",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "XOAUTH2",
];

/// Words of other protocols' logins, of HTTP's authorization and of a misspelt AUTH.
const LOGIN_MARKS: [&[u8]; 4] = [b"auth", b"login", b"pass", b"plain"];

/// The dialogue of one session, as far as it is kept.
#[derive(Debug)]
pub struct Transcript {
    /// The classes that are reported; if none is, nothing is kept.
    reported: ErrorClasses,
    /// Who gives the commands.
    commands_from: Side,
    lines: excerpt::Lines,
    met: ErrorClasses,
    reason: Option<&'static str>,
    /// AUTH was the last known command: lines that are none may answer its challenge.
    after_auth: bool,
    due: Option<Box<Excerpt>>,
}

impl Transcript {
    /// The transcript of a session in which `commands_from` gives the commands: the peer of a server, ourselves as
    /// a client. It is kept if there are classes to report.
    pub fn new(reported: ErrorClasses, commands_from: Side) -> Transcript {
        Transcript {
            reported,
            commands_from,
            lines: excerpt::Lines::default(),
            met: ErrorClasses::NONE,
            reason: None,
            after_auth: false,
            due: None,
        }
    }

    /// Whether anything is kept.
    pub fn is_kept(&self) -> bool {
        !self.reported.is_empty()
    }

    /// A command line without its end; `is_known` tells commands by their first word.
    pub fn command(&mut self, line: &[u8], is_known: impl FnOnce(&str) -> bool) {
        if !self.is_kept() {
            return;
        }
        let line = line[..line.len().min(LINE_BYTES_MAX)].trim_ascii();
        let word_end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (word, rest) = line.split_at(word_end);
        if word.eq_ignore_ascii_case(b"AUTH") {
            self.after_auth = true;
            let mechanism = rest.trim_ascii().split(u8::is_ascii_whitespace).next().unwrap_or_default();
            let shown = MECHANISMS.iter().find(|name| mechanism.eq_ignore_ascii_case(name.as_bytes()));
            let parts = ["AUTH", " ", shown.copied().unwrap_or(HIDDEN)];
            let count = if rest.is_empty() { 1 } else { 3 };
            self.lines.add_line(self.commands_from, parts[..count].concat().as_bytes());
            return;
        }
        let known = std::str::from_utf8(word).is_ok_and(is_known);
        if known {
            self.after_auth = false;
        } else if self.after_auth || looks_like_a_login(line) {
            self.lines.add_line(self.commands_from, HIDDEN.as_bytes());
            return;
        }
        self.lines.add_line(self.commands_from, line);
    }

    /// Commands of our own, each with its CRLF.
    pub fn commands(&mut self, lines: &[u8]) {
        if !self.is_kept() {
            return;
        }
        for line in lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            self.command(line, |_| true);
        }
    }

    /// A reply, which may have several lines.
    pub fn reply(&mut self, text: impl AsRef<[u8]>) {
        if self.is_kept() {
            self.lines.add_lines(self.commands_from.other(), text.as_ref());
        }
    }

    /// Bytes that came where a reply should have: their first line.
    pub fn no_reply(&mut self, bytes: &[u8]) {
        if self.is_kept() {
            let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
            self.lines.add_line(self.commands_from.other(), line.trim_ascii_end());
        }
    }

    /// An error was met.
    pub fn blame(&mut self, class: ErrorClass) {
        self.met = self.met.with(class);
    }

    /// The session ends before its time, for this reason.
    pub fn abort(&mut self, reason: &'static str) {
        self.reason = Some(reason);
    }

    /// A point between two pieces of work: if more than `lines_max` lines have gathered, they are reported or forgotten.
    pub fn checkpoint(&mut self, lines_max: u32) {
        if self.is_kept() && self.lines.count() > lines_max {
            let excerpt = self.cut();
            // A second one before the first was taken cannot be: the owner takes it at once.
            self.due = self.due.take().or(excerpt);
        }
    }

    /// Forgets what was said and met.
    pub fn forget(&mut self) {
        self.lines.clear();
        self.met = ErrorClasses::NONE;
        self.reason = None;
    }

    /// Keeps nothing from now on: the session is about a report, and a report about it would go in a circle.
    pub fn mute(&mut self) {
        let commands_from = self.commands_from;
        *self = Transcript::new(ErrorClasses::NONE, commands_from);
    }

    /// Whether a [`checkpoint`](Self::checkpoint) left something to report.
    pub fn is_due(&self) -> bool {
        self.due.is_some()
    }

    /// What a checkpoint left to report.
    pub fn take_due(&mut self) -> Option<Box<Excerpt>> {
        self.due.take()
    }

    /// What is to be reported of the rest, which is forgotten.
    pub fn cut(&mut self) -> Option<Box<Excerpt>> {
        let met = self.met.and(self.reported);
        if met.is_empty() {
            self.forget();
            return None;
        }
        let (text, left_out) = self.lines.take_text();
        let excerpt = Excerpt { met, text, left_out, reason: self.reason };
        self.forget();
        Some(Box::new(excerpt))
    }
}

fn looks_like_a_login(line: &[u8]) -> bool {
    LOGIN_MARKS.iter().any(|mark| line.windows(mark.len()).any(|part| part.eq_ignore_ascii_case(mark)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Transcript {
        Transcript::new(ErrorClasses::NONE.with(ErrorClass::Protocol), Side::Peer)
    }

    fn text(mut transcript: Transcript) -> String {
        transcript.blame(ErrorClass::Protocol);
        let excerpt = transcript.cut().expect("protocol errors are reported");
        excerpt.lines().map(|(side, line)| format!("{}{line}\n", side.label())).collect()
    }

    fn is_known(word: &str) -> bool {
        ["EHLO", "MAIL", "NOOP"].contains(&word)
    }

    #[test]
    fn both_sides_are_kept_in_order() {
        let mut transcript = server();
        transcript.reply("220 mx.test ESMTP");
        transcript.command(b"EHLO me\r", is_known);
        transcript.reply("250-mx.test\r\n250 DSN");
        transcript.command(b"M\x01\xff\xc3\xbc", is_known);
        let lines = "Out: 220 mx.test ESMTP\nIn:  EHLO me\nOut: 250-mx.test\nOut: 250 DSN\nIn:  M??\u{fc}\n";
        assert_eq!(text(transcript), lines);
        let mut client = Transcript::new(ErrorClasses::NONE.with(ErrorClass::Protocol), Side::Ourselves);
        client.commands(b"MAIL FROM:<>\r\nDATA\r\n");
        client.reply("500-no\n500 never");
        client.no_reply(b"hello\r\nworld");
        let lines = "Out: MAIL FROM:<>\nOut: DATA\nIn:  500-no\nIn:  500 never\nIn:  hello\n";
        assert_eq!(text(client), lines);
    }

    #[test]
    fn no_secret_is_written_down() {
        let mut transcript = server();
        for line in [
            &b"AUTH PLAIN AGpvZQBzZWNyZXQ="[..],
            b"auth login",
            b"c2VjcmV0",
            b"c2VjcmV0\xff",
            b"AUTH c2VjcmV0",
            b"NOOP",
            b"AUHT PLAIN AGpvZQBzZWNyZXQ=",
            b"a1 login joe secret",
            b"PASS secret",
            b"Proxy-Authorization: Basic c2VjcmV0",
            b"HELLO",
        ] {
            transcript.command(line, is_known);
        }
        let hidden = format!("In:  {HIDDEN}\n");
        let expected = [
            "In:  AUTH PLAIN\nIn:  AUTH LOGIN\n",
            &hidden.repeat(2),
            &format!("In:  AUTH {HIDDEN}\nIn:  NOOP\n"),
            &hidden.repeat(4),
            "In:  HELLO\n",
        ];
        assert_eq!(text(transcript), expected.concat());
    }

    #[test]
    fn the_oldest_lines_make_room() {
        let mut transcript = server();
        for number in 0..1000 {
            transcript.command(format!("NOOP {number}").as_bytes(), is_known);
            transcript.command(&[b'x'; 3000], is_known);
        }
        transcript.blame(ErrorClass::Protocol);
        let excerpt = transcript.cut().expect("reported");
        let kept = excerpt.lines().count();
        assert!((16..40).contains(&kept), "{kept}");
        assert_eq!(excerpt.left_out() as usize + kept, 2000);
        assert_eq!(excerpt.lines().last(), Some((Side::Peer, "x".repeat(LINE_BYTES_MAX).as_str())));
        assert!(excerpt.lines().map(|(_, line)| line.len()).sum::<usize>() <= TRANSCRIPT_BYTES_MAX);
    }

    #[test]
    fn only_classes_that_are_reported_count() {
        let mut transcript = server();
        transcript.command(b"NOOP", is_known);
        transcript.blame(ErrorClass::Policy);
        assert_eq!(transcript.cut(), None);
        transcript.command(b"NOOP", is_known);
        transcript.blame(ErrorClass::Protocol);
        transcript.abort("timeout");
        let excerpt = transcript.cut().expect("reported");
        assert_eq!((excerpt.lines().count(), excerpt.reason), (1, Some("timeout")), "the rest was forgotten");
        let mut none = Transcript::new(ErrorClasses::NONE, Side::Peer);
        none.command(b"NOOP", is_known);
        none.blame(ErrorClass::Protocol);
        none.checkpoint(0);
        assert!(none.cut().is_none() && !none.is_due());
    }

    #[test]
    fn a_long_session_is_reported_at_its_checkpoints() {
        let mut transcript = server();
        for _ in 0..3 {
            transcript.command(b"NOOP", is_known);
        }
        transcript.blame(ErrorClass::Protocol);
        transcript.checkpoint(3);
        assert!(!transcript.is_due());
        transcript.checkpoint(2);
        assert_eq!(transcript.take_due().expect("an error was met").lines().count(), 3);
        transcript.command(b"NOOP", is_known);
        transcript.checkpoint(0);
        assert!(transcript.take_due().is_none(), "no error since");
        transcript.mute();
        transcript.command(b"NOOP", is_known);
        transcript.blame(ErrorClass::Protocol);
        assert!(transcript.cut().is_none());
    }
}
