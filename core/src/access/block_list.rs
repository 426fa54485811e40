//! Lists in the DNS: `reject_rbl_client`, `reject_rhsbl_…`, `permit_dnswl_client`, `permit_rhswl_client`.

use std::net::IpAddr;

use super::Stage;
use super::evaluation::{Evaluation, Topic, rejected};
use super::names;
use super::octets::OctetFilter;
use super::outcome::{Fault, Said};
use super::template::expand;
use super::world::AccessWorld;
use crate::config::Subject;
use crate::dns::{Answer, RecordType};
use crate::maps::Key;
use crate::reply::Reply;

/// Bytes of reasons (TXT records) that are put into a reply.
pub const TEXT_BYTES_MAX: usize = 500;

/// One list, as a restriction names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockList {
    /// Who is listed is permitted, not refused.
    pub permits: bool,
    /// The client's address is looked up, not a name.
    pub by_address: bool,
    /// Whose name, if a name is.
    pub subject: Subject,
    /// The list's domain.
    pub domain: Box<str>,
    /// Which answers count; None for all.
    pub filter: Option<OctetFilter>,
    /// As written: the key of `rbl_reply_maps`.
    pub written: Box<str>,
}

/// What a list says.
enum Listed {
    Yes {
        reason: String,
    },
    No,
    /// It cannot be asked now.
    Unavailable,
}

impl<'a, W: AccessWorld> Evaluation<'a, W> {
    /// The name to ask for, and what a refusal names.
    fn question(&self, list: &BlockList) -> Option<(String, Topic<'a>)> {
        let (client, facts) = (self.facts.client, self.facts);
        if list.by_address {
            let query = format!("{}{}", reversed(client.address), list.domain);
            return Some((query, Topic { name: facts.client_text, class: names::CLIENT_HOST }));
        }
        let (name, class) = match list.subject {
            Subject::Client => (client.name.as_deref()?, names::CLIENT_HOST),
            Subject::ReverseClient => (client.reverse_name.as_deref()?, names::UNVERIFIED_CLIENT_HOST),
            Subject::Helo => (facts.helo?, names::HELO_COMMAND),
            Subject::Sender => {
                (facts.sender.filter(|sender| !sender.is_null())?.unquoted(), names::SENDER_ADDRESS)
            }
            Subject::Recipient => (facts.recipient?.unquoted(), names::RECIPIENT_ADDRESS),
        };
        let domain = name.rsplit_once('@').map_or(name, |(_, domain)| domain).trim_end_matches('.');
        let asks = names::is_hostname_utf8(domain);
        asks.then(|| (format!("{domain}.{}", list.domain), Topic { name, class }))
    }

    /// `reject_maps_rbl`.
    pub(super) async fn maps_rbl(&mut self) -> Said {
        let rules = self.rules;
        for list in &rules.maps_rbl {
            let said = self.block_list(list).await;
            if said != Said::Dunno {
                return said;
            }
        }
        Said::Dunno
    }

    pub(super) async fn block_list(&mut self, list: &BlockList) -> Said {
        let Some((query, topic)) = self.question(list) else { return Said::Dunno };
        // Whoever runs a list of the good must not make us a relay.
        if list.permits && self.facts.stage == Stage::Recipient && self.facts.recipient.is_some() {
            match self.is_auth_destination().await {
                Ok(true) => {}
                Ok(false) => return Said::Dunno,
                Err(said) => return said,
            }
        }
        match (self.listed(&query, list).await, list.permits) {
            (Listed::Yes { reason }, false) => self.block_list_refusal(list, topic, &reason).await,
            (Listed::Yes { .. }, true) => {
                let item = if list.by_address { "permit_dnswl_client" } else { "permit_rhswl_client" };
                self.permit(item, topic)
            }
            (Listed::Unavailable, true) => {
                self.defer_if_reject(450, "4.7.1", &rejected(topic, "Service unavailable"))
            }
            (Listed::No, _) | (Listed::Unavailable, false) => Said::Dunno,
        }
    }

    async fn listed(&mut self, query: &str, list: &BlockList) -> Listed {
        let world = self.world;
        let counts = |address: &IpAddr| match (address, &list.filter) {
            (IpAddr::V4(address), Some(filter)) => filter.passes(*address),
            (IpAddr::V4(_), None) => true,
            (IpAddr::V6(_), _) => false,
        };
        match &*world.records(query, RecordType::A).await {
            Answer::Addresses { addresses, .. } if addresses.iter().any(counts) => {}
            Answer::Unavailable => {
                self.warn(format!("{query}: RBL lookup error: Host or domain name not found. Name service error for name={query} type=A: Host not found, try again"));
                return Listed::Unavailable;
            }
            _ => return Listed::No,
        }
        if list.permits {
            return Listed::Yes { reason: String::new() };
        }
        let reason = match &*world.records(query, RecordType::Txt).await {
            Answer::Texts { texts, .. } => {
                let mut reason = texts.join(" / ");
                reason.truncate(crate::envelope::floor_char_boundary(&reason, TEXT_BYTES_MAX));
                reason
            }
            Answer::Unavailable => {
                self.warn(format!("{query}: TXT lookup error: the name service cannot say now"));
                String::new()
            }
            _ => String::new(),
        };
        Listed::Yes { reason }
    }

    async fn block_list_refusal(&mut self, list: &BlockList, topic: Topic<'_>, reason: &str) -> Said {
        let (rules, world) = (self.rules, self.world);
        let template = match rules.rbl_replies.is_empty() {
            true => None,
            false => match rules.rbl_replies.find(world, &list.written, Key::Whole).await {
                Ok(found) => found,
                Err(trouble) => return self.lookup_failed(&trouble, &list.written),
            },
        };
        let what =
            if list.by_address { self.facts.client.address.to_string() } else { topic.name.to_owned() };
        let code = rules.codes.maps_rbl.to_string();
        let own = |name: &str| {
            Some(match name {
                "rbl_code" => code.clone(),
                "rbl_domain" => list.domain.to_string(),
                "rbl_reason" | "rbl_txt" => reason.to_owned(),
                "rbl_what" => what.clone(),
                "rbl_class" => topic.class.to_owned(),
                _ => return None,
            })
        };
        let text = template
            .as_deref()
            .and_then(|template| match expand(template, rules, &self.facts, own) {
                Ok(text) => Some(text),
                Err(reason) => {
                    self.warn(format!("bad rbl reply template for domain {}: {reason}", list.domain));
                    None
                }
            })
            .or_else(|| expand(&rules.default_rbl_reply, rules, &self.facts, own).ok());
        let reply = text.as_deref().and_then(Reply::parse).filter(|reply| reply.code() >= 400);
        let Some(reply) = reply else {
            self.warn(format!("RBL reply error: {}", text.unwrap_or_default()));
            return self.refuse(Fault::Policy, 450, "4.7.1", "Service unavailable");
        };
        let (status, text) = (reply.enhanced().unwrap_or("4.7.1"), reply.text());
        self.refuse(Fault::Policy, reply.code(), status, text)
    }
}

/// RFC 5782 §2.1 and §2.4: the octets, or the nibbles, from the last to the first.
fn reversed(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.")
        }
        IpAddr::V6(address) => {
            let octets = address.octets();
            let nibbles = octets.iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_asked_for_from_their_end() {
        assert_eq!(reversed("192.0.2.1".parse().unwrap()), "1.2.0.192.");
        let v6 = reversed("2001:db8::1".parse().unwrap());
        assert!(v6.starts_with("1.0.0.0.") && v6.ends_with("8.b.d.0.1.0.0.2."), "{v6}");
    }
}
