//! What follows from probes.

use super::*;

fn told(main_cf: &str, status: AddressStatus, text: &str) -> Case {
    let mut case = Case::new(main_cf);
    case.world.verified = Some(Verified { status, text: text.into() });
    case
}

const RECIPIENT: &str = "smtpd_recipient_restrictions = reject_unverified_recipient\n";
const SENDER: &str = "smtpd_sender_restrictions = reject_unverified_sender\n";

#[test]
fn what_is_known_decides() {
    use AddressStatus::*;
    let recipient = "4.1.1 <to@relay.example>: Recipient address rejected: ";
    let sender = "4.1.7 <from@sender.example>: Sender address rejected: ";
    for (main, status, text, expected) in [
        (RECIPIENT, Deliverable, "250 ok", "OK".to_owned()),
        (RECIPIENT, Undeliverable, "550 no", format!("450 {recipient}undeliverable address: 550 no")),
        (RECIPIENT, Deferred, "451 later", format!("450 {recipient}unverified address: 451 later")),
        (RECIPIENT, Unknown, "in progress", format!("450 {recipient}unverified address: in progress")),
        (SENDER, Deliverable, "250 ok", "OK".to_owned()),
        (SENDER, Undeliverable, "550 no", format!("450 {sender}undeliverable address: 550 no")),
        (SENDER, Unknown, "in progress", format!("450 {sender}unverified address: in progress")),
    ] {
        assert_eq!(told(main, status, text).rcpt(), expected, "{status:?}");
    }
    assert_eq!(told(SENDER, Undeliverable, "550 no").from("").rcpt(), "OK");
}

#[test]
fn codes_and_reasons_are_the_administrator_s() {
    let own = "unverified_recipient_reject_code = 550\nunverified_recipient_defer_code = 451\n\
               unverified_recipient_reject_reason = nobody home\n";
    let main = format!("{own}{RECIPIENT}");
    let text = "<to@relay.example>: Recipient address rejected: ";
    assert_eq!(
        told(&main, AddressStatus::Undeliverable, "550 no").rcpt(),
        format!("550 5.1.1 {text}undeliverable address: nobody home")
    );
    assert_eq!(
        told(&main, AddressStatus::Deferred, "451 no").rcpt(),
        format!("451 4.1.1 {text}unverified address: nobody home")
    );
    let lenient = format!("unverified_recipient_reject_code = 250\n{RECIPIENT}");
    assert_eq!(told(&lenient, AddressStatus::Undeliverable, "550 no").rcpt(), "OK");
    // A refusal for good counts over one that waits for what others say.
    let list = "smtpd_recipient_restrictions = reject_unverified_recipient, reject";
    let refused = told(list, AddressStatus::Deferred, "451 no").rcpt();
    assert_eq!(refused, format!("554 5.7.1 {text}Access denied"));
}

#[test]
fn trouble_is_told_and_refuses_for_now() {
    let mut case = Case::new(RECIPIENT);
    let text = "<to@relay.example>: Recipient address rejected: address verification problem";
    assert_eq!(case.rcpt(), format!("450 4.1.1 {text}"));
    assert_eq!(case.notes, ["warning: verify service failure: out of order"]);
}
