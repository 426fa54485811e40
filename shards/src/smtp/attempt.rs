//! attempt: one delivery, over as many servers as it takes and may take.

use std::rc::Rc;
use std::sync::Arc;

use ringpost_core::dsn::{Action, Class, SessionKind, Status};
use ringpost_core::envelope::{EnvelopeFields, Reason};
use ringpost_core::logline::{self, Delays, Peer, Relay};
use ringpost_core::qmgr::{Delivery, SiteHandle};
use ringpost_core::smtp::{
    BadPolicy, EhloKeywords, Failure, MailRequest, PeerName, RecipientResult, ResultKind, TlsPolicy,
};
use ringpost_core::verp::{VerpDelimiters, verp_sender};

use crate::message::ActiveMessage;
use crate::qmgr::DeliveryEnd;
use crate::shard::Shard;
use crate::smtp::connection::{Connection, MailEnd, OpenError, mail_recipients};
use crate::smtp::endpoint::ServerEndpoint;
use crate::smtp::hand_over;
use crate::smtp::route::{self, NoServers, Server};
use crate::smtp::tls;
use crate::{trace, transcript, verify};

/// Delivers over the kept connection, else over others to the site's servers in order. Leaves in `connection`
/// what can carry another mail.
pub async fn deliver(
    shard: &Rc<Shard>,
    connection: &mut Option<Connection>,
    delivery: &Delivery,
) -> DeliveryEnd {
    let mut attempt = Attempt::new(shard, delivery);
    if let Some(mut kept) = connection.take() {
        shard.counters.connections_reused.one();
        match attempt.mail(&mut kept).await {
            Ok(true) => *connection = Some(kept),
            Ok(false) => {}
            Err(Unanswered) => return attempt.over_servers(connection, Reuse::No).await,
        }
        attempt.give_up_open();
        return attempt.end;
    }
    attempt.over_servers(connection, Reuse::Yes).await
}

/// Whether connections that other sites keep are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reuse {
    Yes,
    /// One has failed: others of the same server have probably died with it.
    No,
}

/// Whether another destination may be tried for the recipients that are left.
type GoesOn = bool;

/// What recipients are told when the transport as a whole has failed.
const UNAVAILABLE: &str = "mail transport unavailable";

/// A kept connection turned out to be dead before the server answered anything to this mail.
struct Unanswered;

/// A server as delivery lines name it.
#[derive(Clone, Copy)]
struct ServerLine<'a> {
    host: &'a str,
    address: &'a str,
    port: u16,
    number: u32,
    conn_use: u32,
    /// It offers DSN and was given NOTIFY: it reports deliveries itself.
    reports: bool,
}

impl<'a> ServerLine<'a> {
    fn of(connection: &'a Connection) -> ServerLine<'a> {
        let peer = connection.session.peer();
        ServerLine {
            host: &peer.host,
            address: &peer.address,
            port: peer.port,
            number: connection.number,
            conn_use: connection.session.mails_begun(),
            reports: connection.session.offers().has(EhloKeywords::DSN),
        }
    }
}

/// A recipient that the last server put off; another one may still take it.
struct PutOff {
    recipient: u32,
    reason: Reason,
    /// Deferred, or what it would have been without `soft_bounce`.
    status: logline::Status,
    server: Option<(PeerName, u32, u32)>,
}

struct Attempt<'a> {
    shard: &'a Rc<Shard>,
    message: Rc<ActiveMessage>,
    site: SiteHandle,
    /// Recipients without a final result, rising.
    open: Vec<u32>,
    /// What the last server said of them.
    put_off: Vec<PutOff>,
    end: DeliveryEnd,
    transaction_completed: bool,
    trouble: Option<String>,
    handed_us: u64,
    connected_us: u64,
}

impl<'a> Attempt<'a> {
    fn new(shard: &'a Rc<Shard>, delivery: &Delivery) -> Attempt<'a> {
        let mut open = delivery.recipients.to_vec();
        open.sort_unstable();
        let now_us = shard.handle.wall().as_micros();
        Attempt {
            shard,
            message: shard.qmgr.message(delivery.id),
            site: delivery.site,
            open,
            put_off: Vec::new(),
            end: DeliveryEnd::default(),
            transaction_completed: false,
            trouble: None,
            handed_us: now_us,
            connected_us: now_us,
        }
    }

    /// Tries the site's destinations in order, then the fallback relays for whoever was put off.
    async fn over_servers(mut self, connection: &mut Option<Connection>, reuse: Reuse) -> DeliveryEnd {
        let nexthop = self.shard.qmgr.nexthop(self.site);
        let fallbacks = self.shard.settings.smtp.fallback_relays.iter().map(String::as_str);
        let mut destinations = route::destinations(&nexthop).chain(fallbacks).peekable();
        while let Some(destination) = destinations.next() {
            let is_last = destinations.peek().is_none();
            let goes_on = self.over_servers_of(destination, is_last, connection, reuse).await;
            if !goes_on || self.open.is_empty() {
                break;
            }
        }
        self.give_up_open();
        self.end
    }

    /// The servers of one destination; none, and the result of all recipients that are left, if there are none. What is
    /// not found is only put off where another destination may be tried.
    async fn servers_of(&mut self, destination: &str, is_last: bool) -> Result<Vec<Server>, GoesOn> {
        match route::servers(self.shard, destination).await {
            Ok(servers) => Ok(servers),
            Err(NoServers::Failed(failure)) if is_last => {
                self.fail_all(&failure, None);
                Err(true)
            }
            Err(NoServers::Failed(failure)) => {
                let status = failure.status.with_class(Class::Persistent);
                self.fail_all(&Failure { kind: ResultKind::Deferred, status, ..failure }, None);
                Err(true)
            }
            Err(NoServers::Loop(failure)) => {
                self.fail_all(&failure, None);
                Err(false)
            }
            Err(NoServers::Shortage(error)) => {
                self.fail_for_want_of_sockets(format_args!("cannot ask the name service: {error}"));
                Err(false)
            }
        }
    }

    /// Tries a destination's servers in order, each over a connection that another site keeps, else over a fresh one.
    /// Whether another destination may be tried for what is left.
    async fn over_servers_of(
        &mut self,
        destination: &str,
        is_last: bool,
        connection: &mut Option<Connection>,
        reuse: Reuse,
    ) -> GoesOn {
        let mut servers = match self.servers_of(destination, is_last).await {
            Ok(servers) => servers,
            Err(goes_on) => return goes_on,
        };
        let dead_servers = &self.shard.transport.dead_servers;
        let now_ms = || self.shard.handle.now().as_nanos() / 1_000_000;
        let living = dead_servers.borrow_mut().put_last(&mut servers, |server| server.address, now_ms());
        let transport = self.shard.qmgr.site_names(self.site).map(|names| names.transport);
        let transport = transport.expect("a site in delivery is not forgotten");
        let policy = match self.tls_policy(destination).await {
            Ok(policy) => policy,
            Err(failure) => {
                self.fail_all(&failure, None);
                return true;
            }
        };
        let mut sessions = 0;
        for (place, server) in servers.iter().enumerate() {
            // A dead server is only tried when no living one was to be had.
            let is_vain = place >= living && sessions > 0;
            if self.open.is_empty() || is_vain || sessions >= self.shard.settings.smtp.mx_session_limit {
                break;
            }
            let endpoint = Arc::new(ServerEndpoint::of(&self.shard.settings, &transport, server, &policy));
            if reuse == Reuse::Yes && self.over_kept(&endpoint, server, connection).await {
                sessions += 1;
                continue;
            }
            let mut opened = self.open(server, endpoint).await;
            if let Err(OpenError::Handshake(_)) = opened
                && self.may_leave_unencrypted()
            {
                let plain = TlsPolicy::none();
                let endpoint = ServerEndpoint::of(&self.shard.settings, &transport, server, &plain);
                opened = self.open(server, Arc::new(endpoint)).await;
            }
            match opened {
                Err(OpenError::Shortage(error)) => {
                    let (address, port) = (server.address.ip(), server.address.port());
                    let what = format_args!("cannot connect to {}[{address}]:{port}: {error}", server.host);
                    self.fail_for_want_of_sockets(what);
                    return false;
                }
                Err(OpenError::Server(failure) | OpenError::Handshake(failure)) => {
                    if failure.reply.is_none() && servers.len() > 1 {
                        dead_servers.borrow_mut().failed(server.address, now_ms());
                    }
                    let address = server.address.ip().to_string();
                    let port = server.address.port();
                    let number = self.shard.index as u32;
                    let (host, conn_use, reports) = (server.host.as_str(), 0, false);
                    let line = ServerLine { host, address: &address, port, number, conn_use, reports };
                    let greeted = failure.reply.is_some();
                    self.fail_all(&failure, greeted.then_some(line));
                }
                Ok(mut fresh) => {
                    sessions += 1;
                    dead_servers.borrow_mut().answered(server.address);
                    self.connected_us = self.shard.handle.wall().as_micros();
                    if let Ok(true) = self.mail(&mut fresh).await {
                        // One connection is kept; a server that put recipients off is told goodbye.
                        super::quit(self.shard, connection.replace(fresh));
                    }
                }
            }
        }
        true
    }

    async fn open(&self, server: &Server, endpoint: Arc<ServerEndpoint>) -> Result<Connection, OpenError> {
        Connection::open(self.shard, server, endpoint, |failed| self.report(failed)).await
    }

    /// How connections of this destination are encrypted.
    async fn tls_policy(&self, nexthop: &str) -> Result<TlsPolicy, Failure> {
        let settings = &self.shard.settings.smtp.tls.policy;
        if settings.is_off() {
            return Ok(TlsPolicy::none());
        }
        settings.policy_for(&self.shard.tables, nexthop).await.map_err(|bad| {
            let number = self.shard.index as u32;
            match bad {
                BadPolicy::Entry(text) => self.shard.log.warning("smtp", number, format_args!("{text}")),
                BadPolicy::Table(trouble) => {
                    let text = format_args!("smtp_tls_policy_maps: {trouble}");
                    self.shard.log.warning("smtp", number, text);
                }
            }
            tls::failure("client TLS configuration problem")
        })
    }

    /// Where encryption is optional, mail that has waited `minimal_backoff_time` for it leaves without.
    fn may_leave_unencrypted(&self) -> bool {
        let waited_us = self.message.active_at_us.get().saturating_sub(self.message.envelope.arrival_us());
        waited_us / 1_000 >= self.shard.settings.qmgr.minimal_backoff_ms
    }

    /// Uses a connection to this server that another site keeps. False: there is none, or it has turned out to be dead.
    async fn over_kept(
        &mut self,
        endpoint: &Arc<ServerEndpoint>,
        server: &Server,
        connection: &mut Option<Connection>,
    ) -> bool {
        let found = hand_over::to_server(self.shard, endpoint).await;
        self.shard.transport.statistics.by_server(found.is_some());
        let Some(mut kept) = found else { return false };
        kept.session.rename_peer(&server.host);
        self.shard.counters.connections_reused.one();
        self.connected_us = self.shard.handle.wall().as_micros();
        match self.mail(&mut kept).await {
            Ok(true) => super::quit(self.shard, connection.replace(kept)),
            Ok(false) => {}
            Err(Unanswered) => return false,
        }
        true
    }

    /// One mail to all open recipients. True when the connection can carry another.
    async fn mail(&mut self, connection: &mut Connection) -> Result<bool, Unanswered> {
        let message = self.message.clone();
        let fields = message.envelope.fields();
        if let Some(delimiters) = fields.verp {
            return self.mail_singly(connection, delimiters).await;
        }
        let mail = mail_request(&fields, message.queue_id.as_str());
        let chosen = message.at_hand(&self.open);
        let recipients = mail_recipients(&chosen, &self.open);
        let reused = connection.session.mails_begun() > 0;
        let queue_id = message.queue_id.as_str();
        let end = connection.mail(self.shard, queue_id, &mail, &recipients, &message.content).await;
        self.report(connection);
        match &end {
            MailEnd::Broken if reused && connection.session.is_unanswered() => return Err(Unanswered),
            MailEnd::Broken => {}
            MailEnd::Finished => self.transaction_completed = true,
            MailEnd::NotSent(failure) => {
                self.fail_all(failure, None);
                return Ok(false);
            }
        }
        self.put_off.clear();
        let server = ServerLine::of(connection);
        for (recipient, result) in
            std::mem::take(&mut self.open).into_iter().zip(connection.session.results())
        {
            self.take_result(recipient, &result, Some(server));
        }
        Ok(matches!(end, MailEnd::Finished))
    }

    /// VERP mail: a transaction for each open recipient, from a return path of its own. True when the connection can
    /// carry another mail.
    async fn mail_singly(
        &mut self,
        connection: &mut Connection,
        delimiters: VerpDelimiters,
    ) -> Result<bool, Unanswered> {
        let message = self.message.clone();
        let fields = message.envelope.fields();
        let chosen = message.at_hand(&self.open);
        let recipients = mail_recipients(&chosen, &self.open);
        let kept = connection.session.mails_begun() > 0;
        let queue_id = message.queue_id.as_str();
        let open = std::mem::take(&mut self.open);
        self.put_off.clear();
        for (place, &index) in open.iter().enumerate() {
            let recipient = &recipients[place];
            let sender = verp_sender(fields.sender, recipient.address, delimiters);
            let mail = MailRequest { sender: &sender, ..mail_request(&fields, message.queue_id.as_str()) };
            let one = std::slice::from_ref(recipient);
            let end = connection.mail(self.shard, queue_id, &mail, one, &message.content).await;
            self.report(connection);
            let failure = match end {
                MailEnd::Broken if kept && connection.session.is_unanswered() => {
                    // Those that were put off before have a place in the next connection, too.
                    self.put_off.clear();
                    self.open.extend_from_slice(&open[place..]);
                    return Err(Unanswered);
                }
                MailEnd::Finished => {
                    self.transaction_completed = true;
                    None
                }
                MailEnd::Broken => connection.session.failure().cloned(),
                MailEnd::NotSent(failure) => Some(failure),
            };
            let server = ServerLine::of(connection);
            let Some(failure) = failure else {
                let result = connection.session.result(0).expect("a mail that is over has its results");
                self.take_result(index, &result, Some(server));
                continue;
            };
            for &index in &open[place..] {
                self.take_result(index, &failure.result(), Some(server));
            }
            return Ok(false);
        }
        Ok(true)
    }

    /// Tells the postmaster what went wrong on a connection, unless it carries a report or a notice itself.
    fn report(&self, connection: &mut Connection) {
        if let Some(warning) = connection.session.take_warning() {
            self.shard.log.warning("smtp", connection.number, format_args!("{warning}"));
        }
        let Some(excerpt) = connection.session.take_report() else { return };
        let sender = self.message.envelope.sender();
        if !sender.is_empty() && !transcript::is_ours(self.shard, sender) {
            let peer = connection.session.peer().with_port();
            transcript::report(self.shard, SessionKind::Client, connection.number, &peer, &excerpt);
        }
    }

    /// What this host lacks no other delivery has either: the transport as a whole has failed, and the destination has
    /// nothing to do with it.
    fn fail_for_want_of_sockets(&mut self, what: std::fmt::Arguments<'_>) {
        self.shard.log.warning("smtp", self.shard.index as u32, what);
        let failure = Failure {
            kind: ResultKind::Deferred,
            status: Status::persistent(3, 0),
            text: UNAVAILABLE.to_owned(),
            reply: None,
            trouble: false,
        };
        self.fail_all(&failure, None);
        self.end.transport_failure = Some(UNAVAILABLE);
    }

    /// All open recipients share one failure, which came before any mail.
    fn fail_all(&mut self, failure: &Failure, server: Option<ServerLine<'_>>) {
        self.put_off.clear();
        for recipient in std::mem::take(&mut self.open) {
            self.take_result(recipient, &failure.result(), server);
        }
    }

    /// Sent and bounced are final. Deferred is not while there may be another server.
    fn take_result(&mut self, recipient: u32, result: &RecipientResult<'_>, server: Option<ServerLine<'_>>) {
        let remote_mta = server.map_or("", |server| server.host);
        let status = match result.kind {
            ResultKind::Bounced if self.shard.settings.soft_bounce => logline::Status::SoftBounced,
            ResultKind::Bounced => logline::Status::Bounced,
            ResultKind::Sent => logline::Status::Sent,
            ResultKind::Deferred => logline::Status::Deferred,
        };
        let result = &softened(result, status);
        match result.kind {
            ResultKind::Sent => {
                self.log(recipient, status, result.status, result.text, server);
                let reports = server.is_some_and(|server| server.reports);
                if trace::is_wanted(self.shard, &self.message, recipient, reports) {
                    let mut reason = result.reason(remote_mta);
                    if let Some(line) = server {
                        let ServerLine { host, address, port, .. } = line;
                        reason.text = format!("delivery via {host}[{address}]:{port}: {}", reason.text);
                    }
                    self.end.reports.add(recipient, Action::Relayed, reason);
                } else {
                    self.end.sent.push(recipient);
                }
            }
            ResultKind::Bounced => {
                self.log(recipient, status, result.status, result.text, server);
                self.end.reports.add(recipient, Action::Failed, result.reason(remote_mta));
            }
            ResultKind::Deferred => {
                if result.trouble {
                    self.trouble = Some(result.text.to_owned());
                }
                let server = server.map(|line| {
                    let (host, address) = (line.host.to_owned(), line.address.to_owned());
                    (PeerName { host, address, port: line.port }, line.number, line.conn_use)
                });
                self.put_off.push(PutOff { recipient, reason: result.reason(remote_mta), status, server });
                self.open.push(recipient);
            }
        }
    }

    /// What no server took is deferred, for the last reason.
    fn give_up_open(&mut self) {
        for PutOff { recipient, reason, status, server } in std::mem::take(&mut self.put_off) {
            let line = server.as_ref().map(|(peer, number, conn_use)| ServerLine {
                host: &peer.host,
                address: &peer.address,
                port: peer.port,
                number: *number,
                conn_use: *conn_use,
                reports: false,
            });
            self.log(recipient, status, reason.status, &reason.text, line);
            self.end.deferred.push((recipient, reason));
        }
        assert_eq!(self.end.deferred.len(), self.open.len(), "every recipient ends with one result");
        if !self.transaction_completed && !self.open.is_empty() {
            self.end.trouble = self.trouble.take();
        }
    }

    fn log(
        &self,
        recipient: u32,
        status: logline::Status,
        dsn: Status,
        text: &str,
        server: Option<ServerLine<'_>>,
    ) {
        let chosen = self.message.at_hand(&[recipient]);
        let Some(address) = chosen.recipient(recipient) else { return };
        let status = verify::logged(self.shard, &self.message, status, text);
        let now_us = self.shard.handle.wall().as_micros();
        let dsn = dsn.to_string();
        let line = logline::Delivery {
            process: "smtp",
            number: u64::from(server.map_or(self.shard.index as u32, |server| server.number)),
            queue_id: self.message.queue_id.as_str(),
            to: address.address.as_bytes(),
            orig_to: (!address.original.is_empty()).then_some(address.original.as_bytes()),
            relay: server.map_or(Relay::None, |server| {
                Relay::Server(Peer {
                    name: server.host.as_bytes(),
                    address: server.address.as_bytes(),
                    port: Some(server.port),
                })
            }),
            conn_use: server.map_or(0, |server| server.conn_use),
            delays: Delays::between(
                self.message.envelope.arrival_us(),
                self.message.active_at_us.get(),
                self.handed_us,
                self.connected_us,
                now_us,
            ),
            dsn: &dsn,
            status,
            text: text.as_bytes(),
        };
        self.shard.log.write(|lines, out, now_s| lines.delivery(out, now_s, &line));
    }
}

/// With `soft_bounce` nothing fails for good: what would is tried again.
fn softened<'r>(result: &RecipientResult<'r>, status: logline::Status) -> RecipientResult<'r> {
    match status {
        logline::Status::SoftBounced => RecipientResult {
            kind: ResultKind::Deferred,
            status: result.status.with_class(Class::Persistent),
            ..*result
        },
        _ => *result,
    }
}

/// One transaction for all recipients of a message.
fn mail_request<'a>(fields: &EnvelopeFields<'a>, queue_id: &'a str) -> MailRequest<'a> {
    MailRequest {
        sender: fields.sender,
        size: fields.content_bytes,
        body: fields.body,
        smtputf8: fields.smtputf8,
        ret: fields.ret,
        envid: fields.envid,
        origin: fields.origin(),
        ident: if fields.ident.is_empty() || fields.is_probe { queue_id } else { fields.ident },
        is_local: fields.is_local,
        is_probe: fields.is_probe,
    }
}
