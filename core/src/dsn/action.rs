//! What became of a recipient, in the words of a report.

/// The Action field of RFC 3464 section 2.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It could not be delivered, and will not be tried again.
    Failed,
    /// It is still being tried.
    Delayed,
    /// It is in the recipient's mailbox.
    Delivered,
    /// It was given to a system that does not report in the sender's terms; nothing more may be heard.
    Relayed,
    /// It was delivered to a list of other addresses.
    Expanded,
}

impl Action {
    /// The word in the field.
    pub const fn word(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed => "delayed",
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
            Action::Expanded => "expanded",
        }
    }
}
