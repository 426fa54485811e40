//! What of a session goes to the log, and to the postmaster.

use ringpost_core::dsn::SessionKind;
use ringpost_core::logline::{AddressText, LogLines, Peer, Severity};
use ringpost_core::smtpd::Session;
use ringpost_core::transcript::Excerpt;

use super::Server;
use crate::cleanup::Incoming;
use crate::transcript;

impl Server<'_> {
    pub(super) fn log_with_peer(&self, write: impl FnOnce(&mut LogLines, &mut Vec<u8>, i64, &Peer<'_>)) {
        let client = self.session.client();
        let address = AddressText::new(client.address);
        let peer = Peer {
            name: client.name.as_deref().unwrap_or_default().as_bytes(),
            address: address.as_bytes(),
            port: self.service.session.client_port_logging.then_some(client.port),
        };
        self.shard.log.write(|lines, out, now_s| write(lines, out, now_s, &peer));
    }

    pub(super) fn log_connect(&self) {
        self.log_with_peer(|lines, out, now_s, peer| lines.connect(out, now_s, u64::from(self.number), peer));
    }

    pub(super) fn log_client(&self, incoming: &Incoming) {
        if let Some(forwarded) = self.session.forwarded() {
            let mut text = format!("{}: client={}", incoming.queue_id.as_str(), self.session.client_text());
            if let Some(ident) = &forwarded.ident {
                text += &format!(", orig_queue_id={ident}");
            }
            if forwarded.tells_client {
                text += &format!(", orig_client={}", forwarded.client_text());
            }
            self.log_text(&text);
            return;
        }
        self.log_with_peer(|lines, out, now_s, peer| {
            lines.client(out, now_s, u64::from(self.number), incoming.queue_id.as_str(), peer);
        });
    }

    pub(super) fn log_disconnect(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            incoming.abandon(self.shard);
        }
        let text = format!(
            "disconnect from {} {}",
            self.session.client_text(),
            self.session.disconnect_statistics()
        );
        self.log_text(&text);
    }

    pub(super) fn drain_log(&mut self) {
        for event in self.session.take_log() {
            self.log_text(&event.to_string());
        }
        self.report(Session::take_report);
    }

    pub(super) fn report(&mut self, take: impl FnOnce(&mut Session) -> Option<Box<Excerpt>>) {
        if let Some(excerpt) = take(&mut self.session) {
            let client = self.session.client_text();
            transcript::report(self.shard, SessionKind::Server, self.number, client, &excerpt);
        }
    }

    pub(super) fn warn(&self, warnings: &[String]) {
        for warning in warnings {
            self.log_text(&format!("warning: {warning}"));
        }
    }

    /// Warnings of the session carry their prefix in their text.
    pub(super) fn log_text(&self, text: &str) {
        self.shard.log.write(|lines, out, now_s| {
            lines.message(out, now_s, "smtpd", u64::from(self.number), Severity::Info, text.as_bytes());
        });
    }
}
