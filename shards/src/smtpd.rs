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
mod log;
mod peer;
mod proxy;
mod verdict;
mod world;

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ringpost_core::access::Stage;
use ringpost_core::anvil::ClientKey;
use ringpost_core::smtpd::{Answer, Request, Session};
use ringpost_reactor::{Chunk, Endpoint, Stream};

use crate::anvil;
use crate::cleanup::Incoming;
use crate::drain::DrainWatch;
use crate::race::unless_draining;
use crate::settings::SmtpdService;
use crate::shard::Shard;

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
    /// Boxed, so that an idle session has no room for it.
    incoming: Option<Box<Incoming>>,
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
            let header = Box::pin(shard.handle.timeout(wait, proxy::proxied(&stream))).await;
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
                Request::Send => self.send_replies().await?,
                Request::Filter => self.filter_command().await,
                Request::Helo => self.answer_stage(Stage::Helo).await,
                Request::Xclient => self.become_client().await,
                Request::Mail => self.answer_mail().await,
                Request::Recipient => self.answer_recipient().await,
                Request::Verify => self.answer_verify().await,
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

    /// What happened is logged before the client learns of it. A client that does not read what it is told is treated
    /// like one that says nothing.
    async fn send_replies(&mut self) -> Result<(), Ended> {
        self.drain_log();
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

    fn leave(&mut self) {
        if let Some(client) = self.counted.take() {
            anvil::disconnected(self.shard, client);
        }
    }
}
