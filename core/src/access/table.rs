//! Access tables: which keys are looked up in which order, and what the answers mean (access(5)).

use std::borrow::Cow;

use super::evaluation::{Evaluation, Topic, rejected};
use super::outcome::Said;
use super::world::AccessWorld;
use super::{Stage, TemporaryFailure, names};
use crate::address::Address;
use crate::config::{AccessKey, AccessTable, Grammar, read_restrictions, split_list};
use crate::lookup::{LookupTrouble, TableType};

/// What is said when a table cannot be asked, as if the table had said it.
const TROUBLE: &str = "451 4.3.5 Server configuration error";

/// Whether a key is all of what is looked up; tables of patterns are asked for nothing else.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Partial,
}

/// An answer, if there was one.
pub(super) type Answered = Option<Said>;

impl<W: AccessWorld> Evaluation<'_, W> {
    /// `check_…_access`.
    pub(super) async fn check(&mut self, key: AccessKey, table: &AccessTable) -> Said {
        let client = self.facts.client;
        match key {
            AccessKey::Client => {
                let topic = Topic { name: self.facts.client_text, class: names::CLIENT_HOST };
                self.check_client(table, client.name_or_unknown(), topic).await
            }
            AccessKey::ReverseClient => {
                let name = client.reverse_name_or_unknown();
                let topic = Topic { name, class: names::UNVERIFIED_CLIENT_HOST };
                let said = self.check_client(table, name, topic).await;
                self.no_permission(said, "check_reverse_client_hostname_access", name)
            }
            AccessKey::Helo => {
                let Some(helo) = self.facts.helo else { return Said::Dunno };
                let topic = Topic { name: helo, class: names::HELO_COMMAND };
                self.of_domain(table, helo, Part::Whole, topic).await.unwrap_or(Said::Dunno)
            }
            AccessKey::Etrn => {
                let Some(domain) = self.facts.etrn_domain else { return Said::Dunno };
                let topic = Topic { name: domain, class: names::ETRN_COMMAND };
                self.of_domain(table, domain, Part::Whole, topic).await.unwrap_or(Said::Dunno)
            }
            AccessKey::Sender => {
                let Some(sender) = self.facts.sender else { return Said::Dunno };
                let topic = Topic { name: sender.unquoted(), class: names::SENDER_ADDRESS };
                if sender.is_null() {
                    let rules = self.rules;
                    let said = self.of_key(table, &rules.null_sender_key, Part::Whole, topic).await;
                    return said.unwrap_or(Said::Dunno);
                }
                self.check_address(table, sender, topic).await
            }
            AccessKey::Recipient => match self.facts.recipient {
                Some(recipient) => self.check_address(table, recipient, self.recipient_topic()).await,
                None => Said::Dunno,
            },
            AccessKey::Certificate | AccessKey::Login => Said::Dunno,
        }
    }

    async fn check_client(&mut self, table: &AccessTable, name: &str, topic: Topic<'_>) -> Said {
        if let Some(said) = self.of_domain(table, name, Part::Whole, topic).await {
            return said;
        }
        let address = self.facts.client.address.to_string();
        self.of_network(table, &address, topic).await.unwrap_or(Said::Dunno)
    }

    /// What a table says of an address: `user+ext@domain`, `user@domain`, the domain and its parents, `user+ext@`,
    /// `user@`.
    async fn check_address(&mut self, table: &AccessTable, address: &Address, topic: Topic<'_>) -> Said {
        let world = self.world;
        let sender = self.facts.sender.map_or("", |address| address.as_str());
        let there = match world.destination(sender, address.as_str()).await {
            Ok(there) => there,
            Err(trouble) => return self.lookup_failed(&trouble, topic.name),
        };
        let Some((local, domain)) = there.address.rsplit_once('@') else { return Said::Dunno };
        // Tables know no quotes.
        let local = &*crate::address::unquoted(local);
        let whole = match local.len() + 1 + domain.len() == there.address.len() {
            true => Cow::Borrowed(&*there.address),
            false => Cow::Owned(format!("{local}@{domain}")),
        };
        let bare = self.rules.names.extension_at(local).map(|at| &local[..at]);
        let mut answered = self.of_key(table, &whole, Part::Whole, topic).await;
        if answered.is_none() && !table.is_pattern {
            if let Some(bare) = bare {
                answered = self.of_key(table, &format!("{bare}@{domain}"), Part::Partial, topic).await;
            }
            if answered.is_none() {
                answered = self.of_domain(table, domain, Part::Partial, topic).await;
            }
            if answered.is_none() {
                answered = self.of_key(table, &format!("{local}@"), Part::Partial, topic).await;
            }
            if answered.is_none()
                && let Some(bare) = bare
            {
                answered = self.of_key(table, &format!("{bare}@"), Part::Partial, topic).await;
            }
        }
        match answered {
            // Where such a recipient's mail ends nobody knows: nothing is permitted because of it.
            Some(Said::Permit)
                if there.routes_on
                    && !self.rules.untrusted_routing
                    && topic.class == names::RECIPIENT_ADDRESS =>
            {
                Said::Dunno
            }
            Some(said) => said,
            None => Said::Dunno,
        }
    }

    /// A name and its parents; a number has none.
    pub(super) async fn of_domain(
        &mut self,
        table: &AccessTable,
        domain: &str,
        part: Part,
        topic: Topic<'_>,
    ) -> Answered {
        let mut key = domain;
        let mut part = part;
        loop {
            if key.is_empty() {
                return None;
            }
            let answered = self.of_key(table, key, part, topic).await;
            if answered.is_some() || table.is_pattern || domain.parse::<std::net::IpAddr>().is_ok() {
                return answered;
            }
            part = Part::Partial;
            let dot = key.char_indices().skip(1).find(|(_, c)| *c == '.')?.0;
            key = &key[dot + usize::from(self.rules.access_parents)..];
        }
    }

    /// An address and the networks that it begins with: `10.1.2.3`, `10.1.2`, `10.1`, `10`.
    pub(super) async fn of_network(
        &mut self,
        table: &AccessTable,
        address: &str,
        topic: Topic<'_>,
    ) -> Answered {
        let delimiter = if address.contains(':') { ':' } else { '.' };
        let mut key = address;
        let mut part = Part::Whole;
        loop {
            let answered = self.of_key(table, key, part, topic).await;
            if answered.is_some() || table.is_pattern {
                return answered;
            }
            part = Part::Partial;
            key = key.rsplit_once(delimiter)?.0;
        }
    }

    pub(super) async fn of_key(
        &mut self,
        table: &AccessTable,
        key: &str,
        part: Part,
        topic: Topic<'_>,
    ) -> Answered {
        if part == Part::Partial && table.is_pattern {
            return None;
        }
        let world = self.world;
        match world.lookup(table.id, key).await {
            Ok(None) => None,
            Ok(Some(value)) => Some(self.action(&table.name, key, &value, topic).await),
            Err(LookupTrouble { reason, .. }) => {
                self.warn(format!("{}: table lookup problem: {reason}", table.name));
                let action = table.default_action.as_deref().unwrap_or(TROUBLE);
                Some(self.action(&table.name, key, action, topic).await)
            }
        }
    }

    /// Checks of unverified names and of servers that others run must not permit: anybody can arrange for a match.
    pub(super) fn no_permission(&mut self, said: Said, item: &str, target: &str) -> Said {
        if said != Said::Permit || self.actions.discard {
            return said;
        }
        self.warn(format!("restriction {item} returns OK for {target}"));
        self.warn("this is not allowed for security reasons".into());
        self.warn("use DUNNO instead of OK if you want to make an exception".into());
        self.misconfigured()
    }

    // -----------------------------------------------------------------------------------------------------------
    // what a table says

    pub(super) async fn action(&mut self, table: &str, key: &str, value: &str, topic: Topic<'_>) -> Said {
        let (word, text) = match value.find([' ', '\t']) {
            Some(end) => (&value[..end], value[end..].trim_start()),
            None => (value, ""),
        };
        let codes = self.rules.codes;
        let is = |action: &str| word.eq_ignore_ascii_case(action);
        if is("REJECT") || is("DEFER") {
            let (code, default) = match is("REJECT") {
                true => (codes.access_map_reject, "5.7.1"),
                false => (codes.access_map_defer, "4.7.1"),
            };
            return self.table_refusal(code, default, text, topic);
        }
        if is("DUNNO") {
            return Said::Dunno;
        }
        if is("INFO") || is("WARN") {
            self.note(if is("INFO") { "info" } else { "warn" }, text);
            return Said::Dunno;
        }
        if is("DEFER_IF_PERMIT") || is("DEFER_IF_REJECT") {
            let (status, text) = split_status("4.7.1", text);
            let text = rejected(topic, if text.is_empty() { "Service unavailable" } else { text });
            let (code, status) = (codes.access_map_defer, fixed_status(status, topic.class));
            return match is("DEFER_IF_PERMIT") {
                true => self.defer_if_permit(TemporaryFailure::DeferIfPermit, code, &status, &text),
                false => self.defer_if_reject(code, &status, &text),
            };
        }
        if let Some(said) = self.message_action(table, key, word, text, topic) {
            return said;
        }
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.permit(table, topic);
        }
        let coded = word.len() == 3
            && word.starts_with(['4', '5'])
            && word.bytes().all(|byte| byte.is_ascii_digit())
            && !text.is_empty();
        if coded && let Ok(code) = word.parse() {
            return self.table_refusal(code, if code < 500 { "4.7.1" } else { "5.7.1" }, text, topic);
        }
        if is("OK") || is("RELAY") {
            return self.permit(table, topic);
        }
        self.restrictions_of_table(table, value, topic).await
    }

    /// `code [status] [text]`.
    fn table_refusal(&mut self, code: u16, default: &str, text: &str, topic: Topic<'_>) -> Said {
        let (status, text) = split_status(default, text);
        let text = if text.is_empty() { "Access denied" } else { text };
        self.reject(code, &fixed_status(status, topic.class), topic, text)
    }

    /// What is to be done with the message; None if the word is none of these.
    fn message_action(
        &mut self,
        table: &str,
        key: &str,
        word: &str,
        text: &str,
        topic: Topic<'_>,
    ) -> Option<Said> {
        let actions = ["FILTER", "HOLD", "DISCARD", "REDIRECT", "BCC", "PREPEND"];
        let action = actions.into_iter().find(|action| word.eq_ignore_ascii_case(action))?;
        if !self.has_message(table, action) {
            return Some(Said::Dunno);
        }
        let wrong = |what: &str| format!("access table {table} entry \"{key}\" {what}");
        let wrong = match action {
            "FILTER" if text.is_empty() => Some(wrong("has FILTER entry without value")),
            "FILTER" if !text.contains(':') => Some(wrong("requires transport:destination")),
            "REDIRECT" | "BCC" if !text.contains('@') => Some(wrong("requires user@domain target")),
            "PREPEND" if self.facts.stage == Stage::EndOfData => {
                Some(format!("access table {table}: action PREPEND must be used before END-OF-MESSAGE"))
            }
            "PREPEND" if !is_header(text) => Some(wrong("requires header: text")),
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.warn(wrong);
            return Some(Said::Dunno);
        }
        let Topic { name: subject, class } = topic;
        let triggers = format!("<{subject}>: {class} triggers {action} {text}");
        match action {
            "FILTER" => {
                self.note("filter", &triggers);
                self.actions.filter = Some(text.into());
            }
            "REDIRECT" => {
                self.note("redirect", &triggers);
                self.actions.redirect = Some(text.into());
            }
            "HOLD" | "DISCARD" => {
                let hold = action == "HOLD";
                if hold && self.actions.hold {
                    return Some(Said::Dunno);
                }
                let triggers = format!("triggers {action} action");
                let text = if text.is_empty() { &triggers } else { text };
                self.note(if hold { "hold" } else { "discard" }, &format!("<{subject}>: {class} {text}"));
                if !hold {
                    self.actions.discard = true;
                    return Some(Said::Permit);
                }
                self.actions.hold = true;
            }
            _ => {
                let added = match action {
                    "BCC" => self.actions.add_bcc(text),
                    _ => self.actions.add_header(text),
                };
                if !added {
                    self.warn(format!("too many {action} actions for one message, {text} is left out"));
                } else if action == "BCC" {
                    self.note("bcc", &triggers);
                }
            }
        }
        Some(Said::Dunno)
    }

    /// Whether there is, or will be, a message to which something can be done.
    fn has_message(&mut self, table: &str, action: &str) -> bool {
        if self.facts.stage == Stage::Etrn {
            let text =
                format!("access table {table}: action {action} is unavailable in smtpd_etrn_restrictions");
            self.warn(text);
            return false;
        }
        if self.facts.sender.is_none() {
            let text = format!(
                "access table {table}: with smtpd_delay_reject=no, action {action} is always skipped in \
                 smtpd_client_restrictions or smtpd_helo_restrictions restrictions"
            );
            self.warn(text);
            return false;
        }
        true
    }

    /// Anything else is a list of restrictions, which may name no tables: those must be known before.
    async fn restrictions_of_table(&mut self, table: &str, value: &str, topic: Topic<'_>) -> Said {
        if self.depth() >= crate::config::CLASS_DEPTH_MAX {
            self.warn(format!("access table {table} entry {value} causes unreasonable recursion"));
            return self.misconfigured();
        }
        if split_list(value).is_empty() {
            self.warn(format!("access table {table} entry {value} has empty value"));
            return Said::Permit;
        }
        let classes: Vec<String> = self.rules.lists.classes.iter().map(|(name, _)| name.clone()).collect();
        let grammar = Grammar {
            classes: &classes,
            implied: None,
            default_type: TableType::Hash,
            policy_services: false,
            ids: &|_| Err("lookup tables inside access tables are not served: use a restriction class".into()),
        };
        let reading = read_restrictions(value, &grammar);
        if let Some(unread) = reading.unread {
            self.warn(format!(
                "access table {table} entry \"{value}\": restriction \"{}\" {}",
                unread.item, unread.reason
            ));
            return self.misconfigured();
        }
        self.run_nested(&reading.known, topic).await
    }
}

/// `X.Y.Z text`, or the default and the whole text.
fn split_status<'t>(default: &'t str, text: &'t str) -> (&'t str, &'t str) {
    let word = text.split([' ', '\t']).next().unwrap_or_default();
    let mut parts = word.split('.');
    let class = parts.next().is_some_and(|class| matches!(class, "2" | "4" | "5"));
    let mut number = || {
        parts.next().is_some_and(|part| {
            (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    match class && number() && number() && parts.next().is_none() {
        true => (word, text[word.len()..].trim_start()),
        false => (default, text),
    }
}

/// A status about addresses fits only where an address is refused, and there the right one.
fn fixed_status(status: &str, class: &str) -> String {
    let Some(detail) = status.get(1..).and_then(|rest| rest.strip_prefix(".1.")) else {
        return status.to_owned();
    };
    let (sender, recipient) = match detail {
        "1" => ("4.1.7", "4.1.1"),
        "2" | "8" => ("4.1.8", "4.1.2"),
        "3" | "7" => ("4.1.7", "4.1.3"),
        "4" => ("4.1.7", "4.1.4"),
        "5" => ("4.1.0", "4.1.5"),
        "6" => ("4.1.7", "4.1.6"),
        _ => ("4.1.0", "4.1.0"),
    };
    match class {
        names::SENDER_ADDRESS => sender,
        names::RECIPIENT_ADDRESS => recipient,
        _ => "4.0.0",
    }
    .to_owned()
}

/// RFC 5322 §2.2: a name of printable characters, and a colon.
fn is_header(text: &str) -> bool {
    text.split_once(':').is_some_and(|(name, _)| {
        let name = name.trim_end_matches([' ', '\t']);
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
    })
}
