//! What cleanup says in the log of one message.

/// One line; the queue id stands before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanupNote {
    /// Something is wrong with the configuration, a table, or the message's size.
    pub is_warning: bool,
    /// The text.
    pub text: String,
}

impl CleanupNote {
    /// An ordinary line.
    pub fn info(text: String) -> CleanupNote {
        CleanupNote { is_warning: false, text }
    }

    /// A warning.
    pub fn warning(text: String) -> CleanupNote {
        CleanupNote { is_warning: true, text }
    }
}
