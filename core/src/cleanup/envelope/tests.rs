use super::*;
use crate::cleanup::note::CleanupNote;
use crate::lookup::{MemoryTables, TableId, at_once};
use crate::maps::{LocalNames, MapTable, Maps};
use crate::rewrite::RewriteSettings;

const ALL: MappingRules = MappingRules { by_tables: true, adds_copies: true };

fn settings() -> MappingSettings {
    let maps = |id| Maps::of([MapTable { id: TableId(id), is_pattern: false }]);
    MappingSettings {
        virtual_aliases: maps(1),
        sender_bcc: maps(2),
        recipient_bcc: maps(3),
        always_bcc: "archive".into(),
        expansion_max: 1000,
        recursion_max: 1000,
        alias_bytes_max: 1000,
        duplicates_max: 1000,
        keeps_original: true,
        ..MappingSettings::default()
    }
}

fn resolve() -> ResolveSettings {
    ResolveSettings {
        names: LocalNames { my_origin: "here.example".into(), ..LocalNames::default() },
        rewrite: RewriteSettings {
            append_at_myorigin: true,
            my_origin: "here.example".into(),
            ..RewriteSettings::default()
        },
        empty_address_recipient: "MAILER-DAEMON".into(),
        ..ResolveSettings::default()
    }
}

fn tables() -> MemoryTables {
    let mut tables = MemoryTables::default();
    tables.put(TableId(1), "list@d.example", "a@d.example, b@d.example");
    tables.put(TableId(1), "one@d.example", "a@d.example");
    tables.put(TableId(2), "boss@d.example", "secretary@d.example");
    tables.put(TableId(3), "a@d.example", "watcher");
    tables
}

struct Asked {
    settings: MappingSettings,
    rules: MappingRules,
    sender: &'static str,
    recipients: Vec<(&'static str, Notify)>,
    actions: MessageActions,
}

impl Asked {
    fn of(sender: &'static str, recipients: &[&'static str]) -> Asked {
        Asked {
            settings: settings(),
            rules: ALL,
            sender,
            recipients: recipients.iter().map(|address| (*address, Notify::UNSET)).collect(),
            actions: MessageActions::default(),
        }
    }

    fn mapped(&self) -> Result<MappedEnvelope, Trouble> {
        let (resolve, tables, mut notes) = (resolve(), tables(), Vec::<CleanupNote>::new());
        let mut mapper =
            Mapper { settings: &self.settings, resolve: &resolve, tables: &tables, notes: &mut notes };
        let mapping = async {
            let mut envelope = MappedEnvelope::begin(&mut mapper, self.rules, self.sender).await?;
            for (address, notify) in &self.recipients {
                let asked = AskedRecipient { address, original: "", orcpt: "", notify: *notify };
                envelope.recipient(&mut mapper, asked).await?;
            }
            envelope.finish(&mut mapper, &self.actions).await?;
            Ok(envelope)
        };
        at_once(mapping).expect("tables in memory answer at once")
    }

    /// `address` or `address<original`, with `-` behind it for those whose fate nobody hears of.
    fn check(&self, expect: &[&str]) -> MappedEnvelope {
        let envelope = self.mapped().expect("a mapped envelope");
        let shown: Vec<String> = envelope
            .recipients
            .iter()
            .map(|recipient| {
                let MappedRecipient { address, original, notify, .. } = recipient;
                let original = if original.is_empty() { String::new() } else { format!("<{original}") };
                let silent = if *notify == Notify::NEVER { "-" } else { "" };
                format!("{address}{original}{silent}")
            })
            .collect();
        assert_eq!(shown, expect);
        envelope
    }
}

#[test]
fn recipients_stand_in_the_order_of_their_coming_with_their_copies() {
    let envelope = Asked::of("boss@d.example", &["x@y.example", "list@d.example", "a@d.example"]).check(&[
        "secretary@d.example-",
        "x@y.example",
        "a@d.example<list@d.example",
        "b@d.example<list@d.example",
        "a@d.example",
        "watcher@here.example<watcher-",
        "archive@here.example<archive-",
    ]);
    assert_eq!(envelope.last_recipient, "a@d.example");
}

#[test]
fn repetitions_go_unless_somebody_tells_them_apart() {
    let mut asked = Asked::of("s@x.example", &["one@d.example", "ONE@d.example", "a@d.example"]);
    asked.settings.recipient_bcc = Maps::default();
    asked.settings.always_bcc.clear();
    asked.check(&["a@d.example<one@d.example", "a@d.example"]);
    asked.settings.keeps_original = false;
    asked.check(&["a@d.example"]);
    asked.settings.duplicates_max = 0;
    asked.check(&["a@d.example", "a@d.example", "a@d.example"]);
}

#[test]
fn nothing_is_mapped_where_that_is_overridden() {
    let mut asked = Asked::of("boss@d.example", &["list@d.example", "user", ""]);
    asked.rules = MappingRules { by_tables: false, adds_copies: false };
    asked.check(&["list@d.example", "user@here.example<user", "MAILER-DAEMON@here.example"]);
}

#[test]
fn mail_of_the_mailer_daemon_is_from_nobody() {
    assert_eq!(Asked::of("MAILER-daemon@here.example", &[]).mapped().expect("mapped").sender, "");
    assert_eq!(
        Asked::of("mailer-daemon@d.example", &[]).mapped().expect("mapped").sender,
        "mailer-daemon@d.example"
    );
}

#[test]
fn what_an_alias_stands_for_is_not_asked_to_report_success() {
    let mut asked = Asked::of("s@x.example", &[]);
    asked.settings.always_bcc.clear();
    asked.settings.recipient_bcc = Maps::default();
    asked.recipients = vec![
        ("list@d.example", Notify::SUCCESS),
        ("one@d.example", Notify::SUCCESS),
        ("plain@d.example", Notify::SUCCESS),
        ("list@d.example", Notify::SUCCESS.with(Notify::FAILURE)),
    ];
    let envelope = asked.mapped().expect("mapped");
    let notify: Vec<Notify> = envelope.recipients.iter().map(|recipient| recipient.notify).collect();
    let (never, failure) = (Notify::NEVER, Notify::FAILURE);
    assert_eq!(notify, [never, never, never, Notify::SUCCESS, failure, failure]);
    let expanded: Vec<&str> = envelope.expanded.iter().map(|list| list.address.as_str()).collect();
    assert_eq!(expanded, ["list@d.example", "one@d.example", "list@d.example"]);
}

#[test]
fn checks_of_the_content_add_copies_and_redirect() {
    let mut asked = Asked::of("s@x.example", &["x@y.example", "z@y.example"]);
    asked.settings.always_bcc.clear();
    asked.actions.add_bcc("copy@d.example");
    asked.check(&["x@y.example", "z@y.example", "copy@d.example-"]);
    asked.actions.redirect = Some("elsewhere".into());
    asked.check(&["elsewhere@here.example<copy@d.example-"]);
}

#[test]
fn what_mapping_would_not_change_is_known_before() {
    let (mut settings, resolve) = (MappingSettings::default(), resolve());
    let as_is = |settings: &MappingSettings, sender: &str, recipients: &[&str]| {
        leaves_as_is(settings, &resolve, ALL, sender, recipients.iter().copied())
    };
    assert!(as_is(&settings, "s@x.example", &["r@y.example"]) && as_is(&settings, "", &["r@y.example"]));
    assert!(!as_is(&settings, "s", &["r@y.example"]) && !as_is(&settings, "s@x.example", &["r"]));
    assert!(!as_is(&settings, "mailer-daemon@here.example", &["r@y.example"]));
    settings.always_bcc = "a@b.example".into();
    assert!(!as_is(&settings, "s@x.example", &["r@y.example"]));
}
