//! The configuration that runs when none is named: a relay for this host alone, with its spool in the directory where
//! it was started.

/// `main.cf` without `-c`. A `relayhost` comes by `-o relayhost=[host]:port`; without one mail goes to its domains.
pub const MAIN_CF: &str = "\
compatibility_level = 3.6
inet_interfaces = loopback-only
mynetworks = 127.0.0.0/8 [::1]/128
mydestination =
queue_directory = ./ringpost-data
maillog_file = ./ringpost-data/maillog
";

/// `master.cf` without `-c`, and where a directory has none.
pub const MASTER_CF: &str = "\
127.0.0.1:2525 inet n - n - - smtpd
smtp           unix - - n - - smtp
relay          unix - - n - - smtp
";

/// What places in the embedded files are called.
pub const MAIN_CF_NAME: &str = "(built-in main.cf)";
/// What places in the embedded files are called.
pub const MASTER_CF_NAME: &str = "(built-in master.cf)";
