//! How this system names itself in the `From:` of what it writes (`header_from_format`).

/// The form of a name with its address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FromFormat {
    /// `Name <address>`.
    #[default]
    Standard,
    /// `address (Name)`.
    Obsolete,
}

impl FromFormat {
    /// The form that a word of `header_from_format` names.
    pub fn named(word: &str) -> Option<FromFormat> {
        match word {
            "standard" => Some(FromFormat::Standard),
            "obsolete" => Some(FromFormat::Obsolete),
            _ => None,
        }
    }

    /// The mail system's name, with an address that has no domain yet.
    pub const fn mail_system(self) -> &'static str {
        match self {
            FromFormat::Standard => "Mail Delivery System <MAILER-DAEMON>",
            FromFormat::Obsolete => "MAILER-DAEMON (Mail Delivery System)",
        }
    }
}
