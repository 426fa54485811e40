//! Which kind of error a refusal is, for `notify_classes`.
//!
//! Postfix names the class at each place that refuses. Here it follows from the reply itself, so that no place can
//! forget it: replies bear Postfix's enhanced status codes, and RFC 3463 says what those are about.

use crate::reply::Reply;
use crate::transcript::ErrorClass;

/// The class of the error that this reply tells; none for a reply that tells none. `after` is the stage: trouble with the
/// system before the message has come means a lookup, afterwards its storing.
pub(super) fn error_class(line: &str, after: &str) -> Option<ErrorClass> {
    if !line.starts_with(['4', '5']) {
        return None;
    }
    let reply = Reply::parse(line)?;
    let at_end = after == "END-OF-MESSAGE";
    let mut parts = reply.enhanced().unwrap_or_default().split('.').skip(1);
    let class = match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        // An address that is not there, and a syntax error in one.
        ("1", _) if reply.code() == 501 => ErrorClass::Protocol,
        ("1", "0" | "1" | "6") => ErrorClass::Bounce,
        ("1" | "2" | "7", _) => ErrorClass::Policy,
        // The mail system.
        ("3", "0") if !at_end => ErrorClass::Data,
        ("3", "0" | "1") => ErrorClass::Resource,
        ("3", "3") => ErrorClass::Protocol,
        ("3", "4") if !at_end => ErrorClass::Policy,
        ("3", "5") => ErrorClass::Software,
        // Too large, too many hops: the message cannot be delivered.
        ("3" | "4", _) if at_end => ErrorClass::Bounce,
        ("5", "3") => ErrorClass::Policy,
        ("5", _) => ErrorClass::Protocol,
        ("6", _) if !at_end => ErrorClass::Protocol,
        // Without an enhanced code: RFC 5321 section 4.2.1, "x0z: Syntax".
        ("", _) if reply.code() % 100 < 10 || reply.code() == 555 => ErrorClass::Protocol,
        ("", _) if reply.code() == 458 => ErrorClass::Software,
        _ => ErrorClass::Policy,
    };
    Some(class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_the_classes_that_postfix_gives_them() {
        use ErrorClass::{Bounce, Data, Policy, Protocol, Resource, Software};
        let cases = [
            ("501 Syntax: HELO hostname", "HELO", Protocol),
            ("500 5.5.2 Error: command not recognized", "UNKNOWN", Protocol),
            ("503 5.5.1 Error: need MAIL command", "RCPT", Protocol),
            ("501 5.1.7 Bad sender address syntax", "MAIL", Protocol),
            ("555 5.5.4 Unsupported option: X", "MAIL", Protocol),
            ("553 5.6.7 Must declare SMTPUTF8 to send unicode address", "MAIL", Protocol),
            ("452 4.5.3 Error: too many recipients", "RCPT", Policy),
            ("554 5.7.1 <a@b>: Relay access denied", "RCPT", Policy),
            ("450 4.1.8 <a@b>: Sender address rejected: Domain not found", "RCPT", Policy),
            ("550 5.1.1 <a@b>: Recipient address rejected: User unknown", "RCPT", Bounce),
            ("450 4.7.1 Error: too much mail from 192.0.2.1", "MAIL", Policy),
            ("421 4.7.0 host Error: too many connections from 192.0.2.1", "CONNECT", Policy),
            ("552 5.3.4 Message size exceeds fixed limit", "MAIL", Policy),
            ("452 4.3.1 Insufficient system storage", "MAIL", Resource),
            ("451 4.3.0 <a@b>: Temporary lookup failure", "RCPT", Data),
            ("451 4.3.5 Server configuration error", "RCPT", Software),
            ("451 4.3.0 Error: queue file write error", "END-OF-MESSAGE", Resource),
            ("552 5.3.4 Error: message file too big", "END-OF-MESSAGE", Bounce),
            ("554 5.4.0 Error: too many hops", "END-OF-MESSAGE", Bounce),
            ("550 5.7.1 message content rejected", "END-OF-MESSAGE", Policy),
            ("459 <a.test>: service unavailable", "ETRN", Policy),
            ("458 Unable to queue messages", "ETRN", Software),
        ];
        for (line, after, class) in cases {
            assert_eq!(error_class(line, after), Some(class), "{line}");
        }
        assert_eq!(error_class("250 2.1.0 Ok", "MAIL"), None);
        assert_eq!(error_class("221 2.0.0 Bye", "QUIT"), None);
    }
}
