use super::*;
use crate::lookup::{MemoryTables, TableId, at_once};
use crate::maps::{LocalNames, MapTable};
use crate::rewrite::RewriteSettings;

/// The table of a test with this number.
fn maps(id: u32) -> Maps {
    Maps::of([MapTable { id: TableId(id), is_pattern: false }])
}

fn resolve() -> ResolveSettings {
    ResolveSettings {
        names: LocalNames {
            my_origin: "here.example".into(),
            recipient_delimiter: "+".into(),
            ..LocalNames::default()
        },
        rewrite: RewriteSettings {
            append_at_myorigin: true,
            my_origin: "here.example".into(),
            ..RewriteSettings::default()
        },
        ..ResolveSettings::default()
    }
}

fn settings() -> MappingSettings {
    let all = Uses::parse(["envelope_sender", "envelope_recipient", "header_sender", "header_recipient"]);
    let canonical = |id| CanonicalMaps { maps: maps(id), uses: all.expect("they are words") };
    MappingSettings {
        sender_canonical: canonical(1),
        recipient_canonical: canonical(2),
        canonical: canonical(3),
        virtual_aliases: maps(4),
        expansion_max: 10,
        recursion_max: 10,
        alias_bytes_max: 100,
        extends_canonical: true,
        extends_virtual: true,
        ..MappingSettings::default()
    }
}

struct World {
    settings: MappingSettings,
    tables: MemoryTables,
    notes: Vec<CleanupNote>,
}

impl World {
    fn new(entries: &[(u32, &str, &str)]) -> World {
        let mut tables = MemoryTables::default();
        for (table, key, value) in entries {
            tables.put(TableId(*table), key, value);
        }
        World { settings: settings(), tables, notes: Vec::new() }
    }

    fn mapped<R>(&mut self, ask: impl AsyncFnOnce(&mut Mapper<'_, MemoryTables>) -> R) -> R {
        let resolve = resolve();
        let (settings, tables, notes) = (&self.settings, &self.tables, &mut self.notes);
        let mut mapper = Mapper { settings, resolve: &resolve, tables, notes };
        at_once(ask(&mut mapper)).expect("tables in memory answer at once")
    }

    fn in_place(&mut self, address: &str, one: Use) -> Result<String, Trouble> {
        self.mapped(async |mapper| {
            mapper.in_place(address, one, Context::Local, true).await.map(Cow::into_owned)
        })
    }

    fn expand(&mut self, address: &str) -> Result<Vec<String>, Trouble> {
        self.mapped(async |mapper| mapper.expand(address).await)
    }

    fn last_note(&self) -> &str {
        self.notes.last().map_or("", |note| &note.text)
    }
}

#[test]
fn tables_follow_each_other_for_senders_and_recipients() {
    let mut world = World::new(&[
        (1, "a@here.example", "sender@x.example"),
        (2, "a@here.example", "recipient@x.example"),
        (3, "sender@x.example", "s@y.example"),
        (3, "recipient@x.example", "r@y.example"),
    ]);
    assert_eq!(world.in_place("a", Use::EnvelopeSender).as_deref(), Ok("s@y.example"));
    assert_eq!(world.in_place("a", Use::HeaderRecipient).as_deref(), Ok("r@y.example"));
    assert_eq!(world.in_place("b", Use::EnvelopeSender).as_deref(), Ok("b@here.example"));
    world.settings.canonical.uses = Uses::parse(["header_sender"]).expect("a word");
    assert_eq!(world.in_place("a", Use::EnvelopeSender).as_deref(), Ok("sender@x.example"));
    assert_eq!(world.in_place("", Use::EnvelopeSender).as_deref(), Ok(""));
}

#[test]
fn extensions_go_over_to_results() {
    let mut world = World::new(&[
        (3, "user@d.example", "other@e.example"),
        (3, "@f.example", "@g.example"),
        (3, "\"a b\"@d.example", "\"c d\"@e.example"),
        (3, "full+ext@d.example", "exact@e.example"),
        (3, "move@d.example", "@e.example"),
    ]);
    let mut check = |address: &str, expect: &str| {
        assert_eq!(world.in_place(address, Use::EnvelopeRecipient).as_deref(), Ok(expect), "{address}");
    };
    check("user+ext@d.example", "other+ext@e.example");
    check("user+ext@f.example", "user+ext@g.example");
    check("\"a b+x\"@d.example", "\"c d+x\"@e.example");
    check("full+ext@d.example", "exact@e.example");
    check("move+x@d.example", "move+x@e.example");
    world.settings.extends_canonical = false;
    let mut check = |address: &str, expect: &str| {
        assert_eq!(world.in_place(address, Use::EnvelopeRecipient).as_deref(), Ok(expect), "{address}");
    };
    check("user+ext@d.example", "other@e.example");
    check("move+x@d.example", "move@e.example");
}

#[test]
fn canonical_tables_are_asked_about_their_answers() {
    let mut world = World::new(&[
        (3, "a@d.example", "b@d.example"),
        (3, "b@d.example", "c@d.example, x@d.example"),
        (3, "c@d.example", "C@d.example"),
        (3, "loop@d.example", "pool@d.example"),
        (3, "pool@d.example", "loop@d.example"),
    ]);
    assert_eq!(world.in_place("a@d.example", Use::HeaderSender).as_deref(), Ok("C@d.example"));
    assert_eq!(world.last_note(), "multi-valued canonical_maps entry for b@d.example");
    assert_eq!(world.in_place("loop@d.example", Use::HeaderSender), Err(Trouble::Table));
    assert!(world.last_note().starts_with("unreasonable canonical_maps map nesting for"));
}

#[test]
fn domains_are_hidden_but_for_exceptions() {
    let mut world = World::new(&[]);
    world.settings.masquerade_domains =
        ["!open.example.com", "example.com", "example.org"].map(String::from).to_vec();
    world.settings.masquerade_uses = Uses::parse(["envelope_sender"]).expect("a word");
    world.settings.masquerade_exceptions =
        DomainList::parse("root", false, &|_| Err("no files".into())).expect("a list").of_whole_names();
    let mut check = |address: &str, expect: &str| {
        assert_eq!(world.in_place(address, Use::EnvelopeSender).as_deref(), Ok(expect), "{address}");
    };
    check("u@host.Example.com", "u@example.com");
    check("u@a.b.example.org", "u@example.org");
    check("u@x.open.example.com", "u@x.open.example.com");
    check("u@open.example.com", "u@open.example.com");
    check("u@Example.com", "u@Example.com");
    check("Root@host.example.com", "Root@host.example.com");
    check("u@notexample.com", "u@notexample.com");
    assert_eq!(
        world.in_place("u@host.example.com", Use::EnvelopeRecipient).as_deref(),
        Ok("u@host.example.com")
    );
}

#[test]
fn aliases_are_expanded_again_and_again() {
    let mut world = World::new(&[
        (4, "all@d.example", "a@d.example, team@d.example, self@d.example"),
        (4, "team@d.example", "b, \"C, D\" <c@d.example>"),
        (4, "self@d.example", "self@d.example, a@d.example"),
        (4, "a@d.example", "x@y.example"),
    ]);
    assert_eq!(
        world.expand("all@d.example").expect("addresses"),
        ["x@y.example", "b@here.example", "self@d.example", "c@d.example", "x@y.example"]
    );
    assert_eq!(world.expand("nobody@d.example").expect("addresses"), ["nobody@d.example"]);
    assert_eq!(world.expand("a+ext@d.example").expect("addresses"), ["x+ext@y.example"]);
}

#[test]
fn expansion_has_limits() {
    let many: Vec<String> = (0..11).map(|n| format!("m{n}@x.example")).collect();
    let long = format!("{}@x.example", "l".repeat(100));
    let mut world = World::new(&[
        (4, "many@d.example", &many.join(", ")),
        (4, "long@d.example", &long),
        (4, "loop@d.example", "pool@d.example"),
        (4, "pool@d.example", "loop@d.example"),
        (4, "grow@d.example", "grow+x@d.example"),
    ]);
    for (address, text) in [
        ("many@d.example", "unreasonable virtual_alias_maps map expansion size for many@d.example"),
        ("long@d.example", "unreasonable virtual_alias_maps result lll"),
        ("loop@d.example", "unreasonable virtual_alias_maps map nesting for loop@d.example"),
        ("grow@d.example", "unreasonable virtual_alias_maps "),
    ] {
        assert_eq!(world.expand(address), Err(Trouble::Expansion), "{address}");
        assert!(world.last_note().starts_with(text), "{}", world.last_note());
    }
}

#[test]
fn trouble_of_a_table_is_not_its_silence() {
    let mut world = World::new(&[(4, "odd@d.example", ";"), (3, "b@d.example", "x\u{1}@y.example")]);
    world.tables.put_trouble(TableId(4), "a@d.example", "gone");
    assert_eq!(world.expand("a@d.example"), Err(Trouble::Table));
    assert_eq!(
        world.last_note(),
        "virtual_alias_maps map lookup problem for a@d.example -- message not accepted, try again later"
    );
    assert_eq!(world.expand("odd@d.example"), Err(Trouble::Table));
    assert_eq!(world.in_place("b@d.example", Use::HeaderSender), Err(Trouble::Table));
}
