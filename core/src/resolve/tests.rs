//! Classes, routes and lists of addresses, as a configuration with all of them decides.

use super::*;
use crate::lookup::{MemoryTables, TableId, at_once};
use crate::maps::MapTable;

const TRANSPORTS: TableId = TableId(1);
const RELOCATED: TableId = TableId(2);
const SENDER_TRANSPORTS: TableId = TableId(3);
const SENDER_RELAYHOSTS: TableId = TableId(4);
const LOCAL_USERS: TableId = TableId(5);
const RELAY_USERS: TableId = TableId(6);
const ALIASES: TableId = TableId(7);

fn domains(text: &str) -> DomainList {
    DomainList::parse(text, false, &|_| Err("no files here".to_owned())).unwrap()
}

fn maps(id: TableId) -> Maps {
    Maps::of([MapTable { id, is_pattern: false }])
}

fn settings() -> ResolveSettings {
    ResolveSettings {
        names: LocalNames {
            my_origin: "here.example".into(),
            my_destination: domains("here.example host.here.example localhost").of_whole_names(),
            own_addresses: vec!["192.0.2.1".parse().unwrap()],
            recipient_delimiter: "+".into(),
        },
        my_hostname: "host.here.example".into(),
        rewrite: RewriteSettings {
            swap_bangpath: true,
            allow_percent_hack: true,
            append_at_myorigin: true,
            my_origin: "here.example".into(),
            ..RewriteSettings::default()
        },
        empty_address_recipient: "MAILER-DAEMON".into(),
        resolve_dequoted_address: true,
        virtual_alias_domains: domains("alias.example"),
        virtual_mailbox_domains: domains("box.example"),
        relay_domains: domains("inner.example"),
        local_transport: TransportEntry::parse("local:host.here.example"),
        virtual_transport: TransportEntry::parse("virtual"),
        relay_transport: TransportEntry::parse("relay"),
        default_transport: TransportEntry::parse("smtp"),
        null_sender_transport_key: "<>".into(),
        null_sender_relayhost_key: "<>".into(),
        show_table_name: true,
        recipients: RecipientMaps {
            double_bounce: "double-bounce".into(),
            unknown_local_code: 550,
            unknown_virtual_alias_code: 551,
            unknown_virtual_mailbox_code: 552,
            unknown_relay_code: 553,
            ..RecipientMaps::default()
        },
        ..ResolveSettings::default()
    }
}

fn route<'a>(
    settings: &'a ResolveSettings,
    tables: &MemoryTables,
    sender: &str,
    recipient: &'a str,
) -> Route<'a> {
    at_once(settings.resolve(tables, sender, recipient)).expect("in memory").expect("no trouble")
}

/// `class transport:nexthop recipient`, and what is remarkable.
fn shown(route: &Route<'_>) -> String {
    let mark = |wanted, mark| if wanted { mark } else { "" };
    format!(
        "{} {}:{} {}{}{}",
        route.class.word(),
        route.transport,
        route.nexthop,
        route.recipient,
        mark(route.routed, " routed"),
        mark(route.malformed, " malformed")
    )
}

fn check(settings: &ResolveSettings, tables: &MemoryTables, recipient: &str, expect: &str) {
    assert_eq!(shown(&route(settings, tables, "s@sender.example", recipient)), expect, "{recipient}");
}

#[test]
fn the_class_of_an_address_names_its_transport() {
    let (settings, none) = (settings(), MemoryTables::default());
    let check = |recipient, expect| check(&settings, &none, recipient, expect);
    check("u@here.example", "local local:host.here.example u@here.example");
    check("u@HERE.example", "local local:host.here.example u@HERE.example");
    check("u@[192.0.2.1]", "local local:host.here.example u@[192.0.2.1]");
    check("u@[192.0.2.9]", "default smtp:[192.0.2.9] u@[192.0.2.9]");
    check("u@alias.example", "virtual alias error:5.1.1 User unknown in virtual alias table u@alias.example");
    check("u@box.example", "virtual mailbox virtual:box.example u@box.example");
    check("u@inner.example", "relay relay:inner.example u@inner.example");
    check("\"a b\"@far.example", "default smtp:far.example \"a b\"@far.example");
    check("u@sub.here.example", "default smtp:sub.here.example u@sub.here.example");
}

#[test]
fn where_no_table_is_asked_a_route_is_made_of_what_is_there() {
    let settings = ResolveSettings { relayhost: Some("[hub]".into()), ..settings() };
    assert!(!settings.asks_tables());
    for recipient in ["u@far.example", "u@inner.example", "u@here.example"] {
        let route = route(&settings, &MemoryTables::default(), "", recipient);
        let parts = [&route.transport, &route.nexthop, &route.recipient];
        assert!(parts.iter().all(|part| matches!(part, Cow::Borrowed(_))), "{route:?}");
    }
}

#[test]
fn our_own_part_in_an_address_is_taken_off() {
    let (mut settings, none) = (settings(), MemoryTables::default());
    for (recipient, expect) in [
        ("u%far.example@here.example", "default smtp:far.example u@far.example"),
        ("far.example!u@here.example", "default smtp:far.example u@far.example"),
        ("\"u@far.example\"@here.example", "default smtp:far.example u@far.example"),
        ("\"a b%far.example\"@here.example", "default smtp:far.example \"a b\"@far.example"),
        ("u%inner.example%here.example@localhost", "relay relay:inner.example u@inner.example"),
        ("u%far.example@inner.example", "relay relay:inner.example u%far.example@inner.example routed"),
        (
            "\"u@far.example\"@inner.example",
            "relay relay:inner.example \"u@far.example\"@inner.example routed",
        ),
        ("u", "local local:host.here.example u@host.here.example"),
        ("", "local local:host.here.example MAILER-DAEMON@host.here.example"),
        ("\"\"@here.example", "local local:host.here.example MAILER-DAEMON@here.example"),
        ("u@far.example.", "default smtp:far.example u@far.example"),
        ("u@", "default error:5.1.3 bad address syntax u@ malformed"),
        ("u@far..example", "default error:5.1.3 bad address syntax u@far..example malformed"),
        ("u@192.0.2.9", "default error:5.1.3 bad address syntax u@192.0.2.9 malformed"),
    ] {
        check(&settings, &none, recipient, expect);
    }
    settings.resolve_null_domain = true;
    settings.resolve_numeric_domain = true;
    settings.resolve_dequoted_address = false;
    for (recipient, expect) in [
        ("u@", "local local:host.here.example u@host.here.example"),
        ("u@192.0.2.9", "default smtp:[192.0.2.9] u@[192.0.2.9]"),
        ("u@192.0.2.1", "local local:host.here.example u@[192.0.2.1]"),
        (
            "\"u@far.example\"@here.example",
            "local local:host.here.example \"u@far.example\"@here.example routed",
        ),
    ] {
        check(&settings, &none, recipient, expect);
    }
}

#[test]
fn a_user_of_a_host_that_is_no_destination_is_not_local() {
    let settings = ResolveSettings { my_hostname: "other.example".into(), ..settings() };
    check(&settings, &MemoryTables::default(), "u", "default smtp:other.example u@other.example");
}

#[test]
fn an_empty_address_that_stays_empty_is_trouble_and_no_loop() {
    let settings = ResolveSettings { empty_address_recipient: String::new(), ..settings() };
    let trouble =
        at_once(settings.resolve(&MemoryTables::default(), "", "")).expect("in memory").unwrap_err();
    assert!(trouble.reason.contains("given up"), "{trouble}");
}

#[test]
fn mail_that_leaves_takes_the_nexthop_that_is_said_last() {
    let mut settings = settings();
    let mut tables = MemoryTables::default();
    settings.relayhost = Some("[192.0.2.7]:2600".into());
    check(&settings, &tables, "u@far.example", "default smtp:[192.0.2.7]:2600 u@far.example");
    check(&settings, &tables, "u@inner.example", "relay relay:[192.0.2.7]:2600 u@inner.example");
    check(&settings, &tables, "u@box.example", "virtual mailbox virtual:box.example u@box.example");

    settings.sender_relayhosts = maps(SENDER_RELAYHOSTS);
    tables.put(SENDER_RELAYHOSTS, "s@sender.example", "[by-sender]");
    check(&settings, &tables, "u@far.example", "default smtp:[by-sender] u@far.example");
    tables.put(SENDER_RELAYHOSTS, "s@sender.example", "dunno");
    check(&settings, &tables, "u@far.example", "default smtp:[192.0.2.7]:2600 u@far.example");
    tables.put(SENDER_RELAYHOSTS, "<>", "[by-null]");
    assert_eq!(route(&settings, &tables, "", "u@far.example").nexthop, "[by-null]");
    assert_eq!(route(&settings, &tables, "x@y.example", "u@far.example").nexthop, "[192.0.2.7]:2600");

    settings.default_transport = TransportEntry::parse("smtp:[default]");
    check(&settings, &tables, "u@far.example", "default smtp:[default] u@far.example");
    check(&settings, &tables, "u@inner.example", "relay relay:[192.0.2.7]:2600 u@inner.example");
    settings.sender_default_transports = maps(SENDER_TRANSPORTS);
    tables.put(SENDER_TRANSPORTS, "@sender.example", "slow:[slow]");
    check(&settings, &tables, "u@far.example", "default slow:[slow] u@far.example");
    tables.put(SENDER_TRANSPORTS, "@sender.example", "slow:");
    check(&settings, &tables, "u@far.example", "default slow:[192.0.2.7]:2600 u@far.example");
    tables.put(SENDER_TRANSPORTS, "s@sender.example", "DUNNO");
    check(&settings, &tables, "u@far.example", "default smtp:[default] u@far.example");

    settings.transports = maps(TRANSPORTS);
    tables.put(TRANSPORTS, "far.example", ":[table]");
    check(&settings, &tables, "u@far.example", "default smtp:[table] u@far.example");
}

#[test]
fn transport_tables_are_asked_from_the_address_to_the_star() {
    let mut settings = ResolveSettings { transports: maps(TRANSPORTS), ..settings() };
    settings.relayhost = Some("[hub]".into());
    let mut tables = MemoryTables::default();
    let keys = ["u+x@a.b.example", "u@a.b.example", "a.b.example", ".b.example", ".example", "*"];
    for key in keys.iter().rev() {
        tables.put(TRANSPORTS, key, &format!("t:{key}"));
        check(&settings, &tables, "u+x@a.b.example", &format!("default t:{key} u+x@a.b.example"));
    }
    // With a table in parent_domain_matches_subdomains the parents are keys without the dot.
    let mut tables = MemoryTables::default();
    tables.put(TRANSPORTS, "b.example", "bare:");
    check(&settings, &tables, "u@a.b.example", "default smtp:[hub] u@a.b.example");
    settings.transport_parents = true;
    check(&settings, &tables, "u@a.b.example", "default bare:a.b.example u@a.b.example");
}

#[test]
fn an_entry_changes_as_much_as_it_says() {
    let mut settings = ResolveSettings { transports: maps(TRANSPORTS), ..settings() };
    settings.relayhost = Some("[hub]".into());
    for (entry, expect) in [
        (":", "default smtp:[hub]"),
        (":[other]:25", "default smtp:[other]:25"),
        ("slow", "default slow:far.example"),
        ("slow:", "default slow:far.example"),
        ("slow:[x]", "default slow:[x]"),
        ("error:5.7.1 no mail here", "default error:5.7.1 no mail here"),
        ("error:", "default error:Address is undeliverable"),
        ("retry", "default retry:Address is undeliverable"),
        ("discard:gone", "default discard:gone"),
        ("discard:", "default discard:far.example"),
    ] {
        let mut tables = MemoryTables::default();
        tables.put(TRANSPORTS, "far.example", entry);
        check(&settings, &tables, "u@far.example", &format!("{expect} u@far.example"));
    }
    let mut tables = MemoryTables::default();
    tables.put(TRANSPORTS, "*", "discard:");
    check(&settings, &tables, "", "local discard:host.here.example MAILER-DAEMON@host.here.example");
    let unknown = "virtual alias error:5.1.1 User unknown in virtual alias table u@alias.example";
    check(&settings, &tables, "u@alias.example", unknown);
}

#[test]
fn who_has_moved_is_told_whatever_the_class() {
    let settings = ResolveSettings { relocated: maps(RELOCATED), ..settings() };
    let mut tables = MemoryTables::default();
    tables.put(RELOCATED, "u", "v@new.example");
    tables.put(RELOCATED, "@gone.example", "nowhere");
    let moved = "error:5.1.6 User has moved to";
    check(&settings, &tables, "u+x@here.example", &format!("local {moved} v@new.example u+x@here.example"));
    check(&settings, &tables, "x@gone.example", &format!("default {moved} nowhere x@gone.example"));
}

#[test]
fn trouble_with_any_table_decides_nothing() {
    let settings = ResolveSettings {
        transports: maps(TRANSPORTS),
        sender_relayhosts: maps(SENDER_RELAYHOSTS),
        sender_default_transports: maps(SENDER_TRANSPORTS),
        relocated: maps(RELOCATED),
        ..settings()
    };
    for (table, key) in [
        (TRANSPORTS, "far.example"),
        (TRANSPORTS, "*"),
        (SENDER_RELAYHOSTS, "s@sender.example"),
        (SENDER_TRANSPORTS, "@sender.example"),
        (RELOCATED, "u@far.example"),
    ] {
        let mut tables = MemoryTables::default();
        tables.put_trouble(table, key, "gone");
        let outcome = at_once(settings.resolve(&tables, "s@sender.example", "u@far.example"));
        assert!(outcome.expect("in memory").is_err(), "{key}");
    }
    let nameless =
        ResolveSettings { default_transport: TransportEntry::parse(":x"), ..super::tests::settings() };
    let outcome = at_once(nameless.resolve(&MemoryTables::default(), "", "u@far.example"));
    assert!(outcome.expect("in memory").is_err());
}

#[test]
fn strangers_may_write_to_us_and_to_those_we_relay_for() {
    let (mut settings, none) = (settings(), MemoryTables::default());
    let may = |settings: &ResolveSettings, recipient: &str| {
        let may = settings.is_authorised(&route(settings, &none, "", recipient));
        assert_eq!(at_once(settings.is_authorised_recipient(&none, recipient)), Some(Ok(may)), "{recipient}");
        may
    };
    for ours in ["u@here.example", "u@alias.example", "u@box.example", "u@inner.example"] {
        assert!(may(&settings, ours), "{ours}");
    }
    for other in
        ["u@far.example", "u%far.example@inner.example", "u%far.example@here.example", "u@far..example"]
    {
        assert!(!may(&settings, other), "{other}");
    }
    settings.allow_untrusted_routing = true;
    assert!(may(&settings, "u%far.example@inner.example") && !may(&settings, "u%far.example@here.example"));
}

#[test]
fn who_is_in_no_table_does_not_exist() {
    let mut settings = ResolveSettings { transports: maps(TRANSPORTS), ..settings() };
    settings.recipients.local = maps(LOCAL_USERS);
    settings.recipients.relay = maps(RELAY_USERS);
    settings.recipients.virtual_alias = maps(ALIASES);
    let mut tables = MemoryTables::default();
    tables.put(LOCAL_USERS, "known", "x");
    tables.put(RELAY_USERS, "known@inner.example", "x");
    tables.put(ALIASES, "known@alias.example", "x");
    tables.put(TRANSPORTS, "closed.example", "error:no mail for closed.example");
    tables.put(TRANSPORTS, "later.example", "retry:4.7.1 come back");
    let check = |address: &str, expect: &str| {
        let route = route(&settings, &tables, "", address);
        let of_recipient = at_once(settings.is_listed_recipient(&tables, address, &route));
        let of_sender = at_once(settings.is_listed_sender(&tables, address, &route));
        let shown = |listing: Option<Result<Listing, LookupTrouble>>| match listing.unwrap().unwrap() {
            Listing::Listed => "listed".to_owned(),
            Listing::Unlisted(Unlisted { code, status, text }) => format!("{code} {status} {text}"),
        };
        assert_eq!(format!("{} / {}", shown(of_recipient), shown(of_sender)), expect, "{address}");
    };
    for listed in [
        "known@here.example",
        "known+x@here.example",
        "Postmaster@here.example",
        "double-bounce@here.example",
        "known+x@inner.example",
        "known@alias.example",
        "anybody@box.example",
        "anybody@far.example",
    ] {
        check(listed, "listed / listed");
    }
    let unknown = |code: u16, table: &str| {
        format!("{code} 5.1.1 User unknown in {table} table / {code} 5.1.0 User unknown in {table} table")
    };
    check("other@here.example", &unknown(550, "local recipient"));
    check(
        "other@alias.example",
        "551 5.1.1 User unknown in virtual alias table / 551 5.1.7 User unknown in virtual alias table",
    );
    check("other@inner.example", &unknown(553, "relay recipient"));
    check("u@closed.example", "550 5.1.1 no mail for closed.example / 550 5.1.0 no mail for closed.example");
    check("u@later.example", "450 4.7.1 come back / 450 4.7.1 come back");
    check("u@far..example", "550 5.1.3 bad address syntax / 550 5.1.7 bad address syntax");
}

#[test]
fn the_parameter_that_decided_is_told() {
    struct Listening<'a>(&'a MemoryTables, std::cell::RefCell<Vec<String>>);
    impl Tables for Listening<'_> {
        async fn lookup(&self, table: crate::lookup::TableId, key: &str) -> crate::lookup::Found {
            self.0.lookup(table, key).await
        }
        fn note(&self, parameter: &str, decision: std::fmt::Arguments<'_>) {
            self.1.borrow_mut().push(format!("{parameter}: {decision}"));
        }
    }
    let settings =
        ResolveSettings { transports: maps(TRANSPORTS), relayhost: Some("[hub]".into()), ..settings() };
    let mut tables = MemoryTables::default();
    tables.put(TRANSPORTS, "inner.example", "slow:");
    let listening = Listening(&tables, Default::default());
    at_once(settings.resolve(&listening, "", "u%inner.example@localhost")).unwrap().unwrap();
    assert_eq!(
        listening.1.into_inner(),
        [
            "mydestination: localhost is this system",
            "allow_percent_hack: u@inner.example",
            "relay_domains: inner.example is listed",
            "relayhost: [hub]",
            "relay_transport: relay",
            "transport_maps: inner.example has slow:",
        ]
    );
}
