//! XCLIENT and XFORWARD: a trusted client says whom it speaks for.
//!
//! XCLIENT makes the session another client's, from its beginning on: tests and proxies use it. XFORWARD only tells what
//! is to be logged and kept with the next message. Values are xtext (RFC 3461 §4); `[UNAVAILABLE]` says that there is
//! none, `[TEMPUNAVAIL]` that it could not be found out.

use std::net::{IpAddr, SocketAddr};

use super::client::{Client, NameStatus};
use super::command::Verb;
use super::session::{Phase, Request, Session};
use super::transaction::is_xtext;
use crate::access::is_hostname;
use crate::dsn::decode_xtext;
use crate::limits::DOMAIN_BYTES_MAX;

/// Bytes of one attribute's value.
const VALUE_BYTES_MAX: usize = 255;
/// Bytes of the name of a protocol.
const PROTOCOL_BYTES_MAX: usize = 64;

const UNAVAILABLE: &str = "[UNAVAILABLE]";
const UNAVAILABLE_NOW: &str = "[TEMPUNAVAIL]";

/// The session as XCLIENT wants it.
#[derive(Debug, Clone)]
pub(super) struct NewIdentity {
    client: Client,
    helo: Option<Box<str>>,
    esmtp: bool,
}

/// What XFORWARD told of the client that the message comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forwarded {
    /// The client's name.
    pub name: Option<Box<str>>,
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// The protocol by which the message came.
    pub protocol: Option<Box<str>>,
    /// What it said in HELO or EHLO.
    pub helo: Option<Box<str>>,
    /// The message's queue id there.
    pub ident: Option<Box<str>>,
    /// Whether mail of that client counts as local (SOURCE), if that was told.
    pub is_local: Option<bool>,
    /// Something about the client was told, not only the queue id.
    pub tells_client: bool,
}

impl Forwarded {
    /// The name and address as the log prints them: `name[address]`.
    pub fn client_text(&self) -> String {
        let name = self.name.as_deref().unwrap_or("unknown");
        match self.address {
            Some(address) => format!("{name}[{address}]"),
            None => format!("{name}[unknown]"),
        }
    }
}

impl Session {
    pub(super) fn xclient_command(&mut self, arguments: &str, replies: &mut Vec<u8>) -> Option<Request> {
        let allowed = self.client().may_xclient;
        let wrong = match self.attributes(Verb::Xclient, arguments, allowed) {
            Err(line) => line,
            Ok(attributes) => match self.new_identity(&attributes) {
                Err(line) => line,
                Ok(identity) => {
                    self.phase = Phase::AwaitXclient(Box::new(identity));
                    return Some(Request::Xclient);
                }
            },
        };
        self.say(replies, &wrong);
        self.done(Verb::Xclient, false);
        None
    }

    pub(super) fn xforward_command(&mut self, arguments: &str, replies: &mut Vec<u8>) {
        let allowed = self.client().may_xforward;
        let result = self.attributes(Verb::Xforward, arguments, allowed).and_then(|attributes| {
            let mut forwarded = self.forwarded.as_deref().cloned().unwrap_or_default();
            for (name, value) in &attributes {
                forward(&mut forwarded, name, value)?;
            }
            Ok(forwarded)
        });
        match result {
            Ok(forwarded) => {
                self.forwarded = Some(Box::new(forwarded));
                self.say(replies, "250 2.0.0 Ok");
                self.done(Verb::Xforward, true);
            }
            Err(line) => {
                self.say(replies, &line);
                self.done(Verb::Xforward, false);
            }
        }
    }

    /// The attributes with their values decoded, or the reply that refuses them.
    fn attributes(
        &self,
        verb: Verb,
        arguments: &str,
        allowed: bool,
    ) -> Result<Vec<(String, String)>, String> {
        if self.mail.is_some() {
            return Err("503 5.5.1 Error: MAIL transaction in progress".into());
        }
        let mut words = super::arguments::words(arguments).peekable();
        if words.peek().is_none() {
            return Err(format!("501 5.5.4 Syntax: {} attribute=value...", verb.word()));
        }
        if !allowed {
            return Err("550 5.7.0 Error: insufficient authorization".into());
        }
        words.map(attribute).collect()
    }

    fn new_identity(&self, attributes: &[(String, String)]) -> Result<NewIdentity, String> {
        let mut identity = NewIdentity { client: self.client().clone(), helo: None, esmtp: false };
        for (name, value) in attributes {
            identity.set(name, value)?;
            if identity.client.address.is_ipv6() && !self.settings.knows_ipv6 {
                return Err(bad_syntax(name, value));
            }
        }
        Ok(identity)
    }

    /// The client that XCLIENT makes of this one. What it may do is still the old one's.
    ///
    /// # Panics
    /// When [`Request::Xclient`] does not wait.
    pub fn proposed_client(&self) -> &Client {
        match &self.phase {
            Phase::AwaitXclient(identity) => &identity.client,
            phase => panic!("no XCLIENT waits: {phase:?}"),
        }
    }

    /// XCLIENT is granted: the session begins again, as this client's. What follows is a greeting or a refusal.
    ///
    /// # Panics
    /// When [`Request::Xclient`] does not wait.
    pub fn become_client(&mut self, client: Client) {
        let Phase::AwaitXclient(identity) = std::mem::replace(&mut self.phase, Phase::Command) else {
            panic!("no XCLIENT waits");
        };
        self.transcript.checkpoint(self.settings.history_flush_threshold);
        self.reset();
        self.access.forget();
        self.denied = false;
        self.helo = identity.helo;
        self.esmtp = identity.esmtp;
        self.set_client(client);
        // Like Postfix, no success is counted: the session that gave the command is over.
    }

    /// What XFORWARD told of the message's client; forgotten with the transaction.
    pub fn forwarded(&self) -> Option<&Forwarded> {
        self.forwarded.as_deref()
    }
}

impl NewIdentity {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let bad = || bad_syntax(name, value);
        let client = &mut self.client;
        match name {
            "NAME" => (client.name, client.name_status) = host_name(value).ok_or_else(bad)?,
            "REVERSE_NAME" => {
                (client.reverse_name, client.reverse_status) = host_name(value).ok_or_else(bad)?;
            }
            "ADDR" => {
                let none = IpAddr::from([0, 0, 0, 0]);
                client.address = if is_unavailable(value) { none } else { address(value).ok_or_else(bad)? };
            }
            "PORT" => client.port = if is_unavailable(value) { 0 } else { port(value).ok_or_else(bad)? },
            "HELO" => {
                self.helo = match value {
                    _ if is_unavailable(value) => Some("unknown".into()),
                    _ if value.len() > DOMAIN_BYTES_MAX => return Err(bad()),
                    _ => Some(blotted(value)),
                }
            }
            "PROTO" => {
                self.esmtp = match value.to_ascii_uppercase().as_str() {
                    "ESMTP" => true,
                    "SMTP" | UNAVAILABLE => false,
                    _ => return Err(bad()),
                }
            }
            // Nobody can be logged in.
            "LOGIN" => {}
            "DESTADDR" | "DESTPORT" if is_unavailable(value) => {}
            "DESTADDR" => {
                let address = address(value).ok_or_else(bad)?;
                client.server =
                    Some(SocketAddr::new(address, client.server.map_or(0, |server| server.port())));
            }
            "DESTPORT" => {
                let unspecified = SocketAddr::from(([0, 0, 0, 0], 0));
                client.server.get_or_insert(unspecified).set_port(port(value).ok_or_else(bad)?);
            }
            _ => return Err(format!("501 5.5.4 Bad XCLIENT attribute name: {name}")),
        }
        Ok(())
    }
}

fn forward(forwarded: &mut Forwarded, name: &str, value: &str) -> Result<(), String> {
    let bad = || bad_syntax(name, value);
    let unavailable = is_unavailable(value);
    match name {
        "NAME" => {
            forwarded.name = match unavailable {
                true => None,
                false => {
                    Some(value).filter(|value| is_hostname(value)).map(Some).ok_or_else(bad)?.map(Into::into)
                }
            }
        }
        "ADDR" => {
            forwarded.address = match unavailable {
                true => None,
                false => Some(address(value).ok_or_else(bad)?),
            }
        }
        "PORT" => {
            forwarded.port = match unavailable {
                true => None,
                false => Some(port(value).ok_or_else(bad)?),
            }
        }
        "PROTO" if value.len() > PROTOCOL_BYTES_MAX => return Err(bad()),
        "PROTO" => forwarded.protocol = (!unavailable).then(|| blotted(value)),
        "HELO" if value.len() > DOMAIN_BYTES_MAX => return Err(bad()),
        "HELO" => forwarded.helo = (!unavailable).then(|| blotted(value)),
        "IDENT" => forwarded.ident = (!unavailable).then(|| blotted(value)),
        "SOURCE" => {
            forwarded.is_local = match value.to_ascii_uppercase().as_str() {
                "LOCAL" => Some(true),
                "REMOTE" => Some(false),
                UNAVAILABLE => None,
                _ => return Err(bad()),
            };
        }
        _ => return Err(format!("501 5.5.4 Bad XFORWARD attribute name: {name}")),
    }
    forwarded.tells_client |= !matches!(name, "IDENT" | "SOURCE");
    Ok(())
}

/// `NAME=value`, decoded.
fn attribute(word: &str) -> Result<(String, String), String> {
    let Some((name, value)) = word.split_once('=') else {
        return Err("501 5.5.4 Error: attribute=value expected".into());
    };
    if value.len() > VALUE_BYTES_MAX {
        return Err("501 5.5.4 Error: attribute value too long".into());
    }
    if !is_xtext(value) {
        return Err(format!("501 5.5.4 Bad attribute value syntax: {value}"));
    }
    Ok((name.to_ascii_uppercase(), decode_xtext(value).to_string()))
}

fn bad_syntax(name: &str, value: &str) -> String {
    format!("501 5.5.4 Bad {name} syntax: {value}")
}

fn is_unavailable(value: &str) -> bool {
    value.eq_ignore_ascii_case(UNAVAILABLE)
}

fn host_name(value: &str) -> Option<(Option<String>, NameStatus)> {
    if is_unavailable(value) {
        return Some((None, NameStatus::Unknown));
    }
    if value.eq_ignore_ascii_case(UNAVAILABLE_NOW) {
        return Some((None, NameStatus::Unavailable));
    }
    is_hostname(value).then(|| (Some(value.to_owned()), NameStatus::Known))
}

/// An address as mail writes it: IPv6 addresses say so.
fn address(value: &str) -> Option<IpAddr> {
    match value.get(..5) {
        Some(tag) if tag.eq_ignore_ascii_case("IPv6:") => {
            value[5..].parse::<std::net::Ipv6Addr>().ok().map(Into::into)
        }
        _ => value.parse::<std::net::Ipv4Addr>().ok().map(Into::into),
    }
}

fn port(value: &str) -> Option<u16> {
    value.parse().ok().filter(|_| value.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What has a meaning in headers and log lines is blotted out.
pub(super) fn blotted(text: &str) -> Box<str> {
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'[' | b']' | b':');
    if text.bytes().all(is_plain) {
        return text.into();
    }
    let blot = |c: char| if " <>()\\\";@\t".contains(c) || c.is_control() { '?' } else { c };
    text.chars().map(blot).collect()
}
