//! The order of lists and items, and what they carry to each other.

use super::*;

#[test]
fn strangers_reach_only_our_destinations() {
    let list = "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination";
    assert_eq!(Case::new(list).to("a@relay.example").rcpt(), "OK");
    assert_eq!(Case::new(list).to("user@ours.example").rcpt(), "OK");
    assert_eq!(Case::new(list).to("a@far.example").rcpt(), "554 5.7.1 <a@far.example>: Relay access denied");
    let mut trusted = Case::new(list).to("a@far.example");
    trusted.client.in_mynetworks = true;
    assert_eq!(trusted.rcpt(), "OK");
    let defer = "smtpd_relay_restrictions = permit_mynetworks, defer_unauth_destination";
    assert_eq!(Case::new(defer).to("a@far.example").rcpt(), "454 4.7.1 <a@far.example>: Relay access denied");
}

#[test]
fn a_refusal_shows_the_address_without_quotes() {
    let refused = Case::new("").to("\"q u\"@far.example").rcpt();
    assert_eq!(refused, "554 5.7.1 <q u@far.example>: Relay access denied");
    let refused = Case::new("").to("@far.example").rcpt();
    assert_eq!(refused, "554 5.7.1 <@far.example>: Relay access denied");
}

#[test]
fn nobody_is_kept_from_the_sender_of_probes() {
    let list = "smtpd_client_restrictions = reject\nmyorigin = ours.example";
    assert_eq!(Case::new(list).to("Double-Bounce@ours.example").rcpt(), "OK");
    assert!(Case::new(list).to("double-bounce@other.example").rcpt().starts_with("554 "));
    let none = format!("{list}\naddress_verify_sender = <>");
    assert!(Case::new(&none).to("double-bounce@ours.example").rcpt().starts_with("554 "));
}

#[test]
fn what_routes_on_is_not_ours() {
    let list = "smtpd_relay_restrictions = reject_unauth_destination";
    let refused = "554 5.7.1 <a%far.example@ours.example>: Relay access denied";
    assert_eq!(Case::new(list).to("a%far.example@ours.example").rcpt(), refused);
    // Nor is anything permitted because of it.
    let main = "smtpd_recipient_restrictions = hash:/t, reject\nsmtpd_relay_restrictions = permit_mynetworks\n\
                smtpd_reject_unlisted_recipient = no";
    let case = |main: &str| {
        Case::new(main).entry(0, "a%far.example@ours.example", "OK").to("a%far.example@ours.example").rcpt()
    };
    assert!(case(main).starts_with("554 "));
    assert_eq!(case(&format!("{main}\nallow_untrusted_routing = yes")), "OK");
}

#[test]
fn a_destination_that_cannot_be_found_out_is_no_refusal_for_good() {
    let list = "smtpd_relay_restrictions = reject_unauth_destination";
    let text = "451 4.3.0 <a@trouble.example>: Temporary lookup failure";
    assert_eq!(Case::new(list).to("a@trouble.example").rcpt(), text);
}

#[test]
fn permission_ends_only_its_own_list() {
    let permits = "smtpd_client_restrictions = permit\nsmtpd_recipient_restrictions = reject";
    assert_eq!(verdict(permits), "554 5.7.1 <to@relay.example>: Recipient address rejected: Access denied");
    for (list, what) in [
        ("client", "<client.example[192.0.2.9]>: Client host"),
        ("helo", "<mail.client.example>: Helo command"),
        ("sender", "<from@sender.example>: Sender address"),
    ] {
        let main = format!("smtpd_{list}_restrictions = reject\nreject_code = 550");
        assert_eq!(verdict(&main), format!("550 5.7.1 {what} rejected: Access denied"));
        let main = format!("smtpd_{list}_restrictions = defer");
        assert_eq!(verdict(&main), format!("450 4.3.2 {what} rejected: Try again later"));
    }
}

#[test]
fn data_and_the_end_of_data_name_themselves() {
    let mut case = Case::new("smtpd_data_restrictions = reject\nsmtpd_end_of_data_restrictions = defer");
    assert_eq!(case.at(Stage::Data), "554 5.7.1 <DATA>: Data command rejected: Access denied");
    assert_eq!(
        case.at(Stage::EndOfData),
        "450 4.3.2 <END-OF-MESSAGE>: End-of-data rejected: Try again later"
    );
    let mut case = Case::new("smtpd_data_restrictions = reject_unauth_pipelining");
    assert_eq!(case.at(Stage::Data), "OK");
    case.pipelined_ahead = true;
    let text = "503 5.5.0 <DATA>: Data command rejected: Improper use of SMTP command pipelining";
    assert_eq!(case.at(Stage::Data), text);
}

#[test]
fn etrn_has_a_list_of_its_own() {
    let main = "smtpd_sender_restrictions = reject\nsmtpd_etrn_restrictions = permit_mynetworks, reject";
    let mut case = Case::new(main);
    assert_eq!(case.at(Stage::Etrn), "554 5.7.1 <relay.example>: Etrn command rejected: Access denied");
    case.client.in_mynetworks = true;
    assert_eq!(case.at(Stage::Etrn), "OK");
}

#[test]
fn a_warning_stands_for_the_next_item_only() {
    let mut case = Case::new("smtpd_recipient_restrictions = warn_if_reject reject, defer");
    assert_eq!(case.rcpt(), "450 4.3.2 <to@relay.example>: Recipient address rejected: Try again later");
    let warned = "reject_warning: 554 5.7.1 <to@relay.example>: Recipient address rejected: Access denied";
    assert_eq!(case.notes, [warned]);
}

#[test]
fn a_warning_covers_a_whole_class() {
    let main = "smtpd_restriction_classes = strict\nstrict = reject_non_fqdn_sender, reject\n\
                smtpd_recipient_restrictions = warn_if_reject, strict, permit";
    let mut case = Case::new(main).from("bare");
    assert_eq!(case.rcpt(), "OK");
    assert_eq!(case.notes.len(), 2, "{:?}", case.notes);
}

#[test]
fn classes_may_nest_but_not_for_ever() {
    let main = "smtpd_restriction_classes = one, two\none = two\ntwo = reject\n\
                smtpd_recipient_restrictions = one";
    assert!(verdict(main).starts_with("554 "));
    let main = "smtpd_restriction_classes = one, two\none = two\ntwo = one\n\
                smtpd_recipient_restrictions = one";
    let mut case = Case::new(main);
    assert_eq!(case.rcpt(), "451 4.3.5 Server configuration error");
    assert!(case.notes[0].contains("form a loop"), "{:?}", case.notes);
}

#[test]
fn what_would_be_permitted_is_deferred() {
    let main = "smtpd_recipient_restrictions = defer_if_permit, permit";
    let text = "450 4.7.0 <to@relay.example>: Recipient address rejected: defer_if_permit requested";
    assert_eq!(verdict(main), text);
    assert!(verdict("smtpd_recipient_restrictions = defer_if_permit, reject").starts_with("554 "));
    // From an earlier list, too.
    let main = "smtpd_client_restrictions = defer_if_permit";
    let text = "450 4.7.0 <client.example[192.0.2.9]>: Client host rejected: defer_if_permit requested";
    assert_eq!(verdict(main), text);
}

#[test]
fn what_would_be_refused_is_deferred() {
    let main = "smtpd_recipient_restrictions = defer_if_reject, reject";
    let text = "450 4.7.0 <to@relay.example>: Recipient address rejected: defer_if_reject requested";
    assert_eq!(verdict(main), text);
    assert_eq!(verdict("smtpd_recipient_restrictions = defer_if_reject, permit"), "OK");
    // Only in its own stage.
    let main = "smtpd_client_restrictions = defer_if_reject\nsmtpd_recipient_restrictions = reject";
    assert!(verdict(main).starts_with("554 "));
    // Both together leave nothing to say.
    let main = "smtpd_recipient_restrictions = defer_if_reject, defer_if_permit, sleep 9";
    let mut case = Case::new(main);
    assert!(case.rcpt().ends_with("defer_if_permit requested"));
    assert_eq!(case.world.paused.get(), 0);
}

#[test]
fn stages_that_speak_for_themselves_hand_on_what_they_deferred() {
    let main = "smtpd_delay_reject = no\nsmtpd_client_restrictions = defer_if_permit\n\
                smtpd_helo_restrictions = reject_non_fqdn_helo_hostname";
    let mut case = Case::new(main);
    assert_eq!(case.at(Stage::Connect), "OK");
    assert_eq!(case.at(Stage::Helo), "OK");
    assert_eq!(case.at(Stage::Mail), "OK");
    assert!(case.rcpt().starts_with("450 4.7.0 <client.example[192.0.2.9]>"));
    let mut case = Case::new(main).helo("bare");
    let text = "504 5.5.2 <bare>: Helo command rejected: need fully-qualified hostname";
    assert_eq!(case.at(Stage::Helo), text);
}

#[test]
fn unknown_users_are_refused_at_the_end_or_where_an_item_says() {
    let unknown =
        "550 5.1.1 <no@ours.example>: Recipient address rejected: User unknown in local recipient table";
    assert_eq!(Case::new("").to("no@ours.example").rcpt(), unknown);
    assert_eq!(Case::new("smtpd_reject_unlisted_recipient = no").to("no@ours.example").rcpt(), "OK");
    let filtered = "receive_override_options = no_address_mappings, no_unknown_recipient_checks";
    assert_eq!(Case::new(filtered).to("no@ours.example").rcpt(), "OK");
    let main = "smtpd_reject_unlisted_recipient = no\n\
                smtpd_recipient_restrictions = reject_unlisted_recipient, permit";
    assert_eq!(Case::new(main).to("no@ours.example").rcpt(), unknown);
    let main = "smtpd_reject_unlisted_sender = yes";
    let refused =
        "550 5.1.1 <no@ours.example>: Sender address rejected: User unknown in local recipient table";
    assert_eq!(Case::new(main).from("no@ours.example").rcpt(), refused);
    // A mere warning does not stand for the check.
    let main = "smtpd_recipient_restrictions = warn_if_reject reject_unlisted_recipient";
    assert_eq!(Case::new(main).to("no@ours.example").rcpt(), unknown);
}

#[test]
fn nobody_is_kept_from_the_postmaster() {
    assert_eq!(Case::new("smtpd_client_restrictions = reject").to("PostMaster").rcpt(), "OK");
}

#[test]
fn a_bounce_has_one_recipient() {
    let main = "smtpd_recipient_restrictions = reject_multi_recipient_bounce\n\
                smtpd_data_restrictions = reject_multi_recipient_bounce";
    let mut case = Case::new(main).from("");
    assert_eq!(case.rcpt(), "OK");
    case.recipient_count = 1;
    assert_eq!(case.at(Stage::Data), "OK");
    let text = "550 5.5.3 <to@relay.example>: Recipient address rejected: Multi-recipient bounce";
    assert_eq!(case.rcpt(), text);
    case.recipient_count = 2;
    assert_eq!(case.at(Stage::Data), "550 5.5.3 <DATA>: Data command rejected: Multi-recipient bounce");
}

#[test]
fn permissions_are_logged_where_wanted() {
    let main = "smtpd_log_access_permit_actions = permit_mynetworks\n\
                smtpd_client_restrictions = permit_mynetworks";
    let mut case = Case::new(main);
    case.client.in_mynetworks = true;
    case.rcpt();
    assert_eq!(case.notes[0], "permit: action=permit_mynetworks for Client host=client.example[192.0.2.9]");
}

#[test]
fn soft_bounce_softens_what_is_logged_and_said() {
    let refused = "454 4.7.1 <a@far.example>: Relay access denied";
    assert_eq!(Case::new("soft_bounce = yes").to("a@far.example").rcpt(), refused);
}
