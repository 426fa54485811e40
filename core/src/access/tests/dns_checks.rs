//! Names that must be well-formed, complete, known; servers in tables; backup service.

use super::*;

#[test]
fn clients_without_a_name() {
    let main = "smtpd_client_restrictions = reject_unknown_client_hostname\nunknown_client_reject_code = 550";
    let mut case = Case::new(main);
    assert_eq!(case.rcpt(), "OK");
    let text =
        |code: &str| format!("{code}.7.25 Client host rejected: cannot find your hostname, [192.0.2.9]");
    case.client = unnamed(NameStatus::Unknown);
    assert_eq!(case.rcpt(), text("550 5"));
    case.client = unnamed(NameStatus::Unavailable);
    assert_eq!(case.rcpt(), text("450 4"));
    let mut forged = Case::new("smtpd_client_restrictions = reject_unknown_reverse_client_hostname");
    forged.client.name_status = NameStatus::Forged;
    assert_eq!(forged.rcpt(), "OK");
    forged.client = unnamed(NameStatus::Unknown);
    let text = "450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.9]";
    assert_eq!(forged.rcpt(), text);
}

#[test]
fn a_name_that_leads_elsewhere_is_a_name_that_leads_somewhere() {
    let mut case = Case::new("smtpd_client_restrictions = reject_unknown_forward_client_hostname");
    case.client.name_status = NameStatus::Forged;
    assert_eq!(case.rcpt(), "OK");
    case.client.name_status = NameStatus::Unknown;
    let text = "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.9]";
    assert_eq!(case.rcpt(), text);
}

#[test]
fn greetings_that_are_no_names() {
    let check =
        |item: &str, helo: &str| Case::new(&format!("smtpd_helo_restrictions = {item}")).helo(helo).rcpt();
    let refused =
        |code: &str, helo: &str, text: &str| format!("{code} 5.5.2 <{helo}>: Helo command rejected: {text}");
    for bad in ["-a.example", "a..example", "a_b!.example"] {
        assert_eq!(check("reject_invalid_helo_hostname", bad), refused("501", bad, "Invalid name"));
    }
    for good in ["a.example", "a.example.", "a_b", "192.0.2.1", "[192.0.2.1]", "[IPv6:2001:db8::1]"] {
        assert_eq!(check("reject_invalid_helo_hostname", good), "OK", "{good}");
    }
    for bad in ["[192.0.2]", "[2001:db8::1]", "[192.0.2.1"] {
        assert_eq!(check("reject_invalid_helo_hostname", bad), refused("501", bad, "invalid ip address"));
    }
    let incomplete = refused("504", "bare", "need fully-qualified hostname");
    assert_eq!(check("reject_non_fqdn_helo_hostname", "bare"), incomplete);
    assert_eq!(check("reject_non_fqdn_helo_hostname", "[192.0.2.1]"), "OK");
}

#[test]
fn greetings_that_the_dns_does_not_know() {
    let main = "smtpd_helo_restrictions = reject_unknown_helo_hostname";
    let missing = "450 4.7.1 <mail.client.example>: Helo command rejected: Host not found";
    assert_eq!(verdict(main), missing);
    assert_eq!(Case::new(main).record("mail.client.example", addresses(&["192.0.2.1"])).rcpt(), "OK");
    assert_eq!(Case::new(main).record("mail.client.example", exchangers(&[(1, "mx.example")])).rcpt(), "OK");
    // Trouble waits for a refusal for good.
    let trouble = || Case::new(&format!("{main}\nunknown_hostname_reject_code = 550"));
    assert!(trouble().rcpt().starts_with("550 5.7.1"));
    assert_eq!(trouble().trouble("mail.client.example", RecordType::Aaaa).rcpt(), missing);
    let mut refused = trouble().trouble("mail.client.example", RecordType::A).to("a@far.example");
    assert_eq!(refused.rcpt(), "554 5.7.1 <a@far.example>: Relay access denied");
    let main = format!("{main}\nunknown_helo_hostname_tempfail_action = defer");
    let mut refused = Case::new(&main).trouble("mail.client.example", RecordType::A).to("a@far.example");
    assert_eq!(refused.rcpt(), missing);
}

#[test]
fn domains_of_addresses() {
    let main = "smtpd_recipient_restrictions = reject_non_fqdn_sender, reject_non_fqdn_recipient, \
                reject_unknown_sender_domain, reject_unknown_recipient_domain\n\
                smtpd_relay_before_recipient_restrictions = no";
    let known = || {
        Case::new(main)
            .record("sender.example", exchangers(&[(10, "mx.example")]))
            .record("relay.example", addresses(&["192.0.2.1"]))
    };
    assert_eq!(known().rcpt(), "OK");
    assert_eq!(known().from("").rcpt(), "OK");
    assert_eq!(known().from("a@[192.0.2.1]").rcpt(), "OK");
    assert_eq!(known().from("user@ours.example").rcpt(), "OK", "where mail ends the DNS says nothing");
    let unknown = "450 4.1.8 <a@nowhere.example>: Sender address rejected: Domain not found";
    assert_eq!(known().from("a@nowhere.example").rcpt(), unknown);
    let null = known().record("null.example", exchangers(&[(0, "")])).from("a@null.example").rcpt();
    let text = "550 5.7.27 <a@null.example>: Sender address rejected: Domain null.example does not accept mail (nullMX)";
    assert_eq!(null, text);
    let bare = "504 5.5.2 <bare>: Recipient address rejected: need fully-qualified address";
    assert_eq!(known().to("bare").rcpt(), bare);
    let later = known().trouble("x.example", RecordType::Mx).from("a@x.example").rcpt();
    assert_eq!(later, "450 4.1.8 <a@x.example>: Sender address rejected: Domain not found");
    let main = format!("{main}\nunknown_address_reject_code = 550");
    let text = "550 5.1.8 <from@sender.example>: Sender address rejected: Domain not found";
    assert_eq!(Case::new(&main).record("relay.example", addresses(&["192.0.2.1"])).rcpt(), text);
}

#[test]
fn servers_of_a_domain_are_looked_up_by_name_and_address() {
    let main = |kind: &str| format!("smtpd_sender_restrictions = check_sender_{kind}_access hash:/t");
    let text = "554 5.7.1 <from@sender.example>: Sender address rejected: Access denied";
    let world = |kind: &str| {
        Case::new(&main(kind))
            .record("sender.example", exchangers(&[(10, "mx.bad.example")]))
            .record("mx.bad.example", addresses(&["203.0.113.7"]))
            .record("example", name_servers(&["ns.bad.example"]))
            .record("ns.bad.example", addresses(&["203.0.113.8"]))
    };
    assert_eq!(world("mx").entry(0, "bad.example", "REJECT").rcpt(), text);
    assert_eq!(world("mx").entry(0, "203.0.113", "REJECT").rcpt(), text);
    assert_eq!(world("ns").entry(0, "ns.bad.example", "REJECT").rcpt(), text);
    assert_eq!(world("ns").entry(0, "203.0.113.8", "REJECT").rcpt(), text);
    assert_eq!(world("a").entry(0, "bad.example", "REJECT").rcpt(), "OK");
    let direct = world("a").record("sender.example", addresses(&["203.0.113.9"]));
    assert_eq!(direct.entry(0, "203.0.113.9", "REJECT").rcpt(), text);
    assert_eq!(world("mx").rcpt(), "OK");
    assert_eq!(world("mx").entry(0, "bad.example", "OK").rcpt(), "451 4.3.5 Server configuration error");
    // A name without exchangers is its own, an address, too.
    let own = Case::new(&main("mx")).record("sender.example", addresses(&["203.0.113.9"]));
    assert_eq!(own.entry(0, "sender.example", "REJECT").rcpt(), text);
    let literal = Case::new(&main("mx")).from("a@[203.0.113.9]").entry(0, "203.0.113", "REJECT").rcpt();
    assert!(literal.starts_with("554 "), "{literal}");
    let mut unsure = Case::new(&main("mx")).trouble("sender.example", RecordType::Mx);
    assert_eq!(unsure.rcpt(), "OK");
    assert!(unsure.notes[0].starts_with("warning: Unable to look up MX host for sender.example"));
}

#[test]
fn backup_service_for_those_who_name_us() {
    let main = "smtpd_relay_restrictions = permit_mx_backup, reject\nproxy_interfaces = 198.51.100.1";
    let case = || {
        Case::new(main)
            .to("a@far.example")
            .record("far.example", exchangers(&[(10, "mx.far.example"), (20, "us.example")]))
            .record("mx.far.example", addresses(&["203.0.113.7"]))
    };
    assert_eq!(case().record("us.example", addresses(&["198.51.100.1"])).rcpt(), "OK");
    assert!(case().record("us.example", addresses(&["198.51.100.2"])).rcpt().starts_with("554 "));
    let unsure = case().trouble("us.example", RecordType::A).rcpt();
    assert!(unsure.starts_with("450 4.4.4 <a@far.example>: Recipient address rejected: Unable"), "{unsure}");
    let main = format!("{main}\npermit_mx_backup_networks = 203.0.113.0/24");
    let case = |primary: &str| {
        Case::new(&main)
            .to("a@far.example")
            .record("far.example", exchangers(&[(10, "mx.far.example"), (20, "us.example")]))
            .record("us.example", addresses(&["198.51.100.1"]))
            .record("mx.far.example", addresses(&[primary]))
            .rcpt()
    };
    assert_eq!(case("203.0.113.7"), "OK");
    assert!(case("192.0.2.7").starts_with("554 "));
}
