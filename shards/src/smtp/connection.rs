//! connection: one connection to a server, driven by `ringpost_core::smtp`'s session.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringpost_core::dsn::Status;
use ringpost_core::smtp::{
    CarriedSession, EhloKeywords, Event, Failure, LineBreaker, MailRecipient, MailRequest, PeerName,
    ResultKind, Session, TlsLevel,
};
use ringpost_reactor::{ConnectOptions, Endpoint, Moment, is_shortage};
use ringpost_spool::LoadError;
use smallvec::SmallVec;

use crate::message::Content;
use crate::race::{First, race};
use crate::recipients::Chosen;
use crate::shard::Shard;
use crate::smtp::channel::{Channel, PassedChannel};
use crate::smtp::endpoint::ServerEndpoint;
use crate::smtp::outgoing::{Conversion, GenericAddresses, Leaving};
use crate::smtp::route::Server;
use crate::smtp::tls::{self, NotSecure};

/// The end of a mail's content.
const FINAL_DOT: Bytes = Bytes::from_static(b".\r\n");
/// What is put into a line that is too long.
const LINE_BREAK: Bytes = Bytes::from_static(b"\r\n ");

/// A connection whose handshake is done.
pub struct Connection {
    /// The socket, encrypted or not.
    pub stream: Channel,
    /// The dialogue.
    pub session: Session,
    /// The number in the log.
    pub number: u32,
    /// When the handshake was done.
    pub opened_at: Moment,
    /// The server ended it or said something unasked: no QUIT.
    pub spoiled: bool,
    /// Another site or shard has kept it until now: there is back-to-back mail for its server, which this site's
    /// mail alone need not show.
    pub has_moved: bool,
    /// Its far end, by which other sites find it.
    pub endpoint: Arc<ServerEndpoint>,
    out: Vec<u8>,
}

/// A connection between two mails, on its way to another shard, with all that its next mail needs. Dropping it closes
/// the connection.
pub struct CarriedConnection {
    /// Of the settings under which it was used last; only the same may use it again.
    pub generation: u64,
    stream: PassedChannel,
    session: CarriedSession,
    number: u32,
    opened_at: Moment,
    endpoint: Arc<ServerEndpoint>,
}

/// Why there is no connection.
pub enum OpenError {
    /// It lies in the server, or on the way to it.
    Server(Failure),
    /// Encryption was wanted, and the two did not agree on it: the server may be tried without, where it is optional.
    Handshake(Failure),
    /// This host has no descriptors or no memory for one: no server would be reached.
    Shortage(std::io::Error),
}

/// How one mail on one connection ended.
pub enum MailEnd {
    /// All results are in; the connection may carry another mail.
    Finished,
    /// All results are in; the connection is of no more use.
    Broken,
    /// It could not be sent, for a reason of our own; the connection was given up before the final dot.
    NotSent(Failure),
}

impl Connection {
    /// Connects and shakes hands. On failure every recipient shares the reason; `report` is given what the postmaster
    /// may want to hear of a handshake that failed.
    pub async fn open(
        shard: &Shard,
        server: &Server,
        endpoint: Arc<ServerEndpoint>,
        report: impl FnOnce(&mut Connection),
    ) -> Result<Connection, OpenError> {
        let peer = PeerName {
            host: server.host.clone(),
            address: server.address.ip().to_string(),
            port: server.address.port(),
        };
        let client = shard.client_settings.clone();
        let options = ConnectOptions {
            bind: endpoint.bind(),
            timeout: Duration::from_secs(u64::from(client.timeouts.connect)),
            ..ConnectOptions::default()
        };
        let stream =
            shard.handle.connect(&Endpoint::Inet(server.address), &options).await.map_err(|error| {
                match is_shortage(&error) {
                    true => OpenError::Shortage(error),
                    false => OpenError::Server(Failure::connect(&peer, &plain_error(&error))),
                }
            })?;
        shard.counters.connections_out.one();
        let mut connection = Connection {
            stream: Channel::Plain(stream),
            session: Session::new(client, peer),
            number: shard.next_session_number(),
            opened_at: shard.handle.now(),
            spoiled: false,
            has_moved: false,
            endpoint,
            out: Vec::new(),
        };
        let level = connection.endpoint.tls().level;
        connection.session.want_tls(level);
        if level != TlsLevel::None && shard.settings.smtp.tls.wrapper {
            connection = Box::pin(connection.encrypt(shard)).await?;
            connection.session.begins_secure();
        }
        let mut event = connection.drive(shard, Event::NeedInput).await;
        if event == Event::StartTls {
            connection = Box::pin(connection.encrypt(shard)).await?;
            event = connection.session.secured(&mut connection.out);
            event = connection.drive(shard, event).await;
        }
        if let Some(warning) = connection.session.take_warning() {
            shard.log.warning("smtp", connection.number, format_args!("{warning}"));
        }
        if event == Event::Ready {
            return Ok(connection);
        }
        report(&mut connection);
        let failure = connection.session.failure().cloned();
        Err(OpenError::Server(
            failure.unwrap_or_else(|| {
                Failure::connect(connection.session.peer(), "the server closed the session")
            }),
        ))
    }

    /// Shakes hands, within `smtp_starttls_timeout`.
    async fn encrypt(self, shard: &Shard) -> Result<Connection, OpenError> {
        let policy = self.endpoint.tls();
        let limit = Duration::from_secs(u64::from(shard.client_settings.timeouts.starttls));
        let Channel::Plain(stream) = self.stream else { return Ok(self) };
        let secured = tls::secure(shard, self.number, stream, self.session.peer(), policy);
        let secured = match shard.handle.timeout(limit, secured).await {
            Ok(secured) => secured,
            Err(_elapsed) => Err(NotSecure::timed_out()),
        };
        match secured {
            Ok(stream) => Ok(Connection { stream: Channel::Secure(Box::new(stream)), ..self }),
            Err(NotSecure::Handshake(text)) if !policy.level.is_required() => {
                Err(OpenError::Handshake(tls::failure(text)))
            }
            Err(NotSecure::Handshake(text) | NotSecure::Certificate(text)) => {
                Err(OpenError::Server(tls::failure(text)))
            }
        }
    }

    /// Whether what is said here is encrypted.
    pub fn is_secure(&self) -> bool {
        matches!(self.stream, Channel::Secure(_))
    }

    /// Takes an idle connection off this shard; `None` if it is of no more use, then it is closed.
    pub async fn carry(self, generation: u64) -> Option<Box<CarriedConnection>> {
        let Connection { stream, session, number, opened_at, spoiled, endpoint, .. } = self;
        let stream = stream.pass().await;
        let session = session.carry().filter(|_| !spoiled)?;
        Some(Box::new(CarriedConnection { generation, stream, session, number, opened_at, endpoint }))
    }

    /// Takes up a connection of another shard. It counts on where it was.
    pub fn adopt(shard: &Shard, carried: CarriedConnection) -> Connection {
        let CarriedConnection { generation: _, stream, session, number, opened_at, endpoint } = carried;
        Connection {
            stream: Channel::adopt(&shard.handle, stream),
            session: Session::resume(shard.client_settings.clone(), session),
            number,
            // All shards read the same clock.
            opened_at,
            spoiled: false,
            has_moved: true,
            endpoint,
            out: Vec::new(),
        }
    }

    /// Sends one mail; its results are in the session.
    pub async fn mail(
        &mut self,
        shard: &Shard,
        queue_id: &str,
        mail: &MailRequest<'_>,
        recipients: &[MailRecipient<'_>],
        content: &Content,
    ) -> MailEnd {
        if shard.settings.smtp.outgoing.generic.is_empty() {
            return self.mail_as_is(shard, queue_id, mail, recipients, content).await;
        }
        let leaving = self.leaving(shard, queue_id);
        match Box::pin(GenericAddresses::find(&leaving, mail, recipients)).await {
            Ok(generic) => {
                let (mail, recipients) = generic.apply(mail, recipients);
                self.mail_as_is(shard, queue_id, &mail, &recipients, content).await
            }
            Err(failure) => MailEnd::NotSent(failure),
        }
    }

    async fn mail_as_is(
        &mut self,
        shard: &Shard,
        queue_id: &str,
        mail: &MailRequest<'_>,
        recipients: &[MailRecipient<'_>],
        content: &Content,
    ) -> MailEnd {
        let begun = self.session.begin(mail, recipients.iter().copied(), &mut self.out);
        let mut event = self.drive(shard, begun).await;
        if event == Event::SendContent {
            match self.send_content(shard, queue_id, content).await {
                Ok(true) => {
                    self.session.content_sent();
                    event = self.drive(shard, Event::NeedInput).await;
                }
                Ok(false) => event = Event::Broken,
                Err(failure) => {
                    self.spoiled = true;
                    self.session.content_unreadable();
                    return MailEnd::NotSent(failure);
                }
            }
        }
        match event {
            Event::Finished => MailEnd::Finished,
            _ => {
                self.spoiled = true;
                MailEnd::Broken
            }
        }
    }

    /// Exchanges commands and replies until the session wants something else than input.
    async fn drive(&mut self, shard: &Shard, mut event: Event) -> Event {
        while event == Event::NeedInput {
            event = match self.flush(shard).await {
                Ok(()) => self.read(shard).await,
                Err(event) => event,
            };
        }
        event
    }

    fn limit(&self) -> Duration {
        Duration::from_secs(u64::from(self.session.timeout_seconds()))
    }

    async fn flush(&mut self, shard: &Shard) -> Result<(), Event> {
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        match shard.handle.timeout(self.limit(), self.stream.send(out)).await {
            Ok((Ok(()), mut out)) => {
                out.clear();
                self.out = out;
                Ok(())
            }
            Ok((Err(_), _)) => Err(self.session.lost()),
            Err(_) => Err(self.session.timed_out()),
        }
    }

    async fn read(&mut self, shard: &Shard) -> Event {
        match shard.handle.timeout(self.limit(), self.stream.recv()).await {
            Ok(Ok(chunk)) if !chunk.is_empty() => self.session.input(&chunk, &mut self.out),
            Ok(_) => self.session.lost(),
            Err(_) => self.session.timed_out(),
        }
    }

    fn leaving<'a>(&'a self, shard: &'a Shard, queue_id: &'a str) -> Leaving<'a> {
        Leaving { shard, number: self.number, queue_id, peer: self.session.peer() }
    }

    /// False when the connection broke; the session then knows.
    async fn send_content(
        &mut self,
        shard: &Shard,
        queue_id: &str,
        content: &Content,
    ) -> Result<bool, Failure> {
        // A server that takes UTF-8 in headers takes it in bodies, too (RFC 6531 §3.1 wants 8BITMIME with it).
        let offers = self.session.offers();
        let to_seven_bit = !offers.has(EhloKeywords::EIGHT_BIT_MIME) && !offers.has(EhloKeywords::SMTPUTF8);
        if !shard.settings.smtp.outgoing.leaves_as_is(to_seven_bit) {
            let conversion = Conversion::new(shard, to_seven_bit);
            return Box::pin(self.send_converted(shard, queue_id, content, conversion)).await;
        }
        let mut breaker = LineBreaker::new(shard.settings.smtp.line_length_max);
        match content {
            Content::Memory(pieces) => {
                let mut parts: Vec<Bytes> = Vec::with_capacity(pieces.len() + 1);
                for piece in pieces {
                    break_lines(&mut breaker, piece, &mut parts);
                }
                parts.push(FINAL_DOT);
                Ok(self.send_parts(shard, parts).await)
            }
            Content::Spool(chunks) => {
                for chunk in chunks {
                    let piece = shard.spool.read_chunk(chunk).await.map_err(unreadable)?;
                    let mut parts: Vec<Bytes> = Vec::new();
                    break_lines(&mut breaker, &piece, &mut parts);
                    if !self.send_parts(shard, parts).await {
                        return Ok(false);
                    }
                }
                Ok(self.send_parts(shard, vec![FINAL_DOT]).await)
            }
        }
    }

    /// As [`Connection::send_content`], each piece through the conversion first.
    async fn send_converted(
        &mut self,
        shard: &Shard,
        queue_id: &str,
        content: &Content,
        mut conversion: Conversion,
    ) -> Result<bool, Failure> {
        let mut breaker = LineBreaker::new(shard.settings.smtp.line_length_max);
        let count = match content {
            Content::Memory(pieces) => pieces.len(),
            Content::Spool(chunks) => chunks.len(),
        };
        for index in 0..=count {
            let piece = match content {
                _ if index == count => Bytes::new(),
                Content::Memory(pieces) => pieces[index].clone(),
                Content::Spool(chunks) => shard.spool.read_chunk(&chunks[index]).await.map_err(unreadable)?,
            };
            let last = index == count;
            let mut parts: Vec<Bytes> = Vec::new();
            let put = |part: Bytes| break_lines(&mut breaker, &part, &mut parts);
            conversion.feed(&self.leaving(shard, queue_id), &piece, last, put).await?;
            if last {
                parts.push(FINAL_DOT);
            }
            if !parts.is_empty() && !self.send_parts(shard, parts).await {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A server may refuse while content is still on its way, and read no more of it: its words are heard meanwhile.
    async fn send_parts(&mut self, shard: &Shard, parts: Vec<Bytes>) -> bool {
        let limit = self.limit();
        let Connection { stream, session, out, .. } = self;
        let mut sending = pin!(shard.handle.timeout(limit, stream.send_vectored(parts)));
        loop {
            match race(sending.as_mut(), stream.recv()).await {
                First::Left(Ok(Ok(()))) => return true,
                First::Right(Ok(chunk)) if !chunk.is_empty() => {
                    if session.input(&chunk, out) != Event::NeedInput {
                        return false;
                    }
                }
                First::Left(Ok(Err(_))) | First::Right(_) => {
                    session.lost();
                    return false;
                }
                First::Left(Err(_)) => {
                    session.timed_out();
                    return false;
                }
            }
        }
    }
}

/// Appends `piece` to `parts` without copying it, with breaks where a line is too long.
fn break_lines(breaker: &mut LineBreaker, piece: &Bytes, parts: &mut Vec<Bytes>) {
    let whole = piece.as_ref().as_ptr_range();
    breaker.split(piece, |part| {
        let inside = whole.contains(&part.as_ptr());
        parts.push(if inside { piece.slice_ref(part) } else { LINE_BREAK });
    });
}

/// The spool could not give the content.
fn unreadable(error: LoadError) -> Failure {
    Failure {
        kind: ResultKind::Deferred,
        status: Status::persistent(3, 0),
        text: format!("queue file read error: {error}"),
        reply: None,
        trouble: false,
    }
}

/// The text of an error without Rust's `(os error N)`, as Postfix logs it.
fn plain_error(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::TimedOut {
        return "Connection timed out".to_owned();
    }
    let text = error.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// The recipients of a delivery as the session takes them, in the order of `indexes`.
pub fn mail_recipients<'a>(chosen: &'a Chosen<'_>, indexes: &[u32]) -> SmallVec<[MailRecipient<'a>; 4]> {
    let mut recipients = SmallVec::new();
    chosen.for_each(indexes.iter().copied(), |_, recipient| recipients.push(recipient.into()));
    recipients
}
