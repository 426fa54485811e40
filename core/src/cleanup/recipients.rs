//! Duplicate envelope recipients.

use foldhash::fast::RandomState;
use hashbrown::HashSet;

use crate::smtpd::RcptCommand;

/// The places of the recipients that are no repetition of an earlier one, in order. Addresses compare without regard
/// to case, as Postfix's duplicate filter does; a recipient with another ORCPT or NOTIFY is another recipient, because
/// each is owed its own report. Beyond `limit` different ones (`duplicate_filter_limit`) repetitions are kept.
pub fn first_occurrences(recipients: &[RcptCommand], limit: usize) -> Vec<usize> {
    if recipients.len() == 1 {
        return vec![0];
    }
    let mut seen = HashSet::with_capacity_and_hasher(recipients.len().min(limit), RandomState::default());
    let mut first = Vec::with_capacity(recipients.len());
    for (index, rcpt) in recipients.iter().enumerate() {
        let key = (rcpt.address.as_str().to_ascii_lowercase(), rcpt.orcpt.as_deref(), rcpt.notify.bits());
        if seen.contains(&key) {
            continue;
        }
        if seen.len() < limit {
            seen.insert(key);
        }
        first.push(index);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::envelope::Notify;

    #[test]
    fn repeated_recipients_are_found() {
        let rcpt = |address: &str, orcpt: Option<&str>| RcptCommand {
            address: Address::parse(address).expect("an address"),
            orcpt: orcpt.map(Into::into),
            notify: Notify::UNSET,
        };
        let all = [rcpt("a@b", None), rcpt("c@d", None), rcpt("A@B", None), rcpt("a@b", Some("rfc822;x@y"))];
        assert_eq!(first_occurrences(&all, 1000), [0, 1, 3]);
        let never = RcptCommand { notify: Notify::NEVER, ..rcpt("a@b", None) };
        assert_eq!(first_occurrences(&[rcpt("a@b", None), never], 1000), [0, 1]);
        assert_eq!(first_occurrences(&all, 0), [0, 1, 2, 3]);
        assert_eq!(first_occurrences(&all[..1], 1000), [0]);
    }
}
