//! What the session asks about the client, its commands and addresses, and who answers: limits, restrictions, tables.

use ringpost_core::access::Stage;
use ringpost_core::anvil::{ClientEvent, Exceeded};
use ringpost_core::lookup::at_once;
use ringpost_core::maps::Key;
use ringpost_core::reply::Reply;
use ringpost_core::smtpd::Answer;

use super::Server;
use super::world::{World, is_malformed};
use crate::anvil;
use crate::cleanup::Incoming;
use crate::flush;
use crate::transcript;

/// What a client is told when the spool has no room, before it sends the message.
const NO_ROOM: Reply = Reply::fixed("452 4.3.1 Insufficient system storage");

impl Server<'_> {
    /// Whether the client has more connections than it may, or makes them too often. It waits for its home's answer
    /// only if the service limits either.
    pub(super) async fn connections_exceeded(&self) -> Option<Exceeded> {
        let (client, limits) = (self.counted?, self.service.client_limits);
        if !limits.decide(ClientEvent::Connection) {
            anvil::tell_later(self.shard, client);
            return None;
        }
        let counts = anvil::counts(self.shard, client).await?;
        limits.exceeded(ClientEvent::Connection, &counts)
    }

    /// Counts what the client does now; whether it does so too often.
    pub(super) async fn exceeded(&self, event: ClientEvent) -> Option<Exceeded> {
        let (client, limits) = (self.counted?, self.service.client_limits);
        if !limits.decide(event) {
            anvil::happened(self.shard, client, event);
            return None;
        }
        let counts = anvil::counts_after(self.shard, client, event).await?;
        limits.exceeded(event, &counts)
    }

    pub(super) async fn answer_mail(&mut self) {
        // A transaction that RSET or EHLO ended before its content: this one gets a name and an arrival time of its own.
        self.discard();
        if self.session.keeps_transcript()
            && transcript::is_ours(self.shard, self.session.mail().sender.as_str())
        {
            self.session.mute_transcript();
        }
        let declared = self.session.mail().size_bytes;
        let wanted = self.shard.settings.room_wanted(self.service, declared);
        let answer = match self.exceeded(ClientEvent::Message).await {
            Some(exceeded) => Answer::Exceeded(exceeded),
            None if is_malformed(self.shard, &self.session.mail().sender).await => Answer::Malformed,
            None => match self.verdict(Stage::Mail).await {
                Some(reply) => Answer::Refuse(reply),
                None if self.shard.spool.room_for(wanted) => Answer::Accept,
                None => Answer::Refuse(NO_ROOM),
            },
        };
        self.session.answer(answer, &mut self.replies);
    }

    pub(super) async fn answer_recipient(&mut self) {
        if let Some(exceeded) = self.exceeded(ClientEvent::Recipient).await {
            self.session.answer(Answer::Exceeded(exceeded), &mut self.replies);
            return;
        }
        if self.recipient_is_malformed().await {
            self.session.answer(Answer::Malformed, &mut self.replies);
            return;
        }
        if let Some(reply) = self.verdict(Stage::Recipient).await {
            self.session.answer(Answer::Refuse(reply), &mut self.replies);
            return;
        }
        if self.incoming.is_none() {
            let incoming = Box::new(Incoming::open(self.shard, self.number));
            self.session.name_transaction(incoming.queue_id.as_str());
            self.drain_log();
            self.log_client(&incoming);
            self.incoming = Some(incoming);
        }
        self.session.answer(Answer::Accept, &mut self.replies);
    }

    async fn recipient_is_malformed(&self) -> bool {
        match self.session.facts(Stage::Recipient).recipient {
            Some(recipient) => is_malformed(self.shard, recipient).await,
            None => false,
        }
    }

    pub(super) async fn answer_verify(&mut self) {
        match self.recipient_is_malformed().await {
            true => self.session.answer(Answer::Malformed, &mut self.replies),
            false => self.answer_stage(Stage::Recipient).await,
        }
    }

    /// Answers what only restrictions decide.
    pub(super) async fn answer_stage(&mut self, stage: Stage) {
        let answer = match self.verdict(stage).await {
            Some(reply) => Answer::Refuse(reply),
            None => Answer::Accept,
        };
        self.session.answer(answer, &mut self.replies);
    }

    /// What the restrictions of a stage say. Those that need nothing from outside decide without an allocation; where a
    /// table does not have its answer at hand after all, they are asked again, and waited for.
    pub(super) async fn verdict(&mut self, stage: Stage) -> Option<Reply> {
        let access = &self.service.access;
        if access.rules.is_idle(stage) {
            return None;
        }
        let before = self.session.take_access();
        let mut memory = before.clone();
        let world =
            World { shard: self.shard, stream: &self.stream, number: self.number, began_us: self.began_us };
        let facts = self.session.facts(stage);
        let outcome = match access.likely_waits {
            true => None,
            false => at_once(access.rules.decide(&world, &facts, &mut memory)),
        };
        let outcome = match outcome {
            Some(outcome) => outcome,
            None => {
                memory = before;
                Box::pin(access.rules.decide(&world, &facts, &mut memory)).await
            }
        };
        self.session.put_access(memory);
        if !outcome.notes.is_empty() {
            self.session.note_checks(outcome.notes);
        }
        outcome.refusal
    }

    /// `smtpd_command_filter`: what is read instead of the command.
    pub(super) async fn filter_command(&mut self) {
        let filter = &self.service.access.command_filter;
        let found = filter.find(&self.shard.tables, self.session.command_line(), Key::Whole).await;
        match found {
            Ok(instead) => self.session.filtered(instead.as_deref()),
            Err(trouble) => {
                self.warn(&[format!("smtpd_command_filter: {trouble}: table lookup problem")]);
                // Postfix ends such a session, too: nobody knows what the command was to be.
                self.session.refuse_local_error(&mut self.replies);
            }
        }
    }

    pub(super) async fn answer_auth(&mut self) {
        let answer = match self.exceeded(ClientEvent::Auth).await {
            Some(exceeded) => Answer::Exceeded(exceeded),
            None => Answer::Accept,
        };
        self.session.answer(answer, &mut self.replies);
    }

    pub(super) async fn answer_etrn(&mut self) {
        let answer = match self.verdict(Stage::Etrn).await {
            Some(reply) => Answer::Refuse(reply),
            None => Answer::Flush(flush::site(self.shard, self.session.etrn_domain())),
        };
        self.session.answer(answer, &mut self.replies);
    }
}
