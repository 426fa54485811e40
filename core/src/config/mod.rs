//! Configuration: `main.cf`, `master.cf` and the one table of parameters.
//!
//! Receives: the bytes of the two files with their names, the command line's `-o` settings, facts of the host, and a
//! loader for files that lists name. Gives: typed values ([`Config`], [`View`]), listeners, a report of what is
//! honoured, the document of all parameters. Owns: what a parameter is called, how it is spelled and what it defaults
//! to; nobody else does.
//!
//! Limits: nesting, references and length of expansions (`expand`), services (`master_cf`), patterns of a list and
//! depth of included files (`pattern_list`). On failure: every error at once, each with file and line; nothing is
//! loaded in part. Standards: Postfix 3.7's file formats.

mod client_rules;
mod document;
mod embedded;
mod error;
mod expand;
mod host;
mod lines;
mod listener;
mod main_cf;
mod master_cf;
mod parameter;
mod parameters;
pub mod postconf;
mod report;
mod restriction;
mod restriction_words;
mod settings;
mod tables;
mod value;

pub use client_rules::ClientRule;
pub use document::document;
pub use embedded::{MAIN_CF, MAIN_CF_NAME, MASTER_CF, MASTER_CF_NAME};
pub use error::{ConfigError, Place};
pub use expand::{EXPANSION_BYTES_MAX, NESTING_MAX, REFERENCES_MAX, expand};
pub use host::{HostFacts, InterfaceAddress};
pub use listener::{ListenerSpec, Protocol, port};
pub use main_cf::{Definition, Definitions};
pub use master_cf::{SERVICES_MAX, Service, ServiceType, WakeUp};
pub use parameter::{Class, Kind, Name, Parameter, Weakens, types};
pub use parameters::{find as find_parameter, names, table};
pub use report::{ReportLine, Verdict, refusals, report};
pub use restriction::{AccessKey, AccessTable, Party, Restriction, ServerKind, Subject};
pub use settings::{Config, Loader, OVERRIDE_PLACE, Sources, View};
pub use value::{TIME_SECONDS_MAX, TimeUnit, split_list, split_whole};

pub(crate) use error::quoted as quoted_value;
pub(crate) use restriction::{CLASS_DEPTH_MAX, Grammar, parse_block_list, read as read_restrictions};
pub(crate) use value::{parse_integer, parse_time};

/// A file's name, as errors will give it, and its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// As errors will name it.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a [u8],
}

/// The definitions of a `main.cf`, unexpanded.
///
/// # Errors
/// Every line that is no definition.
pub fn read_main_cf(source: &Source<'_>) -> Result<Definitions, Vec<ConfigError>> {
    main_cf::read(source)
}

/// The services of a `master.cf`.
///
/// # Errors
/// Every line that is no service.
pub fn read_master_cf(source: &Source<'_>) -> Result<Vec<Service>, Vec<ConfigError>> {
    master_cf::read(source)
}
