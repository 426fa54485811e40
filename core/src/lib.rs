//! ringpost-core: what decides. No sockets, files, threads or clock.

pub mod dsn;
pub mod envelope;
pub mod qmgr;
pub mod smtp;
