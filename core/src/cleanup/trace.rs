//! The header lines that we write.

use std::net::IpAddr;

use super::{CleanupSettings, Facts, Seen};
use crate::logline::AddressText;

/// The trace header, in wire form (RFC 5321 §4.4). `for` stands only with a single recipient, so that no recipient
/// learns of another.
pub(super) fn received(settings: &CleanupSettings, facts: &Facts<'_>) -> Vec<u8> {
    let name = facts.client_name.unwrap_or("unknown");
    let helo = facts.helo.unwrap_or(name);
    let tag = if matches!(facts.client_address.to_canonical(), IpAddr::V6(_)) { "IPv6:" } else { "" };
    // RFC 6531 §4.3: the protocol names of RFC 3848 with UTF8 in place of E.
    let (utf8, protocol) = match facts.smtputf8 {
        true => ("UTF8", facts.protocol.trim_start_matches('E')),
        false => ("", facts.protocol),
    };
    let address = AddressText::new(facts.client_address);
    let (before, recipient, after) = match facts.recipient {
        Some(recipient) => ("\r\n\tfor <", recipient.as_str(), ">; "),
        None => ("", "", "; "),
    };
    let parts = [
        "Received: from ",
        helo,
        " (",
        name,
        " [",
        tag,
        address.as_str(),
        "])\r\n\tby ",
        &settings.myhostname,
        " (",
        &settings.mail_name,
        ") with ",
        utf8,
        protocol,
        " id ",
        facts.queue_id,
        before,
        recipient,
        after,
        facts.date,
        "\r\n",
    ];
    parts.concat().into_bytes()
}

/// The first headers of a message that the system itself writes: trace, date and message-id.
pub(super) fn local_headers(settings: &CleanupSettings, queue_id: &str, date: &str) -> Vec<u8> {
    let CleanupSettings { myhostname, mail_name, .. } = settings;
    format!(
        "Received: by {myhostname} ({mail_name})\r\n\tid {queue_id}; {date}\r\nDate: {date}\r\nMessage-Id: <{queue_id}@{myhostname}>\r\n"
    )
    .into_bytes()
}

/// What RFC 5322 §3.6 wants and the message lacks, and the new message-id as it is logged.
pub(super) fn missing_headers(seen: &Seen, facts: &Facts<'_>) -> (Vec<u8>, Option<String>) {
    let (prefix, from, date, message_id) = match seen.resent {
        true => ("Resent-", seen.resent_from, seen.resent_date, seen.resent_message_id),
        false => ("", seen.from, seen.date, seen.message_id),
    };
    let mut text = String::new();
    let mut new_id = None;
    if !message_id {
        let id = format!("<{}>", facts.message_id);
        text.push_str(&format!("{prefix}Message-Id: {id}\r\n"));
        new_id = Some(id);
    }
    if !date {
        text.push_str(&format!("{prefix}Date: {}\r\n", facts.date));
    }
    if !from {
        let sender = if facts.sender.is_empty() { "MAILER-DAEMON" } else { facts.sender };
        text.push_str(&format!("{prefix}From: {sender}\r\n"));
    }
    (text.into_bytes(), new_id)
}
