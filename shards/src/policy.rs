//! policy: asks policy servers for smtpd (`check_policy_service`), over kept connections.
//!
//! Receives: requests of sessions, as bytes; what servers answer.
//! Sends:    the request over a connection of this shard to that service; the action to the session.
//! Owns:     the idle connections of this shard, by service.
//! Limits:   `CONNECTIONS_MAX` connections to a service; who finds all of them busy waits for one as long as one try
//!           may take. Connections end when they are idle, old or used up as `smtpd_policy_service_*` say; an answer has
//!           at most `ringpost_core::policy::ANSWER_BYTES_MAX` bytes, and one try its time limit in all.
//! On failure: tried again as configured, then the session does what the default action says. Only that session waits.
//! Standards: Postfix's SMTPD_POLICY_README.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use ringpost_core::dns::{Answer, RecordType};
use ringpost_core::policy::{
    AnswerReader, PolicyAnswer, PolicyEndpoint, PolicyService, PolicySettings, Reading, Wrong,
};
use ringpost_reactor::local::Notify;
use ringpost_reactor::{ConnectOptions, Endpoint, Moment, Stream};

use crate::shard::Shard;

/// Connections of one shard to one service: as many as Postfix has processes by default, each of which asks for itself.
const CONNECTIONS_MAX: usize = 100;
/// Addresses of a server's name that are tried.
const ADDRESSES_MAX: usize = 4;

/// The connections of one shard to all services.
#[derive(Default)]
pub struct PolicyClients(RefCell<HashMap<Box<str>, Rc<Pool>>>);

/// The connections to one service.
#[derive(Default)]
struct Pool {
    idle: RefCell<Vec<Link>>,
    /// Sessions that ask now.
    asking: Cell<usize>,
    /// Told when one of them has done.
    done: Notify,
    /// A task watches over the idle connections.
    is_watched: Cell<bool>,
}

/// One connection between two requests.
struct Link {
    stream: Stream,
    opened_at: Moment,
    idle_since: Moment,
    requests: u64,
    /// Who asked last: requests about one message come over one connection where that is possible.
    asker: u32,
}

/// Why one try failed.
enum Trouble {
    /// There is no connection; why, as the system says.
    Connect(std::io::Error),
    /// A server's name leads nowhere.
    NoAddress(String),
    /// The server ended the connection; what had come of an answer.
    Lost { heard_any: bool },
    /// No answer in time.
    Timeout,
    /// What came is no answer.
    Wrong(Wrong),
}

impl PolicyClients {
    fn pool(&self, name: &str) -> Rc<Pool> {
        // Bounded by the services that the configuration names.
        self.0.borrow_mut().entry(name.into()).or_default().clone()
    }
}

/// Asks a service for `asker`, which is the session's number.
pub async fn ask(
    shard: &Rc<Shard>,
    asker: u32,
    service: &PolicyService,
    settings: &PolicySettings<'_>,
    request: &[u8],
) -> PolicyAnswer {
    let pool = shard.policy.pool(&service.name);
    let mut warnings = Vec::new();
    for tried in 1.. {
        let exchange = exchange(shard, &pool, asker, service, settings, request);
        let trouble = match shard.handle.timeout(settings.timeout, exchange).await {
            Ok(Ok(action)) => return PolicyAnswer { action: Some(action), warnings },
            Ok(Err(trouble)) => trouble,
            Err(_elapsed) => Trouble::Timeout,
        };
        let is_last = tried >= settings.try_limit;
        trouble.tell(&service.place, is_last, &mut warnings);
        if is_last {
            break;
        }
        shard.handle.sleep(settings.retry_delay).await;
    }
    PolicyAnswer { action: None, warnings }
}

/// One try.
async fn exchange(
    shard: &Rc<Shard>,
    pool: &Rc<Pool>,
    asker: u32,
    service: &PolicyService,
    settings: &PolicySettings<'_>,
    request: &[u8],
) -> Result<String, Trouble> {
    let _turn = Turn::wait(pool).await;
    if let Some(mut link) = pool.take(shard, asker, settings) {
        match talk(&link.stream, request).await {
            Ok((action, may_go_on)) => {
                link.requests += 1;
                pool.put(shard, link, asker, settings, may_go_on);
                return Ok(action);
            }
            // A server that ends connections does so between requests: this is no fault yet.
            Err(Trouble::Lost { heard_any: false }) => pool.idle.borrow_mut().clear(),
            Err(trouble) => return Err(trouble),
        }
    }
    let stream = connect(shard, &service.endpoint, settings.timeout).await?;
    let now = shard.handle.now();
    let (action, may_go_on) = talk(&stream, request).await?;
    let link = Link { stream, opened_at: now, idle_since: now, requests: 1, asker };
    pool.put(shard, link, asker, settings, may_go_on);
    Ok(action)
}

/// The action, and whether the connection may carry another request.
async fn talk(stream: &Stream, request: &[u8]) -> Result<(String, bool), Trouble> {
    if stream.send(request.to_vec()).await.0.is_err() {
        return Err(Trouble::Lost { heard_any: false });
    }
    let mut reader = AnswerReader::default();
    loop {
        let heard_any = !reader.is_empty();
        let chunk = stream.recv().await.map_err(|_| Trouble::Lost { heard_any })?;
        if chunk.is_empty() {
            return Err(Trouble::Lost { heard_any });
        }
        match reader.input(&chunk) {
            Reading::NeedMore => {}
            Reading::Whole { action, is_last } => return Ok((action, is_last)),
            Reading::Wrong(wrong) => return Err(Trouble::Wrong(wrong)),
        }
    }
}

async fn connect(shard: &Shard, endpoint: &PolicyEndpoint, timeout: Duration) -> Result<Stream, Trouble> {
    let options = ConnectOptions { timeout, ..ConnectOptions::default() };
    let places = match endpoint {
        PolicyEndpoint::Unix(path) => {
            vec![Endpoint::Unix(shard.settings.queue_directory.join(&**path))]
        }
        PolicyEndpoint::Inet { host, port } => {
            let addresses = addresses(shard, host).await.into_iter();
            addresses.map(|address| Endpoint::Inet(SocketAddr::new(address, *port))).collect()
        }
    };
    let mut trouble = Trouble::NoAddress("host or service not found".into());
    for place in places {
        match shard.handle.connect(&place, &options).await {
            Ok(stream) => return Ok(stream),
            Err(error) => trouble = Trouble::Connect(error),
        }
    }
    Err(trouble)
}

/// The addresses of a server's name: the host's own file, else the DNS.
async fn addresses(shard: &Shard, host: &str) -> Vec<IpAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    let known = shard.settings.hosts.iter().find(|(name, _)| name.eq_ignore_ascii_case(host));
    let mut found = known.map(|(_, addresses)| addresses.clone()).unwrap_or_default();
    if found.is_empty() {
        for kind in [RecordType::A, RecordType::Aaaa] {
            if let Answer::Addresses { addresses, .. } = &*shard.resolver.lookup(host, kind).await {
                found.extend(addresses);
            }
        }
    }
    found.truncate(ADDRESSES_MAX);
    found
}

/// One of the sessions that may ask at the same time.
struct Turn<'a>(&'a Pool);

impl<'a> Turn<'a> {
    async fn wait(pool: &'a Pool) -> Turn<'a> {
        while pool.asking.get() >= CONNECTIONS_MAX {
            pool.done.notified().await;
        }
        pool.asking.set(pool.asking.get() + 1);
        Turn(pool)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.asking.set(self.0.asking.get() - 1);
        self.0.done.notify();
    }
}

impl Pool {
    /// A connection that may carry a request: the one that `asker` used last, or the one that was used last at all.
    fn take(&self, shard: &Shard, asker: u32, settings: &PolicySettings<'_>) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        let now = shard.handle.now();
        loop {
            let own = idle.iter().rposition(|link| link.asker == asker);
            let last = idle.len().checked_sub(1)?;
            let link = idle.remove(own.unwrap_or(last));
            // What a server says unasked, its farewell included, spoils the connection.
            if !link.is_over(now, settings) && link.stream.try_recv().is_none() {
                return Some(link);
            }
        }
    }

    fn put(
        self: &Rc<Self>,
        shard: &Rc<Shard>,
        mut link: Link,
        asker: u32,
        settings: &PolicySettings<'_>,
        may_go_on: bool,
    ) {
        let used_up = settings.request_limit > 0 && link.requests >= settings.request_limit;
        (link.idle_since, link.asker) = (shard.handle.now(), asker);
        if !may_go_on || used_up || link.is_over(link.idle_since, settings) {
            return;
        }
        self.idle.borrow_mut().push(link);
        if !self.is_watched.replace(true) {
            let watch = watch(shard.clone(), self.clone(), settings.max_idle, settings.max_ttl);
            shard.handle.spawn(watch);
        }
    }
}

impl Link {
    fn ends_at(&self, max_idle: Duration, max_ttl: Duration) -> Moment {
        (self.idle_since + max_idle).min(self.opened_at + max_ttl)
    }

    fn is_over(&self, now: Moment, settings: &PolicySettings<'_>) -> bool {
        now >= self.ends_at(settings.max_idle, settings.max_ttl)
    }
}

/// Closes idle connections in their time; ends when there are none.
async fn watch(shard: Rc<Shard>, pool: Rc<Pool>, max_idle: Duration, max_ttl: Duration) {
    loop {
        let now = shard.handle.now();
        let next = {
            let mut idle = pool.idle.borrow_mut();
            idle.retain(|link| now < link.ends_at(max_idle, max_ttl));
            idle.iter().map(|link| link.ends_at(max_idle, max_ttl)).min()
        };
        let Some(next) = next else { break };
        shard.handle.sleep_until(next).await;
    }
    pool.is_watched.set(false);
}

impl Trouble {
    /// Postfix's words.
    fn tell(&self, place: &str, is_last: bool, warnings: &mut Vec<String>) {
        let reading = |what: &str| format!("{what} on {place} while reading input attribute name");
        let mut again = is_last;
        let reason = match self {
            Trouble::Connect(error) => {
                let text = error.to_string();
                let text = text.split(" (os error").next().unwrap_or_default().to_owned();
                warnings.push(format!("connect to {place}: {text}"));
                // A server that restarts is not there for a moment.
                again |= error.kind() != std::io::ErrorKind::NotFound;
                text
            }
            Trouble::NoAddress(text) => {
                warnings.push(format!("connect to {place}: {text}"));
                again = true;
                text.clone()
            }
            Trouble::Lost { .. } => {
                warnings.push(reading("premature end-of-input"));
                "Success".to_owned()
            }
            Trouble::Timeout => {
                warnings.push(reading("timeout"));
                again = true;
                "Connection timed out".to_owned()
            }
            Trouble::Wrong(wrong) => {
                warnings.push(match wrong {
                    Wrong::TooLong => format!("unreasonable length of input from {place}"),
                    Wrong::NoAttribute => format!("missing attribute value in input from {place}"),
                    Wrong::NoAction => format!("missing attribute action in input from {place}"),
                    Wrong::NoText => format!("malformed UTF-8 in policy server {place} response"),
                });
                "Success".to_owned()
            }
        };
        if again {
            warnings.push(format!("problem talking to server {place}: {reason}"));
        }
    }
}
