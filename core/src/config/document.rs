//! The table as a page for people: `docs/parameters.md`.

use std::fmt::Write;

use super::parameter::{Class, Kind, Parameter, Weakens};
use super::parameters;

/// The page, from the table alone; the file in the repository must be equal to it.
pub fn document() -> String {
    let mut out = String::from(INTRODUCTION);
    let mut rows: Vec<&Parameter> = parameters::table().collect();
    rows.sort_by_key(|parameter| parameter.name);
    let count = |wanted: fn(&Class) -> bool| rows.iter().filter(|row| wanted(&row.class)).count();
    let written = write!(
        out,
        "{} parameters: {} honoured, {} accepted without effect, {} refused.\n\n\
         | parameter | kind | default | here | what it is for |\n|---|---|---|---|---|\n",
        rows.len(),
        count(|class| matches!(class, Class::Honoured(_))),
        count(|class| matches!(class, Class::WithoutEffect(_))),
        count(|class| matches!(class, Class::Refused { .. })),
    )
    .and_then(|()| rows.iter().try_for_each(|row| write_row(&mut out, row)));
    written.expect("writing to a String cannot fail");
    out
}

const INTRODUCTION: &str = "\
# Parameters

Generated from the table in `core/src/config/parameters/`; do not edit. Names, defaults and syntax are Postfix 3.7's,
with later defaults where they are safer; names that begin with `ringpost_` are our own. A default is given as written:
references are expanded when the value is used.

*Honoured* parameters are acted on. *Without effect* ones are accepted, and ignoring them changes nothing that matters;
the reason is given. *Refused* ones are not served (yet): `ringpost check` names those that a configuration sets, and
where ignoring one would weaken security (marked **!**) the start stops. A refused parameter that is set to its default,
or that is off, is accepted.

Each transport `X` also has `X_destination_concurrency_limit`, `X_destination_recipient_limit` and so on, whose defaults
are the parameters `default_…` of the same ending (`initial_destination_concurrency` for its own).

Kinds: a *time* is a whole number with one of `s m h d w` (the unit without a suffix is given); *bytes* is a number of
bytes; a *list* is separated by commas or white space; *networks* and *domains* may also name files, by absolute path;
a *template* is expanded where it is used.

";

fn write_row(out: &mut String, row: &Parameter) -> std::fmt::Result {
    let kind = match row.kind {
        Kind::Time(unit) => format!("time ({})", unit.suffix()),
        Kind::Int { min, max } if min > 0 || max < i32::MAX as u64 => format!("number ({min}–{max})"),
        Kind::Word(words) => words.join(", "),
        kind => kind.word().to_string(),
    };
    let default = match row.default {
        "" => String::new(),
        text => format!("`{}`", text.replace('|', "\\|")),
    };
    let here = match row.class {
        Class::Honoured(by) => format!("honoured: {by}"),
        Class::WithoutEffect(reason) => format!("without effect: {reason}"),
        Class::Refused { reason, weakens: Weakens::Never } => format!("refused: {reason}"),
        Class::Refused { reason, .. } => format!("refused **!**: {reason}"),
    };
    writeln!(out, "| `{}` | {kind} | {default} | {here} | {} |", row.name, row.summary)
}
