//! ringpost-tables: lookup tables, from the file or server that holds them to the answer.
//!
//! ```text
//! configuration ── TableSpec ──► open ──► Opened ──► Catalogue ──► Shelf (one a shard) ◄── lookups
//!                                  │                    ▲
//!          files (indexed, text, patterns)              └── watcher: a changed file is loaded and published
//!          remote (servers and libraries that block) ──► Desk: helper threads
//! ```
//!
//! Receives: [`TableSpec`](ringpost_core::lookup::TableSpec)s of a configuration; keys.
//! Sends:    values, or trouble; [`Note`]s for the log.
//! Owns:     the open tables, the thread that watches their files, the threads that ask servers.
//! Limits:   lookups that wait at a server, connections to it ([`desk`]); see each kind of table.
//! On failure: a table that cannot be opened answers every lookup with trouble, told once; a newer file that cannot be
//!           read leaves the older content in place.
//! Standards: Postfix's DATABASE_README and the manual page of each kind.
//!
//! Nothing here knows what a table is used for. A table in memory answers without a lock; each shard has a shelf of its
//! own, which takes a newer table when the catalogue's generation has moved.

pub mod catalogue;
mod cidr;
mod compound;
pub mod desk;
pub mod file_values;
mod fold;
pub mod indexed;
mod inline;
mod memo;
mod notes;
pub mod open;
mod options;
mod pattern;
pub mod proxywrite;
pub mod remote;
mod shelf;
mod system;
mod table;
pub mod text;
mod watch;

pub use catalogue::Catalogue;
pub use fold::lower;
pub use notes::{Note, Notes};
pub use options::TableOptions;
pub use shelf::Shelf;
pub use table::{Listing, Table, Unlisted, trouble};
