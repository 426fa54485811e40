//! smtpd: performs one SMTP server session: the bytes in, the replies out, the message to cleanup.
//!
//! Receives: a connection from the listener; what the client sends.
//! Sends:    replies, all that belong to one flight of commands in one send; the message to `cleanup`; what the client
//!           does to `anvil`, unless it is exempt; the domain of ETRN to `flush`; what was said to `transcript`, if
//!           there were errors; log lines.
//! Owns:     the connection, the session's buffers, the message that is arriving.
//! Limits:   `ringpost_core::smtpd`'s; one receive buffer at a time; of a message at most
//!           [`crate::cleanup::SPILL_BYTES`] plus one receive buffer in memory.
//! On failure: a lost or silent client ends the session and leaves nothing; a spool that is full or failing is told
//!           the client as 452 or 451 and the session goes on.
//! Standards: RFC 5321; the time limit of section 4.5.3.2.7 is `smtpd_timeout`.

mod footer;
mod peer;
mod world;

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ringpost_core::access::Stage;
use ringpost_core::anvil::{ClientEvent, ClientKey, Exceeded};
use ringpost_core::dsn::SessionKind;
use ringpost_core::logline::{AddressText, Peer, Severity};
use ringpost_core::lookup::at_once;
use ringpost_core::maps::Key;
use ringpost_core::proxy_protocol::{self, Parsed};
use ringpost_core::reply::Reply;
use ringpost_core::smtpd::{Answer, Request, Session};
use ringpost_core::transcript::Excerpt;
use ringpost_reactor::{Chunk, Endpoint, Stream};

use crate::anvil;
use crate::cleanup::Incoming;
use crate::drain::DrainWatch;
use crate::flush;
use crate::race::unless_draining;
use crate::settings::SmtpdService;
use crate::shard::Shard;
use crate::transcript;

use self::world::World;

/// What a client is told when the spool has no room, before it sends the message.
const NO_ROOM: Reply = Reply::fixed("452 4.3.1 Insufficient system storage");

/// Room for what is said in one flight, so that it grows seldom: the reply to EHLO is the longest.
const REPLY_BYTES_USUAL: usize = 256;

/// Starts a session of the service with this index; the caller has counted it among this shard's sessions. It keeps
/// `shard`, and so its settings and tables, to its end.
pub fn start(shard: &Rc<Shard>, service: usize, stream: Stream) {
    shard.counters.sessions.one();
    let shard = shard.clone();
    shard.clone().handle.spawn(async move {
        // Boxed, so that an idle session holds neither what opening it took nor its state twice.
        let opened = Box::pin(Server::open(&shard, service, stream)).await;
        if let Some(mut server) = opened {
            server.log_connect();
            server.converse().await;
            server.log_disconnect();
            server.report(Session::last_report);
            server.leave();
        }
        shard.loads.closed(shard.index);
        // Every listener may be waiting for room, and only it can see its own clients.
        shard.session_ended.notify_all();
        shard.quieter.notify();
    });
}

struct Server<'a> {
    shard: &'a Rc<Shard>,
    service: &'a SmtpdService,
    stream: Stream,
    session: Session,
    /// The client, if it is counted.
    counted: Option<ClientKey>,
    number: u32,
    /// When it began, in microseconds of the wall clock.
    began_us: u64,
    watch: DrainWatch,
    replies: Vec<u8>,
    content: Vec<u8>,
    incoming: Option<Incoming>,
    /// What came behind the proxy's header.
    early: Option<Input>,
}

/// What the client sent and the session has not taken.
enum Input {
    Chunk(Chunk),
    Early(Vec<u8>),
}

impl Input {
    fn bytes(&self) -> &[u8] {
        match self {
            Input::Chunk(chunk) => chunk,
            Input::Early(bytes) => bytes,
        }
    }
}

/// The connection is of no more use: the client is gone, or was told so.
struct Ended;

impl<'a> Server<'a> {
    /// None when a proxy does not tell who the client is.
    async fn open(shard: &'a Rc<Shard>, service_index: usize, stream: Stream) -> Option<Box<Server<'a>>> {
        let service = &shard.settings.services[service_index];
        let number = shard.next_session_number();
        let (mut address, mut port) = match stream.peer() {
            Endpoint::Inet(peer) => (peer.ip().to_canonical(), peer.port()),
            Endpoint::Unix(_) => (IpAddr::from([127, 0, 0, 1]), 0),
        };
        let mut early = None;
        if let Some(wait) = service.access.proxy_timeout {
            let header = Box::pin(shard.handle.timeout(wait, proxied(&stream))).await;
            match header.unwrap_or(Err("timeout error")) {
                Ok((client, rest)) => {
                    if let Some(client) = client {
                        (address, port) = (client.ip().to_canonical(), client.port());
                    }
                    early = (!rest.is_empty()).then_some(Input::Early(rest));
                }
                Err(reason) => {
                    shard.log.warning("smtpd", number, format_args!("haproxy read: {reason}"));
                    return None;
                }
            }
        }
        let peer = match peer::at_once(service, address, port) {
            Some(peer) => peer,
            None => peer::find(shard, service, address, port).await,
        };
        for warning in &peer.warnings {
            shard.log.warning("smtpd", number, format_args!("{warning}"));
        }
        let counted = anvil::client(service, address).filter(|_| !peer.has_no_limits);
        Some(Box::new(Server {
            session: Session::new(shard.session_settings[service_index].clone(), peer.client),
            number,
            began_us: shard.handle.wall().as_micros(),
            watch: shard.drain.watch(),
            shard,
            counted: counted.filter(|client| anvil::connected(shard, *client)),
            service,
            stream,
            replies: Vec::with_capacity(REPLY_BYTES_USUAL),
            content: Vec::new(),
            incoming: None,
            early,
        }))
    }

    async fn converse(&mut self) {
        self.welcome().await;
        let mut input = self.early.take();
        loop {
            if self.send_replies().await.is_err() {
                break;
            }
            if input.is_none() {
                let Some(chunk) = self.read().await else { break };
                input = chunk.map(Input::Chunk);
            }
            if self.obey(input.take()).await.is_err() {
                break;
            }
        }
        self.drain_log();
    }

    /// The greeting, or what stands in its place.
    async fn welcome(&mut self) {
        if let Some(exceeded) = self.connections_exceeded().await {
            self.session.refuse_crowd(exceeded, &mut self.replies);
        } else if let Some(reply) = self.verdict(Stage::Connect).await {
            self.session.deny(&reply, &mut self.replies);
        } else {
            self.session.greet(&mut self.replies);
        }
        if self.session.is_closing() {
            // Nothing more is wanted of the client: the next step asks to close.
            self.early = Some(Input::Early(Vec::new()));
        }
    }

    /// What the client sends next; None when it is gone. A silent client, or one that idles while the system stops,
    /// is told and yields an empty step.
    async fn read(&mut self) -> Option<Option<Chunk>> {
        let wait = self.service.timeout;
        let received = self.shard.handle.timeout(wait, self.stream.recv());
        let received = match self.session.is_idle() {
            true => unless_draining(&mut self.watch, received).await,
            false => Some(received.await),
        };
        match received {
            None => {
                self.session.shut_down(&mut self.replies);
                Some(None)
            }
            Some(Err(_elapsed)) => {
                self.session.input_timeout(&mut self.replies);
                Some(None)
            }
            Some(Ok(Ok(chunk))) if !chunk.is_empty() => Some(Some(chunk)),
            Some(Ok(_)) => {
                self.session.lost();
                None
            }
        }
    }

    /// Feeds the session until it wants more input. The receive buffer goes back as soon as it is used up, so that a
    /// session that waits for its commit holds none.
    async fn obey(&mut self, mut chunk: Option<Input>) -> Result<(), Ended> {
        let mut taken = 0;
        loop {
            let input = chunk.as_ref().map_or(&[][..], |chunk| &chunk.bytes()[taken..]);
            let step = self.session.step(input, &mut self.replies, &mut self.content);
            taken += step.consumed;
            if chunk.as_ref().is_some_and(|chunk| taken == chunk.bytes().len()) {
                chunk = None;
                taken = 0;
            }
            match step.request {
                Request::MoreInput => return Ok(()),
                Request::Send => {
                    self.drain_log();
                    self.send_replies().await?;
                }
                Request::Filter => self.filter_command().await,
                Request::Helo => self.answer_stage(Stage::Helo).await,
                Request::Xclient => self.become_client().await,
                Request::Mail => self.answer_mail().await,
                Request::Recipient => self.answer_recipient().await,
                Request::Verify => self.answer_stage(Stage::Recipient).await,
                Request::Data => self.answer_stage(Stage::Data).await,
                Request::Content => {
                    self.spill().await;
                    if chunk.is_none() {
                        return Ok(());
                    }
                }
                Request::EndOfContent => self.finish_message().await,
                Request::Auth => self.answer_auth().await,
                Request::Etrn => self.answer_etrn().await,
                Request::Discard => self.discard(),
                Request::Pause { milliseconds } => {
                    self.send_replies().await?;
                    self.shard.handle.sleep(Duration::from_millis(milliseconds)).await;
                }
                Request::Close => {
                    self.send_replies().await?;
                    return Err(Ended);
                }
            }
        }
    }

    /// A client that does not read what it is told is treated like one that says nothing.
    async fn send_replies(&mut self) -> Result<(), Ended> {
        if self.replies.is_empty() {
            return Ok(());
        }
        if let Some(footers) = &self.service.access.footers {
            let footed = footer::append(self.shard, self.service, footers, &self.session, &self.replies);
            let (replies, warnings) = Box::pin(footed).await;
            self.replies = replies;
            self.warn(&warnings);
        }
        let replies = std::mem::take(&mut self.replies);
        let wait = self.service.timeout;
        match self.shard.handle.timeout(wait, self.stream.send(replies)).await {
            Ok((Ok(()), mut sent)) => {
                sent.clear();
                self.replies = sent;
                Ok(())
            }
            Ok((Err(_), _)) | Err(_) => {
                self.session.lost();
                Err(Ended)
            }
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // verdicts

    /// Whether the client has more connections than it may, or makes them too often. It waits for its home's answer
    /// only if the service limits either.
    async fn connections_exceeded(&self) -> Option<Exceeded> {
        let (client, limits) = (self.counted?, self.service.client_limits);
        if !limits.decide(ClientEvent::Connection) {
            anvil::tell_later(self.shard, client);
            return None;
        }
        let counts = anvil::counts(self.shard, client).await?;
        limits.exceeded(ClientEvent::Connection, &counts)
    }

    /// Counts what the client does now; whether it does so too often.
    async fn exceeded(&self, event: ClientEvent) -> Option<Exceeded> {
        let (client, limits) = (self.counted?, self.service.client_limits);
        if !limits.decide(event) {
            anvil::happened(self.shard, client, event);
            return None;
        }
        let counts = anvil::counts_after(self.shard, client, event).await?;
        limits.exceeded(event, &counts)
    }

    async fn answer_mail(&mut self) {
        // A transaction that RSET or EHLO ended before its content: this one gets a name and an arrival time of its own.
        self.discard();
        if self.session.keeps_transcript()
            && transcript::is_ours(self.shard, self.session.mail().sender.as_str())
        {
            self.session.mute_transcript();
        }
        let declared = self.session.mail().size_bytes;
        let wanted = self.shard.settings.room_wanted(self.service, declared);
        let answer = match self.exceeded(ClientEvent::Message).await {
            Some(exceeded) => Answer::Exceeded(exceeded),
            None => match self.verdict(Stage::Mail).await {
                Some(reply) => Answer::Refuse(reply),
                None if self.shard.spool.room_for(wanted) => Answer::Accept,
                None => Answer::Refuse(NO_ROOM),
            },
        };
        self.session.answer(answer, &mut self.replies);
    }

    async fn answer_recipient(&mut self) {
        if let Some(exceeded) = self.exceeded(ClientEvent::Recipient).await {
            self.session.answer(Answer::Exceeded(exceeded), &mut self.replies);
            return;
        }
        if let Some(reply) = self.verdict(Stage::Recipient).await {
            self.session.answer(Answer::Refuse(reply), &mut self.replies);
            return;
        }
        if self.incoming.is_none() {
            let incoming = Incoming::open(self.shard, self.number);
            self.session.name_transaction(incoming.queue_id.as_str());
            self.log_client(&incoming);
            self.incoming = Some(incoming);
        }
        self.session.answer(Answer::Accept, &mut self.replies);
    }

    /// Answers what only restrictions decide.
    async fn answer_stage(&mut self, stage: Stage) {
        let answer = match self.verdict(stage).await {
            Some(reply) => Answer::Refuse(reply),
            None => Answer::Accept,
        };
        self.session.answer(answer, &mut self.replies);
    }

    /// What the restrictions of a stage say. Those that need nothing from outside decide without an allocation; where a
    /// table does not have its answer at hand after all, they are asked again, and waited for.
    async fn verdict(&mut self, stage: Stage) -> Option<Reply> {
        let access = &self.service.access;
        if access.rules.is_idle(stage) {
            return None;
        }
        let before = self.session.take_access();
        let mut memory = before.clone();
        let world =
            World { shard: self.shard, stream: &self.stream, number: self.number, began_us: self.began_us };
        let facts = self.session.facts(stage);
        let outcome = match access.likely_waits {
            true => None,
            false => at_once(access.rules.decide(&world, &facts, &mut memory)),
        };
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => {
                memory = before;
                Box::pin(access.rules.decide(&world, &facts, &mut memory)).await
            }
        };
        self.session.put_access(memory);
        if !outcome.notes.is_empty() {
            self.session.note_checks(outcome.notes);
        }
        outcome.refusal
    }

    /// `smtpd_command_filter`: what is read instead of the command.
    async fn filter_command(&mut self) {
        let filter = &self.service.access.command_filter;
        let found = filter.find(&self.shard.tables, self.session.command_line(), Key::Whole).await;
        match found {
            Ok(instead) => self.session.filtered(instead.as_deref()),
            Err(trouble) => {
                self.warn(&[format!("smtpd_command_filter: {trouble}: table lookup problem")]);
                // Postfix ends such a session, too: nobody knows what the command was to be.
                self.session.refuse_local_error(&mut self.replies);
            }
        }
    }

    /// XCLIENT: the session begins again as another client's, counted as that client's.
    async fn become_client(&mut self) {
        self.discard();
        self.content.clear();
        let client = self.session.proposed_client().clone();
        let mut peer = peer::Peer { client, has_no_limits: false, warnings: Vec::new() };
        Box::pin(peer::grant(self.shard, self.service, &mut peer, false)).await;
        self.leave();
        let counted = anvil::client(self.service, peer.client.address);
        self.counted =
            counted.filter(|_| !peer.has_no_limits).filter(|client| anvil::connected(self.shard, *client));
        self.warn(&peer.warnings);
        self.session.become_client(peer.client);
        self.welcome().await;
        self.early = None;
    }

    async fn answer_auth(&mut self) {
        let answer = match self.exceeded(ClientEvent::Auth).await {
            Some(exceeded) => Answer::Exceeded(exceeded),
            None => Answer::Accept,
        };
        self.session.answer(answer, &mut self.replies);
    }

    async fn answer_etrn(&mut self) {
        let answer = match self.verdict(Stage::Etrn).await {
            Some(reply) => Answer::Refuse(reply),
            None => Answer::Flush(flush::site(self.shard, self.session.etrn_domain())),
        };
        self.session.answer(answer, &mut self.replies);
    }

    // -----------------------------------------------------------------------------------------------------------
    // content

    async fn spill(&mut self) {
        if let Some(incoming) = &mut self.incoming {
            incoming.take_content(self.shard, self.service, &self.session, &mut self.content).await;
        } else {
            self.content.clear();
        }
    }

    async fn finish_message(&mut self) {
        let refusal = self.verdict(Stage::EndOfData).await;
        let incoming = self.incoming.take().expect("content comes after an accepted recipient");
        let queue_id = incoming.queue_id;
        let stored = match refusal {
            Some(reply) => {
                incoming.abandon(self.shard);
                Err(reply)
            }
            None if self.session.access().actions.discard => {
                incoming.abandon(self.shard);
                Ok(())
            }
            None => incoming.finish(self.shard, self.service, &self.session, &mut self.content).await,
        };
        let answer = match stored {
            Ok(()) => {
                self.shard.counters.messages_accepted.one();
                self.shard.counters.bytes_accepted.add(self.session.content_bytes());
                Answer::Queued(queue_id.as_str())
            }
            Err(reply) => {
                self.shard.counters.messages_refused.one();
                Answer::Refuse(reply)
            }
        };
        self.session.answer(answer, &mut self.replies);
        self.content.clear();
    }

    fn discard(&mut self) {
        self.content.clear();
        if let Some(incoming) = self.incoming.take() {
            incoming.abandon(self.shard);
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // log

    fn log_with_peer(
        &self,
        write: impl FnOnce(&mut ringpost_core::logline::LogLines, &mut Vec<u8>, i64, &Peer<'_>),
    ) {
        let client = self.session.client();
        let address = AddressText::new(client.address);
        let peer = Peer {
            name: client.name.as_deref().unwrap_or_default().as_bytes(),
            address: address.as_bytes(),
            port: self.service.session.client_port_logging.then_some(client.port),
        };
        self.shard.log.write(|lines, out, now_s| write(lines, out, now_s, &peer));
    }

    fn log_connect(&self) {
        self.log_with_peer(|lines, out, now_s, peer| lines.connect(out, now_s, u64::from(self.number), peer));
    }

    fn log_client(&self, incoming: &Incoming) {
        if let Some(forwarded) = self.session.forwarded() {
            let mut text = format!("{}: client={}", incoming.queue_id.as_str(), self.session.client_text());
            if let Some(ident) = &forwarded.ident {
                text += &format!(", orig_queue_id={ident}");
            }
            if forwarded.tells_client {
                text += &format!(", orig_client={}", forwarded.client_text());
            }
            self.log_text(&text);
            return;
        }
        self.log_with_peer(|lines, out, now_s, peer| {
            lines.client(out, now_s, u64::from(self.number), incoming.queue_id.as_str(), peer);
        });
    }

    fn log_disconnect(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            incoming.abandon(self.shard);
        }
        let text = format!(
            "disconnect from {} {}",
            self.session.client_text(),
            self.session.disconnect_statistics()
        );
        self.log_text(&text);
    }

    fn leave(&mut self) {
        if let Some(client) = self.counted.take() {
            anvil::disconnected(self.shard, client);
        }
    }

    fn drain_log(&mut self) {
        for event in self.session.take_log() {
            self.log_text(&event.to_string());
        }
        self.report(Session::take_report);
    }

    fn report(&mut self, take: impl FnOnce(&mut Session) -> Option<Box<Excerpt>>) {
        if let Some(excerpt) = take(&mut self.session) {
            let client = self.session.client_text();
            transcript::report(self.shard, SessionKind::Server, self.number, client, &excerpt);
        }
    }

    fn warn(&self, warnings: &[String]) {
        for warning in warnings {
            self.log_text(&format!("warning: {warning}"));
        }
    }

    /// Warnings of the session carry their prefix in their text.
    fn log_text(&self, text: &str) {
        self.shard.log.write(|lines, out, now_s| {
            lines.message(out, now_s, "smtpd", u64::from(self.number), Severity::Info, text.as_bytes());
        });
    }
}

/// The client that the proxy names, and what came behind its header.
async fn proxied(stream: &Stream) -> Result<(Option<SocketAddr>, Vec<u8>), &'static str> {
    let mut bytes = Vec::new();
    loop {
        let chunk = stream.recv().await.map_err(|_| "lost connection")?;
        if chunk.is_empty() {
            return Err("EOF");
        }
        bytes.extend_from_slice(&chunk);
        match proxy_protocol::parse(&bytes) {
            Parsed::NeedMore => {}
            Parsed::Header { bytes: taken, client } => return Ok((client, bytes.split_off(taken))),
            Parsed::Wrong(reason) => return Err(reason),
        }
    }
}
