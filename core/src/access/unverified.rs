//! `reject_unverified_sender`, `reject_unverified_recipient`: is there anybody at an address, as probes found out?

use super::TemporaryFailure;
use super::evaluation::{Evaluation, rejected};
use super::outcome::{Fault, Said};
use super::world::AccessWorld;
use crate::config::Party;
use crate::envelope::floor_char_boundary;
use crate::verify::AddressStatus;

/// Bytes of what a server said that a refusal for now repeats.
const TEXT_BYTES_MAX: usize = 250;

/// What follows from probes of one kind of address.
#[derive(Clone, Debug)]
pub struct UnverifiedRules {
    /// `unverified_…_defer_code`: nothing was found out.
    pub defer_code: u16,
    /// `unverified_…_reject_code`: there is nobody. 250 lets the mail in all the same.
    pub reject_code: u16,
    /// `unverified_…_reject_reason`: told instead of what the address's server said, unless empty.
    pub reason: String,
    /// `unverified_…_tempfail_action`.
    pub failure: TemporaryFailure,
}

impl Default for UnverifiedRules {
    fn default() -> UnverifiedRules {
        UnverifiedRules {
            defer_code: 450,
            reject_code: 450,
            reason: String::new(),
            failure: TemporaryFailure::default(),
        }
    }
}

impl<W: AccessWorld> Evaluation<'_, W> {
    pub(super) async fn reject_unverified(&mut self, party: Party) -> Said {
        let Some((address, topic)) = self.party(party) else { return Said::Dunno };
        let (world, all) = (self.world, self.rules);
        // RFC 3463 section 3.2
        let (rules, status) = match party {
            Party::Sender => (&all.unverified_sender, "4.1.7"),
            Party::Recipient => (&all.unverified_recipient, "4.1.1"),
        };
        let verified = match world.verify(address.as_str()).await {
            Ok(verified) => verified,
            Err(reason) => {
                self.warn(format!("verify service failure: {reason}"));
                let text = rejected(topic, "address verification problem");
                return self.defer_if_permit(rules.failure, 450, status, &text);
            }
        };
        let told = if rules.reason.is_empty() { &verified.text } else { &rules.reason };
        match verified.status {
            AddressStatus::Deliverable => Said::Dunno,
            AddressStatus::Undeliverable if rules.reject_code < 400 => Said::Dunno,
            AddressStatus::Undeliverable => {
                let text = rejected(topic, &format!("undeliverable address: {told}"));
                self.refuse(Fault::Policy, rules.reject_code, status, &text)
            }
            AddressStatus::Deferred | AddressStatus::Unknown if rules.defer_code < 400 => Said::Dunno,
            AddressStatus::Deferred | AddressStatus::Unknown => {
                let told = &told[..floor_char_boundary(told, TEXT_BYTES_MAX)];
                let text = rejected(topic, &format!("unverified address: {told}"));
                match rules.defer_code < 500 {
                    true => self.defer_if_permit(rules.failure, rules.defer_code, status, &text),
                    false => self.refuse(Fault::Policy, rules.defer_code, status, &text),
                }
            }
        }
    }
}
