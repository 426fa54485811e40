//! What became of each recipient, kept without an allocation per recipient.

use std::ops::Range;

use super::RESULT_TEXT_BYTES_MAX;
use crate::dsn::{Class, Status};
use crate::envelope::Reason;
use crate::envelope::floor_char_boundary;

/// The three ways in which an attempt ends for a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResultKind {
    /// The server has taken responsibility.
    Sent,
    /// Try again, here or at another server.
    Deferred,
    /// Give up and tell the sender.
    Bounced,
}

/// One recipient's result; borrowed from the session until its next mail begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecipientResult<'a> {
    /// What to do with the recipient.
    pub kind: ResultKind,
    /// For `dsn=` and `Status:`; its class agrees with `kind`.
    pub status: Status,
    /// For the parentheses of the log line and the notice's text. No control characters.
    pub text: &'a str,
    /// The server's reply for `Diagnostic-Code: smtp;`, when the result comes from one.
    pub reply: Option<&'a str>,
    /// True if this is "trouble" for the destination's concurrency: deferred for anything but a reply
    /// inside the mail transaction.
    pub trouble: bool,
}

impl RecipientResult<'_> {
    /// The reason that is stored while the recipient waits.
    pub fn reason(&self, remote_mta: &str) -> Reason {
        Reason {
            status: self.status,
            text: self.text.to_owned(),
            reply: self.reply.unwrap_or_default().to_owned(),
            remote_mta: remote_mta.to_owned(),
        }
    }
}

/// Why a connection is given up, or could not be made. It is the result of every recipient that would
/// have used it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Deferred, or bounced.
    pub kind: ResultKind,
    /// Status code.
    pub status: Status,
    /// Text for log and notice.
    pub text: String,
    /// The server's reply, when there was one.
    pub reply: Option<String>,
    /// As in [`RecipientResult::trouble`].
    pub trouble: bool,
}

impl Failure {
    /// No connection was made: `connect to H[ip]:25: Connection refused`.
    pub fn connect(peer: &super::PeerName, error: &str) -> Failure {
        Failure {
            kind: ResultKind::Deferred,
            status: Status::persistent(4, 1),
            text: format!("connect to {}: {error}", peer.with_port()),
            reply: None,
            trouble: true,
        }
    }

    /// The failure as a recipient's result.
    pub fn result(&self) -> RecipientResult<'_> {
        RecipientResult {
            kind: self.kind,
            status: self.status,
            text: &self.text,
            reply: self.reply.as_deref(),
            trouble: self.trouble,
        }
    }
}

/// A result that one or many recipients share.
#[derive(Clone, Debug)]
struct Verdict {
    kind: ResultKind,
    status: Status,
    trouble: bool,
    text: Range<usize>,
    /// Lies inside `text`.
    reply: Option<Range<usize>>,
}

/// A verdict in the making: text is `before`, reply, `after`.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewVerdict<'a> {
    pub kind: ResultKind,
    pub status: Status,
    pub trouble: bool,
    pub before: &'a [&'a str],
    pub reply: Option<&'a str>,
    pub after: &'a [&'a str],
}

impl<'a> NewVerdict<'a> {
    /// A failure that follows from the class of its status.
    pub fn failed(status: Status, before: &'a [&'a str]) -> NewVerdict<'a> {
        let kind = match status.class() {
            Class::Permanent => ResultKind::Bounced,
            Class::Persistent => ResultKind::Deferred,
            Class::Success => unreachable!("failures have failing codes"),
        };
        NewVerdict { kind, status, trouble: false, before, reply: None, after: &[] }
    }
}

/// Names a verdict within its [`Results`].
#[derive(Clone, Copy, Debug)]
pub(super) struct VerdictId(u32);

const UNDECIDED: u32 = u32::MAX;

/// The results of one mail. Cleared, not freed, between mails.
#[derive(Debug, Default)]
pub(super) struct Results {
    /// Verdict by recipient.
    slots: Vec<u32>,
    verdicts: Vec<Verdict>,
    text: String,
    undecided: usize,
}

impl Results {
    pub fn clear(&mut self) {
        self.slots.clear();
        self.verdicts.clear();
        self.text.clear();
        self.undecided = 0;
    }

    pub fn add_recipient(&mut self) {
        self.slots.push(UNDECIDED);
        self.undecided += 1;
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn undecided(&self) -> usize {
        self.undecided
    }

    /// Writes a verdict down.
    pub fn verdict(&mut self, new: &NewVerdict<'_>) -> VerdictId {
        let start = self.text.len();
        new.before.iter().for_each(|piece| self.text.push_str(piece));
        let reply = new.reply.map(|reply| {
            let reply_start = self.text.len();
            let kept = &reply[..floor_char_boundary(reply, RESULT_TEXT_BYTES_MAX)];
            for (number, line) in kept.split('\n').enumerate() {
                if number > 0 {
                    self.text.push(' ');
                }
                self.text.push_str(line);
            }
            reply_start..self.text.len()
        });
        new.after.iter().for_each(|piece| self.text.push_str(piece));
        let text = start..self.text.len();
        let (kind, status, trouble) = (new.kind, new.status, new.trouble);
        self.verdicts.push(Verdict { kind, status, trouble, text, reply });
        VerdictId(self.verdicts.len() as u32 - 1)
    }

    /// Decides one recipient. Only the first decision counts.
    pub fn decide(&mut self, recipient: usize, verdict: VerdictId) {
        let slot = &mut self.slots[recipient];
        if *slot == UNDECIDED {
            *slot = verdict.0;
            self.undecided -= 1;
        }
    }

    /// Decides every recipient that is still open.
    pub fn decide_rest(&mut self, verdict: VerdictId) {
        if self.undecided > 0 {
            self.slots.iter_mut().filter(|slot| **slot == UNDECIDED).for_each(|slot| *slot = verdict.0);
            self.undecided = 0;
        }
    }

    /// The result of one recipient, once it is decided.
    pub fn result(&self, recipient: usize) -> Option<RecipientResult<'_>> {
        self.verdicts.get(*self.slots.get(recipient)? as usize).map(|verdict| self.view(verdict))
    }

    /// A verdict as something that outlives the mail.
    pub fn failure(&self, verdict: VerdictId) -> Failure {
        let view = self.view(&self.verdicts[verdict.0 as usize]);
        Failure {
            kind: view.kind,
            status: view.status,
            text: view.text.to_owned(),
            reply: view.reply.map(str::to_owned),
            trouble: view.trouble,
        }
    }

    fn view<'a>(&'a self, verdict: &'a Verdict) -> RecipientResult<'a> {
        RecipientResult {
            kind: verdict.kind,
            status: verdict.status,
            text: &self.text[verdict.text.clone()],
            reply: verdict.reply.clone().map(|range| &self.text[range]),
            trouble: verdict.trouble,
        }
    }
}
