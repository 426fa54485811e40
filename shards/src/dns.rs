//! dns: the stub resolver of one shard, with its cache.
//!
//! Receives: a name and a record type.
//! Sends:    UDP queries to the configured servers in turn, TCP when an answer was truncated.
//! Owns:     the shard's cache of answers, positive and negative; one query at a time per question, however many ask.
//! Limits:   [`CACHE_ANSWERS_MAX`] answers, [`TTL_SECONDS_MAX`]; [`QUERY_SECONDS`] a try, [`QUERY_ROUNDS`] rounds over
//!           the servers; [`ANSWER_RECORDS_MAX`] records of an answer are kept.
//! On failure: [`Answer::Unavailable`]; believed for [`FAILURE_SECONDS`] only, and for a second if this host had no
//!           descriptor to ask with, which those who ask can find out.
//! Standards: RFC 1034, RFC 1035, RFC 2308 (negative caching), RFC 6891 (EDNS payload size), RFC 5452 (port and id
//!           unpredictable, question echoed).

mod packet;

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;
use ringpost_core::dns::{Answer, RecordType};
use ringpost_reactor::local::Notify;
use ringpost_reactor::{ConnectOptions, Endpoint, Handle, Moment, is_shortage};

pub use packet::{Decoded, QueryPacket};

/// Answers that a shard remembers; about 200 bytes each. When full, expired ones go first, then all.
pub const CACHE_ANSWERS_MAX: usize = 20_000;
/// The longest that an answer is believed, whatever its TTL says: a day.
pub const TTL_SECONDS_MAX: u32 = 86_400;
/// How long a failure is believed, so that a burst of mail asks a broken server once.
pub const FAILURE_SECONDS: u32 = 5;
/// How long a negative answer without a SOA record is believed.
pub const NEGATIVE_SECONDS: u32 = 60;
/// How long one try at one server may take (resolv.conf's usual `timeout`).
pub const QUERY_SECONDS: u64 = 5;
/// Rounds over all servers (resolv.conf's usual `attempts`).
pub const QUERY_ROUNDS: usize = 2;
/// Records of an answer that are kept, as Postfix does since 3.9.
pub const ANSWER_RECORDS_MAX: usize = 100;

type Question = (Box<str>, RecordType);

struct Cached {
    answer: Rc<Answer>,
    until: Moment,
}

/// The resolver of one shard. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Rc<Inner>);

struct Inner {
    handle: Handle,
    servers: Vec<SocketAddr>,
    cache: RefCell<HashMap<Question, Cached, foldhash::fast::RandomState>>,
    asking: RefCell<HashMap<Question, Rc<Notify>, foldhash::fast::RandomState>>,
    secret: RandomState,
    asked: std::cell::Cell<u64>,
    /// When a question could not be sent for want of descriptors or memory, and the kernel's words.
    shortage: RefCell<Option<(Moment, String)>>,
}

impl Resolver {
    /// A resolver that asks `servers` in turn; with none every question fails.
    pub fn new(handle: Handle, servers: Vec<SocketAddr>) -> Resolver {
        Resolver(Rc::new(Inner {
            handle,
            servers,
            cache: RefCell::default(),
            asking: RefCell::default(),
            secret: RandomState::new(),
            asked: std::cell::Cell::new(0),
            shortage: RefCell::default(),
        }))
    }

    /// A number that outsiders cannot predict: for query ids and for shuffling equal preferences.
    pub fn unpredictable(&self) -> u64 {
        let asked = self.0.asked.get() + 1;
        self.0.asked.set(asked);
        self.0.secret.hash_one(asked)
    }

    /// The answer from the cache, or from the servers. Callers with the same question wait for one query.
    pub async fn lookup(&self, name: &str, kind: RecordType) -> Rc<Answer> {
        let question: Question = (name.trim_end_matches('.').to_ascii_lowercase().into(), kind);
        loop {
            if let Some(answer) = self.cached(&question) {
                return answer;
            }
            let asking = self.0.asking.borrow().get(&question).cloned();
            match asking {
                Some(done) => done.notified().await,
                None => return self.ask_and_tell(question).await,
            }
        }
    }

    /// The kernel's words if since then a question could not be sent for want of descriptors or memory.
    pub fn shortage_since(&self, begun: Moment) -> Option<String> {
        let shortage = self.0.shortage.borrow();
        shortage.as_ref().filter(|(met, _)| *met >= begun).map(|(_, text)| text.clone())
    }

    fn cached(&self, question: &Question) -> Option<Rc<Answer>> {
        let now = self.0.handle.now();
        self.0
            .cache
            .borrow()
            .get(question)
            .filter(|cached| cached.until > now)
            .map(|cached| cached.answer.clone())
    }

    async fn ask_and_tell(&self, question: Question) -> Rc<Answer> {
        let asking = Asking::begin(self, &question);
        let begun = self.0.handle.now();
        let (answer, ttl_seconds) = match self.ask(&question).await {
            Some(decoded) => (decoded.answer, decoded.ttl_seconds.min(TTL_SECONDS_MAX)),
            // Nobody was asked: there is nothing to believe but for those who wait now.
            None if self.shortage_since(begun).is_some() => (Answer::Unavailable, 0),
            None => (Answer::Unavailable, FAILURE_SECONDS),
        };
        let answer = Rc::new(answer);
        self.remember(question, answer.clone(), ttl_seconds);
        drop(asking);
        answer
    }

    /// At least one second, so that those who waited for the query find its answer.
    fn remember(&self, question: Question, answer: Rc<Answer>, ttl_seconds: u32) {
        let now = self.0.handle.now();
        let mut cache = self.0.cache.borrow_mut();
        if cache.len() >= CACHE_ANSWERS_MAX {
            cache.retain(|_, cached| cached.until > now);
            if cache.len() >= CACHE_ANSWERS_MAX {
                cache.clear();
            }
        }
        let until = now.after(Duration::from_secs(u64::from(ttl_seconds.max(1))));
        cache.insert(question, Cached { answer, until });
    }

    /// None when no server gave a usable answer: each was asked [`QUERY_ROUNDS`] times.
    async fn ask(&self, question: &Question) -> Option<Decoded> {
        // A name that the DNS cannot carry does not exist there, however long one waits.
        if QueryPacket::new(0, &question.0, question.1).is_err() {
            return Some(Decoded { answer: Answer::NotFound, ttl_seconds: NEGATIVE_SECONDS });
        }
        for _ in 0..QUERY_ROUNDS {
            for &server in &self.0.servers {
                match self.ask_server(server, question).await {
                    Ok(decoded) => return Some(decoded),
                    Err(error) if is_shortage(&error) => {
                        let met = (self.0.handle.now(), error.to_string());
                        *self.0.shortage.borrow_mut() = Some(met);
                        return None;
                    }
                    Err(_) => {}
                }
            }
        }
        None
    }

    async fn ask_server(&self, server: SocketAddr, question: &Question) -> io::Result<Decoded> {
        let query = QueryPacket::new(self.unpredictable() as u16, &question.0, question.1)?;
        let wait = Duration::from_secs(QUERY_SECONDS);
        let decoded = self.0.handle.timeout(wait, self.ask_by_udp(server, &query)).await??;
        match decoded {
            Some(decoded) => Ok(decoded),
            None => self.0.handle.timeout(wait, self.ask_by_tcp(server, &query)).await?,
        }
    }

    /// None when the answer was truncated. A datagram that does not answer the question is passed over.
    async fn ask_by_udp(&self, server: SocketAddr, query: &QueryPacket) -> io::Result<Option<Decoded>> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = self.0.handle.udp(SocketAddr::new(any, 0))?;
        socket.send_to(query.bytes().to_vec(), server).await.0?;
        loop {
            let (bytes, from) = socket.recv_from().await?;
            if from != server {
                continue;
            }
            if let Some(response) = query.response(&bytes) {
                return if response.truncated() { Ok(None) } else { response.decode().map(Some) };
            }
        }
    }

    async fn ask_by_tcp(&self, server: SocketAddr, query: &QueryPacket) -> io::Result<Decoded> {
        let stream = self.0.handle.connect(&Endpoint::Inet(server), &ConnectOptions::default()).await?;
        let length = u16::try_from(query.bytes().len()).map_err(io::Error::other)?;
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend_from_slice(query.bytes());
        stream.send(framed).await.0?;
        let mut received = Vec::new();
        loop {
            let chunk = stream.recv().await?;
            if chunk.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            received.extend_from_slice(&chunk);
            if let Some((length, rest)) = received.split_first_chunk::<2>() {
                let wanted = usize::from(u16::from_be_bytes(*length));
                if rest.len() >= wanted {
                    let response = query.response(&rest[..wanted]);
                    return response.ok_or(io::ErrorKind::InvalidData)?.decode();
                }
            }
        }
    }
}

/// Marks a question as being asked; those who wait go on when it ends, also when the asker was cancelled.
struct Asking<'a> {
    resolver: &'a Resolver,
    question: Question,
    done: Rc<Notify>,
}

impl<'a> Asking<'a> {
    fn begin(resolver: &'a Resolver, question: &Question) -> Asking<'a> {
        let done = Rc::new(Notify::new());
        resolver.0.asking.borrow_mut().insert(question.clone(), done.clone());
        Asking { resolver, question: question.clone(), done }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.resolver.0.asking.borrow_mut().remove(&self.question);
        self.done.notify_all();
    }
}

/// The name servers that a resolv.conf text names, port 53.
pub fn servers_of_resolv_conf(text: &str) -> Vec<SocketAddr> {
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "nameserver").then(|| words.next())?
        })
        .filter_map(|address| address.parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, 53))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_names_its_servers_in_order() {
        let text =
            "# comment\nsearch example.com\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 \nnameserver x\n";
        let expected: Vec<SocketAddr> =
            vec!["192.0.2.1:53".parse().unwrap(), "[2001:db8::1]:53".parse().unwrap()];
        assert_eq!(servers_of_resolv_conf(text), expected);
    }
}
