//! What policy servers say is done as if a table had said it.

use super::*;

const ASKS: &str = "smtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:9998, reject";

/// The verdict when the server says this.
fn told(answer: &str) -> Case {
    let mut case = Case::new(ASKS);
    case.world.policy = Some(answer.into());
    case
}

#[test]
fn actions_of_access_tables_are_done() {
    let rejected = "554 5.7.1 <to@relay.example>: Recipient address rejected: ";
    for (answer, expected) in [
        ("DUNNO", format!("{rejected}Access denied")),
        ("ok", "OK".into()),
        ("REJECT not today", format!("{rejected}not today")),
        ("451 4.7.1 come back", "451 4.7.1 <to@relay.example>: Recipient address rejected: come back".into()),
        ("permit", "OK".into()),
        ("reject_unauth_destination, permit", "OK".into()),
        ("nonsense", "451 4.3.5 Server configuration error".into()),
        ("check_policy_service inet:127.0.0.1:9998", "451 4.3.5 Server configuration error".into()),
        ("check_client_access hash:/etc/any", "451 4.3.5 Server configuration error".into()),
    ] {
        assert_eq!(told(answer).rcpt(), expected, "{answer}");
    }
}

#[test]
fn messages_are_marked_and_classes_followed() {
    let mut case = told("PREPEND X-Policy: seen");
    case.rules.lists.recipient.pop();
    assert_eq!(case.rcpt(), "OK");
    assert!(!case.memory.actions.is_empty());
    assert!(case.notes.is_empty(), "Postfix logs nothing of it: {:?}", case.notes);

    let mut case = told("FILTER nowhere");
    case.rules.lists.recipient.pop();
    assert_eq!(case.rcpt(), "OK");
    let wrong =
        "warning: access table inet:127.0.0.1:9998 entry \"policy query\" requires transport:destination";
    assert_eq!(case.notes, [wrong]);

    let classes = format!("smtpd_restriction_classes = strict\nstrict = reject\n{ASKS}");
    let mut case = Case::new(&classes);
    case.world.policy = Some("strict".into());
    assert_eq!(case.rcpt(), "554 5.7.1 <to@relay.example>: Recipient address rejected: Access denied");
}

#[test]
fn without_an_answer_the_default_action_is_done() {
    let mut case = Case::new(ASKS);
    assert_eq!(
        case.rcpt(),
        "451 4.3.5 <to@relay.example>: Recipient address rejected: Server configuration problem"
    );
    assert_eq!(case.notes, ["warning: connect to 127.0.0.1:9998: Connection refused"]);
    let own = "smtpd_recipient_restrictions = \
               check_policy_service { inet:127.0.0.1:9998, default_action=DUNNO }, permit";
    assert_eq!(Case::new(own).rcpt(), "OK");
    // A default action that leads to the same service again ends there.
    let circular = "smtpd_restriction_classes = again\nagain = check_policy_service inet:127.0.0.1:9998\n\
                    smtpd_policy_service_default_action = again\n";
    let mut case = Case::new(&format!("{circular}{ASKS}"));
    assert_eq!(case.rcpt(), "451 4.3.5 Server configuration error");
    assert_eq!(case.notes.len(), 2, "{:?}", case.notes);
}

#[test]
fn a_service_may_stand_in_every_list() {
    for (list, stage) in [
        ("client", Stage::Connect),
        ("helo", Stage::Helo),
        ("sender", Stage::Mail),
        ("data", Stage::Data),
        ("end_of_data", Stage::EndOfData),
        ("etrn", Stage::Etrn),
    ] {
        let lines = format!(
            "smtpd_delay_reject = no\nsmtpd_{list}_restrictions = check_policy_service unix:private/policy"
        );
        let mut case = Case::new(&lines);
        case.world.policy = Some("550 5.7.1 told".into());
        let said = case.at(stage);
        assert!(said.starts_with("550 5.7.1 <") && said.ends_with("rejected: told"), "{list}: {said}");
    }
}
