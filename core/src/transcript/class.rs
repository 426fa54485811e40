//! Classes of errors, as `notify_classes` names them.

/// What kind of trouble it is that a postmaster may want to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// Mail that is returned, or refused for its recipient, its size or its hops. Implies [`Self::SecondBounce`].
    Bounce,
    /// A bounce that cannot be delivered.
    SecondBounce,
    /// A table or file that is needed was not to be had.
    Data,
    /// Mail that is late.
    Delay,
    /// A client was refused by policy.
    Policy,
    /// A client or server does not keep to the protocol.
    Protocol,
    /// Something has run out: disk space.
    Resource,
    /// The configuration or the program is at fault.
    Software,
}

impl ErrorClass {
    const NAMES: [(&'static str, ErrorClass); 8] = [
        ("bounce", ErrorClass::Bounce),
        ("2bounce", ErrorClass::SecondBounce),
        ("data", ErrorClass::Data),
        ("delay", ErrorClass::Delay),
        ("policy", ErrorClass::Policy),
        ("protocol", ErrorClass::Protocol),
        ("resource", ErrorClass::Resource),
        ("software", ErrorClass::Software),
    ];

    /// The class of this name, in any case.
    pub fn named(name: &str) -> Option<ErrorClass> {
        ErrorClass::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, class)| class)
    }
}

/// A set of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorClasses(u8);

impl ErrorClasses {
    /// No class.
    pub const NONE: ErrorClasses = ErrorClasses(0);
    /// Those that a client session can meet.
    pub const OF_CLIENTS: ErrorClasses = ErrorClasses::NONE.with(ErrorClass::Data).with(ErrorClass::Protocol);
    /// Those that a server session can meet.
    pub const OF_SERVERS: ErrorClasses = ErrorClasses::OF_CLIENTS
        .with(ErrorClass::Bounce)
        .with(ErrorClass::Policy)
        .with(ErrorClass::Resource)
        .with(ErrorClass::Software);

    /// Reads the words of `notify_classes`.
    ///
    /// # Errors
    /// The first word that names no class.
    pub fn parse(words: &[String]) -> Result<ErrorClasses, &str> {
        let mut classes = ErrorClasses::NONE;
        for word in words {
            classes = classes.with(ErrorClass::named(word).ok_or(word.as_str())?);
        }
        Ok(match classes.has(ErrorClass::Bounce) {
            true => classes.with(ErrorClass::SecondBounce),
            false => classes,
        })
    }

    /// These and one more.
    pub const fn with(self, class: ErrorClass) -> ErrorClasses {
        ErrorClasses(self.0 | 1 << class as u8)
    }

    /// Those that are in both.
    pub const fn and(self, others: ErrorClasses) -> ErrorClasses {
        ErrorClasses(self.0 & others.0)
    }

    /// Whether `class` is one of them.
    pub const fn has(self, class: ErrorClass) -> bool {
        self.0 & 1 << class as u8 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
