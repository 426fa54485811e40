//! The one table of parameters, in parts by subsystem, and how a name is found in it.
//!
//! A parameter is one entry in one of these files; its typed name, its default, the report and the document follow.

mod access;
mod cleanup;
mod general;
mod lmtp;
mod local;
mod postscreen;
mod qmgr;
mod ringpost;
mod service;
mod smtp;
mod smtpd;
mod tls;
mod verify;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::parameter::Parameter;

/// The typed names of all parameters.
pub mod names {
    pub use super::access::names::*;
    pub use super::cleanup::names::*;
    pub use super::general::names::*;
    pub use super::lmtp::names::*;
    pub use super::local::names::*;
    pub use super::postscreen::names::*;
    pub use super::qmgr::names::*;
    pub use super::ringpost::names::*;
    pub use super::service::names::*;
    pub use super::smtp::names::*;
    pub use super::smtpd::names::*;
    pub use super::tls::names::*;
    pub use super::verify::names::*;
}

/// The parts of the table.
const PARTS: [&[Parameter]; 13] = [
    access::TABLE,
    cleanup::TABLE,
    general::TABLE,
    lmtp::TABLE,
    local::TABLE,
    postscreen::TABLE,
    qmgr::TABLE,
    ringpost::TABLE,
    service::TABLE,
    smtp::TABLE,
    smtpd::TABLE,
    tls::TABLE,
    verify::TABLE,
];

/// Every parameter, by subsystem.
pub fn table() -> impl Iterator<Item = &'static Parameter> {
    PARTS.iter().flat_map(|part| part.iter())
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static Parameter, foldhash::fast::RandomState>> =
    LazyLock::new(|| table().map(|parameter| (parameter.name, parameter)).collect());

/// Parameters that each transport has for itself, with the name to which `X_…` defaults for transport `X`.
pub(super) const PER_TRANSPORT: &[(&str, &str)] = &[
    ("_initial_destination_concurrency", "initial_destination_concurrency"),
    ("_destination_concurrency_limit", "default_destination_concurrency_limit"),
    ("_destination_recipient_limit", "default_destination_recipient_limit"),
    ("_destination_rate_delay", "default_destination_rate_delay"),
    ("_transport_rate_delay", "default_transport_rate_delay"),
    ("_destination_concurrency_positive_feedback", "default_destination_concurrency_positive_feedback"),
    ("_destination_concurrency_negative_feedback", "default_destination_concurrency_negative_feedback"),
    ("_destination_concurrency_failed_cohort_limit", "default_destination_concurrency_failed_cohort_limit"),
    ("_extra_recipient_limit", "default_extra_recipient_limit"),
    ("_recipient_limit", "default_recipient_limit"),
    ("_recipient_refill_limit", "default_recipient_refill_limit"),
    ("_recipient_refill_delay", "default_recipient_refill_delay"),
    ("_delivery_slot_cost", "default_delivery_slot_cost"),
    ("_delivery_slot_loan", "default_delivery_slot_loan"),
    ("_delivery_slot_discount", "default_delivery_slot_discount"),
    ("_minimum_delivery_slots", "default_minimum_delivery_slots"),
    ("_time_limit", "command_time_limit"),
];

/// The row of `name`; for a transport's own parameter that is not in the table itself, the row of the general one.
pub fn find(name: &str) -> Option<&'static Parameter> {
    if let Some(parameter) = BY_NAME.get(name) {
        return Some(parameter);
    }
    let owned = |(suffix, _): &&(&str, &str)| name.len() > suffix.len() && name.ends_with(suffix);
    let (_, general) = PER_TRANSPORT.iter().find(owned)?;
    BY_NAME.get(general).copied()
}

/// The name of `transport`'s own parameter for the general one; a name that has no per-transport form stays itself.
pub(super) fn of_transport(transport: &str, general: &str) -> String {
    match PER_TRANSPORT.iter().find(|(_, name)| *name == general) {
        Some((suffix, _)) => format!("{transport}{suffix}"),
        None => general.into(),
    }
}
