//! ringpost-shards: what performs, one room per Postfix service.
//!
//! ```text
//! engine ── starts ──► shard (one thread each) ◄── mesh (rings) ──► other shards
//!                        │
//!   listener ► smtpd ► cleanup ► spool (commit) ► qmgr ► smtp ► servers
//!                                     ▲              │
//!                                     └── bounce, defer, trace (notices) ◄───┘
//!   beside them: dns (resolver), log (mail log), counters, drain (the stop), control (the queue commands)
//! ```
//!
//! `ringpost-core` decides, `ringpost-reactor` drives, `ringpost-spool` keeps; this crate joins them. Nothing here
//! parses SMTP, and nothing here knows a system call.

pub mod addresses;
pub mod anvil;
pub mod bounce;
pub mod cleanup;
pub mod control;
pub mod counters;
pub mod defer;
pub mod dns;
pub mod drain;
pub mod engine;
pub mod failure;
pub mod flush;
pub mod listener;
pub mod log;
pub mod mesh;
pub mod message;
pub mod notice;
pub mod policy;
pub mod qmgr;
pub mod race;
pub mod recipients;
pub mod reload;
pub mod requeue;
pub mod settings;
pub mod shard;
pub mod slots;
pub mod smtp;
pub mod smtpd;
pub mod spool_disk;
pub mod tables;
pub mod trace;
pub mod transcript;
pub mod verify;
pub mod zone;
