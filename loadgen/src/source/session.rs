//! One session of the source: connects, sends its share of the messages, comes back after trouble.

use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_lite::AsyncWriteExt;
use glommio::net::TcpStream;
use glommio::timer::sleep;

use super::{Acknowledged, BACKOFF_MAX, BACKOFF_MIN, ThreadShared};
use crate::message::Plan;
use crate::smtp::{Extensions, Reply, ReplyReader};

/// Commands sent in one flight. The server's replies to them (some 50 bytes each) must find room in socket buffers
/// while we are still sending, or both sides would wait for ever.
const COMMANDS_PER_FLIGHT: usize = 500;

/// A message up to this size leaves in one send from one buffer; the text of larger ones is sent from where it lies.
const COPIED_BYTES_MAX: usize = 128 * 1024;

/// Longest single wait between looks at the stop flag.
const WAIT_SLICE: Duration = Duration::from_millis(100);

/// What became of one message.
enum Attempt {
    Acknowledged { refused_recipients: Vec<u32>, reply_latency: Duration },
    Refused(Refusal),
}

/// A negative reply.
#[derive(Clone, Copy)]
struct Refusal {
    stage: &'static str,
    code: u16,
}

/// Why a connection is of no further use.
enum Trouble {
    Connect(io::Error),
    Lost(&'static str, io::Error),
    Closed(&'static str),
    NotSmtp,
    Unwelcome(Refusal),
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Connect(error) => write!(formatter, "connect: {:?}", error.kind()),
            Trouble::Lost(stage, error) => write!(formatter, "{:?} at {stage}", error.kind()),
            Trouble::Closed(stage) => write!(formatter, "connection closed at {stage}"),
            // What the server sent could be anything; the counts must not grow with it.
            Trouble::NotSmtp => write!(formatter, "not an SMTP reply"),
            Trouble::Unwelcome(refusal) => refusal.fmt(formatter),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} at {}", self.code, self.stage)
    }
}

/// Sends messages until none are left or the source is stopped.
pub(super) async fn run(thread: &Rc<ThreadShared>) {
    let mut connection = None;
    while let Some(ticket) = thread.take_ticket() {
        let intended = thread.intended_start(ticket);
        if let Some(intended) = intended {
            wait_until(thread, intended).await;
        }
        send_one(thread, &mut connection, intended).await;
        if !thread.source.settings.keep_connections
            && let Some(connection) = connection.take()
        {
            connection.quit().await;
        }
    }
    if let Some(connection) = connection {
        connection.quit().await;
    }
}

/// Tries until one message is acknowledged or refused for good, or the source is stopped.
async fn send_one(thread: &Rc<ThreadShared>, kept: &mut Option<Connection>, intended: Option<Instant>) {
    let counters = &thread.source.counters;
    let mut backoff = BACKOFF_MIN;
    while !thread.is_stopped() {
        match attempt(thread, kept).await {
            Ok((sequence, Attempt::Acknowledged { refused_recipients, reply_latency })) => {
                record(&mut thread.reply_latency.borrow_mut(), reply_latency);
                if let Some(intended) = intended {
                    record(&mut thread.response_latency.borrow_mut(), intended.elapsed());
                }
                thread.acknowledge(Acknowledged { sequence, refused_recipients });
                return;
            }
            Ok((_, Attempt::Refused(refusal))) => {
                thread.count_error(refusal.to_string());
                if refusal.code == 421 {
                    *kept = None;
                }
                if refusal.code >= 500 {
                    counters.refused.fetch_add(1, Relaxed);
                    return;
                }
            }
            Err(trouble) => {
                thread.count_error(trouble.to_string());
                *kept = None;
            }
        }
        counters.repeated.fetch_add(1, Relaxed);
        // Half of the pause is by chance, so that sessions that failed together do not return together.
        let jitter = thread.random.borrow_mut().f64();
        wait_until(thread, Instant::now() + backoff.mul_f64(0.5 + jitter / 2.0)).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// One attempt at one message, under a new number, on the kept connection or a new one.
async fn attempt(
    thread: &Rc<ThreadShared>,
    kept: &mut Option<Connection>,
) -> Result<(u64, Attempt), Trouble> {
    let connection = match kept {
        Some(connection) => connection,
        None => kept.insert(Connection::open(thread).await?),
    };
    let sequence = thread.next_sequence();
    Ok((sequence, connection.transact(sequence).await?))
}

async fn wait_until(thread: &ThreadShared, moment: Instant) {
    while !thread.is_stopped() {
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        sleep(left.min(WAIT_SLICE)).await;
    }
}

fn record(histogram: &mut hdrhistogram::Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
}

/// A greeted connection.
struct Connection {
    thread: Rc<ThreadShared>,
    stream: TcpStream,
    replies: ReplyReader,
    extensions: Extensions,
    out: Vec<u8>,
    address: String,
}

impl Connection {
    /// Connects, reads the greeting, says EHLO.
    async fn open(thread: &Rc<ThreadShared>) -> Result<Connection, Trouble> {
        let settings = &thread.source.settings;
        let stream = TcpStream::connect_timeout(settings.target, settings.timeout)
            .await
            .map_err(|error| Trouble::Connect(error.into()))?;
        let timeout = Some(settings.timeout);
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(timeout))
            .and_then(|()| stream.set_write_timeout(timeout))
            .map_err(|error| Trouble::Connect(error.into()))?;
        thread.source.counters.connections.fetch_add(1, Relaxed);
        let mut connection = Connection {
            thread: Rc::clone(thread),
            stream,
            replies: ReplyReader::default(),
            extensions: Extensions::default(),
            out: Vec::new(),
            address: String::new(),
        };
        let banner = connection.reply("banner").await?;
        if banner.code != 220 {
            return Err(Trouble::Unwelcome(Refusal { stage: "banner", code: banner.code }));
        }
        connection.send(b"EHLO source.ringpost.invalid\r\n", "hello").await?;
        let hello = connection.reply("hello").await?;
        if !hello.is_success() {
            return Err(Trouble::Unwelcome(Refusal { stage: "hello", code: hello.code }));
        }
        connection.extensions = Extensions::parse(connection.replies.text(&hello));
        Ok(connection)
    }

    async fn send(&mut self, bytes: &[u8], stage: &'static str) -> Result<(), Trouble> {
        self.stream.write_all(bytes).await.map_err(|error| Trouble::Lost(stage, error))
    }

    async fn send_out(&mut self, stage: &'static str) -> Result<(), Trouble> {
        self.stream.write_all(&self.out).await.map_err(|error| Trouble::Lost(stage, error))
    }

    async fn reply(&mut self, stage: &'static str) -> Result<Reply, Trouble> {
        loop {
            if let Some(reply) = self.replies.next_reply().map_err(|_| Trouble::NotSmtp)? {
                return Ok(reply);
            }
            let replies = &mut self.replies;
            let bytes = self
                .thread
                .read_buffer
                .read(&mut self.stream, |bytes| {
                    replies.push(bytes);
                    bytes.len()
                })
                .await
                .map_err(|error| Trouble::Lost(stage, error))?;
            if bytes == 0 {
                return Err(Trouble::Closed(stage));
            }
        }
    }

    /// Sends one message. Leaves the session ready for the next, whatever the server answered.
    async fn transact(&mut self, sequence: u64) -> Result<Attempt, Trouble> {
        let plan = Arc::clone(&self.thread.source.settings.plan);
        let envelope = self.envelope(&plan, sequence).await?;
        if envelope.data_code != Some(354) {
            self.out.clear();
            self.out.extend_from_slice(b"RSET\r\n");
            let refusal = envelope.refusal.unwrap_or(Refusal { stage: "data", code: 450 });
            if refusal.code != 421 {
                self.send_out("rset").await?;
                self.reply("rset").await?;
            }
            return Ok(Attempt::Refused(refusal));
        }
        if envelope.accepted == 0 {
            // RFC 2920 §3.1: a DATA that went through with no recipient is ended by a lone dot.
            self.send(b".\r\n", "dot").await?;
            self.reply("dot").await?;
            let refusal = envelope.refusal.unwrap_or(Refusal { stage: "rcpt", code: 450 });
            return Ok(Attempt::Refused(refusal));
        }
        let dot_sent = self.content(sequence).await?;
        let reply = self.reply("dot").await?;
        if !reply.is_success() {
            return Ok(Attempt::Refused(Refusal { stage: "dot", code: reply.code }));
        }
        Ok(Attempt::Acknowledged {
            refused_recipients: envelope.refused_recipients,
            reply_latency: dot_sent.elapsed(),
        })
    }

    /// MAIL, RCPTs and DATA, in flights as large as may be; reads all their replies.
    async fn envelope(&mut self, plan: &Plan, sequence: u64) -> Result<Envelope, Trouble> {
        let pipelining = self.thread.source.settings.pipelining && self.extensions.pipelining;
        let flight = if pipelining { COMMANDS_PER_FLIGHT } else { 1 };
        let data = plan.recipients as usize + 1;
        let mut envelope = Envelope::default();
        let mut next = 0;
        while next <= data {
            if next == data && envelope.accepted == 0 {
                break;
            }
            let first = next;
            self.out.clear();
            while next <= data && next - first < flight {
                self.append_command(plan, sequence, next, data);
                next += 1;
            }
            self.send_out(stage_name(first, data)).await?;
            for index in first..next {
                let stage = stage_name(index, data);
                let reply = self.reply(stage).await?;
                envelope.take_reply(index, data, Refusal { stage, code: reply.code });
            }
            if envelope.mail_refused {
                break;
            }
        }
        Ok(envelope)
    }

    /// Appends command number `index`: MAIL, then the recipients, then DATA.
    fn append_command(&mut self, plan: &Plan, sequence: u64, index: usize, data: usize) {
        // Writing to a Vec cannot fail.
        if index == 0 {
            let _ = write!(self.out, "MAIL FROM:<{}>", plan.sender);
            if self.extensions.size {
                let _ = write!(self.out, " SIZE={}", plan.size(sequence));
            }
            self.out.extend_from_slice(b"\r\n");
        } else if index < data {
            self.address.clear();
            plan.recipient(sequence, index as u32 - 1, &mut self.address);
            self.out.extend_from_slice(b"RCPT TO:<");
            self.out.extend_from_slice(self.address.as_bytes());
            self.out.extend_from_slice(b">\r\n");
        } else {
            self.out.extend_from_slice(b"DATA\r\n");
        }
    }

    /// The message and the final dot; says when the dot was sent.
    async fn content(&mut self, sequence: u64) -> Result<Instant, Trouble> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (text_bytes, text) = {
            let mut generator = self.thread.generator.borrow_mut();
            let generated = generator.generate(sequence, now.as_micros() as u64, &mut self.out);
            if self.out.len() + generated.text_bytes <= COPIED_BYTES_MAX {
                self.out.extend_from_slice(&generator.text()[..generated.text_bytes]);
                (0, None)
            } else {
                (generated.text_bytes, Some(generator.shared_text()))
            }
        };
        if let Some(text) = text {
            self.send_out("content").await?;
            self.send(&text[..text_bytes], "content").await?;
            self.out.clear();
        }
        self.out.extend_from_slice(b".\r\n");
        let dot_sent = Instant::now();
        self.send_out("content").await?;
        Ok(dot_sent)
    }

    /// Takes leave properly, so that the server does not log a lost connection.
    async fn quit(mut self) {
        // The connection is of no further use: whether the goodbye arrives changes nothing.
        if self.send(b"QUIT\r\n", "quit").await.is_ok() {
            let _ = self.reply("quit").await;
        }
    }
}

/// What the server said to MAIL, RCPT and DATA.
#[derive(Default)]
struct Envelope {
    accepted: u32,
    refused_recipients: Vec<u32>,
    mail_refused: bool,
    data_code: Option<u16>,
    /// The refusal that decides what becomes of the message: of MAIL or DATA, else the first of a recipient, where one
    /// that is temporary counts more.
    refusal: Option<Refusal>,
}

impl Envelope {
    fn take_reply(&mut self, index: usize, data: usize, answer: Refusal) {
        let positive = answer.code < 400;
        if index == 0 {
            self.mail_refused = !positive;
            self.refusal = (!positive).then_some(answer);
        } else if index < data {
            if positive {
                self.accepted += 1;
                return;
            }
            self.refused_recipients.push(index as u32 - 1);
            let temporary_first = self.refusal.is_none_or(|known| known.code >= 500 && answer.code < 500);
            if !self.mail_refused && temporary_first {
                self.refusal = Some(answer);
            }
        } else {
            self.data_code = Some(answer.code);
            if !positive && !self.mail_refused && self.accepted > 0 {
                self.refusal = Some(answer);
            }
        }
    }
}

fn stage_name(index: usize, data: usize) -> &'static str {
    match index {
        0 => "mail",
        _ if index < data => "rcpt",
        _ => "data",
    }
}
