//! One connection to the sink. [`Session`] decides (bytes in, replies and a next step out), [`serve`] performs.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_lite::AsyncWriteExt;
use glommio::net::TcpStream;
use glommio::timer::sleep;
use memchr::memchr;
use smallvec::SmallVec;

use super::ThreadShared;
use super::content::{Content, Received, read_failure_notice};
use crate::message::{RECIPIENTS_MAX, recipient_key};
use crate::script::{Accounting, Action, Stage};
use crate::smtp::{COMMAND_BYTES_MAX, Command, HelloVerb};

/// So much of a message from the null sender is kept to look for the recipients of a bounce.
pub(crate) const NOTICE_BYTES_MAX: usize = 256 * 1024;

/// Largest message that the sink says it takes (SIZE); it keeps none of it.
const SIZE_OFFERED: u64 = 1 << 30;

/// Senders and recipients that greylisting remembers; beyond it the oldest half is forgotten.
const GREYLIST_MAX: usize = 1_000_000;

/// When a pair of sender and recipient was first seen.
#[derive(Default)]
pub(crate) struct Greylist {
    first_seen: HashMap<(u64, u64), Instant>,
}

impl Greylist {
    /// Whether the pair has waited long enough; the first sight starts the wait.
    fn passes(&mut self, sender: &[u8], recipient: &[u8], wait: Duration, now: Instant) -> bool {
        if self.first_seen.len() >= GREYLIST_MAX {
            let mut times: Vec<Instant> = self.first_seen.values().copied().collect();
            let (_, &mut median, _) = times.select_nth_unstable(GREYLIST_MAX / 2);
            self.first_seen.retain(|_, &mut seen| seen > median);
        }
        let key = (recipient_key(sender), recipient_key(recipient));
        match self.first_seen.get(&key) {
            Some(&seen) => now.saturating_duration_since(seen) >= wait,
            None => {
                self.first_seen.insert(key, now);
                false
            }
        }
    }
}

/// What is to happen after some input.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// All input is used up: send the replies and read on.
    Read,
    /// Send the replies before `from`, wait, send the rest, go on with the rest of the input.
    Wait { duration: Duration, from: usize, close: bool },
    /// Send the replies and close.
    Close,
}

/// A recipient of the current transaction.
struct Recipient {
    address: SmallVec<[u8; 64]>,
}

/// What was answered at a stage; the text is among the replies already.
struct Answer {
    /// The client was told 2yz or 3yz.
    accepted: bool,
    accounting: Accounting,
    next: Option<Next>,
}

/// One client's dialogue.
struct Session {
    shared: Rc<ThreadShared>,
    line: Vec<u8>,
    line_too_long: bool,
    sender: Option<SmallVec<[u8; 64]>>,
    recipients: Vec<Recipient>,
    content: Option<Content>,
}

/// Serves one connection to its end.
pub(super) async fn serve(shared: Rc<ThreadShared>, mut stream: TcpStream) {
    let counters = &shared.sink.counters;
    counters.connections.fetch_add(1, Relaxed);
    let open = counters.connections_now.fetch_add(1, Relaxed) + 1;
    counters.connections_peak.fetch_max(open, Relaxed);
    let mut session = Session::new(Rc::clone(&shared));
    // A connection that breaks is the client's affair: what it was promised is in the ledger.
    let _ = converse(&mut session, &mut stream, open).await;
    session.end_transaction();
    counters.connections_now.fetch_sub(1, Relaxed);
}

async fn converse(session: &mut Session, stream: &mut TcpStream, open: usize) -> io::Result<()> {
    let shared = Rc::clone(&session.shared);
    let timeout = Some(shared.sink.settings.timeout);
    stream.set_nodelay(true).map_err(io::Error::from)?;
    stream.set_read_timeout(timeout).map_err(io::Error::from)?;
    stream.set_write_timeout(timeout).map_err(io::Error::from)?;

    let mut replies = Vec::with_capacity(256);
    let mut next = session.greet(open, &mut replies);
    let mut pending: Vec<u8> = Vec::new();
    loop {
        match next {
            Next::Read => {
                if !replies.is_empty() {
                    stream.write_all(&replies).await?;
                    replies.clear();
                }
            }
            Next::Wait { duration, from, close } => {
                if from > 0 {
                    stream.write_all(&replies[..from]).await?;
                }
                if !duration.is_zero() {
                    sleep(duration).await;
                }
                stream.write_all(&replies[from..]).await?;
                replies.clear();
                if close {
                    return Ok(());
                }
            }
            Next::Close => return stream.write_all(&replies).await,
        }
        if !pending.is_empty() {
            let (used, step) = session.feed(&pending, &mut replies);
            pending.drain(..used);
            next = step;
            continue;
        }
        let step = shared
            .read_buffer
            .read(stream, |bytes| {
                if bytes.is_empty() {
                    return None;
                }
                let (used, step) = session.feed(bytes, &mut replies);
                pending.extend_from_slice(&bytes[used..]);
                Some(step)
            })
            .await?;
        match step {
            Some(step) => next = step,
            None => return Ok(()),
        }
    }
}

impl Session {
    fn new(shared: Rc<ThreadShared>) -> Session {
        Session {
            shared,
            line: Vec::new(),
            line_too_long: false,
            sender: None,
            recipients: Vec::new(),
            content: None,
        }
    }

    /// The greeting, or what the script or a limit makes of it.
    fn greet(&mut self, open: usize, replies: &mut Vec<u8>) -> Next {
        let shared = Rc::clone(&self.shared);
        let settings = &shared.sink.settings;
        let limit = settings.script.connection_limit.unwrap_or(usize::MAX).min(settings.connections_max);
        if open > limit {
            shared.sink.counters.deferrals.fetch_add(1, Relaxed);
            replies.extend_from_slice(b"421 4.7.0 Too many connections\r\n");
            return Next::Close;
        }
        let usual = format!("220 {} ESMTP Ringpost load generator\r\n", settings.name);
        self.answer(Stage::Banner, usual.as_bytes(), replies).next.unwrap_or(Next::Read)
    }

    /// Takes input until it is used up or something else has to happen first; says how much was used.
    fn feed(&mut self, input: &[u8], replies: &mut Vec<u8>) -> (usize, Next) {
        let mut at = 0;
        while at < input.len() {
            if let Some(content) = &mut self.content {
                let (used, ended) = content.push(&input[at..]);
                at += used;
                if ended && let Some(next) = self.end_of_content(replies) {
                    return (at, next);
                }
                continue;
            }
            let rest = &input[at..];
            let Some(end) = memchr(b'\n', rest) else {
                self.keep_partial_line(rest);
                return (input.len(), Next::Read);
            };
            at += end + 1;
            let next = if self.line.is_empty() && !self.line_too_long {
                self.command(&rest[..end], replies)
            } else {
                self.keep_partial_line(&rest[..end]);
                let line = std::mem::take(&mut self.line);
                if std::mem::take(&mut self.line_too_long) {
                    replies.extend_from_slice(b"500 5.5.2 Line too long\r\n");
                    None
                } else {
                    self.command(&line, replies)
                }
            };
            if let Some(next) = next {
                return (at, next);
            }
        }
        (at, Next::Read)
    }

    fn keep_partial_line(&mut self, bytes: &[u8]) {
        let room = COMMAND_BYTES_MAX.saturating_sub(self.line.len());
        self.line_too_long |= bytes.len() > room;
        self.line.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// One command line. None: go on with the input.
    fn command(&mut self, line: &[u8], replies: &mut Vec<u8>) -> Option<Next> {
        if line.len() > COMMAND_BYTES_MAX {
            replies.extend_from_slice(b"500 5.5.2 Line too long\r\n");
            return None;
        }
        match Command::parse(line) {
            Command::Mail(sender) => self.mail(sender, replies),
            Command::Rcpt(recipient) => self.rcpt(recipient, replies),
            Command::Data => self.data(replies),
            Command::Hello { verb, .. } => self.hello(verb, replies),
            Command::Rset => {
                self.end_transaction();
                replies.extend_from_slice(b"250 2.0.0 Ok\r\n");
                None
            }
            Command::Noop => {
                replies.extend_from_slice(b"250 2.0.0 Ok\r\n");
                None
            }
            Command::Quit => {
                replies.extend_from_slice(b"221 2.0.0 Bye\r\n");
                Some(Next::Close)
            }
            Command::Malformed => self.refuse(b"501 5.5.4 Syntax error\r\n", replies),
            Command::Unknown => self.refuse(b"500 5.5.1 Unknown command\r\n", replies),
        }
    }

    fn refuse(&self, reply: &[u8], replies: &mut Vec<u8>) -> Option<Next> {
        self.shared.sink.counters.rejections.fetch_add(1, Relaxed);
        replies.extend_from_slice(reply);
        None
    }

    fn hello(&mut self, verb: HelloVerb, replies: &mut Vec<u8>) -> Option<Next> {
        let shared = Rc::clone(&self.shared);
        let settings = &shared.sink.settings;
        if settings.lmtp != (verb == HelloVerb::Lhlo) {
            let reply: &[u8] =
                if settings.lmtp { b"500 5.5.1 LHLO expected\r\n" } else { b"500 5.5.1 EHLO expected\r\n" };
            return self.refuse(reply, replies);
        }
        self.end_transaction();
        let usual = if verb == HelloVerb::Helo {
            format!("250 {}\r\n", settings.name)
        } else {
            format!(
                "250-{}\r\n250-PIPELINING\r\n250-SIZE {SIZE_OFFERED}\r\n250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n\
                 250-SMTPUTF8\r\n250 DSN\r\n",
                settings.name
            )
        };
        self.answer(Stage::Hello, usual.as_bytes(), replies).next
    }

    fn mail(&mut self, sender: &[u8], replies: &mut Vec<u8>) -> Option<Next> {
        if self.sender.is_some() {
            return self.refuse(b"503 5.5.1 Nested MAIL command\r\n", replies);
        }
        self.sender = Some(SmallVec::from_slice(sender));
        let answer = self.answer(Stage::Mail, b"250 2.1.0 Ok\r\n", replies);
        if answer.accepted {
            let counters = &self.shared.sink.counters;
            let now = counters.transactions_now.fetch_add(1, Relaxed) + 1;
            counters.transactions_peak.fetch_max(now, Relaxed);
        } else {
            self.sender = None;
        }
        answer.next
    }

    fn rcpt(&mut self, recipient: &[u8], replies: &mut Vec<u8>) -> Option<Next> {
        if self.sender.is_none() {
            return self.refuse(b"503 5.5.1 Need MAIL command\r\n", replies);
        }
        if self.recipients.len() >= RECIPIENTS_MAX as usize {
            self.shared.sink.counters.deferrals.fetch_add(1, Relaxed);
            replies.extend_from_slice(b"452 4.5.3 Too many recipients\r\n");
            return None;
        }
        self.recipients.push(Recipient { address: SmallVec::from_slice(recipient) });
        let answer = self.answer(Stage::Rcpt, b"250 2.1.5 Ok\r\n", replies);
        if !answer.accepted {
            self.recipients.pop();
        }
        answer.next
    }

    fn data(&mut self, replies: &mut Vec<u8>) -> Option<Next> {
        if self.recipients.is_empty() {
            // RFC 2033 §4.2 asks for 503 where RFC 5321 §3.3 allows 554 too.
            return self.refuse(b"503 5.5.1 Need RCPT command\r\n", replies);
        }
        let answer = self.answer(Stage::Data, b"354 End data with <CR><LF>.<CR><LF>\r\n", replies);
        if answer.accepted {
            let from_null = self.sender.as_ref().is_some_and(|sender| sender.is_empty());
            self.content = Some(Content::start(from_null));
        }
        answer.next
    }

    /// The final dot: one answer (SMTP) or one for each recipient (LMTP).
    fn end_of_content(&mut self, replies: &mut Vec<u8>) -> Option<Next> {
        let received = self.content.take().expect("called at the end of a content").finish();
        let next = if self.shared.sink.settings.lmtp {
            self.lmtp_answers(&received, replies)
        } else {
            self.dot_answer(&received, replies)
        };
        self.end_transaction();
        next
    }

    fn dot_answer(&self, received: &Received, replies: &mut Vec<u8>) -> Option<Next> {
        let answer = self.answer(Stage::Dot, b"250 2.0.0 Ok\r\n", replies);
        if answer.accepted {
            self.account(received, answer.accounting);
        }
        answer.next
    }

    /// LMTP: each recipient on its own. The longest delay and any drop hold for the whole.
    fn lmtp_answers(&mut self, received: &Received, replies: &mut Vec<u8>) -> Option<Next> {
        let from = replies.len();
        let (mut longest, mut closes) = (Duration::ZERO, false);
        for recipient in std::mem::take(&mut self.recipients) {
            self.recipients = vec![recipient];
            if let Some(Next::Wait { duration, close, .. }) = self.dot_answer(received, replies) {
                longest = longest.max(duration);
                closes |= close;
            }
            if closes {
                break;
            }
        }
        (closes || !longest.is_zero()).then_some(Next::Wait { duration: longest, from, close: closes })
    }

    /// Writes an accepted message into the books.
    fn account(&self, received: &Received, accounting: Accounting) {
        let shared = &self.shared;
        let counters = &shared.sink.counters;
        let times = match accounting {
            Accounting::Lose => return,
            Accounting::Once => 1,
            Accounting::Twice => 2,
        };
        counters.messages.fetch_add(1, Relaxed);
        counters.bytes.fetch_add(received.bytes, Relaxed);
        // A ledger is whole after every single change, so a panic elsewhere does not spoil it.
        let mut ledger = shared.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((id, failed)) = received.notice.as_deref().and_then(read_failure_notice) {
            counters.bounces.fetch_add(failed.len() as u64, Relaxed);
            failed.into_iter().for_each(|recipient| ledger.bounce(id, recipient));
            return;
        }
        let Some(tracking) = received.tracking else {
            counters.unidentified.fetch_add(1, Relaxed);
            return;
        };
        if received.damaged {
            counters.damaged.fetch_add(1, Relaxed);
        }
        for recipient in &self.recipients {
            for _ in 0..times {
                ledger.deliver(tracking.id, recipient_key(&recipient.address));
                if let Some(lines) = &shared.accepted {
                    let address = String::from_utf8_lossy(&recipient.address);
                    lines.borrow_mut().line(format_args!("{} {address}", tracking.id));
                }
            }
        }
        drop(ledger);
        counters.deliveries.fetch_add(times * self.recipients.len() as u64, Relaxed);
        if tracking.sent_us > 0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let latency = (now.as_micros() as u64).saturating_sub(tracking.sent_us);
            shared.latency.borrow_mut().saturating_record(latency.max(1));
        }
    }

    fn end_transaction(&mut self) {
        if self.sender.take().is_some() {
            self.shared.sink.counters.transactions_now.fetch_sub(1, Relaxed);
        }
        self.recipients.clear();
        self.content = None;
    }

    /// Answers at a stage: as usual, or as the script says.
    fn answer(&self, stage: Stage, usual: &[u8], replies: &mut Vec<u8>) -> Answer {
        let shared = &self.shared;
        let script = &shared.sink.settings.script;
        let mut action = None;
        if script.acts_at(stage) {
            let sender = self.sender.as_deref().unwrap_or_default();
            // At RCPT only the recipient in question counts: the last.
            let from = if stage == Stage::Rcpt { self.recipients.len() - 1 } else { 0 };
            let recipients = self.recipients[from..].iter().map(|recipient| &recipient.address[..]);
            action = script.action(stage, sender, recipients, &mut shared.random.borrow_mut());
        }
        match action {
            Some(action) => self.scripted_answer(action, usual, replies),
            None => {
                replies.extend_from_slice(usual);
                Answer { accepted: true, accounting: Accounting::Once, next: None }
            }
        }
    }

    fn scripted_answer(&self, action: &Action, usual: &[u8], replies: &mut Vec<u8>) -> Answer {
        let counters = &self.shared.sink.counters;
        let from = replies.len();
        let mut reply = action.reply.as_deref();
        if let (Some(wait), Some(recipient)) = (action.greylist, self.recipients.last()) {
            let sender = self.sender.as_deref().unwrap_or_default();
            let mut greylist = self.shared.greylist.borrow_mut();
            let passes = greylist.passes(sender, &recipient.address, wait, Instant::now());
            reply = (!passes).then(|| reply.unwrap_or(b"450 4.2.0 Greylisted, try again later\r\n"));
        }
        let said = if action.drop { reply } else { Some(reply.unwrap_or(usual)) };
        let class = said.and_then(|text| text.first());
        match class {
            Some(b'4') => drop(counters.deferrals.fetch_add(1, Relaxed)),
            Some(b'5') => drop(counters.rejections.fetch_add(1, Relaxed)),
            _ => {}
        }
        if action.drop {
            counters.drops.fetch_add(1, Relaxed);
        }
        replies.extend_from_slice(said.unwrap_or_default());
        let next = (action.drop || !action.delay.is_zero()).then_some(Next::Wait {
            duration: action.delay,
            from,
            close: action.drop,
        });
        Answer { accepted: matches!(class, Some(b'2' | b'3')), accounting: action.accounting, next }
    }
}
