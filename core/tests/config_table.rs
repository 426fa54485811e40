//! The table of parameters: complete, consistent, and equal to the page in `docs/`.

use std::collections::HashSet;

use ringpost_core::config::{self, Class, Config, HostFacts, Sources};

#[test]
fn the_page_of_parameters_is_that_of_the_table() {
    let page = include_str!("../../docs/parameters.md");
    let made = config::document();
    let different = page.lines().zip(made.lines()).find(|(page, made)| page != made);
    assert_eq!(different, None, "docs/parameters.md is not the one that the table makes");
    assert!(
        page == made,
        "docs/parameters.md must be made again: cargo run -p ringpost-core --example parameters > docs/parameters.md"
    );
}

#[test]
fn every_name_stands_in_the_table_once() {
    let mut seen = HashSet::new();
    for row in config::table() {
        assert!(seen.insert(row.name), "{} twice", row.name);
        assert!(row.summary.ends_with('.') && !row.summary.contains('|'), "{}: {}", row.name, row.summary);
        let found = config::find_parameter(row.name).map(|found| found.name);
        assert_eq!(found, Some(row.name));
    }
    // Postfix 3.7 has 831 parameters; the two prefix lengths of clients are from 3.8.
    let foreign = seen.iter().filter(|name| !name.starts_with("ringpost_")).count();
    assert_eq!(foreign, 833);
}

#[test]
fn every_default_is_a_value_of_its_kind() {
    let host = HostFacts::loopback("host.example");
    let sources =
        Sources { main: None, master: None, overrides: &[], host: &host, load: &|_| Err(String::new()) };
    let errors = Config::load(sources).err();
    assert!(errors.is_none(), "{errors:?}");
}

#[test]
fn a_reason_is_given_for_whatever_is_not_honoured() {
    for row in config::table() {
        let (Class::Honoured(text) | Class::WithoutEffect(text) | Class::Refused { reason: text, .. }) =
            row.class;
        assert!(!text.is_empty(), "{}", row.name);
    }
}
