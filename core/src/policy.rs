//! policy: what smtpd and a policy server say to each other (`check_policy_service`).
//!
//! - What it is: the service as a restriction names it ([`PolicyService`]), the request ([`request`]), the reader of the
//!   answer ([`AnswerReader`]).
//! - Receives: the facts of a session ([`AccessFacts`]), the bytes of an answer.
//! - Sends: the bytes of a request; an action, as an access table would have given it.
//! - Owns: the wire format.
//! - Limits: [`ANSWER_BYTES_MAX`].
//! - On failure: an answer that is none, or has no end, is told as [`Wrong`]; who asked then does what
//!   `smtpd_policy_service_default_action` says.
//! - Standards: Postfix's SMTPD_POLICY_README, the attributes of 3.7 in its order.

mod answer;
mod service;

use std::fmt::Write as _;
use std::net::SocketAddr;

pub use answer::{ANSWER_BYTES_MAX, AnswerReader, Reading, Wrong};
pub use service::{PolicyDefaults, PolicyEndpoint, PolicyService, PolicySettings};

use crate::access::{AccessFacts, Stage};

/// What only policy servers want to know of a session.
#[derive(Debug, Clone, Copy, Default)]
pub struct PolicyFacts<'a> {
    /// The command, `CONNECT` or `END-OF-MESSAGE`.
    pub protocol_state: &'a str,
    /// `SMTP` or `ESMTP`.
    pub protocol_name: &'a str,
    /// The queue id, once the message has one.
    pub queue_id: &'a str,
    /// Bytes of the message: as MAIL declared them, or, once it is whole, as they are. 0 if nobody knows.
    pub size_bytes: u64,
    /// Transactions that the session has had before: with what names the session it names the message.
    pub transaction: u32,
}

/// What a shard adds to what the session knows.
#[derive(Debug, Clone, Copy)]
pub struct PolicyContext<'a> {
    /// The same in all requests about one message, and in no others.
    pub instance: &'a str,
    /// Where the client is connected to.
    pub server: Option<SocketAddr>,
    /// `smtpd_policy_service_policy_context`.
    pub policy_context: &'a str,
}

/// What came of asking a policy server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyAnswer {
    /// The action; none if the server could not be asked.
    pub action: Option<String>,
    /// What the log is to know.
    pub warnings: Vec<String>,
}

/// The request: attributes, a line each, and an empty line.
pub fn request(facts: &AccessFacts<'_>, context: &PolicyContext<'_>) -> Vec<u8> {
    let (client, details) = (facts.client, &facts.details);
    let unknown = || "unknown".to_owned();
    // XCLIENT may take address and port away.
    let client_address = if client.address.is_unspecified() { unknown() } else { client.address.to_string() };
    let port = |port: u16| if port == 0 { unknown() } else { port.to_string() };
    let counted = matches!(facts.stage, Stage::Data | Stage::EndOfData);
    let text = |address: Option<&'_ crate::address::Address>| {
        address.map(|address| address.as_str().to_owned()).unwrap_or_default()
    };
    let server = context.server.filter(|server| !server.ip().is_unspecified());
    let server_address = server.map_or_else(unknown, |server| server.ip().to_canonical().to_string());
    let mut out = String::with_capacity(1024);
    let mut put = |name: &str, value: &str| {
        // No attribute can end its line or the request early.
        let clean = |c: char| if c.is_control() { '?' } else { c };
        out.push_str(name);
        out.push('=');
        out.extend(value.chars().map(clean));
        out.push('\n');
    };
    put("request", "smtpd_access_policy");
    put("protocol_state", details.protocol_state);
    put("protocol_name", details.protocol_name);
    put("client_address", &client_address);
    put("client_name", client.name_or_unknown());
    put("client_port", &port(client.port));
    put("reverse_client_name", client.reverse_name_or_unknown());
    put("server_address", &server_address);
    put("server_port", &port(context.server.map_or(0, |server| server.port())));
    put("helo_name", facts.helo.unwrap_or_default());
    put("sender", &text(facts.sender));
    put("recipient", &text(facts.recipient));
    let mut number = String::new();
    let count = if counted { facts.recipient_count } else { 0 };
    let _ = write!(number, "{count}");
    put("recipient_count", &number);
    put("queue_id", details.queue_id);
    put("instance", context.instance);
    number.clear();
    let _ = write!(number, "{}", details.size_bytes);
    put("size", &number);
    put("etrn_domain", facts.etrn_domain.unwrap_or_default());
    // Nobody can log in or has a certificate, and no session is encrypted yet.
    for name in ["stress", "sasl_method", "sasl_username", "sasl_sender"] {
        put(name, "");
    }
    for name in ["ccert_subject", "ccert_issuer", "ccert_fingerprint", "ccert_pubkey_fingerprint"] {
        put(name, "");
    }
    put("encryption_protocol", "");
    put("encryption_cipher", "");
    put("encryption_keysize", "0");
    put("policy_context", context.policy_context);
    out.push('\n');
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::smtpd::Client;

    fn facts<'a>(client: &'a Client, sender: &'a Address, recipient: &'a Address) -> AccessFacts<'a> {
        AccessFacts {
            stage: Stage::Recipient,
            client,
            client_text: "x",
            helo: Some("mail.client.example"),
            sender: Some(sender),
            recipient: Some(recipient),
            recipient_count: 2,
            etrn_domain: None,
            pipelined_ahead: false,
            details: PolicyFacts {
                protocol_state: "RCPT",
                protocol_name: "ESMTP",
                queue_id: "4abc",
                size_bytes: 12345,
                transaction: 0,
            },
        }
    }

    #[test]
    fn a_request_has_all_attributes_in_postfix_order() {
        let client = Client::stranger("192.0.2.9".parse().unwrap(), 4711).named("client.example");
        let sender = Address::parse("from@sender.example").unwrap();
        let recipient = Address::parse("to@there.example").unwrap();
        let facts = facts(&client, &sender, &recipient);
        let context = PolicyContext {
            instance: "1.2.3",
            server: Some("192.0.2.1:25".parse().unwrap()),
            policy_context: "submission",
        };
        let expected = "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n\
            client_address=192.0.2.9\nclient_name=client.example\nclient_port=4711\n\
            reverse_client_name=client.example\nserver_address=192.0.2.1\nserver_port=25\n\
            helo_name=mail.client.example\nsender=from@sender.example\nrecipient=to@there.example\n\
            recipient_count=0\nqueue_id=4abc\ninstance=1.2.3\nsize=12345\netrn_domain=\nstress=\nsasl_method=\n\
            sasl_username=\nsasl_sender=\nccert_subject=\nccert_issuer=\nccert_fingerprint=\n\
            ccert_pubkey_fingerprint=\nencryption_protocol=\nencryption_cipher=\nencryption_keysize=0\n\
            policy_context=submission\n\n";
        assert_eq!(String::from_utf8(request(&facts, &context)).unwrap(), expected);
        let later = AccessFacts { stage: Stage::EndOfData, ..facts };
        let later = String::from_utf8(request(&later, &context)).unwrap();
        assert!(later.contains("\nrecipient_count=2\n"), "{later}");
    }

    #[test]
    fn no_value_ends_its_line() {
        let client = Client::stranger("0.0.0.0".parse().unwrap(), 0);
        let (sender, recipient) = (Address::null(), Address::parse("to@there.example").unwrap());
        let facts = AccessFacts { helo: Some("a\nrequest=other\0"), ..facts(&client, &sender, &recipient) };
        let context = PolicyContext { instance: "1", server: None, policy_context: "" };
        let text = String::from_utf8(request(&facts, &context)).unwrap();
        assert!(text.contains("\nhelo_name=a?request=other?\nsender=\n"), "{text}");
        assert!(
            text.contains("\nclient_address=unknown\nclient_name=unknown\nclient_port=unknown\n"),
            "{text}"
        );
        assert!(text.ends_with("\n\n") && text.matches("\n\n").count() == 1);
    }
}
