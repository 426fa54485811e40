//! What is known of a session when restrictions are asked, and what they remember of it.

use crate::access::outcome::Deferral;
use crate::address::Address;
use crate::message_actions::MessageActions;
use crate::policy::PolicyFacts;
use crate::smtpd::Client;

/// When restrictions are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The client has connected.
    Connect,
    /// HELO or EHLO.
    Helo,
    /// MAIL.
    Mail,
    /// RCPT.
    Recipient,
    /// DATA, or the first BDAT.
    Data,
    /// The message is whole.
    EndOfData,
    /// ETRN.
    Etrn,
}

/// What the items ask about.
#[derive(Debug, Clone, Copy)]
pub struct AccessFacts<'a> {
    /// When.
    pub stage: Stage,
    /// Who is connected.
    pub client: &'a Client,
    /// The client as replies and the log name it: `name[address]`.
    pub client_text: &'a str,
    /// The name of HELO or EHLO, once given.
    pub helo: Option<&'a str>,
    /// The reverse-path, once given.
    pub sender: Option<&'a Address>,
    /// The recipient in question; after RCPT the only one, if there is only one.
    pub recipient: Option<&'a Address>,
    /// Recipients accepted so far.
    pub recipient_count: usize,
    /// The domain of ETRN.
    pub etrn_domain: Option<&'a str>,
    /// The client sent before its turn.
    pub pipelined_ahead: bool,
    /// What only policy servers want to know.
    pub details: PolicyFacts<'a>,
}

/// What earlier stages leave to later ones, and what is to be done with the message.
#[derive(Debug, Clone, Default)]
pub struct AccessMemory {
    /// What `defer_if_permit` said about the client, about HELO, about the sender; each from the stage before on.
    pub(super) by_client: Option<Deferral>,
    pub(super) by_helo: Option<Deferral>,
    pub(super) by_sender: Option<Deferral>,
    /// What is to be done with the message.
    pub actions: MessageActions,
}

impl AccessMemory {
    /// Forgets the transaction; what was said about the client and its greeting stays.
    pub fn forget_transaction(&mut self) {
        self.by_sender = None;
        if !self.actions.is_empty() {
            self.actions = MessageActions::default();
        }
    }

    /// Forgets everything: the client is another one.
    pub fn forget(&mut self) {
        *self = AccessMemory::default();
    }
}
