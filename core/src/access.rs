//! access: may this client send this mail? The restriction lists of smtpd, evaluated in Postfix's order.
//!
//! - What it is: [`AccessRules`] of one service; [`AccessRules::decide`] is asked at each stage of a session.
//! - Receives: what is known of the session ([`AccessFacts`]), what earlier stages left ([`AccessMemory`]).
//! - Sends: lookups, DNS questions, questions about addresses ([`AccessWorld`]); an [`Outcome`].
//! - Owns: the order of evaluation, the meaning of what access tables say, the texts of refusals.
//! - Limits: [`crate::config::Restriction::Class`]es nest [`crate::config`]'s depth; block lists give
//!   [`TEXT_BYTES_MAX`] bytes of reasons; [`SERVERS_MAX`] servers of a domain are looked at.
//! - On failure: a table that cannot be asked is 451, never "not found"; what the DNS cannot say now is permitted,
//!   refused for now or kept for later as each item's parameter says.
//! - Standards: Postfix's SMTPD_ACCESS_README, access(5); RFC 5321 §7.9 (relaying), RFC 5782 (block lists), RFC 7505.

mod backup;
mod block_list;
mod evaluation;
mod facts;
mod footer;
mod names;
mod octets;
mod outcome;
mod policy;
mod rules;
mod servers;
mod table;
mod template;
#[cfg(test)]
mod tests;
mod unverified;
mod world;

use std::net::IpAddr;

pub use block_list::{BlockList, TEXT_BYTES_MAX};
pub use facts::{AccessFacts, AccessMemory, Stage};
pub use names::{is_hostname, is_hostname_utf8};
pub use octets::OctetFilter;
pub use outcome::{Note, Outcome};
pub use servers::SERVERS_MAX;
pub use template::ReplyCharacters;
pub use unverified::UnverifiedRules;
pub use world::{AccessWorld, Destination, Unlisted};

use self::evaluation::{Evaluation, Topic};
use self::outcome::{Deferral, Said};
use crate::address::Address;
use crate::config::{AccessTable, Restriction};
use crate::maps::{LocalNames, Maps};
use crate::network_list::NetworkList;
use crate::policy::PolicyDefaults;

/// The lists of one service.
#[derive(Clone, Debug, Default)]
pub struct AccessLists {
    /// `smtpd_client_restrictions`.
    pub client: Vec<Restriction>,
    /// `smtpd_helo_restrictions`.
    pub helo: Vec<Restriction>,
    /// `smtpd_sender_restrictions`.
    pub sender: Vec<Restriction>,
    /// `smtpd_relay_restrictions`.
    pub relay: Vec<Restriction>,
    /// `smtpd_recipient_restrictions`.
    pub recipient: Vec<Restriction>,
    /// `smtpd_data_restrictions`.
    pub data: Vec<Restriction>,
    /// `smtpd_end_of_data_restrictions`.
    pub end_of_data: Vec<Restriction>,
    /// `smtpd_etrn_restrictions`.
    pub etrn: Vec<Restriction>,
    /// The lists of `smtpd_restriction_classes`, as [`Restriction::Class`] counts them, with their names.
    pub classes: Vec<(String, Vec<Restriction>)>,
}

/// Reply codes.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // each is the parameter of its name
pub struct RejectCodes {
    pub reject: u16,
    pub defer: u16,
    pub relay_domains_reject: u16,
    pub access_map_reject: u16,
    pub access_map_defer: u16,
    pub invalid_hostname: u16,
    pub non_fqdn: u16,
    pub unknown_hostname: u16,
    pub unknown_address: u16,
    pub unknown_client: u16,
    pub plaintext: u16,
    pub multi_recipient_bounce: u16,
    pub maps_rbl: u16,
}

impl Default for RejectCodes {
    fn default() -> RejectCodes {
        RejectCodes {
            reject: 554,
            defer: 450,
            relay_domains_reject: 554,
            access_map_reject: 554,
            access_map_defer: 450,
            invalid_hostname: 501,
            non_fqdn: 504,
            unknown_hostname: 450,
            unknown_address: 450,
            unknown_client: 450,
            plaintext: 450,
            multi_recipient_bounce: 550,
            maps_rbl: 554,
        }
    }
}

/// What follows when the DNS cannot say now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TemporaryFailure {
    /// `defer`: refused for now.
    Defer,
    /// `defer_if_permit`: refused for now, unless something else refuses for good.
    #[default]
    DeferIfPermit,
}

/// What one service's restrictions are, and all that they need to know of the configuration.
#[derive(Clone, Debug, Default)]
pub struct AccessRules {
    /// The lists.
    pub lists: AccessLists,
    /// The reply codes.
    pub codes: RejectCodes,
    /// `smtpd_relay_before_recipient_restrictions`.
    pub relay_first: bool,
    /// `smtpd_delay_reject`: the client, its greeting and the sender are looked at for each recipient.
    pub delay_reject: bool,
    /// `smtpd_reject_unlisted_recipient`.
    pub unlisted_recipients: bool,
    /// `smtpd_reject_unlisted_sender`.
    pub unlisted_senders: bool,
    /// `unknown_address_tempfail_action`.
    pub unknown_address_failure: TemporaryFailure,
    /// `unknown_helo_hostname_tempfail_action`.
    pub unknown_helo_failure: TemporaryFailure,
    /// `recipient_delimiter` and what else is needed to make keys of addresses.
    pub names: LocalNames,
    /// `smtpd_access_maps` is in `parent_domain_matches_subdomains`.
    pub access_parents: bool,
    /// `smtpd_null_access_lookup_key`.
    pub null_sender_key: String,
    /// `allow_untrusted_routing`.
    pub untrusted_routing: bool,
    /// Addresses of `inet_interfaces` and `proxy_interfaces`.
    pub own_addresses: Vec<IpAddr>,
    /// `permit_mx_backup_networks`.
    pub mx_backup_networks: NetworkList,
    /// `maps_rbl_domains`.
    pub maps_rbl: Vec<BlockList>,
    /// `rbl_reply_maps`.
    pub rbl_replies: Maps,
    /// `default_rbl_reply`.
    pub default_rbl_reply: String,
    /// `smtpd_expansion_filter`.
    pub reply_characters: ReplyCharacters,
    /// `smtpd_log_access_permit_actions`, in lower case.
    pub logged_permits: Vec<String>,
    /// `unverified_sender_*`.
    pub unverified_sender: UnverifiedRules,
    /// `unverified_recipient_*`.
    pub unverified_recipient: UnverifiedRules,
    /// `smtpd_policy_service_*`.
    pub policy: PolicyDefaults,
    /// `soft_bounce`.
    pub soft_bounce: bool,
    /// `address_verify_sender` in full; empty for none. Mail to it is never refused: two systems that ask each other
    /// whether an address exists would else each refuse the other's question.
    pub probe_sender: String,
}

impl AccessRules {
    /// Whether nothing is asked at a stage: then [`AccessRules::decide`] need not be called.
    pub fn is_idle(&self, stage: Stage) -> bool {
        match stage {
            Stage::Connect => self.delay_reject || self.lists.client.is_empty(),
            Stage::Helo => self.delay_reject || self.lists.helo.is_empty(),
            Stage::Mail => self.delay_reject || (self.lists.sender.is_empty() && !self.unlisted_senders),
            // What was kept for later counts there, too, but comes from an RCPT that was refused then, unless the
            // earlier stages spoke for themselves.
            Stage::Data => self.delay_reject && self.lists.data.is_empty(),
            Stage::EndOfData => self.delay_reject && self.lists.end_of_data.is_empty(),
            Stage::Recipient | Stage::Etrn => false,
        }
    }

    /// Whether addresses are probed.
    pub fn probes(&self) -> bool {
        self.restrictions().any(|item| matches!(item, Restriction::RejectUnverified(_)))
    }

    /// Whether a session may have to wait for the DNS, a policy server, a probe or for time to pass. Tables are not looked at.
    pub fn may_wait(&self) -> bool {
        self.restrictions().any(|item| {
            matches!(
                item,
                Restriction::Sleep(_)
                    | Restriction::RejectUnknownHelo
                    | Restriction::RejectUnknownDomain(_)
                    | Restriction::PermitMxBackup
                    | Restriction::CheckServer(..)
                    | Restriction::BlockList(_)
                    | Restriction::RejectMapsRbl
                    | Restriction::Policy(_)
                    | Restriction::RejectUnverified(_)
            )
        })
    }

    /// The tables that restrictions name.
    pub fn tables(&self) -> impl Iterator<Item = &AccessTable> {
        self.restrictions().filter_map(|item| match item {
            Restriction::Check(_, table) | Restriction::CheckServer(_, _, table) => Some(table),
            _ => None,
        })
    }

    fn restrictions(&self) -> impl Iterator<Item = &Restriction> {
        let lists = &self.lists;
        let own = [
            &lists.client,
            &lists.helo,
            &lists.sender,
            &lists.relay,
            &lists.recipient,
            &lists.data,
            &lists.end_of_data,
            &lists.etrn,
        ];
        own.into_iter().chain(lists.classes.iter().map(|(_, list)| list)).flatten()
    }

    /// What the restrictions of a stage say; `facts.stage` tells which.
    pub async fn decide<W: AccessWorld>(
        &self,
        world: &W,
        facts: &AccessFacts<'_>,
        memory: &mut AccessMemory,
    ) -> Outcome {
        let mut evaluation = Evaluation::new(self, world, *facts, &mut memory.actions);
        let mut kept = (memory.by_client.take(), memory.by_helo.take(), memory.by_sender.take());
        let said = self.stages(&mut evaluation, &mut kept).await;
        let notes = std::mem::take(&mut evaluation.notes);
        (memory.by_client, memory.by_helo, memory.by_sender) = kept;
        let refusal = match said {
            Said::Refuse(reply) => Some(reply),
            Said::Dunno | Said::Permit => None,
        };
        Outcome { refusal, notes }
    }

    async fn stages<W: AccessWorld>(&self, evaluation: &mut Evaluation<'_, W>, kept: &mut Kept) -> Said {
        let stage = evaluation.facts.stage;
        // RFC 5321 §4.5.1: nobody is kept from the postmaster of a bare name.
        let recipient = evaluation.facts.recipient;
        let is_exempt = |address: &Address| {
            let address = address.as_str();
            let probe_sender = self.probe_sender.as_str();
            address.eq_ignore_ascii_case("postmaster")
                || (!probe_sender.is_empty() && address.eq_ignore_ascii_case(probe_sender))
        };
        if stage == Stage::Recipient && recipient.is_some_and(is_exempt) {
            return Said::Dunno;
        }
        let delayed = self.delay_reject && matches!(stage, Stage::Recipient | Stage::Etrn);
        if stage == Stage::Connect || delayed {
            let said = self.of_client(evaluation, kept).await;
            if said.refuses() {
                return said;
            }
        }
        if stage == Stage::Helo || delayed {
            let said = self.of_helo(evaluation, kept).await;
            if said.refuses() {
                return said;
            }
        }
        if stage == Stage::Mail || (delayed && stage == Stage::Recipient) {
            let said = self.of_sender(evaluation, kept).await;
            if said.refuses() {
                return said;
            }
        }
        let facts = evaluation.facts;
        let said = match stage {
            Stage::Connect | Stage::Helo | Stage::Mail => return Said::Dunno,
            Stage::Recipient => {
                evaluation.begin(kept.all());
                self.of_recipient(evaluation).await
            }
            Stage::Data => {
                evaluation.begin(kept.all());
                let topic = Topic { name: "DATA", class: "Data command" };
                evaluation.run("smtpd_data_restrictions", &self.lists.data, topic).await
            }
            Stage::EndOfData => {
                evaluation.begin(kept.all());
                let topic = Topic { name: "END-OF-MESSAGE", class: "End-of-data" };
                evaluation.run("smtpd_end_of_data_restrictions", &self.lists.end_of_data, topic).await
            }
            Stage::Etrn => {
                evaluation.begin(kept.before_sender());
                let topic = Topic { name: facts.etrn_domain.unwrap_or_default(), class: names::ETRN_COMMAND };
                evaluation.run("smtpd_etrn_restrictions", &self.lists.etrn, topic).await
            }
        };
        let said = evaluation.deferred_unless_refused(said);
        if stage == Stage::Recipient && !said.refuses() && self.unlisted_recipients {
            return evaluation.unlisted_at_the_end(crate::config::Party::Recipient).await;
        }
        said
    }

    async fn of_client<W: AccessWorld>(&self, evaluation: &mut Evaluation<'_, W>, kept: &mut Kept) -> Said {
        if self.lists.client.is_empty() {
            return Said::Dunno;
        }
        evaluation.begin(None);
        let topic = Topic { name: evaluation.facts.client_text, class: names::CLIENT_HOST };
        let said = evaluation.run("smtpd_client_restrictions", &self.lists.client, topic).await;
        kept.0 = evaluation.permit_deferral.take();
        said
    }

    async fn of_helo<W: AccessWorld>(&self, evaluation: &mut Evaluation<'_, W>, kept: &mut Kept) -> Said {
        let Some(helo) = evaluation.facts.helo.filter(|_| !self.lists.helo.is_empty()) else {
            return Said::Dunno;
        };
        evaluation.begin(kept.0.clone());
        let topic = Topic { name: helo, class: names::HELO_COMMAND };
        let said = evaluation.run("smtpd_helo_restrictions", &self.lists.helo, topic).await;
        kept.1 = evaluation.permit_deferral.take();
        said
    }

    async fn of_sender<W: AccessWorld>(&self, evaluation: &mut Evaluation<'_, W>, kept: &mut Kept) -> Said {
        let Some(sender) = evaluation.facts.sender else { return Said::Dunno };
        if self.lists.sender.is_empty() && !self.unlisted_senders {
            return Said::Dunno;
        }
        evaluation.begin(kept.before_sender());
        let topic = Topic { name: sender.unquoted(), class: names::SENDER_ADDRESS };
        let said = evaluation.run("smtpd_sender_restrictions", &self.lists.sender, topic).await;
        kept.2 = evaluation.permit_deferral.take();
        if !said.refuses() && self.unlisted_senders {
            return evaluation.unlisted_at_the_end(crate::config::Party::Sender).await;
        }
        said
    }

    async fn of_recipient<W: AccessWorld>(&self, evaluation: &mut Evaluation<'_, W>) -> Said {
        let topic = evaluation.recipient_topic();
        let relay = ("smtpd_relay_restrictions", &self.lists.relay);
        let recipient = ("smtpd_recipient_restrictions", &self.lists.recipient);
        let lists = if self.relay_first { [relay, recipient] } else { [recipient, relay] };
        let mut said = Said::Dunno;
        for (parameter, list) in lists {
            said = evaluation.run(parameter, list, topic).await;
            if said.refuses() {
                break;
            }
        }
        said
    }
}

/// What `defer_if_permit` said about the client, its greeting, the sender.
type Kept = (Option<Deferral>, Option<Deferral>, Option<Deferral>);

trait Stages {
    fn before_sender(&self) -> Option<Deferral>;
    fn all(&self) -> Option<Deferral>;
}

impl Stages for Kept {
    fn before_sender(&self) -> Option<Deferral> {
        self.0.clone().or_else(|| self.1.clone())
    }

    fn all(&self) -> Option<Deferral> {
        self.before_sender().or_else(|| self.2.clone())
    }
}
