//! ringpost-core: what decides. No sockets, files, threads or clock.

pub mod qmgr;
