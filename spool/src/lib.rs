//! ringpost-spool: the log-structured queue store.
