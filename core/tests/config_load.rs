//! Whole configurations: what loads, what a service sees, what is refused.

#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::time::Duration;

use ringpost_core::config::{
    self, Config, ConfigError, HostFacts, InterfaceAddress, Restriction, Source, Sources, Verdict, names,
};

fn host() -> HostFacts {
    let interfaces = [("127.0.0.1", 8), ("::1", 128), ("192.0.2.2", 24), ("fd00::2", 64)];
    HostFacts {
        hostname: "vm".into(),
        interfaces: interfaces
            .into_iter()
            .map(|(address, prefix)| InterfaceAddress { address: address.parse().unwrap(), prefix })
            .collect(),
        hosts: vec![("relay.example".into(), vec!["192.0.2.2".parse().unwrap()])],
    }
}

fn load_with(
    main: &str,
    master: Option<&str>,
    overrides: &[(&str, &str)],
) -> Result<Config, Vec<ConfigError>> {
    let overrides: Vec<_> =
        overrides.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Config::load(Sources {
        main: Some(Source { name: "main.cf", text: main.as_bytes() }),
        master: master.map(|text| Source { name: "master.cf", text: text.as_bytes() }),
        overrides: &overrides,
        host: &host(),
        load: &|path| match path {
            "/etc/nets" => Ok("# office\n10.1.0.0/16\n".into()),
            _ => Err("No such file or directory".into()),
        },
    })
}

fn load(main: &str) -> Config {
    load_with(main, None, &[]).unwrap()
}

fn errors(main: &str, master: Option<&str>) -> Vec<String> {
    load_with(main, master, &[]).unwrap_err().iter().map(ConfigError::to_string).collect()
}

#[test]
fn the_built_in_configuration_is_a_loopback_relay() {
    let sources = Sources {
        main: None,
        master: None,
        overrides: &[("relayhost".into(), "[127.0.0.1]:2600".into())],
        host: &host(),
        load: &|_| Err("nothing to read".into()),
    };
    let config = Config::load(sources).unwrap();
    let view = config.view();
    assert_eq!(view.text(names::QUEUE_DIRECTORY), "./ringpost-data");
    assert_eq!(view.text(names::MAILLOG_FILE), "./ringpost-data/maillog");
    assert_eq!(view.text(names::RELAYHOST), "[127.0.0.1]:2600");
    assert!(view.networks(names::MYNETWORKS).contains("127.0.0.1".parse().unwrap()));
    assert!(!view.networks(names::MYNETWORKS).contains("192.0.2.2".parse().unwrap()));
    let listeners = config.listeners();
    assert_eq!(listeners.len(), 1);
    assert_eq!(listeners[0].addresses(&config), ["127.0.0.1:2525".parse().unwrap()]);
    assert_eq!(config::refusals(&config), []);
}

#[test]
fn a_postfix_directory_that_relays_over_loopback_runs() {
    let main = "\
queue_directory = /var/spool/relay
maillog_file = /var/spool/relay/log
relayhost = [127.0.0.1]:2600
mynetworks = 127.0.0.0/8
inet_interfaces = loopback-only
";
    let master =
        "127.0.0.1:2525 inet n - n - - smtpd\nqmgr unix n - n 300 1 qmgr\nsmtp unix - - n - - smtp\n";
    let config = load_with(main, Some(master), &[]).unwrap();
    assert_eq!(config::refusals(&config), []);
    let restrictions = config.view().relay_restrictions();
    assert_eq!(restrictions, [Restriction::PermitMynetworks, Restriction::RejectUnauthDestination]);
    assert_eq!(config.listeners()[0].addresses(&config), ["127.0.0.1:2525".parse().unwrap()]);
}

#[test]
fn names_of_the_host_follow_each_other() {
    let names_of = |main: &str| {
        let config = load(main);
        let view = config.view();
        (view.text(names::MYHOSTNAME), view.text(names::MYDOMAIN))
    };
    let pair = |hostname: &str, domain: &str| (hostname.to_string(), domain.to_string());
    assert_eq!(names_of(""), pair("vm.localdomain", "localdomain"));
    assert_eq!(names_of("mydomain = ex.org"), pair("vm.ex.org", "ex.org"));
    assert_eq!(names_of("myhostname = mail.example.com"), pair("mail.example.com", "example.com"));
    assert_eq!(names_of("myhostname = foo"), pair("foo", "localdomain"));
    assert_eq!(names_of("myhostname = a.b.c.d"), pair("a.b.c.d", "b.c.d"));
}

#[test]
fn the_default_of_mynetworks_follows_the_interfaces() {
    let networks = |main: &str| load(main).view().expanded("mynetworks").unwrap();
    assert_eq!(networks(""), "127.0.0.0/8 192.0.2.0/24 [::1]/128 [fd00::]/64");
    assert_eq!(networks("compatibility_level = 2"), "127.0.0.1/32 192.0.2.2/32 [::1]/128 [fd00::2]/128");
    assert_eq!(networks("mynetworks_style = class"), "127.0.0.0/8 192.0.2.0/24 [::1]/128 [fd00::]/64");
    assert_eq!(networks("inet_interfaces = loopback-only"), "127.0.0.0/8 [::1]/128");
    assert_eq!(networks("inet_protocols = ipv4"), "127.0.0.0/8 192.0.2.0/24");
}

#[test]
fn typed_values_and_their_units() {
    let config = load(
        "smtpd_timeout = 2m\nqueue_run_delay = 90\nmaximal_queue_lifetime = 3\nmessage_size_limit = 2048\n\
         soft_bounce = YES\ndefault_destination_concurrency_positive_feedback = 1/concurrency\n",
    );
    let view = config.view();
    assert_eq!(view.time(names::SMTPD_TIMEOUT), Duration::from_secs(120));
    assert_eq!(view.time(names::QUEUE_RUN_DELAY), Duration::from_secs(90));
    assert_eq!(view.time(names::MAXIMAL_QUEUE_LIFETIME), Duration::from_secs(3 * 86_400));
    assert_eq!(view.number(names::MESSAGE_SIZE_LIMIT), 2048);
    assert!(view.flag(names::SOFT_BOUNCE));
    let feedback = view.feedback(names::DEFAULT_DESTINATION_CONCURRENCY_POSITIVE_FEEDBACK);
    assert_eq!(feedback, ringpost_core::qmgr::Feedback::PerConcurrency(1.0));
}

#[test]
fn values_under_stress() {
    let config = load("");
    let view = config.view();
    assert_eq!(view.time(names::SMTPD_TIMEOUT), Duration::from_secs(300));
    assert_eq!(view.under_stress().time(names::SMTPD_TIMEOUT), Duration::from_secs(10));
    assert_eq!(view.under_stress().number(names::SMTPD_HARD_ERROR_LIMIT), 1);
}

#[test]
fn a_service_sees_its_own_settings_wherever_they_are_referred_to() {
    let main = "smtpd_banner = $myhostname says $greeting\ngreeting = hello\nsoft_bounce = no\n";
    let master = "2525 inet n - n - - smtpd\n  -o greeting=welcome -o { syslog_name = postfix/$service_name }\n  \
                  -o myhostname=in.example.com\n2526 inet n - n - - smtpd\n";
    let config = load_with(main, Some(master), &[("soft_bounce", "yes")]).unwrap();
    let first = config.for_service(&config.services()[0]);
    assert_eq!(first.text(names::SMTPD_BANNER), "in.example.com says welcome");
    assert_eq!(first.text(names::SYSLOG_NAME), "postfix/2525");
    assert_eq!(first.text(names::MYDOMAIN), "example.com");
    let second = config.for_service(&config.services()[1]);
    assert_eq!(second.text(names::SMTPD_BANNER), "vm.localdomain says hello");
    assert_eq!(second.text(names::SYSLOG_NAME), "postfix");
    assert!(second.flag(names::SOFT_BOUNCE), "the command line wins over main.cf");
}

#[test]
fn each_transport_has_limits_of_its_own() {
    let config = load(
        "default_destination_concurrency_limit = 7\nslow_destination_concurrency_limit = 1\n\
         slow_initial_destination_concurrency = 2\nslow_destination_rate_delay = 3s\n",
    );
    let view = config.view();
    let limit = names::DEFAULT_DESTINATION_CONCURRENCY_LIMIT;
    assert_eq!(view.transport_number("smtp", limit), 7);
    assert_eq!(view.transport_number("slow", limit), 1);
    assert_eq!(view.transport_number("slow", names::INITIAL_DESTINATION_CONCURRENCY), 2);
    assert_eq!(view.transport_number("smtp", names::INITIAL_DESTINATION_CONCURRENCY), 5);
    assert_eq!(view.transport_time("slow", names::DEFAULT_DESTINATION_RATE_DELAY), Duration::from_secs(3));
}

#[test]
fn errors_name_file_and_line() {
    assert_eq!(
        errors("# x\nfoo bar\n", None),
        ["main.cf:2: missing '=' after the parameter name: \"foo bar\""]
    );
    assert_eq!(
        errors(" a = b\n", None)[0],
        "main.cf:1: the first line begins with white space, but there is none to continue"
    );
    assert_eq!(errors("a = b\n= 3\n", None), ["main.cf:2: missing parameter name: \"= 3\""]);
    assert_eq!(errors("a = b\0c\n", None), ["main.cf:1: a NUL byte in the text"]);
    assert_eq!(
        errors("\n\nsmtpd_timeout = soon\n", None),
        ["main.cf:3: smtpd_timeout: \"soon\" is no time: a number and one of s, m, h, d, w"]
    );
    assert_eq!(
        errors("soft_bounce = maybe\n", None),
        ["main.cf:1: soft_bounce: \"maybe\" is neither yes nor no"]
    );
    assert_eq!(
        errors("mynetworks = 10.0.0.1/8\n", None),
        ["main.cf:1: mynetworks: 10.0.0.1/8 has bits beyond its prefix; perhaps 10.0.0.0/8"]
    );
    assert_eq!(
        errors("mynetworks = /nowhere\n", None),
        ["main.cf:1: mynetworks: /nowhere: No such file or directory"]
    );
    let loops = errors("relayhost = $a\na = $b\nb = $a\n", None);
    assert_eq!(loops, ["main.cf:1: relayhost: unreasonable macro call nesting: \"a\""]);
    assert_eq!(
        errors("", Some("smtp inet n - n - -\n")),
        ["master.cf:1: no command field: a service has eight"]
    );
    assert_eq!(
        errors("", Some("\nsmtp inet n - n - - smtpd\n  -o smtpd_timeout=x\n")),
        ["master.cf:2: smtpd_timeout: \"x\" is no time: a number and one of s, m, h, d, w"]
    );
    assert_eq!(
        errors("", Some("there:25 inet n - n - - smtpd\n")),
        ["master.cf:1: \"there\" has no address known here: write the address"]
    );
    assert_eq!(errors("", Some("smtpx inet n - n - - smtpd\n")), ["master.cf:1: \"smtpx\" is no port"]);
}

#[test]
fn a_value_that_is_wrong_only_under_stress_is_found_when_loading() {
    let found = errors("smtpd_timeout = ${stress?{x}:{300}}s\n", None);
    assert_eq!(found, ["main.cf:1: smtpd_timeout: \"xs\" is no time: a number and one of s, m, h, d, w"]);
}

#[test]
fn an_open_relay_does_not_load() {
    let found = errors("smtpd_relay_restrictions = permit_mynetworks\n", None);
    assert!(found[0].starts_with("main.cf:1: ") && found[0].contains("relay for everybody"), "{found:?}");
    let master = "25 inet n - n - - smtpd -o smtpd_relay_restrictions=permit\n";
    assert!(errors("compatibility_level = 3.6\n", Some(master))[0].starts_with("master.cf:1: "));
}

#[test]
fn a_restriction_that_is_not_served_stops_the_start_and_lets_nobody_in() {
    let main = "compatibility_level = 3.6\nsmtpd_recipient_restrictions = permit_mynetworks,\n \
                check_weather hash:/etc/sky, permit\n";
    let config = load(main);
    let refusals = config::refusals(&config);
    assert_eq!(refusals.len(), 1);
    let text = refusals[0].to_string();
    assert!(text.starts_with("main.cf:2: smtpd_recipient_restrictions"), "{text}");
    assert!(text.contains("\"check_weather\": is not served"), "{text}");
    let list = config.view().restrictions(names::SMTPD_RECIPIENT_RESTRICTIONS);
    assert_eq!(list, [Restriction::PermitMynetworks, Restriction::Reject]);
}

#[test]
fn the_report_says_what_becomes_of_each_setting() {
    let main = "mine = 1\nsmtpd_timeout = 30s\ndefault_process_limit = 10\nmyne = 2\nrelayhost = $mine\n";
    let config = load(main);
    let lines: Vec<String> = config::report(&config).iter().take(4).map(ToString::to_string).collect();
    assert_eq!(lines[0], "main.cf:1: mine = 1: user-defined");
    assert_eq!(lines[1], "main.cf:2: smtpd_timeout = 30s: honoured (smtpd)");
    assert_eq!(
        lines[3],
        "main.cf:4: myne = 2: unknown: no parameter has this name, and nothing refers to it"
    );
    assert!(
        lines[2].starts_with("main.cf:3: default_process_limit = 10: accepted without effect ("),
        "{}",
        lines[2]
    );
}

#[test]
fn listeners_of_every_form() {
    let master = "smtp inet n - n - - smtpd\n[::1]:submission inet n - n - - smtpd\n\
                  relay.example:2525 inet n - n - - smtpd\nlocalhost:2526 inet n - n - - smtpd\n\
                  smtp unix - - n - - smtp\n";
    let addresses = |main: &str| -> Vec<String> {
        let config = load_with(main, Some(master), &[]).unwrap();
        let found = config.listeners().into_iter().flat_map(|listener| listener.addresses(&config));
        found.map(|address| address.to_string()).collect()
    };
    assert_eq!(
        addresses(""),
        ["0.0.0.0:25", "[::]:25", "[::1]:587", "192.0.2.2:2525", "127.0.0.1:2526", "[::1]:2526"]
    );
    assert_eq!(addresses("inet_interfaces = loopback-only")[..2], ["127.0.0.1:25", "[::1]:25"]);
    assert_eq!(
        addresses("inet_interfaces = $myhostname, localhost\nmyhostname = relay.example")[0],
        "192.0.2.2:25"
    );
    let config = load_with("inet_protocols = ipv4", Some("[::1]:25 inet n - n - - smtpd"), &[]);
    assert!(config.unwrap_err()[0].text.contains("inet_protocols"));
}

#[test]
fn files_in_lists_are_read_once_and_seen_by_every_service() {
    let master = "25 inet n - n - - smtpd -o mynetworks=!10.1.9.0/24,/etc/nets\n";
    let config = load_with("mynetworks = /etc/nets", Some(master), &[]).unwrap();
    let inside = |address: &str, view: config::View<'_>| {
        view.networks(names::MYNETWORKS).contains(address.parse::<IpAddr>().unwrap())
    };
    assert!(inside("10.1.9.1", config.view()));
    assert!(!inside("10.1.9.1", config.for_service(&config.services()[0])));
    assert!(inside("10.1.8.1", config.for_service(&config.services()[0])));
}

#[test]
fn relay_domains_stand_for_their_subdomains_and_mydestination_does_not() {
    let config = load("relay_domains = example.com\nmydestination = here.example\n");
    let view = config.view();
    assert!(view.domains(names::RELAY_DOMAINS).contains(b"www.example.com"));
    assert!(view.domains(names::MYDESTINATION).contains(b"here.example"));
    assert!(!view.domains(names::MYDESTINATION).contains(b"www.here.example"));
}

#[test]
fn what_is_off_is_not_refused() {
    for line in config::report(&load(
        "compatibility_level = 3.6\nsmtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination\n",
    )) {
        assert!(!matches!(line.verdict, Verdict::Refused(_) | Verdict::RefusedStopsStart(_)), "{line}");
    }
}
