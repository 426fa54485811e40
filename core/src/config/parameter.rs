//! What a parameter is: the row of the one table, and the typed name that reads its value.

use core::marker::PhantomData;

use super::value::TimeUnit;

/// What a parameter's value must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// `yes` or `no`.
    Bool,
    /// A whole number.
    Int {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A number of bytes.
    Size,
    /// A time; the unit is that of a number without a suffix.
    Time(TimeUnit),
    /// One of some words.
    Word(&'static [&'static str]),
    /// Elements separated by commas or white space.
    List,
    /// A list of networks and addresses, or of files of them.
    Networks,
    /// A list of domains, or of files of them.
    Domains,
    /// A list of lookup tables, `type:name`.
    Maps,
    /// A list of access restrictions.
    Restrictions,
    /// A list of kinds of clients, and of tables of them.
    Clients,
    /// A concurrency feedback: `x`, `x/concurrency` or `x/sqrt_concurrency`.
    Feedback,
    /// Text that is expanded only where it is used, with names that are not parameters.
    Raw,
    /// A compatibility level.
    Level,
}

impl Kind {
    /// As the documents print it.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Text => "text",
            Kind::Bool => "yes/no",
            Kind::Int { .. } => "number",
            Kind::Size => "bytes",
            Kind::Time(_) => "time",
            Kind::Word(_) => "word",
            Kind::List => "list",
            Kind::Networks => "networks",
            Kind::Domains => "domains",
            Kind::Maps => "tables",
            Kind::Restrictions => "restrictions",
            Kind::Clients => "clients",
            Kind::Feedback => "feedback",
            Kind::Raw => "template",
            Kind::Level => "level",
        }
    }
}

/// What this program does with a parameter that a configuration sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Read, and acted on; by whom.
    Honoured(&'static str),
    /// Accepted, because ignoring it changes nothing that matters here; why.
    WithoutEffect(&'static str),
    /// Not served. A value that means "off" or equals the default is accepted all the same.
    Refused {
        /// Why.
        reason: &'static str,
        /// Whether ignoring it would weaken security: then the start stops.
        weakens: Weakens,
    },
}

/// When ignoring a refused parameter would weaken security.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakens {
    /// Never: something is missing, but nothing is let in or shown that should not be.
    Never,
    /// Whenever it is set to anything but its default.
    Always,
    /// Whenever it is set to anything but its default or one of these words.
    Unless(&'static [&'static str]),
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// As `main.cf` spells it.
    pub name: &'static str,
    /// What its value must look like.
    pub kind: Kind,
    /// The default as `postconf -d` prints it, references unexpanded.
    pub default: &'static str,
    /// What this program does with it.
    pub class: Class,
    /// What it is for, in one sentence.
    pub summary: &'static str,
}

/// The name of a parameter together with the type of its value: `config.time(names::SMTPD_TIMEOUT)`.
#[derive(Debug)]
pub struct Name<T> {
    text: &'static str,
    value: PhantomData<fn() -> T>,
}

impl<T> Name<T> {
    pub(super) const fn new(text: &'static str) -> Self {
        Self { text, value: PhantomData }
    }

    /// As `main.cf` spells it.
    pub const fn as_str(&self) -> &'static str {
        self.text
    }
}

impl<T> Clone for Name<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Name<T> {}

/// Types of values; they exist only in [`Name`].
pub mod types {
    /// Text, words and levels.
    #[derive(Debug)]
    pub enum Text {}
    /// `yes` or `no`.
    #[derive(Debug)]
    pub enum Bool {}
    /// Numbers and sizes.
    #[derive(Debug)]
    pub enum Int {}
    /// Times.
    #[derive(Debug)]
    pub enum Time {}
    /// Lists.
    #[derive(Debug)]
    pub enum List {}
    /// Lists of networks.
    #[derive(Debug)]
    pub enum Networks {}
    /// Lists of domains.
    #[derive(Debug)]
    pub enum Domains {}
    /// Lists of lookup tables.
    #[derive(Debug)]
    pub enum Maps {}
    /// Access restrictions.
    #[derive(Debug)]
    pub enum Restrictions {}
    /// Kinds of clients.
    #[derive(Debug)]
    pub enum Clients {}
    /// Concurrency feedback.
    #[derive(Debug)]
    pub enum Feedback {}
}

/// Declares rows of the table, each with its typed name. One entry is all that a new parameter needs:
///
/// ```text
/// SMTPD_TIMEOUT "smtpd_timeout" Time(Seconds) = "300s", Honoured("smtpd"), "The longest wait for …";
/// ```
macro_rules! parameters {
    ($($constant:ident $name:literal $kind:ident $(($($limits:tt)*))? = $default:literal, $class:expr, $summary:literal;)*) => {
        /// The rows of this part of the table.
        pub(in crate::config) const TABLE: &[$crate::config::parameter::Parameter] = {
            #[allow(unused_imports)]
            use $crate::config::parameter::{Class::*, Parameter};
            &[$(Parameter {
                name: $name,
                kind: $crate::config::parameter::kind_of!($kind $(($($limits)*))?),
                default: $default,
                class: $class,
                summary: $summary,
            },)*]
        };
        /// The typed names of this part of the table.
        pub(in crate::config) mod names {
            use $crate::config::parameter::Name;
            $(
                #[doc = concat!("`", $name, "`: ", $summary)]
                pub const $constant: Name<$crate::config::parameter::type_of!($kind)> = Name::new($name);
            )*
        }
    };
}

macro_rules! kind_of {
    (Int) => { $crate::config::parameter::Kind::Int { min: 0, max: i32::MAX as u64 } };
    (Int($min:expr, $max:expr)) => { $crate::config::parameter::Kind::Int { min: $min, max: $max } };
    (Time($unit:ident)) => { $crate::config::parameter::Kind::Time($crate::config::value::TimeUnit::$unit) };
    (Time) => { $crate::config::parameter::Kind::Time($crate::config::value::TimeUnit::Seconds) };
    (Word($($word:literal)*)) => { $crate::config::parameter::Kind::Word(&[$($word),*]) };
    ($kind:ident) => { $crate::config::parameter::Kind::$kind };
}

macro_rules! type_of {
    (Text) => {
        $crate::config::parameter::types::Text
    };
    (Raw) => {
        $crate::config::parameter::types::Text
    };
    (Word) => {
        $crate::config::parameter::types::Text
    };
    (Level) => {
        $crate::config::parameter::types::Text
    };
    (Bool) => {
        $crate::config::parameter::types::Bool
    };
    (Int) => {
        $crate::config::parameter::types::Int
    };
    (Size) => {
        $crate::config::parameter::types::Int
    };
    (Time) => {
        $crate::config::parameter::types::Time
    };
    (List) => {
        $crate::config::parameter::types::List
    };
    (Networks) => {
        $crate::config::parameter::types::Networks
    };
    (Domains) => {
        $crate::config::parameter::types::Domains
    };
    (Maps) => {
        $crate::config::parameter::types::Maps
    };
    (Restrictions) => {
        $crate::config::parameter::types::Restrictions
    };
    (Clients) => {
        $crate::config::parameter::types::Clients
    };
    (Feedback) => {
        $crate::config::parameter::types::Feedback
    };
}

pub(super) use {kind_of, parameters, type_of};
