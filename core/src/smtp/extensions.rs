//! What a server offers in its answer to EHLO.

/// A set of EHLO keywords that this client knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EhloKeywords(u16);

const NAMES: [(&str, EhloKeywords); 10] = [
    ("PIPELINING", EhloKeywords::PIPELINING),
    ("SIZE", EhloKeywords::SIZE),
    ("8BITMIME", EhloKeywords::EIGHT_BIT_MIME),
    ("DSN", EhloKeywords::DSN),
    ("SMTPUTF8", EhloKeywords::SMTPUTF8),
    ("ENHANCEDSTATUSCODES", EhloKeywords::ENHANCED_STATUS_CODES),
    ("STARTTLS", EhloKeywords::STARTTLS),
    ("AUTH", EhloKeywords::AUTH),
    ("CHUNKING", EhloKeywords::CHUNKING),
    ("XFORWARD", EhloKeywords::XFORWARD),
];

impl EhloKeywords {
    /// The empty set.
    pub const NONE: EhloKeywords = EhloKeywords(0);
    /// RFC 2920.
    pub const PIPELINING: EhloKeywords = EhloKeywords(1);
    /// RFC 1870.
    pub const SIZE: EhloKeywords = EhloKeywords(2);
    /// RFC 6152.
    pub const EIGHT_BIT_MIME: EhloKeywords = EhloKeywords(4);
    /// RFC 3461.
    pub const DSN: EhloKeywords = EhloKeywords(8);
    /// RFC 6531.
    pub const SMTPUTF8: EhloKeywords = EhloKeywords(16);
    /// RFC 2034.
    pub const ENHANCED_STATUS_CODES: EhloKeywords = EhloKeywords(32);
    /// RFC 3207.
    pub const STARTTLS: EhloKeywords = EhloKeywords(64);
    /// RFC 4954.
    pub const AUTH: EhloKeywords = EhloKeywords(128);
    /// RFC 3030.
    pub const CHUNKING: EhloKeywords = EhloKeywords(256);
    /// Postfix's XFORWARD_README.
    pub const XFORWARD: EhloKeywords = EhloKeywords(512);

    /// Both sets.
    pub const fn with(self, other: EhloKeywords) -> EhloKeywords {
        EhloKeywords(self.0 | other.0)
    }

    /// This set without the other.
    pub const fn without(self, other: EhloKeywords) -> EhloKeywords {
        EhloKeywords(self.0 & !other.0)
    }

    /// True if all of `other` is in this.
    pub const fn has(self, other: EhloKeywords) -> bool {
        self.0 & other.0 == other.0
    }

    /// Reads a list as in `smtp_discard_ehlo_keywords`: names separated by commas or white space, in
    /// any case. Names that the client does not use (also `silent-discard`) have no effect.
    pub fn from_list(list: &str) -> EhloKeywords {
        list.split([',', ' ', '\t', '\r', '\n'])
            .filter_map(EhloKeywords::from_name)
            .fold(EhloKeywords::NONE, EhloKeywords::with)
    }

    fn from_name(name: &str) -> Option<EhloKeywords> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, keyword)| keyword)
    }
}

/// The offers of one server, after the settings' discards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerOffers {
    /// The keywords.
    pub keywords: EhloKeywords,
    /// The announced limit of SIZE in bytes; 0 if there is none (RFC 1870 section 3: also `SIZE 0`).
    pub size_limit: u64,
    /// The attributes of XFORWARD that it takes.
    pub forward: ForwardAttributes,
}

/// A set of attributes of XFORWARD.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardAttributes(u8);

impl ForwardAttributes {
    /// In the order in which they are sent; the first three in one command, the others in another.
    pub(super) const NAMES: [&str; 7] = ["NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"];

    /// Whether the attribute of this place among [`ForwardAttributes::NAMES`] is in the set.
    pub(super) fn has(self, place: usize) -> bool {
        self.0 & 1 << place != 0
    }

    fn add(&mut self, name: &str) {
        if let Some(place) = Self::NAMES.iter().position(|known| known.eq_ignore_ascii_case(name)) {
            self.0 |= 1 << place;
        }
    }
}

impl ServerOffers {
    /// True if the server offers this.
    pub const fn has(&self, keyword: EhloKeywords) -> bool {
        self.keywords.has(keyword)
    }

    /// Adds one line of an EHLO answer (its text behind the code).
    pub(super) fn add_line(&mut self, line: &str, discard: EhloKeywords) {
        // Some old servers write AUTH=LOGIN; the keyword ends there, too.
        let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
        let Some(keyword) = words.next().and_then(EhloKeywords::from_name) else { return };
        self.keywords = self.keywords.with(keyword.without(discard));
        if self.has(EhloKeywords::XFORWARD) && keyword == EhloKeywords::XFORWARD {
            return words.for_each(|word| self.forward.add(word));
        }
        if self.has(EhloKeywords::SIZE)
            && keyword == EhloKeywords::SIZE
            && let Some(limit) = words.next().and_then(|word| word.parse().ok())
        {
            self.size_limit = limit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_in_any_case() {
        let mut offers = ServerOffers::default();
        for line in ["pipelining", "SIZE 10240000", "AUTH=PLAIN LOGIN", "X-UNKNOWN", "8bitmime", ""] {
            offers.add_line(line, EhloKeywords::EIGHT_BIT_MIME);
        }
        assert!(offers.has(EhloKeywords::PIPELINING.with(EhloKeywords::AUTH)));
        assert!(!offers.has(EhloKeywords::EIGHT_BIT_MIME), "discarded");
        assert_eq!(offers.size_limit, 10_240_000);
    }

    #[test]
    fn absurd_sizes_are_no_limit() {
        for line in ["SIZE", "SIZE 0", "SIZE 99999999999999999999999", "SIZE -1", "SIZE many"] {
            let mut offers = ServerOffers::default();
            offers.add_line(line, EhloKeywords::NONE);
            assert!(offers.has(EhloKeywords::SIZE));
            assert_eq!(offers.size_limit, 0, "{line}");
        }
    }

    #[test]
    fn lists_of_keywords_are_read() {
        let set = EhloKeywords::from_list("silent-discard, dsn\tPipelining");
        assert_eq!(set, EhloKeywords::DSN.with(EhloKeywords::PIPELINING));
    }
}
