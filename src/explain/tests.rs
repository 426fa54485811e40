use super::*;
use ringpost_core::config::{HostFacts, Source, Sources};

fn check(main_cf: &str, address: &str, sender: &str, client: Option<&str>, expect: &str) {
    check_service(main_cf, None, address, sender, client, expect);
}

fn check_service(
    main_cf: &str,
    service: Option<&str>,
    address: &str,
    sender: &str,
    client: Option<&str>,
    expect: &str,
) {
    let host = HostFacts::loopback("mail.here.example");
    let main = Source { name: "main.cf", text: main_cf.as_bytes() };
    let load = |_: &str| Err("no files here".to_owned());
    let master_cf = "submission inet n - n - - smtpd\n  -o smtpd_client_restrictions=reject\n  -o smtpd_relay_restrictions=reject_unauth_destination\n";
    let master = service.map(|_| Source { name: "master.cf", text: master_cf.as_bytes() });
    let sources = Sources { main: Some(main), master, overrides: &[], host: &host, load: &load };
    let config = Config::load(sources).expect("sound");
    let shelf = Catalogue::open(config.tables(), &TableOptions::of(&config.view())).shelf();
    let listening = Listening::to(&shelf, config.tables());
    let arguments = ExplainArguments {
        configuration: ConfigurationArguments::of(None),
        address: address.into(),
        sender: sender.into(),
        client: client.map(|client| client.parse().expect("an address")),
        client_name: None,
        helo: None,
        service: service.map(str::to_owned),
    };
    let explained = explain(&config, &listening, &arguments).expect("sound").0;
    // Long names of tables are cut short.
    let names = [
        ("inline:{old@here.example=team@here.example}", "CANON"),
        (
            "inline:{{team@here.example = lead@here.example a@far.example}, {lead@here.example = b@far.example}}",
            "ALIAS",
        ),
        ("inline:{{u@here.example = v@here.example}, {v@here.example = u@here.example}}", "LOOP"),
    ];
    let explained = names.iter().fold(explained, |text, (long, short)| text.replace(long, short));
    assert_eq!(explained, expect);
}

#[test]
fn mail_that_leaves_is_followed_to_its_relay_host() {
    check(
        "compatibility_level = 3.6\nmyhostname = mail.here.example\nrelayhost = [hub.here.example]\nmynetworks = 127.0.0.0/8\n\
             transport_maps = inline:{{far.example = slow:}}\n",
        "user@far.example",
        "s@here.example",
        Some("192.0.2.1"),
        "\
access of unknown[192.0.2.1]
    smtpd_relay_restrictions: permit_mynetworks: says nothing
    smtpd_relay_restrictions: an item about logins or certificates: says nothing
    relayhost: [hub.here.example]
    default_transport: smtp
    inline:{{far.example = slow:}}: user@far.example: not found
    inline:{{far.example = slow:}}: far.example: \"slow:\"
    transport_maps: far.example has slow:
    smtpd_relay_restrictions: defer_unauth_destination: refuses: 454 4.7.1 <user@far.example>: Relay access denied
    access       refused: 454 4.7.1 <user@far.example>: Relay access denied
resolve <user@far.example> for mail of <s@here.example>
    relayhost: [hub.here.example]
    default_transport: smtp
    inline:{{far.example = slow:}}: user@far.example: not found
    inline:{{far.example = slow:}}: far.example: \"slow:\"
    transport_maps: far.example has slow:
check <user@far.example>
verdict
    class        default
    transport    slow
    nexthop      far.example
    delivery     deferred: mail transport unavailable
    recipient    accepted
    destination  not ours
    client       192.0.2.1 is not in mynetworks
",
    );
}

#[test]
fn an_address_that_routes_by_way_of_us_shows_where_it_goes() {
    check(
        "compatibility_level = 3.6\nmyhostname = mail.here.example\nrelay_domains = inner.example\nmydestination = localhost\n",
        "u%inner.example@localhost",
        "",
        None,
        "\
resolve <u%inner.example@localhost> for mail of <>
    mydestination: localhost is this system
    allow_percent_hack: u@inner.example
    relay_domains: inner.example is listed
    relay_transport: relay
check <u%inner.example@localhost>
verdict
    class        relay
    transport    relay
    nexthop      inner.example
    delivered to u@inner.example
    delivery     by the SMTP client
    recipient    accepted
    destination  ours: reject_unauth_destination lets it pass
",
    );
}

#[test]
fn an_incomplete_address_is_completed_and_its_return_explained() {
    check(
        "compatibility_level = 3.6\nmyhostname = mail.here.example\nmyorigin = here.example\nmydestination =\n\
             transport_maps = static:error:closed\n",
        "user",
        "boss",
        Some("127.0.0.1"),
        "\
rewrite sender <boss>
    append_at_myorigin: boss@here.example
rewrite recipient <user>
    append_at_myorigin: user@here.example
access of unknown[127.0.0.1]
    smtpd_relay_restrictions: permit_mynetworks: permits
    default_transport: smtp
    static:error:closed: user@here.example: \"error:closed\"
    transport_maps: user@here.example has error:closed
    access       refused: 550 5.1.1 <user>: Recipient address rejected: closed
resolve <user@here.example> for mail of <boss@here.example>
    default_transport: smtp
    static:error:closed: user@here.example: \"error:closed\"
    transport_maps: user@here.example has error:closed
check <user@here.example>
verdict
    class        default
    transport    error
    nexthop      closed
    delivery     returned to the sender; the nexthop is the reason
    recipient    unlisted: 550 5.1.1 closed
    destination  not ours
    client       127.0.0.1 is in mynetworks: permit_mynetworks lets it relay
",
    );
}

#[test]
fn trouble_with_a_table_is_told_with_the_steps_before_it() {
    check(
        "compatibility_level = 3.6\nmyhostname = mail.here.example\ntransport_maps = fail:out\n",
        "user@far.example",
        "",
        None,
        "\
resolve <user@far.example> for mail of <>
    default_transport: smtp
    fail:out: user@far.example: trouble: Application error
verdict
    trouble      fail:out: Application error
    delivery     deferred: address resolver failure
",
    );
}

#[test]
fn aliases_of_aliases_and_copies_are_followed_to_their_routes() {
    check(
        "compatibility_level = 3.6\nmyhostname = mail.here.example\nmydestination =\n\
             relay_domains = here.example\nvirtual_alias_domains =\n\
             recipient_canonical_maps = inline:{old@here.example=team@here.example}\n\
             virtual_alias_maps = inline:{{team@here.example = lead@here.example a@far.example}, {lead@here.example = b@far.example}}\n\
             always_bcc = archive@here.example\npropagate_unmatched_extensions =\n",
        "old@here.example",
        "s@far.example",
        None,
        "\
resolve <old@here.example> for mail of <s@far.example>
    relay_domains: here.example is listed
    relay_transport: relay
check <old@here.example>
    CANON: old@here.example: \"team@here.example\"
    recipient_canonical_maps: old@here.example is listed
verdict at RCPT TO:<old@here.example>
    class        relay
    recipient    accepted
    destination  ours: reject_unauth_destination lets it pass
map mail of <s@far.example> for <old@here.example>
    CANON: old@here.example: \"team@here.example\"
    recipient_canonical_maps: old@here.example has team@here.example
    CANON: team@here.example: not found
    CANON: @here.example: not found
    ALIAS: team@here.example: \"lead@here.example a@far.example\"
    virtual_alias_maps: team@here.example has lead@here.example a@far.example
    ALIAS: lead@here.example: \"b@far.example\"
    virtual_alias_maps: lead@here.example has b@far.example
    ALIAS: b@far.example: not found
    ALIAS: @far.example: not found
    ALIAS: a@far.example: not found
    ALIAS: @far.example: not found
    CANON: archive@here.example: not found
    CANON: @here.example: not found
    ALIAS: archive@here.example: not found
    ALIAS: @here.example: not found
    recipient    <b@far.example>
    recipient    <a@far.example>
    copy         <archive@here.example>
resolve <b@far.example> for mail of <s@far.example>
    default_transport: smtp
verdict for <b@far.example>
    class        default
    transport    smtp
    nexthop      far.example
    delivery     by the SMTP client
resolve <a@far.example> for mail of <s@far.example>
    default_transport: smtp
verdict for <a@far.example>
    class        default
    transport    smtp
    nexthop      far.example
    delivery     by the SMTP client
resolve <archive@here.example> for mail of <s@far.example>
    relay_domains: here.example is listed
    relay_transport: relay
verdict for <archive@here.example>
    class        relay
    transport    relay
    nexthop      here.example
    delivery     by the SMTP client
",
    );
}

#[test]
fn each_item_of_the_access_lists_says_its_word() {
    check(
        "compatibility_level = 3.6\nmyhostname = mail.here.example\nmydestination =\nmynetworks = 127.0.0.0/8\n\
             relay_domains = here.example\nsmtpd_restriction_classes = strict\n\
             strict = check_sender_access inline:{far.example=REJECT}\n\
             smtpd_client_restrictions = permit_mynetworks, check_client_access inline:{192.0.2=strict}\n",
        "u@here.example",
        "s@far.example",
        Some("192.0.2.1"),
        "\
access of unknown[192.0.2.1]
    smtpd_client_restrictions: permit_mynetworks: says nothing
    inline:{192.0.2=strict}: unknown: not found
    inline:{192.0.2=strict}: 192.0.2.1: not found
    inline:{192.0.2=strict}: 192.0.2: \"strict\"
    default_transport: smtp
    inline:{far.example=REJECT}: s@far.example: not found
    inline:{far.example=REJECT}: far.example: \"REJECT\"
    smtpd_client_restrictions: check_sender_access inline:{far.example=REJECT}: refuses: 554 5.7.1 <s@far.example>: Sender address rejected: Access denied
    smtpd_client_restrictions: strict: refuses: 554 5.7.1 <s@far.example>: Sender address rejected: Access denied
    smtpd_client_restrictions: check_client_access inline:{192.0.2=strict}: refuses: 554 5.7.1 <s@far.example>: Sender address rejected: Access denied
    access       refused: 554 5.7.1 <s@far.example>: Sender address rejected: Access denied
resolve <u@here.example> for mail of <s@far.example>
    relay_domains: here.example is listed
    relay_transport: relay
check <u@here.example>
verdict
    class        relay
    transport    relay
    nexthop      here.example
    delivery     by the SMTP client
    recipient    accepted
    destination  ours: reject_unauth_destination lets it pass
    client       192.0.2.1 is not in mynetworks
",
    );
}

#[test]
fn a_service_is_explained_with_its_own_settings() {
    check_service(
        "compatibility_level = 3.6\nmyhostname = mail.here.example\nmydestination =\nrelay_domains = here.example\n",
        Some("submission"),
        "u@here.example",
        "",
        Some("192.0.2.1"),
        "\
access of unknown[192.0.2.1]
    smtpd_client_restrictions: reject: refuses: 554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied
    access       refused: 554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied
resolve <u@here.example> for mail of <>
    relay_domains: here.example is listed
    relay_transport: relay
check <u@here.example>
verdict
    class        relay
    transport    relay
    nexthop      here.example
    delivery     by the SMTP client
    recipient    accepted
    destination  ours: reject_unauth_destination lets it pass
    client       192.0.2.1 is not in mynetworks
",
    );
}

#[test]
fn an_expansion_without_end_is_told() {
    check(
        "compatibility_level = 3.6\nmyhostname = mail.here.example\nvirtual_alias_domains =\nmydestination =\n\
             virtual_alias_recursion_limit = 2\n\
             virtual_alias_maps = inline:{{u@here.example = v@here.example}, {v@here.example = u@here.example}}\n",
        "u@here.example",
        "",
        None,
        "\
resolve <u@here.example> for mail of <>
    default_transport: smtp
check <u@here.example>
    LOOP: u@here.example: \"v@here.example\"
    virtual_alias_maps: u@here.example is listed
verdict at RCPT TO:<u@here.example>
    class        default
    recipient    accepted
    destination  not ours
map mail of <> for <u@here.example>
    LOOP: u@here.example: \"v@here.example\"
    virtual_alias_maps: u@here.example has v@here.example
    LOOP: v@here.example: \"u@here.example\"
    virtual_alias_maps: v@here.example has u@here.example
    warning: unreasonable virtual_alias_maps map nesting for u@here.example -- message not accepted, try again later
verdict
    message      refused: 451 4.6.0 Alias expansion error
",
    );
}
