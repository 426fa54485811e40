use proptest::prelude::*;
use ringpost_core::lookup::TableType;

use super::*;

fn table(dialect: Dialect, text: &str) -> (Patterns, Vec<String>) {
    let notes = Notes::default();
    let kind = if dialect == Dialect::Posix { TableType::Regexp } else { TableType::Pcre };
    let spec = TableSpec { kind, name: "test".into() };
    let patterns = Patterns::of(&spec, dialect, text.as_bytes(), &notes);
    let said = notes.take().into_iter().map(|note| match note {
        crate::Note::Warning(text) | crate::Note::Info(text) => text,
    });
    (patterns, said.collect())
}

#[track_caller]
fn check(dialect: Dialect, text: &str, answers: &[(&str, Option<&str>)]) {
    let (patterns, said) = table(dialect, text);
    assert_eq!(said, [] as [String; 0]);
    for (key, answer) in answers {
        assert_eq!(patterns.find(key).unwrap().as_deref(), *answer, "{key}");
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    for dialect in [Dialect::Posix, Dialect::Perl] {
        check(
            dialect,
            "/^a(.*)b(.)$/ x $1 ${2} $(1)z $$\n!/./ empty\nif /foo/\nif !/bar/\n/foo(1)/i one\nendif\n/FOO/ foo\nendif\n\
             |pipe| piped\n!!/zz/ dbl\n/k\\/l/ slash\n  continued\n",
            &[
                ("aXbY", Some("x X Y Xz $")),
                ("AxBy", Some("x x y xz $")),
                ("", Some("empty")),
                ("foo1", Some("one")),
                ("FOO1", Some("foo")),
                ("foo1bar", Some("foo")),
                ("a pipe", Some("piped")),
                ("zz", Some("dbl")),
                ("k/l", Some("slash  continued")),
                ("nothing", None),
            ],
        );
    }
}

#[test]
fn posix_expressions_mean_what_glibc_makes_of_them() {
    check(
        Dialect::Posix,
        "/^[[:digit:]]+$/ digits\n/^[]x-]{2}$/ brackets\n/^\\<w\\>.$/ word\n/^([a-z])\\1$/ twice\n/^a\\.b)$/ escaped\n\
         /^\\(b\\+\\)$/x basic $1\n/^l1$/m line\n/^q/!/^qr/ not $$\n/^[^[:alpha:]]{3}$/ none\n",
        &[
            ("123", Some("digits")),
            ("]-", Some("brackets")),
            ("w!", Some("word")),
            ("qq", Some("twice")),
            ("a.b)", Some("escaped")),
            ("bbb", Some("basic bbb")),
            ("l0\nL1\nl2", Some("line")),
            ("qs", Some("not $")),
            ("qr", None),
            ("?!?", Some("none")),
        ],
    );
}

#[test]
fn groups_are_those_of_the_longest_match() {
    for (pattern, key, expected) in [
        ("(a?)(ab)?()", "ab", "|ab|"),
        ("(x*)(xy)?(z*)", "xxyz", "x|xy|z"),
        ("(a|ab)(c|bcd)(d*)", "abcd", "a|bcd|"),
        ("(b|bb)(c|bcd)?(d*)$", "bbcd", "b|bcd|"),
        ("(a*)(a|aa)(a*)", "aaaa", "aaa|a|"),
    ] {
        check(Dialect::Posix, &format!("/{pattern}/ $1|$2|$3\n"), &[(key, Some(expected))]);
    }
}

#[test]
fn perl_expressions_have_all_of_pcre() {
    check(
        Dialect::Perl,
        "/^(?=.*x)a/ ahead\n/^(b+)\\1$/ back $1\n/^\\Q.*\\E$/ quoted\n/^c++d$/ possessive\n/^ e f $/x spaced\n\
         /^G.H$/s flat\n/^I.J$/ dot\n/^h$/m line\n/tail$/E end\n/^(u+)(u*)$/U lazy $1\n",
        &[
            ("abx", Some("ahead")),
            ("abc", None),
            ("bbbb", Some("back bb")),
            (".*", Some("quoted")),
            ("ccd", Some("possessive")),
            ("ef", Some("spaced")),
            ("g\nh", Some("line")),
            ("g h", Some("flat")),
            ("i\nj", Some("dot")),
            ("iéj", Some("dot")),
            ("tail\n", None),
            ("the tail", Some("end")),
            ("uuu", Some("lazy u")),
        ],
    );
}

#[test]
fn a_dollar_may_stand_before_a_last_line_end() {
    let text = "/x1$/ one\n/x2$/ two\n/x3$/ three\n/x4$/ four\n/x5$/ five\n";
    check(Dialect::Perl, text, &[("x3\n", Some("three")), ("x3", Some("three")), ("x3\ny", None)]);
    check(Dialect::Posix, text, &[("x3\n", None), ("x3", Some("three"))]);
}

#[test]
fn rules_that_cannot_be_read_are_told_and_left_out() {
    let text = "/unc(losed/ x\n/unk/q y\n/x/y\nnonsense\n/noclose\n!/n(e)g/ $1\n/a(b)/ $2\n/a/ $0\n/a{2/ x\n/*a/ x\n\
                /[z-a]/ x\n/[[:foo:]]/ x\nendif\nif /a/\n/good/ good\n";
    let (patterns, said) = table(Dialect::Posix, text);
    assert_eq!(said.len(), 15, "{said:#?}");
    assert_eq!(said[0], "regexp map test, line 1: Unmatched ( or \\(");
    assert_eq!(said.last().unwrap(), "regexp map test, line 14: IF has no matching ENDIF");
    assert_eq!(patterns.find("a good one").unwrap().as_deref(), Some("good"));
}

#[test]
fn an_expression_that_explodes_is_trouble() {
    let (patterns, _) = table(Dialect::Perl, "/^(a+)+\\1$/ x\n");
    assert!(patterns.find(&format!("{}b", "a".repeat(60))).is_err());
    let (patterns, _) = table(Dialect::Posix, "/^(a+)+$/ x\n");
    assert_eq!(patterns.find(&format!("{}b", "a".repeat(5000))), Ok(None));
}

/// Pieces that make expressions of both kinds, sound ones and broken ones.
const PIECES: [&str; 24] = [
    "a", "b", "c", "ab", ".", ".*", "a+", "b?", "[ab]", "[^a]", "(a|b)", "(?:ab)*", "^", "$", "\\.",
    "a{1,2}", "\\d", "\\w+", "\\b", "(a)\\1", "(?=b)", "|", "(", "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// The common automaton gives the answers of trying one by one.
    #[test]
    fn together_is_as_one_by_one(
        rules in prop::collection::vec((prop::collection::vec(0..PIECES.len(), 1..6), any::<bool>(), 0..4_u8), 5..40),
        keys in prop::collection::vec("[abcABC.1é\n ]{0,12}", 20),
        perl in any::<bool>(),
    ) {
        let mut text = String::new();
        for (index, (pieces, negated, flags)) in rules.iter().enumerate() {
            let pattern: String = pieces.iter().map(|&piece| PIECES[piece]).collect();
            let negation = if *negated { "!" } else { "" };
            let flags = ["", "i", "m", "im"][usize::from(*flags)];
            text.push_str(&format!("{negation}/{pattern}/{flags} rule {index}\n"));
        }
        let dialect = if perl { Dialect::Perl } else { Dialect::Posix };
        let (patterns, _) = table(dialect, &text);
        for key in &keys {
            prop_assert_eq!(patterns.first(key, patterns.set.as_ref()), patterns.first(key, None), "{} {}", key, text);
        }
    }

    /// What is translated for the automaton matches as PCRE2 does.
    #[test]
    fn a_translation_matches_what_the_original_matches(
        pieces in prop::collection::vec(0..PIECES.len(), 1..7),
        flags in prop::sample::select(vec!["", "i", "m", "s", "x", "A", "E", "U", "ims"]),
        keys in prop::collection::vec("[abcABC.1é\n ]{0,10}", 30),
    ) {
        let pattern: String = pieces.iter().map(|&piece| PIECES[piece]).collect();
        let Ok(matcher) = perl::matcher(&pattern, flags) else { return Ok(()) };
        let Some(portable) = matcher.portable() else { return Ok(()) };
        let translated = regex::bytes::Regex::new(portable).unwrap();
        for key in keys.iter().filter(|key| !key.ends_with('\n')) {
            prop_assert_eq!(matcher.is_match(key).unwrap(), translated.is_match(key.as_bytes()), "{} {:?}", pattern, key);
        }
    }
}
