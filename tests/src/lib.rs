//! The harness of the end-to-end tests: it starts the real `ringpost` binary in a directory of its own and talks to
//! it as the world would, over TCP, signals, files and exit codes.
//!
//! The tests themselves are in `tests/tests/`, one file per room and one function per claim. The client and the sink
//! here are written with blocking sockets and threads and share no code with the server, so that a fault of the
//! server's SMTP cannot cancel out.
//!
//! Environment:
//! - `RINGPOST_BIN`: the binary under test, instead of the one beside the test programs.
//! - `RINGPOST_PEERS`: where `scripts/install-test-needs` unpacked Debian's Postfix.
//! - `RINGPOST_REQUIRE_PEERS`: set when a missing real peer is a failure and not a reason to skip.

#[macro_use]
mod skip;

pub mod address;
pub mod client;
pub mod commands;
pub mod compare;
pub mod disk;
pub mod dns;
pub mod door;
pub mod engine;
pub mod evidence;
pub mod ledger;
pub mod load;
pub mod maillog;
pub mod mount;
pub mod notice;
pub mod peers;
pub mod postfix;
pub mod process;
pub mod random;
pub mod repository;
pub mod scratch;
pub mod sink;
pub mod trace;
pub mod transcript;
pub mod wait;

pub use client::{Client, Reply};
pub use engine::{Engine, EngineSetup, RefusedStart};
pub use ledger::Ledger;
pub use scratch::Scratch;
pub use sink::{Script, Sink};
