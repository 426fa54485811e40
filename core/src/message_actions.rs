//! What a check wants done with a whole message, beside taking or refusing it.
//!
//! Access tables say it at the SMTP server, header and body checks while the content passes; cleanup does it. What is
//! asked for twice is done once, except for headers and copies, which add up, as in Postfix.

/// The most headers that may be put before a message, and the most copies: a client may name many recipients, each of
/// which may bring one. What is beyond is left out, and the caller says so in the log.
pub const ADDITIONS_MAX: usize = 1000;

/// What is to be done with a message. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageActions {
    /// HOLD: the message goes to the hold queue.
    pub hold: bool,
    /// DISCARD: the client hears that all is well, and nothing is kept.
    pub discard: bool,
    /// FILTER: `transport:destination` instead of where the recipients' mail goes; the last one counts.
    pub filter: Option<Box<str>>,
    /// REDIRECT: to this address instead of all recipients; the last one counts.
    pub redirect: Option<Box<str>>,
    /// BCC: copies to these addresses.
    pub bcc: Vec<Box<str>>,
    /// PREPEND: header lines without their ends, in order, to stand before the message's own.
    pub prepend: Vec<Box<str>>,
}

impl MessageActions {
    /// Whether there is nothing to do. Ask this first where a message passes.
    pub fn is_empty(&self) -> bool {
        *self == MessageActions::default()
    }

    /// Adds what others want done later: their filter and target count, copies and headers add up.
    pub fn take(&mut self, later: MessageActions) {
        self.hold |= later.hold;
        self.discard |= later.discard;
        self.filter = later.filter.or(self.filter.take());
        self.redirect = later.redirect.or(self.redirect.take());
        self.bcc.extend(later.bcc.into_iter().take(ADDITIONS_MAX.saturating_sub(self.bcc.len())));
        self.prepend.extend(later.prepend.into_iter().take(ADDITIONS_MAX.saturating_sub(self.prepend.len())));
    }

    /// Adds a copy; false when there are too many.
    pub fn add_bcc(&mut self, address: &str) -> bool {
        add(&mut self.bcc, address)
    }

    /// Adds a header line; false when there are too many.
    pub fn add_header(&mut self, line: &str) -> bool {
        add(&mut self.prepend, line)
    }
}

fn add(list: &mut Vec<Box<str>>, text: &str) -> bool {
    let room = list.len() < ADDITIONS_MAX;
    if room {
        list.push(text.into());
    }
    room
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_later_counts_over_what_was_wanted_before() {
        let mut actions = MessageActions { filter: Some("a:b".into()), ..MessageActions::default() };
        actions.take(MessageActions { hold: true, bcc: vec!["a@b".into()], ..MessageActions::default() });
        assert!(actions.hold && actions.filter.as_deref() == Some("a:b") && actions.bcc.len() == 1);
        actions.take(MessageActions { filter: Some("c:d".into()), ..MessageActions::default() });
        assert!(actions.hold && actions.filter.as_deref() == Some("c:d"));
    }

    #[test]
    fn additions_end_at_their_limit() {
        let mut actions = MessageActions::default();
        assert!(actions.is_empty());
        assert!((0..ADDITIONS_MAX).all(|_| actions.add_header("X-A: b")));
        assert!(!actions.add_header("X-A: b") && actions.add_bcc("a@b") && !actions.is_empty());
    }
}
