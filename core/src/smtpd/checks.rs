//! What restrictions want to know of a session, and what they leave in it.

use std::mem;

use super::event::Event;
use super::session::{Phase, Session};
use crate::access::{AccessFacts, AccessMemory, Note, Stage};
use crate::address::Address;
use crate::policy::PolicyFacts;
use crate::reply::Reply;

impl Session {
    /// What is known at a stage; at [`Stage::Helo`] the name that was just given counts.
    pub fn facts(&self, stage: Stage) -> AccessFacts<'_> {
        // After RCPT a refusal is about all recipients, and none is named unless there is only one.
        let recipient = match (stage, &*self.recipients) {
            (Stage::Recipient, _) => Some(&self.last_recipient().address),
            (Stage::Data | Stage::EndOfData, [only]) => Some(&only.address),
            _ => None,
        };
        AccessFacts {
            stage,
            client: self.client(),
            client_text: self.client_text(),
            helo: self.helo(),
            sender: self.sender(),
            recipient,
            recipient_count: self.recipients.len(),
            etrn_domain: match &self.phase {
                Phase::AwaitEtrn(domain) => Some(domain),
                _ => None,
            },
            pipelined_ahead: self.pipelined_ahead,
            details: self.policy_facts(stage),
        }
    }

    fn policy_facts(&self, stage: Stage) -> PolicyFacts<'_> {
        let mail = match &self.phase {
            Phase::AwaitMail(mail) => Some(mail),
            _ => self.mail.as_ref(),
        };
        PolicyFacts {
            protocol_state: match stage {
                Stage::Connect => "CONNECT",
                // Also for BDAT.
                Stage::Data => "DATA",
                Stage::EndOfData => "END-OF-MESSAGE",
                Stage::Helo | Stage::Mail | Stage::Recipient | Stage::Etrn => self.after,
            },
            protocol_name: self.protocol(),
            queue_id: self.queue_id(),
            size_bytes: match stage {
                Stage::EndOfData => self.content_bytes(),
                _ => mail.map_or(0, |mail| mail.size_bytes),
            },
            transaction: self.transactions,
        }
    }

    /// The reverse-path, from MAIL on.
    pub(super) fn sender(&self) -> Option<&Address> {
        match &self.phase {
            Phase::AwaitMail(mail) => Some(&mail.sender),
            _ => self.mail.as_ref().map(|mail| &mail.sender),
        }
    }

    /// What restrictions remember, to be given back by [`Session::put_access`].
    pub fn take_access(&mut self) -> AccessMemory {
        mem::take(&mut self.access)
    }

    /// Gives back what restrictions remember.
    pub fn put_access(&mut self, access: AccessMemory) {
        self.access = access;
    }

    /// What restrictions remember; the actions in it are those of the transaction under way.
    pub fn access(&self) -> &AccessMemory {
        &self.access
    }

    /// Logs what restrictions noted at the stage that is being answered.
    pub fn note_checks(&mut self, notes: Vec<Note>) {
        for note in notes {
            match note {
                Note::Check { verb, text } => self.note_with_context(verb, &text),
                Note::Warning(text) => self.note(Event::Warning(text)),
            }
        }
    }

    fn note_with_context(&mut self, verb: &'static str, text: &str) {
        let (after, recipient) = match &self.phase {
            Phase::AwaitRecipient(rcpt) => ("RCPT", Some(rcpt.address.as_str().to_owned())),
            Phase::AwaitVerify(rcpt, _) => ("VRFY", Some(rcpt.address.as_str().to_owned())),
            _ => (self.after, self.only_recipient()),
        };
        self.note_verb(verb, after, text, recipient.as_deref());
    }

    /// The recipient, after RCPT, if there is only one.
    pub(super) fn only_recipient(&self) -> Option<String> {
        match (&self.phase, &*self.recipients) {
            (Phase::AwaitData | Phase::AwaitChunk(_) | Phase::AwaitEnd, [only]) => {
                Some(only.address.as_str().to_owned())
            }
            _ => None,
        }
    }

    /// Instead of the greeting: the client is refused, and may only leave (`smtpd_delay_reject = no`).
    pub fn deny(&mut self, reply: &Reply, replies: &mut Vec<u8>) {
        self.denied = true;
        self.errors += 1;
        // Also behind XCLIENT, which begins the session again.
        self.note_reject(self.after, reply.line(), None);
        self.say(replies, reply.line());
    }
}
