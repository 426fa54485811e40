//! The syntax of `main.cf` and `master.cf`: the expected values are what `postconf` of Postfix 3.7.11 prints.

#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use proptest::prelude::*;
use ringpost_core::config::{
    Config, HostFacts, ServiceType, Source, Sources, WakeUp, expand, read_main_cf, read_master_cf, split_list,
};

fn main_cf(text: &str) -> Vec<(String, String)> {
    let definitions = read_main_cf(&Source { name: "main.cf", text: text.as_bytes() }).unwrap();
    let mut pairs: Vec<_> = definitions.into_iter().map(|(name, value)| (name, value.text)).collect();
    pairs.sort();
    pairs
}

fn value(text: &str) -> String {
    let mut pairs = main_cf(text);
    assert_eq!(pairs.len(), 1);
    pairs.remove(0).1
}

#[test]
fn logical_lines() {
    assert_eq!(value("a = one\n   two\n# inner\n\tthree   \n"), "one two three");
    assert_eq!(value("a=a\n\n b"), "a b");
    assert_eq!(value("a=a\r\n b\r\n"), "a b");
    assert_eq!(value("a = \n   b"), "b");
    assert_eq!(value("a = a\n\t\n b"), "a b");
    assert_eq!(value("a=x\n  # c\n y"), "x y");
    assert_eq!(value("a = a#b # not comment"), "a#b # not comment");
    assert_eq!(value("a = {a\n  b}"), "{a b}");
    assert_eq!(value("a = 1\na = 2\n"), "2");
    assert_eq!(value("a-b = 1 = 2"), "1 = 2");
    assert_eq!(main_cf("# only comments\n\n"), []);
}

#[test]
fn bytes_that_are_not_utf8_matter_only_outside_comments() {
    let read = |text: &[u8]| read_main_cf(&Source { name: "main.cf", text });
    assert_eq!(read(b"# \xff\na = 1\n").unwrap().len(), 1);
    assert_eq!(read(b"\na = \xff\n").unwrap_err()[0].to_string(), "main.cf:2: the text is not UTF-8");
}

fn expanded(text: &str) -> Result<String, String> {
    expand(text, |name| match name {
        "a" => Some(Cow::Borrowed("one two three")),
        "e" => Some(Cow::Borrowed("")),
        "loop" => Some(Cow::Borrowed("$loop")),
        _ => None,
    })
}

#[test]
fn references() {
    for (text, value) in [
        ("$a", "one two three"),
        ("$e", ""),
        ("$(a)${a}", "one two threeone two three"),
        ("$a.$e|$$x", "one two three.|$x"),
        ("${ a }", "one two three"),
        ("$a-$e_", "one two three-"),
        ("${a?yes}|${e?yes}|${a:no}|${e:no}", "yes|||no"),
        ("${a?{y}:{n}}|${e?{y}:{n}}|${a?x:y}|${e?{y}:n}", "y|n|x:y|n"),
        ("${a?{ x }:{ y }}|${e?{ x }:{ y }}|", " x | y |"),
        ("${undefined}|${undefined?x}|${undefined:x}|", "||x|"),
        ("${a?b}}", "b}"),
        ("${a ? {1} : {2}}${a? {1}:{2}}", "11"),
        ("[${a?}]", "[]"),
        ("$(a?b)${a?$(a)}", "bone two three"),
        ("${a?)}", ")"),
        ("${e:{$a}}|${a:{$a}}", "one two three|"),
        ("${a?{x}:{y} }", "x"),
        ("x$$${a?$$}y", "x$$y"),
        ("${a?{$$}}", "$"),
        ("{", "{"),
    ] {
        assert_eq!(expanded(text).as_deref(), Ok(value), "{text}");
    }
}

#[test]
fn comparisons() {
    for (text, value) in [
        ("${{1} == {1.0} ? {a} : {b}}", "b"),
        ("${{10} > {9} ? {a} : {b}}", "a"),
        ("${{x10} > {x9} ? {a} : {b}}", "b"),
        ("${{a}=={a}?{yes}:{no}}|${{a} != {b} ? {yes}}|${{a} == {b} ? {yes}}|", "yes|yes||"),
        ("${{3.6} <level {3.10} ? {lt} : {ge}}", "lt"),
        ("${{3.10} >=level {3.6} ? {ge} : {lt}}", "ge"),
        ("${{2} ==level {2.0}?{eq}:{ne}}", "eq"),
        ("${{$e} == {} ? {empty} : {full}}", "empty"),
        ("${{abc} < {abd}?{lt}:{ge}}", "lt"),
        ("${{ a } == {a}?{trim}:{notrim}}", "notrim"),
        ("${{a} == {a}}", "true"),
        ("[${{a} == {b}}]", "[]"),
        ("${{007} == {7}?{n}:{s}}", "n"),
        ("${{ 1} == {1 }?{n}:{s}}", "s"),
        ("${{0x10} == {16}?{y}:{n}}", "n"),
        ("${{5} >= {05}?{y}:{n}}", "y"),
        ("${{} < {1}?{y}:{n}}", "y"),
        ("${{1}=={1}?yes}", "yes"),
        ("${{1}=={1}?{yes}:no}", "yes"),
        ("[${{1}=={1}:{yes}}]${{1}=={2}:{yes}}", "[]yes"),
    ] {
        assert_eq!(expanded(text).as_deref(), Ok(value), "{text}");
    }
}

#[test]
fn what_is_no_reference_is_an_error() {
    for text in [
        "${a",
        "${a?{b}",
        "$(a}",
        "${a-b}",
        "$",
        "a $ b",
        "$-",
        "${a?{b}c}",
        "${}",
        "${{1}}",
        "${{1} ~ {2}?{a}:{b}}",
        "${{1} = {1}?{y}:{n}}",
        "${{1} == 1?{y}:{n}}",
        "${{1x} <level {2}?{n}:{s}}",
        "${e:{$a}:{v}}",
        "${e:{$a}?{v}}",
        "$loop",
    ] {
        assert!(expanded(text).is_err(), "{text}: {:?}", expanded(text));
    }
}

#[test]
fn a_chain_that_doubles_is_stopped() {
    let chain = |leaf: &'static str| {
        expand("$x0", move |name| {
            let level: u32 = name.strip_prefix('x')?.parse().ok()?;
            Some(if level == 60 { Cow::Borrowed(leaf) } else { Cow::Owned(format!("$x{0}$x{0}", level + 1)) })
        })
    };
    assert!(chain("").unwrap_err().contains("references"));
    assert!(chain("0123456789abcdef").is_err());
}

#[test]
fn nested_braces_are_stopped_before_the_stack_is() {
    let text = format!("{}{}", "${a?{".repeat(2_000), "}}".repeat(2_000));
    assert!(expanded(&text).unwrap_err().contains("nesting"));
}

#[test]
fn a_huge_configuration_ends_in_errors() {
    let mut text = String::from("relayhost = $x\nmydestination = $x $x $x\nx = ");
    text.push_str(&"${e?{{{{}".repeat(1_200_000));
    assert!(load(&text).is_err());
}

#[test]
fn very_many_transports_load_and_very_many_errors_are_cut_short() {
    let lines = |value: &str| -> String {
        (0..50_000).map(|index| format!("t{index}_destination_rate_delay = {value}\n")).collect()
    };
    assert!(load(&lines("5s")).is_ok());
    assert!(load(&lines("soon")).is_err_and(|count| count <= 1_000));
}

#[test]
fn lists() {
    assert_eq!(split_list(" a, b\tc,,d "), ["a", "b", "c", "d"]);
    assert_eq!(split_list("x { y z, w } check:{ a b } {}"), ["x", "y z, w", "check:{ a b }", ""]);
    assert_eq!(split_list("CONNECT GET POST regexp:{{/^[^A-Z]/ Bogus}}")[3], "regexp:{{/^[^A-Z]/ Bogus}}");
    assert_eq!(split_list("{a}{b} {c"), ["{a}{b}", "{c"]);
}

#[test]
fn services() {
    let text = "smtp inet n - y - - smtpd -o a=b -o { c = d e } -o\n  {x=y}\n\
                127.0.0.1:2525 inet n n n 1000? 5 smtpd -v -osoft_bounce=yes\n\
                smtp unix - - y - - smtp # no comment\n\
                # a comment\n\
                smtp inet n - y 60 0 smtpd -v\n";
    let services = read_master_cf(&Source { name: "master.cf", text: text.as_bytes() }).unwrap();
    let names: Vec<_> = services.iter().map(|service| (service.name.as_str(), service.kind)).collect();
    let expected =
        [("smtp", ServiceType::Inet), ("127.0.0.1:2525", ServiceType::Inet), ("smtp", ServiceType::Unix)];
    assert_eq!(names, expected);
    assert_eq!(services[0].settings, [], "the later line replaces the earlier one");
    assert_eq!(services[0].wake_up, WakeUp { seconds: 60, once_used: false });
    assert_eq!((services[0].process_limit, services[0].place.line), (Some(0), 6));
    assert_eq!(services[1].wake_up, WakeUp { seconds: 1000, once_used: true });
    assert_eq!(services[1].arguments, ["-v"]);
    assert_eq!(services[1].setting("soft_bounce"), Some("yes"));
    assert!(!services[1].unprivileged && !services[1].chroot && services[2].chroot && services[2].private);
}

#[test]
fn settings_of_a_service() {
    let text = "smtp inet n - y - - smtpd -o a=b -o { c = d e } -o\n  {x=y}\n";
    let services = read_master_cf(&Source { name: "master.cf", text: text.as_bytes() }).unwrap();
    let settings: Vec<_> =
        services[0].settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(settings, [("a", "b"), ("c", "d e"), ("x", "y")]);
}

#[test]
fn what_is_no_service_is_an_error_with_its_line() {
    for line in [
        "smtp inet n - y - smtpd",
        "smtp foo n - y - - smtpd",
        "smtp inet x - y - - smtpd",
        "smtp inet n - y - -3 smtpd",
        "smtp inet n - y a - smtpd",
        "x unix n - y 10?? 0 y",
        "smtp inet y - y - - smtpd",
        "smtp inet n - y - - smtpd -o",
        "smtp inet n - y - - smtpd -o x",
        "smtp inet n - y - - smtpd -o { x = y",
    ] {
        let text = format!("\n{line}\n");
        let errors = read_master_cf(&Source { name: "master.cf", text: text.as_bytes() }).unwrap_err();
        assert!(errors[0].to_string().starts_with("master.cf:2: "), "{line}: {}", errors[0]);
    }
}

fn load(main: &str) -> Result<Config, usize> {
    let host = HostFacts::loopback("host");
    let main = Some(Source { name: "main.cf", text: main.as_bytes() });
    let sources = Sources { main, master: None, overrides: &[], host: &host, load: &|_| Err("none".into()) };
    Config::load(sources).map_err(|errors| errors.len())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(text: Vec<u8>) {
        let source = Source { name: "x", text: &text };
        let _ = read_main_cf(&source);
        let _ = read_master_cf(&source);
    }

    #[test]
    fn arbitrary_references_never_panic(text in "[$a-e(){}?:=<>! \u{e9}]{0,60}") {
        let _ = expanded(&text);
        let _ = split_list(&text);
    }
}

proptest! {
    // Each case loads a whole configuration.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn arbitrary_values_of_real_parameters_never_panic(
        name in prop::sample::select(ringpost_core::config::table().map(|row| row.name).collect::<Vec<_>>()),
        text in "[$a-z0-9_(){}?:=<>! /.,\\[\\]]{0,40}",
    ) {
        if let Ok(config) = load(&format!("{name} = {text}\n")) {
            let _ = ringpost_core::config::report(&config);
            config.listeners().iter().for_each(|listener| drop(listener.addresses(&config)));
        }
    }
}
