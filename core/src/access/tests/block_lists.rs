//! Lists in the DNS.

use super::*;

const LISTED: &str = "9.2.0.192.bl.example";

fn client(item: &str) -> Case {
    Case::new(&format!("smtpd_client_restrictions = {item}"))
}

#[test]
fn a_listed_client_is_refused_with_the_reason() {
    let case = || client("reject_rbl_client bl.example");
    assert_eq!(case().rcpt(), "OK");
    let listed = || case().record(LISTED, addresses(&["127.0.0.2"]));
    let text = "554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using bl.example";
    assert_eq!(listed().rcpt(), text);
    assert_eq!(listed().record(LISTED, texts(&["see", "this"])).rcpt(), format!("{text}; see / this"));
    let long = "x".repeat(1000);
    assert!(listed().record(LISTED, texts(&[&long])).rcpt().len() <= 510);
    let mut unsure = case().trouble(LISTED, RecordType::A);
    assert_eq!(unsure.rcpt(), "OK");
    assert!(unsure.notes[0].starts_with("warning: 9.2.0.192.bl.example: RBL lookup error"));
}

#[test]
fn only_answers_that_pass_the_filter_count() {
    let case = |answer: &str| {
        client("reject_rbl_client bl.example=127.0.0.[2;4..9]").record(LISTED, addresses(&[answer])).rcpt()
    };
    assert!(
        case("127.0.0.4")
            .starts_with("554 5.7.1 Service unavailable; Client host [192.0.2.9] blocked using bl.example")
    );
    assert_eq!(case("127.0.0.3"), "OK");
}

#[test]
fn names_are_looked_up_in_lists_of_names() {
    let listed = |item: &str, name: &str| {
        client(&format!("{item} dbl.example"))
            .record(&format!("{name}.dbl.example"), addresses(&["127.0.1.2"]))
            .rcpt()
    };
    for (item, name, what) in [
        ("reject_rhsbl_client", "client.example", "Client host [client.example]"),
        ("reject_rhsbl_reverse_client", "client.example", "Unverified Client host [client.example]"),
        ("reject_rhsbl_helo", "mail.client.example", "Helo command [mail.client.example]"),
        ("reject_rhsbl_sender", "sender.example", "Sender address [from@sender.example]"),
        ("reject_rhsbl_recipient", "relay.example", "Recipient address [to@relay.example]"),
    ] {
        let text = format!("554 5.7.1 Service unavailable; {what} blocked using dbl.example");
        assert_eq!(listed(item, name), text);
    }
    assert_eq!(client("reject_rhsbl_sender dbl.example").from("").rcpt(), "OK");
}

#[test]
fn replies_may_be_of_ones_own() {
    let main = "smtpd_client_restrictions = reject_rbl_client bl.example=127.0.0.2\n\
                rbl_reply_maps = hash:/replies\nmaps_rbl_reject_code = 550";
    let case = || Case::new(main).record(LISTED, addresses(&["127.0.0.2"])).helo("$name");
    assert!(case().rcpt().starts_with("550 5.7.1 Service unavailable; "));
    let own = |template: &str| case().entry(0, "bl.example=127.0.0.2", template).rcpt();
    assert_eq!(own("$rbl_code 5.7.9 No, $client_name ($helo_name)"), "550 5.7.9 No, client.example ($name)");
    assert_eq!(own("nonsense"), "450 4.7.1 Service unavailable");
    assert!(own("${oops").starts_with("550 5.7.1 Service unavailable; "), "a bad template is none");
}

#[test]
fn good_lists_permit_but_make_no_relay() {
    let main = "smtpd_recipient_restrictions = permit_dnswl_client wl.example, reject";
    let case = || Case::new(main).record("9.2.0.192.wl.example", addresses(&["127.0.0.2"]));
    assert_eq!(case().rcpt(), "OK");
    assert!(Case::new(main).rcpt().starts_with("554 "));
    let main = "smtpd_relay_restrictions = permit_dnswl_client wl.example, reject";
    let case = Case::new(main).record("9.2.0.192.wl.example", addresses(&["127.0.0.2"])).to("a@far.example");
    assert!({ case }.rcpt().starts_with("554 "));
    let unsure = Case::new(main).trouble("9.2.0.192.wl.example", RecordType::A).rcpt();
    let text = "450 4.7.1 <client.example[192.0.2.9]>: Client host rejected: Service unavailable";
    assert_eq!(unsure, text);
}
