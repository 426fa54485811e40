//! ringpost-core: what decides. No sockets, files, threads or clock.

pub mod address;
pub mod content;
pub mod dsn;
pub mod envelope;
pub mod limits;
pub mod qmgr;
pub mod reply;
pub mod smtp;
pub mod smtpd;
