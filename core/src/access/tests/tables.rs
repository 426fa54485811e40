//! Access tables: keys and actions.

use super::*;

const CLIENT: &str = "smtpd_client_restrictions = check_client_access hash:/t";
const SENDER: &str = "smtpd_sender_restrictions = hash:/t";
const RECIPIENT: &str =
    "smtpd_recipient_restrictions = check_recipient_access hash:/t\nrecipient_delimiter = +";

#[test]
fn clients_are_looked_up_by_name_parents_address_and_networks() {
    for key in ["client.example", "example", "192.0.2.9", "192.0.2", "192.0", "192"] {
        let text = "554 5.7.1 <client.example[192.0.2.9]>: Client host rejected: Access denied";
        assert_eq!(Case::new(CLIENT).entry(0, key, "REJECT").rcpt(), text, "{key}");
    }
    for key in [".example", "192.0.2.", "0.2.9", "lient.example"] {
        assert_eq!(Case::new(CLIENT).entry(0, key, "REJECT").rcpt(), "OK", "{key}");
    }
    let dotted = format!("{CLIENT}\nparent_domain_matches_subdomains =");
    assert!(Case::new(&dotted).entry(0, ".example", "REJECT").rcpt().starts_with("554"));
    assert_eq!(Case::new(&dotted).entry(0, "example", "REJECT").rcpt(), "OK");
    let mut case = Case::new(CLIENT).entry(0, "unknown", "REJECT who are you");
    case.client = unnamed(NameStatus::Unknown);
    assert_eq!(case.rcpt(), "554 5.7.1 <unknown[192.0.2.9]>: Client host rejected: who are you");
    let mut case = Case::new(CLIENT).entry(0, "2001:db8", "REJECT");
    case.client.address = "2001:db8::1".parse().unwrap();
    assert!(case.rcpt().starts_with("554 "), "2001:db8::1 is cut at its colons");
}

#[test]
fn the_name_decides_before_the_address() {
    let case = Case::new(CLIENT).entry(0, "client.example", "OK").entry(0, "192.0.2.9", "REJECT");
    assert_eq!({ case }.rcpt(), "OK");
    let case = Case::new(CLIENT).entry(0, "client.example", "DUNNO").entry(0, "192.0.2.9", "REJECT");
    assert_eq!({ case }.rcpt(), "OK", "DUNNO ends the search in this table");
}

#[test]
fn patterns_are_asked_for_whole_keys_only() {
    let main = "smtpd_client_restrictions = check_client_access cidr:/t";
    assert!(Case::new(main).entry(0, "192.0.2.9", "REJECT").rcpt().starts_with("554"));
    assert_eq!(Case::new(main).entry(0, "192.0.2", "REJECT").rcpt(), "OK");
    assert_eq!(Case::new(main).entry(0, "example", "REJECT").rcpt(), "OK");
}

#[test]
fn addresses_are_looked_up_from_the_whole_to_the_user() {
    let keys = ["to+x@relay.example", "to@relay.example", "relay.example", "example", "to+x@", "to@"];
    for (place, key) in keys.into_iter().enumerate() {
        // The longer keys are not there, the shorter are, and say something else.
        let mut case = Case::new(RECIPIENT).to("to+x@relay.example");
        for shorter in &keys[place + 1..] {
            case = case.entry(0, shorter, "REJECT shorter");
        }
        let text = "554 5.7.1 <to+x@relay.example>: Recipient address rejected: this";
        assert_eq!(case.entry(0, key, "REJECT this").rcpt(), text, "{key}");
    }
}

#[test]
fn the_null_sender_has_a_key() {
    assert!(
        Case::new(SENDER)
            .entry(0, "<>", "REJECT")
            .from("")
            .rcpt()
            .starts_with("554 5.7.1 <>: Sender address")
    );
    let main = format!("{SENDER}\nsmtpd_null_access_lookup_key = null");
    assert!(Case::new(&main).entry(0, "null", "REJECT").from("").rcpt().starts_with("554"));
}

#[test]
fn helo_and_etrn_names_are_domains() {
    let main = "smtpd_helo_restrictions = hash:/t\nsmtpd_etrn_restrictions = hash:/u";
    let mut case = Case::new(main).entry(1, "client.example", "550 go away");
    assert_eq!(case.rcpt(), "550 5.7.1 <mail.client.example>: Helo command rejected: go away");
    let mut case = Case::new(main).entry(0, "example", "421 4.3.2 later");
    assert_eq!(case.at(Stage::Etrn), "421 4.3.2 <relay.example>: Etrn command rejected: later");
}

#[test]
fn refusals_have_codes_and_texts_of_their_own() {
    let refused = |value: &str| Case::new(RECIPIENT).entry(0, "relay.example", value).rcpt();
    let head = "<to@relay.example>: Recipient address rejected:";
    assert_eq!(refused("REJECT"), format!("554 5.7.1 {head} Access denied"));
    assert_eq!(refused("reject 5.1.1 Nobody here"), format!("554 5.1.1 {head} Nobody here"));
    assert_eq!(refused("DEFER"), format!("450 4.7.1 {head} Access denied"));
    assert_eq!(refused("DEFER come back"), format!("450 4.7.1 {head} come back"));
    assert_eq!(refused("550 5.1.8 bad"), format!("550 5.1.2 {head} bad"));
    assert_eq!(refused("450 5.2.2 full"), format!("450 4.2.2 {head} full"));
    assert_eq!(refused("521 go"), format!("521 5.7.1 {head} go"));
    assert_eq!(refused("DEFER_IF_PERMIT"), format!("450 4.7.1 {head} Service unavailable"));
    assert_eq!(refused("DEFER_IF_REJECT x"), "OK");
    assert_eq!(refused("12345"), "OK");
    assert_eq!(refused("permit_mynetworks, reject"), format!("554 5.7.1 {head} Access denied"));
    let main = format!("{RECIPIENT}\naccess_map_reject_code = 550\naccess_map_defer_code = 451");
    let refused = |value: &str| Case::new(&main).entry(0, "relay.example", value).rcpt();
    assert!(refused("REJECT").starts_with("550 ") && refused("DEFER").starts_with("451 "));
    // A status about an address has no place where no address is refused.
    let client = Case::new(CLIENT).entry(0, "example", "REJECT 5.1.1 x").rcpt();
    assert!(client.starts_with("554 5.0.0 "), "{client}");
    for (given, said) in [(0, 0), (1, 7), (2, 8), (3, 7), (4, 7), (5, 0), (6, 7), (7, 7), (8, 8), (9, 0)] {
        let sender = Case::new(SENDER).entry(0, "sender.example", &format!("REJECT 5.1.{given} x")).rcpt();
        assert!(sender.starts_with(&format!("554 5.1.{said} ")), "5.1.{given}: {sender}");
    }
}

#[test]
fn a_table_may_name_a_class_but_no_table() {
    let main = "smtpd_restriction_classes = picky\npicky = reject_non_fqdn_sender, permit\n\
                smtpd_recipient_restrictions = check_recipient_access hash:/t, reject";
    assert_eq!(Case::new(main).entry(0, "relay.example", "picky").rcpt(), "OK");
    let refused = "504 5.5.2 <bare>: Sender address rejected: need fully-qualified address";
    assert_eq!(Case::new(main).entry(0, "relay.example", "picky").from("bare").rcpt(), refused);
    for wrong in ["check_sender_access hash:/u", "hash:/u", "no_such_item"] {
        let mut case = Case::new(main).entry(0, "relay.example", wrong);
        assert_eq!(case.rcpt(), "451 4.3.5 Server configuration error", "{wrong}");
        assert!(!case.notes.is_empty());
    }
}

#[test]
fn trouble_with_a_table_is_never_absence() {
    let mut case = Case::new(RECIPIENT);
    case.world.tables.put_trouble(TableId(0), "to@relay.example", "gone");
    let text = "451 4.3.5 <to@relay.example>: Recipient address rejected: Server configuration error";
    assert_eq!(case.rcpt(), text);
    assert_eq!(case.notes, ["warning: hash:/t: table lookup problem: gone"]);
    let main = "smtpd_recipient_restrictions = check_recipient_access { hash:/t, default_action=DUNNO }";
    let mut case = Case::new(main);
    case.world.tables.put_trouble(TableId(0), "to@relay.example", "gone");
    assert_eq!(case.rcpt(), "OK");
}

#[test]
fn what_is_to_be_done_with_the_message_is_kept_and_logged() {
    let head = "<to@relay.example>: Recipient address";
    let done = |value: &str| {
        let mut case = Case::new(RECIPIENT).entry(0, "relay.example", value);
        assert_eq!(case.rcpt(), "OK", "{value}");
        (case.memory.actions.clone(), case.notes.join("|"))
    };
    let (actions, notes) = done("HOLD");
    assert!(actions.hold && notes == format!("hold: {head} triggers HOLD action"), "{notes}");
    let (actions, notes) = done("DISCARD for fun");
    assert!(actions.discard && notes == format!("discard: {head} for fun"), "{notes}");
    let (actions, notes) = done("FILTER smtp:[127.0.0.1]:10025");
    assert_eq!(actions.filter.as_deref(), Some("smtp:[127.0.0.1]:10025"));
    assert_eq!(notes, format!("filter: {head} triggers FILTER smtp:[127.0.0.1]:10025"));
    let (actions, _) = done("REDIRECT a@b.example");
    assert_eq!(actions.redirect.as_deref(), Some("a@b.example"));
    let (actions, _) = done("BCC a@b.example");
    assert_eq!(*actions.bcc, ["a@b.example".into()]);
    let (actions, notes) = done("PREPEND X-Seen: yes");
    assert_eq!(*actions.prepend, ["X-Seen: yes".into()]);
    assert_eq!(notes, "", "Postfix logs nothing of it");
    let (actions, notes) = done("INFO hm");
    assert!(actions.is_empty() && notes == "info: hm", "{notes}");
    let (_, notes) = done("WARN hm");
    assert_eq!(notes, "warn: hm");
    for wrong in ["FILTER", "FILTER x", "REDIRECT x", "BCC", "PREPEND no header"] {
        let (actions, notes) = done(wrong);
        assert!(actions.is_empty() && notes.starts_with("warning: access table hash:/t entry"), "{notes}");
    }
}

#[test]
fn discard_ends_all_checks() {
    let main = "smtpd_sender_restrictions = hash:/t\nsmtpd_recipient_restrictions = reject";
    let mut case = Case::new(main).entry(0, "sender.example", "DISCARD");
    assert_eq!(case.rcpt(), "OK");
    assert_eq!(case.at(Stage::Data), "OK");
    case.memory.forget_transaction();
    assert!(case.memory.actions.is_empty());
}

#[test]
fn before_mail_there_is_no_message_to_do_anything_with() {
    let main = format!("{CLIENT}\nsmtpd_delay_reject = no\nsmtpd_etrn_restrictions = hash:/u");
    let mut case = Case::new(&main).entry(0, "example", "HOLD").entry(1, "example", "HOLD");
    assert_eq!(case.at(Stage::Connect), "OK");
    assert_eq!(case.at(Stage::Etrn), "OK");
    assert!(case.memory.actions.is_empty());
    assert!(
        case.notes[0].contains("smtpd_delay_reject=no") && case.notes[1].contains("smtpd_etrn_restrictions")
    );
}

#[test]
fn an_unverified_name_must_not_permit() {
    let main = "smtpd_client_restrictions = check_reverse_client_hostname_access hash:/t";
    let mut case = Case::new(main).entry(0, "client.example", "OK");
    assert_eq!(case.rcpt(), "451 4.3.5 Server configuration error");
    let refused = Case::new(main).entry(0, "client.example", "REJECT").rcpt();
    assert_eq!(refused, "554 5.7.1 <client.example>: Unverified Client host rejected: Access denied");
}
