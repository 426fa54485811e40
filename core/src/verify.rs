//! verify: is there anybody at an address? What a probe found out, for how long that counts, and when to probe again.
//!
//! - What it is: the entries of the cache of probes ([`ProbeRecord`]), and the rules by which they age
//!   ([`VerifySettings`]).
//! - Receives: entries as the cache keeps them, results of probes, the time.
//! - Sends: what is known of an address, and whether a probe is due; the entry to be kept.
//! - Owns: the form of entries, which is Postfix's: `status:probed:updated:text`.
//! - Limits: [`TEXT_BYTES_MAX`].
//! - On failure: an entry that cannot be read counts as none.
//! - Standards: Postfix's verify(8) and ADDRESS_VERIFICATION_README. A failed probe does not overwrite a success that
//!   still counts.

use crate::envelope::floor_char_boundary;

/// Bytes of what a server said that are kept.
pub const TEXT_BYTES_MAX: usize = 1024;

/// For so long a probe may be on its way, in seconds; another one is sent only then.
pub const PROBE_SECONDS_MAX: u64 = 1000;

/// What is said of an address while its first probe is on its way.
pub const IN_PROGRESS: &str = "Address verification in progress";

/// What is known of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressStatus {
    /// Its server takes mail for it.
    Deliverable,
    /// Its server did not say, or could not be asked.
    Deferred,
    /// Its server refuses it for good.
    Undeliverable,
    /// Nothing yet.
    Unknown,
}

impl AddressStatus {
    fn number(self) -> u8 {
        match self {
            AddressStatus::Deliverable => 0,
            AddressStatus::Deferred => 1,
            AddressStatus::Undeliverable => 2,
            AddressStatus::Unknown => 3,
        }
    }

    fn numbered(number: &str) -> Option<AddressStatus> {
        [
            AddressStatus::Deliverable,
            AddressStatus::Deferred,
            AddressStatus::Undeliverable,
            AddressStatus::Unknown,
        ]
        .into_iter()
        .find(|status| number == status.number().to_string())
    }
}

/// What restrictions are told of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// What is known.
    pub status: AddressStatus,
    /// What its server said, or [`IN_PROGRESS`].
    pub text: String,
}

/// How long results count, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifySettings {
    /// `address_verify_positive_expire_time`.
    pub positive_expire_s: u64,
    /// `address_verify_positive_refresh_time`.
    pub positive_refresh_s: u64,
    /// `address_verify_negative_expire_time`.
    pub negative_expire_s: u64,
    /// `address_verify_negative_refresh_time`.
    pub negative_refresh_s: u64,
    /// `address_verify_negative_cache`: failures are kept, too.
    pub negative_cache: bool,
}

/// An entry of the cache. Times are seconds since 1970; 0 for never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeRecord {
    /// What is known.
    pub status: AddressStatus,
    /// When the probe left that is on its way; 0 if none is.
    pub probed_s: u64,
    /// When the status was found out.
    pub updated_s: u64,
    /// What the server said.
    pub text: String,
}

impl ProbeRecord {
    /// Reads an entry.
    pub fn parse(entry: &str) -> Option<ProbeRecord> {
        let mut parts = entry.splitn(4, ':');
        let status = AddressStatus::numbered(parts.next()?)?;
        let (probed_s, updated_s) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let text = parts.next().filter(|text| !text.is_empty())?;
        Some(ProbeRecord { status, probed_s, updated_s, text: text.into() })
    }

    /// As the cache keeps it.
    pub fn entry(&self) -> String {
        let ProbeRecord { status, probed_s, updated_s, text } = self;
        let text = &text[..floor_char_boundary(text, TEXT_BYTES_MAX)];
        format!("{}:{probed_s}:{updated_s}:{text}", status.number())
    }

    /// It counts no more.
    pub fn is_expired(&self, settings: &VerifySettings, now_s: u64) -> bool {
        let lifetime_s = match self.status {
            AddressStatus::Deliverable => settings.positive_expire_s,
            // The probe that it tells of has been lost.
            AddressStatus::Unknown => return self.probed_s.saturating_add(PROBE_SECONDS_MAX) < now_s,
            AddressStatus::Deferred | AddressStatus::Undeliverable => settings.negative_expire_s,
        };
        self.updated_s.saturating_add(lifetime_s) < now_s
    }

    /// It counts, and is so old that a probe is to be sent while it is used.
    pub fn wants_refresh(&self, settings: &VerifySettings, now_s: u64) -> bool {
        let age_s = match self.status {
            AddressStatus::Deliverable => settings.positive_refresh_s,
            AddressStatus::Unknown => 0,
            AddressStatus::Deferred | AddressStatus::Undeliverable => settings.negative_refresh_s,
        };
        let is_old = self.updated_s.saturating_add(age_s) < now_s;
        is_old && self.probed_s.saturating_add(PROBE_SECONDS_MAX) < now_s
    }

    /// What is to be kept after a probe; `old` is what is kept now. None: what is kept stays as it is.
    pub fn after(
        old: Option<&ProbeRecord>,
        found: &Verified,
        settings: &VerifySettings,
        now_s: u64,
    ) -> Option<ProbeRecord> {
        if found.status != AddressStatus::Deliverable {
            if !settings.negative_cache {
                return None;
            }
            let counts = |old: &&ProbeRecord| {
                old.status == AddressStatus::Deliverable && !old.is_expired(settings, now_s)
            };
            if let Some(old) = old.filter(counts) {
                return Some(ProbeRecord { probed_s: 0, ..old.clone() });
            }
        }
        let text = if found.text.is_empty() { "no reason" } else { found.text.as_str() };
        let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Some(ProbeRecord { status: found.status, probed_s: 0, updated_s: now_s, text })
    }
}

/// The sender of probes at a time: with a lifetime it changes, so that it is of no use to those who collect addresses.
/// `address` is the sender in full, or empty for the null sender.
pub fn probe_sender(address: &str, lifetime_s: u64, now_s: u64) -> String {
    let (false, Some((local, domain))) = (lifetime_s == 0, address.rsplit_once('@')) else {
        return address.to_owned();
    };
    // Consonants and digits only: no word comes of it.
    const SYMBOLS: &[u8; 31] = b"0123456789bcdfghjklmnpqrstvwxyz";
    let mut period = now_s / lifetime_s;
    let mut tag = Vec::new();
    loop {
        tag.push(SYMBOLS[(period % 31) as usize]);
        period /= 31;
        if period == 0 {
            break;
        }
    }
    tag.reverse();
    let tag: String = tag.into_iter().map(char::from).collect();
    format!("{local}{tag}@{domain}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: VerifySettings = VerifySettings {
        positive_expire_s: 1000,
        positive_refresh_s: 100,
        negative_expire_s: 500,
        negative_refresh_s: 50,
        negative_cache: true,
    };

    fn found(status: AddressStatus, text: &str) -> Verified {
        Verified { status, text: text.into() }
    }

    fn record(status: AddressStatus, updated_s: u64) -> ProbeRecord {
        ProbeRecord { status, probed_s: 0, updated_s, text: "250 ok".into() }
    }

    #[test]
    fn entries_are_postfix_s() {
        let record = ProbeRecord::parse("2:0:1700000000:host mx said: 550 no: never").unwrap();
        assert_eq!(record.status, AddressStatus::Undeliverable);
        assert_eq!((record.updated_s, record.text.as_str()), (1_700_000_000, "host mx said: 550 no: never"));
        assert_eq!(record.entry(), "2:0:1700000000:host mx said: 550 no: never");
        for wrong in ["", "4:0:0:x", "0:0:x", "0:0:0:", "0:-1:0:x", "x:0:0:x"] {
            assert_eq!(ProbeRecord::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn results_age() {
        let good = record(AddressStatus::Deliverable, 10_000);
        assert!(!good.wants_refresh(&SETTINGS, 10_100) && good.wants_refresh(&SETTINGS, 10_101));
        assert!(!good.is_expired(&SETTINGS, 11_000) && good.is_expired(&SETTINGS, 11_001));
        let bad = record(AddressStatus::Undeliverable, 10_000);
        assert!(!bad.wants_refresh(&SETTINGS, 10_050) && bad.wants_refresh(&SETTINGS, 10_051));
        assert!(!bad.is_expired(&SETTINGS, 10_500) && bad.is_expired(&SETTINGS, 10_501));
        // One probe at a time.
        let probed = ProbeRecord { probed_s: 10_200, ..good };
        assert!(!probed.wants_refresh(&SETTINGS, 10_201) && probed.wants_refresh(&SETTINGS, 11_201));
    }

    #[test]
    fn a_failure_does_not_overwrite_a_success_that_counts() {
        let good = record(AddressStatus::Deliverable, 10_000);
        let failed = found(AddressStatus::Undeliverable, "550 no");
        let kept = ProbeRecord::after(Some(&good), &failed, &SETTINGS, 10_200).unwrap();
        assert_eq!((kept.status, kept.updated_s), (AddressStatus::Deliverable, 10_000));
        let late = ProbeRecord::after(Some(&good), &failed, &SETTINGS, 11_200).unwrap();
        assert_eq!((late.status, late.updated_s), (AddressStatus::Undeliverable, 11_200));
        let fresh = found(AddressStatus::Deliverable, "250\nok");
        let fresh = ProbeRecord::after(None, &fresh, &SETTINGS, 5).unwrap();
        assert_eq!(fresh.entry(), "0:0:5:250 ok");
        let forgetful = VerifySettings { negative_cache: false, ..SETTINGS };
        assert_eq!(ProbeRecord::after(None, &failed, &forgetful, 5), None);
    }

    #[test]
    fn the_sender_changes_with_time_if_it_is_to() {
        assert_eq!(
            probe_sender("double-bounce@here.example", 0, 1_700_000_000),
            "double-bounce@here.example"
        );
        assert_eq!(probe_sender("", 60, 1_700_000_000), "");
        let at = |now_s| probe_sender("probe@here.example", 3600, now_s);
        assert_eq!(at(7200), "probe2@here.example");
        assert_eq!(at(31 * 3600), "probe10@here.example");
        assert_eq!(at(3600 * 1000), at(3600 * 1000 + 3599));
        assert_ne!(at(3600 * 1000), at(3600 * 1001));
    }
}
