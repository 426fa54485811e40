//! dns: which questions to ask to find a destination's servers, and what the answers mean.
//!
//! Receives: a nexthop's text; answers as plain data, in any order.
//! Sends: queries; a list of servers in the order in which they are to be tried, or a failure with
//! status code and text.
//! Owns: the rules of RFC 5321 section 5.1: preference, loops, null MX. No packets, no cache.
//! Limits: [`MX_HOSTS_MAX`] exchangers are looked up; `smtp_mx_address_limit` servers come out.
//! On failure: "does not exist" bounces, "could not be asked" defers.
//! Standards: RFC 5321 section 5, RFC 7505 (null MX), RFC 3463 (status codes).

mod next_hop;
mod resolution;

pub use next_hop::{BadNextHop, HopHost, NextHop};
pub use resolution::{
    AddressPreference, Answer, LookupFailure, Query, RecordType, Resolution, ResolveOptions, Resolved,
    Server, Step,
};

/// Most MX hosts whose addresses are asked for. A list can be as long as a TCP answer; the first few by
/// preference already give more addresses than are ever tried.
pub const MX_HOSTS_MAX: usize = 16;

/// Most address records that are used of one answer, for the same reason.
pub const ADDRESSES_PER_HOST_MAX: usize = 32;
