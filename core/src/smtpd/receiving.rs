//! Content: how DATA and BDAT begin it, how it is taken off the wire, and how it ends.

use std::mem;

use super::arguments::parse_bdat;
use super::command::Verb;
use super::session::{Bdat, Chunk, Phase, Request, Session, Turn};
use super::settings::Extension;
use crate::content::{ContentScanner, Framing};
use crate::reply::Reply;

const TOO_BIG: &str = "552 5.3.4 Error: message file too big";

impl Session {
    /// The reply when content may not begin yet.
    pub(super) fn content_out_of_turn(&self) -> Option<&'static str> {
        match (&self.mail, self.recipients.is_empty()) {
            (None, _) => Some("503 5.5.1 Error: need RCPT command"),
            (Some(_), true) => Some("554 5.5.1 Error: no valid recipients"),
            (Some(_), false) => None,
        }
    }

    pub(super) fn data_command(&mut self, arguments: &str, replies: &mut Vec<u8>) -> Option<Request> {
        let wrong = if self.bdat != Bdat::No {
            Some("503 5.5.1 Error: DATA after BDAT")
        } else if !arguments.is_empty() {
            Some("501 5.5.4 Syntax: DATA")
        } else {
            self.content_out_of_turn()
        };
        if let Some(line) = wrong {
            self.refuse(Verb::Data, replies, line);
            return None;
        }
        self.phase = Phase::AwaitData;
        Some(Request::Data)
    }

    /// RFC 3030 §2. A payload follows at once, so even a refused command must take it off the wire; where its length
    /// is unknown the session ends.
    pub(super) fn bdat_command(&mut self, arguments: &str, replies: &mut Vec<u8>) -> Option<Request> {
        if !self.offers(Extension::Chunking) {
            self.refuse(Verb::Bdat, replies, "521 5.5.1 Error: command not implemented");
            return None;
        }
        let Some((count, last)) = parse_bdat(arguments) else {
            self.refuse(Verb::Bdat, replies, "521 5.5.4 Syntax: BDAT count [LAST]");
            return None;
        };
        let chunk = Chunk { count, left: count, last };
        let limit = self.settings.message_size_limit;
        let refusal = if self.bdat == Bdat::Failed {
            Some(Reply::new(551, "5.0.0", format_args!("Discarded {count} bytes after earlier error")))
        } else if let Some(line) = self.content_out_of_turn() {
            Some(Reply::fixed(line))
        } else if count == 0 && !last {
            Some(Reply::fixed("551 5.7.1 Null BDAT request"))
        } else if limit > 0 && limit.saturating_sub(self.content_bytes()) < count {
            Some(Reply::fixed("552 5.3.4 Chunk exceeds message size limit"))
        } else {
            None
        };
        match refusal {
            Some(reply) => self.phase = Phase::Skip(chunk, reply),
            None if self.bdat == Bdat::Receiving => self.phase = Phase::Chunk(chunk),
            None => {
                self.phase = Phase::AwaitChunk(chunk);
                return Some(Request::Data);
            }
        }
        None
    }

    pub(super) fn begin_content(&mut self, framing: Framing) {
        let limit = self.settings.message_size_limit;
        self.scanner = Some(ContentScanner::new(framing, self.bare_newline(), limit));
    }

    pub(super) fn scanner_mut(&mut self) -> &mut ContentScanner {
        self.scanner.as_mut().expect("content under way has a scanner")
    }

    /// Content after DATA.
    pub(super) fn take_data(&mut self, rest: &[u8], replies: &mut Vec<u8>, content: &mut Vec<u8>) -> Turn {
        let before = content.len();
        let scanned = self.scanner_mut().scan(rest, content);
        if !scanned.ended {
            let request = if content.len() > before { Request::Content } else { Request::MoreInput };
            return Turn { consumed: scanned.consumed, request: Some(request) };
        }
        Turn { consumed: scanned.consumed, request: Some(self.end_content(Verb::Data, replies, content)) }
    }

    /// The payload of a BDAT that was accepted.
    pub(super) fn take_chunk(
        &mut self,
        mut chunk: Chunk,
        rest: &[u8],
        replies: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Turn {
        let before = content.len();
        let taken = usize::try_from(chunk.left).unwrap_or(usize::MAX).min(rest.len());
        self.scanner_mut().scan(&rest[..taken], content);
        chunk.left -= taken as u64;
        self.phase = Phase::Chunk(chunk);
        if chunk.left > 0 {
            let request = if content.len() > before { Request::Content } else { Request::MoreInput };
            return Turn { consumed: taken, request: Some(request) };
        }
        if !chunk.last {
            self.phase = Phase::Command;
            self.say(replies, &format!("250 2.0.0 Ok: {} bytes", chunk.count));
            self.done(Verb::Bdat, true);
            return Turn { consumed: taken, request: None };
        }
        self.scanner_mut().finish(content);
        Turn { consumed: taken, request: Some(self.end_content(Verb::Bdat, replies, content)) }
    }

    /// The payload of a BDAT that was refused; its reply comes after it.
    pub(super) fn take_skipped(&mut self, rest: &[u8], replies: &mut Vec<u8>, content: &mut Vec<u8>) -> Turn {
        let Phase::Skip(chunk, _) = &mut self.phase else { unreachable!("called in phase Skip") };
        let taken = usize::try_from(chunk.left).unwrap_or(usize::MAX).min(rest.len());
        chunk.left -= taken as u64;
        if chunk.left > 0 {
            return Turn { consumed: taken, request: Some(Request::MoreInput) };
        }
        let Phase::Skip(chunk, reply) = mem::replace(&mut self.phase, Phase::Command) else {
            unreachable!("called in phase Skip")
        };
        let request = if chunk.last || self.mail.is_none() {
            self.drop_transaction(content)
        } else {
            self.bdat = Bdat::Failed;
            self.drop_content(content)
        };
        self.refuse(Verb::Bdat, replies, reply.line());
        Turn { consumed: taken, request }
    }

    /// The content is whole. What the session itself must refuse it refuses here; nothing of the transaction stays.
    pub(super) fn end_content(
        &mut self,
        verb: Verb,
        replies: &mut Vec<u8>,
        content: &mut Vec<u8>,
    ) -> Request {
        self.set_after("END-OF-MESSAGE");
        let scanner = self.scanner_mut();
        let (too_big, bare_lf) = (scanner.too_big(), scanner.bare_lf());
        let line = if bare_lf && self.bare_newline() == crate::content::BareNewline::Reject {
            format!("550 5.5.2 {} Error: bare <LF> received", self.settings.myhostname)
        } else if too_big {
            TOO_BIG.to_owned()
        } else {
            self.phase = Phase::AwaitEnd;
            return Request::EndOfContent;
        };
        self.phase = Phase::Command;
        self.note_reject("END-OF-MESSAGE", &line, None);
        self.drop_transaction(content);
        self.refuse(verb, replies, &line);
        Request::Discard
    }

    /// Forgets the transaction and what came of its content.
    pub(super) fn drop_transaction(&mut self, content: &mut Vec<u8>) -> Option<Request> {
        let request = self.drop_content(content);
        self.reset();
        request
    }

    pub(super) fn drop_content(&mut self, content: &mut Vec<u8>) -> Option<Request> {
        self.scanner.take().map(|_| {
            content.clear();
            Request::Discard
        })
    }
}
