//! access: may this client send to this recipient? The restriction lists of smtpd, evaluated in Postfix's order.
//!
//! Receives: the lists of one service, and what is known of the client and the recipient.
//! Sends:    a verdict; a refusal carries its reply.
//! Owns:     the order of evaluation and the texts of refusals.
//! On failure: nothing fails; an item that is not known never comes here (the start stops, see `config`).
//! Standards: Postfix's access restrictions (SMTPD_ACCESS_README); RFC 5321 section 7.9 (relaying).

use crate::address::Address;
use crate::config::Restriction;
use crate::reply::Reply;

/// The lists of one service.
#[derive(Clone, Debug, Default)]
pub struct AccessLists {
    /// `smtpd_client_restrictions`, `smtpd_helo_restrictions`, `smtpd_sender_restrictions`: all wait for RCPT
    /// (`smtpd_delay_reject`).
    pub before_recipient: Vec<(&'static str, Vec<Restriction>)>,
    /// `smtpd_relay_restrictions`.
    pub relay: Vec<Restriction>,
    /// `smtpd_recipient_restrictions`.
    pub recipient: Vec<Restriction>,
    /// Which of the two comes first (`smtpd_relay_before_recipient_restrictions`).
    pub relay_first: bool,
    /// `smtpd_data_restrictions`.
    pub data: Vec<Restriction>,
    /// `smtpd_end_of_data_restrictions`.
    pub end_of_data: Vec<Restriction>,
    /// `smtpd_etrn_restrictions`.
    pub etrn: Vec<Restriction>,
    /// `relay_domains_reject_code`.
    pub relay_reject_code: u16,
    /// `reject_code`: of the item `reject`.
    pub reject_code: u16,
}

/// What `smtpd_sender_restrictions` are about, as refusals name it; ETRN has no sender.
pub const SENDER_ADDRESS: &str = "Sender address";
const ETRN_COMMAND: &str = "Etrn command";

/// What the items ask about.
#[derive(Clone, Copy, Debug)]
pub struct AccessFacts<'a> {
    /// The client matches `mynetworks`.
    pub client_in_mynetworks: bool,
    /// The client as replies name it.
    pub client: &'a str,
    /// The recipient in question; None at DATA and after.
    pub recipient: Option<&'a Address>,
    /// The recipient's domain is one of ours, or one that we relay for.
    pub destination_is_ours: bool,
    /// The domain of ETRN.
    pub etrn_domain: Option<&'a str>,
}

impl AccessLists {
    /// The verdict on one RCPT: every list must let it pass. None is permission.
    pub fn at_recipient(&self, facts: &AccessFacts<'_>) -> Option<Reply> {
        let early = self.before_recipient.iter().map(|(what, list)| (*what, list.as_slice()));
        let relay = ("Recipient address", self.relay.as_slice());
        let recipient = ("Recipient address", self.recipient.as_slice());
        let late = if self.relay_first { [relay, recipient] } else { [recipient, relay] };
        early.chain(late).find_map(|(what, list)| self.refusal(what, list, facts))
    }

    /// The verdict on DATA.
    pub fn at_data(&self, facts: &AccessFacts<'_>) -> Option<Reply> {
        self.refusal("Data command", &self.data, facts)
    }

    /// The verdict on the whole message.
    pub fn at_end_of_data(&self, facts: &AccessFacts<'_>) -> Option<Reply> {
        self.refusal("End-of-data", &self.end_of_data, facts)
    }

    /// The verdict on ETRN: the lists on the client and its greeting, then ETRN's own.
    pub fn at_etrn(&self, facts: &AccessFacts<'_>) -> Option<Reply> {
        let early = self.before_recipient.iter().filter(|(what, _)| *what != SENDER_ADDRESS);
        let early = early.map(|(what, list)| (*what, list.as_slice()));
        early
            .chain([(ETRN_COMMAND, self.etrn.as_slice())])
            .find_map(|(what, list)| self.refusal(what, list, facts))
    }

    /// The first item that decides wins; a list that runs out permits.
    fn refusal(&self, what: &str, list: &[Restriction], facts: &AccessFacts<'_>) -> Option<Reply> {
        for item in list {
            match item {
                Restriction::Permit => return None,
                Restriction::PermitMynetworks if facts.client_in_mynetworks => return None,
                // Without one recipient there is no destination to permit for.
                Restriction::PermitAuthDestination
                    if facts.destination_is_ours && facts.recipient.is_some() =>
                {
                    return None;
                }
                Restriction::RejectUnauthDestination if !facts.destination_is_ours => {
                    return Some(relay_denied(self.relay_reject_code, facts));
                }
                Restriction::DeferUnauthDestination if !facts.destination_is_ours => {
                    return Some(relay_denied(454, facts));
                }
                Restriction::Reject => return Some(access_denied(self.reject_code, what, facts)),
                _ => {}
            }
        }
        None
    }
}

fn relay_denied(code: u16, facts: &AccessFacts<'_>) -> Reply {
    let enhanced = if code < 500 { "4.7.1" } else { "5.7.1" };
    match facts.recipient {
        Some(recipient) => Reply::new(code, enhanced, format_args!("<{recipient}>: Relay access denied")),
        None => Reply::new(code, enhanced, "Relay access denied"),
    }
}

fn access_denied(code: u16, what: &str, facts: &AccessFacts<'_>) -> Reply {
    let subject = match (what, facts.recipient, facts.etrn_domain) {
        ("Recipient address", Some(recipient), _) => recipient.to_string(),
        (ETRN_COMMAND, _, Some(domain)) => domain.to_owned(),
        _ => facts.client.to_owned(),
    };
    let enhanced = if code < 500 { "4.7.1" } else { "5.7.1" };
    Reply::new(code, enhanced, format_args!("<{subject}>: {what} rejected: Access denied"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lists(relay: &[Restriction]) -> AccessLists {
        AccessLists {
            relay: relay.to_vec(),
            relay_first: true,
            relay_reject_code: 554,
            reject_code: 554,
            ..AccessLists::default()
        }
    }

    fn check(lists: &AccessLists, trusted: bool, ours: bool) -> String {
        let recipient = Address::parse("r@Elsewhere.example").unwrap();
        let facts = AccessFacts {
            client_in_mynetworks: trusted,
            client: "unknown[192.0.2.9]",
            recipient: Some(&recipient),
            destination_is_ours: ours,
            etrn_domain: None,
        };
        lists.at_recipient(&facts).map_or("OK".to_owned(), |reply| reply.line().to_owned())
    }

    #[test]
    fn strangers_reach_only_our_destinations() {
        let lists = lists(&[Restriction::PermitMynetworks, Restriction::RejectUnauthDestination]);
        assert_eq!(check(&lists, true, false), "OK");
        assert_eq!(check(&lists, false, true), "OK");
        assert_eq!(check(&lists, false, false), "554 5.7.1 <r@Elsewhere.example>: Relay access denied");
    }

    #[test]
    fn the_default_list_defers_strangers() {
        let lists = lists(&[Restriction::PermitMynetworks, Restriction::DeferUnauthDestination]);
        assert_eq!(check(&lists, false, false), "454 4.7.1 <r@Elsewhere.example>: Relay access denied");
    }

    #[test]
    fn etrn_has_a_list_of_its_own_and_no_destination() {
        let mut lists = lists(&[Restriction::Reject]);
        lists.before_recipient = vec![(SENDER_ADDRESS, vec![Restriction::Reject])];
        let verdict = |lists: &AccessLists, trusted: bool| {
            let facts = AccessFacts {
                client_in_mynetworks: trusted,
                client: "unknown[192.0.2.9]",
                recipient: None,
                destination_is_ours: true,
                etrn_domain: Some("site.example"),
            };
            lists.at_etrn(&facts).map_or("OK".to_owned(), |reply| reply.line().to_owned())
        };
        assert_eq!(verdict(&lists, false), "OK");
        lists.etrn =
            vec![Restriction::PermitMynetworks, Restriction::PermitAuthDestination, Restriction::Reject];
        assert_eq!(verdict(&lists, true), "OK");
        let refused = "554 5.7.1 <site.example>: Etrn command rejected: Access denied";
        assert_eq!(verdict(&lists, false), refused);
        lists.before_recipient.push(("Client host", vec![Restriction::Reject]));
        assert_eq!(
            verdict(&lists, true),
            "554 5.7.1 <unknown[192.0.2.9]>: Client host rejected: Access denied"
        );
    }

    #[test]
    fn permission_ends_only_its_own_list() {
        let mut lists = lists(&[Restriction::PermitMynetworks, Restriction::Reject]);
        lists.before_recipient = vec![("Client host", vec![Restriction::Permit])];
        assert_eq!(check(&lists, true, false), "OK");
        assert_eq!(
            check(&lists, false, true),
            "554 5.7.1 <r@Elsewhere.example>: Recipient address rejected: Access denied"
        );
        lists.before_recipient = vec![("Client host", vec![Restriction::Reject])];
        assert_eq!(
            check(&lists, true, true),
            "554 5.7.1 <unknown[192.0.2.9]>: Client host rejected: Access denied"
        );
        lists.reject_code = 450;
        assert_eq!(
            check(&lists, true, true),
            "450 4.7.1 <unknown[192.0.2.9]>: Client host rejected: Access denied"
        );
    }
}
