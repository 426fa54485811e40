//! One evaluation: lists within lists, what each item says, and what is kept for the end.

use std::fmt;

use super::outcome::{Deferral, Fault, Note, Said, reply};
use super::world::AccessWorld;
use super::{AccessFacts, AccessRules, TemporaryFailure, names};
use crate::config::{CLASS_DEPTH_MAX, Party, Restriction};
use crate::lookup::LookupTrouble;
use crate::message_actions::MessageActions;
use crate::reply::Reply;

/// What a refusal names: `<name>: class rejected: …`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Topic<'a> {
    pub(super) name: &'a str,
    pub(super) class: &'static str,
}

impl Said {
    pub(super) fn refuses(&self) -> bool {
        matches!(self, Said::Refuse(_))
    }
}

/// An item as the configuration names it.
struct Item<'a>(&'a Restriction, &'a AccessRules);

impl fmt::Display for Item<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.0 {
            Restriction::Class(place) => self.1.lists.classes.get(usize::from(*place)),
            _ => None,
        };
        match class {
            Some((name, _)) => f.write_str(name),
            None => self.0.fmt(f),
        }
    }
}

/// The lists of one stage while they are evaluated.
pub(super) struct Evaluation<'a, W> {
    /// The parameter whose list is evaluated.
    parameter: &'static str,
    pub(super) rules: &'a AccessRules,
    pub(super) world: &'a W,
    pub(super) facts: AccessFacts<'a>,
    pub(super) actions: &'a mut MessageActions,
    pub(super) notes: Vec<Note>,
    /// Told instead of a permission.
    pub(super) permit_deferral: Option<Deferral>,
    /// Told instead of a refusal for good.
    reject_deferral: Option<Deferral>,
    /// How deep the list lies that is evaluated now, from 1.
    depth: u32,
    /// The depth of the list whose next item is only to warn; 0 for none.
    warning_depth: u32,
    /// `reject_unlisted_…` has been asked and need not be at the end.
    sender_checked: bool,
    recipient_checked: bool,
    /// What is done now is done because a policy server could not be asked.
    pub(super) is_default_action: bool,
}

impl<'a, W: AccessWorld> Evaluation<'a, W> {
    pub(super) fn new(
        rules: &'a AccessRules,
        world: &'a W,
        facts: AccessFacts<'a>,
        actions: &'a mut MessageActions,
    ) -> Evaluation<'a, W> {
        Evaluation {
            parameter: "",
            rules,
            world,
            facts,
            actions,
            notes: Vec::new(),
            permit_deferral: None,
            reject_deferral: None,
            depth: 0,
            warning_depth: 0,
            sender_checked: false,
            recipient_checked: false,
            is_default_action: false,
        }
    }

    /// A stage begins; `deferral` is what earlier ones kept.
    pub(super) fn begin(&mut self, deferral: Option<Deferral>) {
        self.permit_deferral = deferral;
        self.reject_deferral = None;
        self.depth = 0;
        self.warning_depth = 0;
    }

    /// What the list of a parameter says.
    pub(super) async fn run(
        &mut self,
        parameter: &'static str,
        list: &[Restriction],
        topic: Topic<'_>,
    ) -> Said {
        self.parameter = parameter;
        self.items(list, topic).await
    }

    /// What a list says: its first item that says something.
    async fn items(&mut self, list: &[Restriction], topic: Topic<'_>) -> Said {
        self.depth += 1;
        let mut said = Said::Dunno;
        for item in list {
            if self.actions.discard {
                break;
            }
            if *item == Restriction::WarnIfReject {
                if self.warning_depth == 0 {
                    self.warning_depth = self.depth;
                }
                continue;
            }
            said = self.item(item, topic).await;
            self.world.note(self.parameter, format_args!("{}: {said}", Item(item, self.rules)));
            if self.warning_depth >= self.depth {
                self.warning_depth = 0;
            }
            if said != Said::Dunno {
                break;
            }
            if self.reject_deferral.is_some()
                && let Some(deferral) = self.permit_deferral.clone()
            {
                said = self.refuse_with(deferral.fault, deferral.reply);
                break;
            }
        }
        self.depth -= 1;
        said
    }

    /// A list inside another one: a class, or what an access table says.
    pub(super) async fn run_nested(&mut self, list: &[Restriction], topic: Topic<'_>) -> Said {
        if self.depth >= CLASS_DEPTH_MAX {
            self.warn(format!("restriction classes nest deeper than {CLASS_DEPTH_MAX}, or form a loop"));
            return self.misconfigured();
        }
        Box::pin(self.items(list, topic)).await
    }

    async fn item(&mut self, item: &Restriction, topic: Topic<'_>) -> Said {
        let codes = self.rules.codes;
        let policy = Fault::Policy;
        match item {
            // Taken by the loop above.
            Restriction::WarnIfReject | Restriction::PermitsNobody => Said::Dunno,
            Restriction::Permit => self.permit("permit", topic),
            Restriction::Reject => self.reject(codes.reject, "5.7.1", topic, "Access denied"),
            Restriction::Defer => self.reject(codes.defer, "4.3.2", topic, "Try again later"),
            Restriction::DeferIfPermit => {
                let text = rejected(topic, "defer_if_permit requested");
                self.defer_if_permit(TemporaryFailure::DeferIfPermit, 450, "4.7.0", &text)
            }
            Restriction::DeferIfReject => {
                let text = rejected(topic, "defer_if_reject requested");
                self.defer_if_reject(450, "4.7.0", &text)
            }
            Restriction::Sleep(seconds) => {
                self.world.pause(*seconds).await;
                Said::Dunno
            }
            Restriction::RejectUnauthPipelining if self.facts.pipelined_ahead => {
                self.reject(503, "5.5.0", topic, "Improper use of SMTP command pipelining")
            }
            Restriction::RejectPlaintextSession => {
                self.refuse(policy, codes.plaintext, "4.7.1", "Session encryption is required")
            }
            Restriction::PermitInetInterfaces if self.client_is_ours() => {
                self.permit_client("permit_inet_interfaces")
            }
            Restriction::PermitMynetworks if self.facts.client.in_mynetworks => {
                self.permit_client("permit_mynetworks")
            }
            Restriction::RejectUnknownClient => self.reject_unknown_client(),
            Restriction::RejectUnknownForwardClient => self.reject_unknown_forward_client(),
            Restriction::RejectUnknownReverseClient => self.reject_unknown_reverse_client(),
            Restriction::RejectInvalidHelo
            | Restriction::RejectNonFqdnHelo
            | Restriction::RejectUnknownHelo
            | Restriction::PermitNakedAddress => self.helo_item(item).await,
            Restriction::RejectNonFqdn(party) => self.reject_non_fqdn(*party),
            Restriction::RejectUnknownDomain(party) => self.reject_unknown_domain(*party).await,
            Restriction::RejectUnlisted(party) => self.reject_unlisted(*party).await,
            Restriction::RejectMultiRecipientBounce => self.reject_multi_recipient_bounce(topic),
            Restriction::RejectUnauthDestination => {
                self.reject_unauth_destination(codes.relay_domains_reject, "5.7.1").await
            }
            Restriction::DeferUnauthDestination => {
                self.reject_unauth_destination(codes.relay_domains_reject.saturating_sub(100), "4.7.1").await
            }
            Restriction::PermitAuthDestination => match self.is_auth_destination().await {
                Ok(true) => self.permit("permit_auth_destination", self.recipient_topic()),
                Ok(false) => Said::Dunno,
                Err(said) => said,
            },
            Restriction::PermitMxBackup => self.permit_mx_backup().await,
            Restriction::Check(key, table) => self.check(*key, table).await,
            Restriction::CheckServer(subject, kind, table) => {
                self.check_servers(*subject, *kind, table).await
            }
            Restriction::BlockList(list) => self.block_list(list).await,
            Restriction::RejectMapsRbl => self.maps_rbl().await,
            Restriction::RejectUnverified(party) => self.reject_unverified(*party).await,
            Restriction::Policy(service) => self.ask_policy(service, topic).await,
            Restriction::Class(place) => {
                let rules = self.rules;
                let class = rules.lists.classes.get(usize::from(*place));
                match class {
                    Some((_, list)) => self.run_nested(list, topic).await,
                    None => self.misconfigured(),
                }
            }
            Restriction::RejectUnauthPipelining
            | Restriction::PermitInetInterfaces
            | Restriction::PermitMynetworks => Said::Dunno,
        }
    }

    // -----------------------------------------------------------------------------------------------------------
    // verdicts

    /// `<name>: class rejected: text`, by the administrator's policy.
    pub(super) fn reject(&mut self, code: u16, status: &str, topic: Topic<'_>, text: &str) -> Said {
        self.refuse(Fault::Policy, code, status, &rejected(topic, text))
    }

    pub(super) fn refuse(&mut self, fault: Fault, code: u16, status: &str, text: &str) -> Said {
        self.refuse_with(fault, reply(code, status, text))
    }

    fn refuse_with(&mut self, fault: Fault, reply: Reply) -> Said {
        let warns = self.warning_depth != 0 && fault == Fault::Policy;
        if !warns
            && reply.code() >= 500
            && let Some(deferral) = self.reject_deferral.take()
        {
            self.warning_depth = 0;
            return self.refuse_with(deferral.fault, deferral.reply);
        }
        let reply = if self.rules.soft_bounce { reply.softened() } else { reply };
        if warns {
            self.note("reject_warning", reply.line());
            return Said::Dunno;
        }
        Said::Refuse(reply)
    }

    /// The configuration, or what a table says, has no meaning.
    pub(super) fn misconfigured(&mut self) -> Said {
        self.refuse(Fault::Ours, 451, "4.3.5", "Server configuration error")
    }

    /// A table could not be asked about `name`.
    pub(super) fn lookup_failed(&mut self, trouble: &LookupTrouble, name: &str) -> Said {
        self.warn(format!("{trouble}: table lookup problem"));
        self.refuse(Fault::Ours, 451, "4.3.0", &format!("<{name}>: Temporary lookup failure"))
    }

    pub(super) fn defer_if_permit(
        &mut self,
        action: TemporaryFailure,
        code: u16,
        status: &str,
        text: &str,
    ) -> Said {
        if self.warning_depth != 0 || action == TemporaryFailure::Defer {
            return self.refuse(Fault::Policy, code, status, text);
        }
        let deferral = || Deferral { fault: Fault::Policy, reply: reply(code, status, text) };
        self.permit_deferral.get_or_insert_with(deferral);
        Said::Dunno
    }

    pub(super) fn defer_if_reject(&mut self, code: u16, status: &str, text: &str) -> Said {
        let deferral = || Deferral { fault: Fault::Policy, reply: reply(code, status, text) };
        self.reject_deferral.get_or_insert_with(deferral);
        Said::Dunno
    }

    /// A stage ends without a refusal: what was kept is told instead of a permission.
    pub(super) fn deferred_unless_refused(&mut self, said: Said) -> Said {
        match self.permit_deferral.clone() {
            Some(deferral) if !said.refuses() => self.refuse_with(deferral.fault, deferral.reply),
            _ => said,
        }
    }

    pub(super) fn permit(&mut self, action: &str, topic: Topic<'_>) -> Said {
        // What is overruled later is not logged.
        if self.permit_deferral.is_none() && self.rules.logged_permits.iter().any(|logged| logged == action) {
            self.note("permit", &format!("action={action} for {}={}", topic.class, topic.name));
        }
        Said::Permit
    }

    fn permit_client(&mut self, action: &str) -> Said {
        self.permit(action, Topic { name: self.facts.client_text, class: names::CLIENT_HOST })
    }

    pub(super) fn note(&mut self, verb: &'static str, text: &str) {
        self.notes.push(Note::Check { verb, text: text.into() });
    }

    pub(super) fn warn(&mut self, text: String) {
        self.notes.push(Note::Warning(text.into()));
    }

    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    fn client_is_ours(&self) -> bool {
        let address = self.facts.client.address;
        address.is_loopback() || self.rules.own_addresses.contains(&address)
    }

    pub(super) fn recipient_topic(&self) -> Topic<'a> {
        let name = self.facts.recipient.map_or("", |address| address.unquoted());
        Topic { name, class: names::RECIPIENT_ADDRESS }
    }

    // -----------------------------------------------------------------------------------------------------------
    // destinations

    /// Whether the recipient is ours, or one that we relay for; false without a recipient.
    pub(super) async fn is_auth_destination(&mut self) -> Result<bool, Said> {
        let Some(recipient) = self.facts.recipient else { return Ok(false) };
        let world = self.world;
        let sender = self.facts.sender.map_or("", |address| address.as_str());
        match world.is_authorised(sender, recipient.as_str()).await {
            Ok(authorised) => Ok(authorised),
            Err(trouble) => Err(self.lookup_failed(&trouble, recipient.unquoted())),
        }
    }

    async fn reject_unauth_destination(&mut self, code: u16, status: &str) -> Said {
        let Some(recipient) = self.facts.recipient else { return Said::Dunno };
        match self.is_auth_destination().await {
            Ok(true) => Said::Dunno,
            Ok(false) => self.refuse(
                Fault::Policy,
                code,
                status,
                &format!("<{}>: Relay access denied", recipient.unquoted()),
            ),
            Err(said) => said,
        }
    }

    fn reject_multi_recipient_bounce(&mut self, topic: Topic<'_>) -> Said {
        // Before DATA the recipient in question comes on top of those that are counted.
        let most = usize::from(
            self.facts.stage == super::Stage::Data || self.facts.stage == super::Stage::EndOfData,
        );
        if self.facts.sender.is_some_and(|sender| sender.is_null()) && self.facts.recipient_count > most {
            return self.reject(
                self.rules.codes.multi_recipient_bounce,
                "5.5.3",
                topic,
                "Multi-recipient bounce",
            );
        }
        Said::Dunno
    }

    async fn reject_unlisted(&mut self, party: Party) -> Said {
        let world = self.world;
        let (address, class, checked) = match party {
            Party::Sender => (self.facts.sender, names::SENDER_ADDRESS, &mut self.sender_checked),
            Party::Recipient => (self.facts.recipient, names::RECIPIENT_ADDRESS, &mut self.recipient_checked),
        };
        let Some(address) = address.filter(|address| !address.is_null() && !*checked) else {
            return Said::Dunno;
        };
        // A mere warning does not stand for the check.
        *checked = self.warning_depth == 0;
        let sender = self.facts.sender.map_or("", |address| address.as_str());
        match world.unlisted(party, sender, address.as_str()).await {
            Ok(None) => Said::Dunno,
            Ok(Some(unlisted)) => {
                let topic = Topic { name: address.unquoted(), class };
                self.reject(unlisted.code, &unlisted.status, topic, &unlisted.text)
            }
            Err(trouble) => self.lookup_failed(&trouble, address.unquoted()),
        }
    }

    /// The check that needs no item, unless one stood in a list.
    pub(super) async fn unlisted_at_the_end(&mut self, party: Party) -> Said {
        if self.actions.discard {
            return Said::Dunno;
        }
        self.reject_unlisted(party).await
    }
}

/// `<name>: class rejected: text`.
pub(super) fn rejected(topic: Topic<'_>, text: &str) -> String {
    format!("<{}>: {} rejected: {text}", topic.name, topic.class)
}
