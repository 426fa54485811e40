//! ringpost-core: what decides. No sockets, files, threads or clock.

pub mod access;
pub mod address;
pub mod anvil;
pub mod cleanup;
pub mod config;
pub mod content;
pub mod control;
pub mod date;
pub mod dns;
pub mod domain_list;
pub mod dsn;
pub mod envelope;
pub mod flush;
pub mod header;
pub mod limits;
pub mod logline;
pub mod lookup;
pub mod maps;
pub mod network_list;
pub mod qmgr;
pub mod queue_id;
pub mod reply;
pub mod resolve;
pub mod smtp;
pub mod smtpd;
pub mod verp;
