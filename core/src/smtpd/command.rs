//! The command table and the statistics that the disconnect line prints.

/// A command word. The order is that of the disconnect statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Helo,
    Ehlo,
    Xclient,
    Xforward,
    Starttls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Noop,
    Vrfy,
    Etrn,
    Quit,
    Help,
    Unknown,
}

struct Row {
    verb: Verb,
    word: &'static str,
    lowercase: &'static str,
    /// Counts against `smtpd_junk_command_limit`.
    junk: bool,
    /// RFC 2920 §3.1: may stand only as the last command of a group.
    last: bool,
}

const fn row(verb: Verb, word: &'static str, lowercase: &'static str, junk: bool, last: bool) -> Row {
    Row { verb, word, lowercase, junk, last }
}

const ROWS: usize = 17;
static TABLE: [Row; ROWS] = [
    row(Verb::Helo, "HELO", "helo", true, true),
    row(Verb::Ehlo, "EHLO", "ehlo", true, true),
    row(Verb::Xclient, "XCLIENT", "xclient", false, true),
    row(Verb::Xforward, "XFORWARD", "xforward", false, false),
    row(Verb::Starttls, "STARTTLS", "starttls", false, true),
    row(Verb::Auth, "AUTH", "auth", false, true),
    row(Verb::Mail, "MAIL", "mail", false, false),
    row(Verb::Rcpt, "RCPT", "rcpt", false, false),
    row(Verb::Data, "DATA", "data", false, true),
    row(Verb::Bdat, "BDAT", "bdat", false, false),
    row(Verb::Rset, "RSET", "rset", true, false),
    row(Verb::Noop, "NOOP", "noop", true, true),
    row(Verb::Vrfy, "VRFY", "vrfy", true, true),
    row(Verb::Etrn, "ETRN", "etrn", true, false),
    row(Verb::Quit, "QUIT", "quit", false, false),
    row(Verb::Help, "HELP", "help", false, false),
    row(Verb::Unknown, "UNKNOWN", "unknown", false, false),
];

impl Verb {
    /// The verb of this word, in any case; `Unknown` when there is none.
    pub(super) fn of(word: &str) -> Verb {
        let known = &TABLE[..Verb::Unknown as usize];
        known.iter().find(|row| row.word.eq_ignore_ascii_case(word)).map_or(Verb::Unknown, |row| row.verb)
    }

    pub(super) fn word(self) -> &'static str {
        TABLE[self as usize].word
    }

    pub(super) fn is_junk(self) -> bool {
        TABLE[self as usize].junk
    }

    pub(super) fn ends_a_group(self) -> bool {
        TABLE[self as usize].last
    }
}

/// How often each command was given, and with success.
#[derive(Debug, Clone, Default)]
pub(super) struct Statistics([(u32, u32); ROWS]);

impl Statistics {
    pub(super) fn count(&mut self, verb: Verb) {
        let total = &mut self.0[verb as usize].1;
        *total = total.saturating_add(1);
    }

    pub(super) fn succeeded(&mut self, verb: Verb) {
        let ok = &mut self.0[verb as usize].0;
        *ok = ok.saturating_add(1);
    }

    /// `ehlo=1 mail=1/2 quit=1 commands=3/4`; no command at all is `commands=0/0`.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(96);
        let mut sum = (0u32, 0u32);
        for (row, &(ok, total)) in TABLE.iter().zip(&self.0) {
            if total > 0 {
                print_count(&mut text, row.lowercase, ok, total);
                text.push(' ');
            }
            sum = (sum.0.saturating_add(ok), sum.1.saturating_add(total));
        }
        print_count(&mut text, "commands", sum.0, sum.1);
        text
    }
}

fn print_count(text: &mut String, name: &str, ok: u32, total: u32) {
    text.push_str(name);
    text.push('=');
    text.push_str(itoa::Buffer::new().format(ok));
    if ok != total || total == 0 {
        text.push('/');
        text.push_str(itoa::Buffer::new().format(total));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_verbs_places() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.verb as usize, index);
            assert_eq!(row.word.to_lowercase(), row.lowercase);
        }
    }

    #[test]
    fn statistics_text() {
        let mut statistics = Statistics::default();
        assert_eq!(statistics.text(), "commands=0/0");
        for verb in [Verb::Ehlo, Verb::Rcpt, Verb::Rcpt] {
            statistics.count(verb);
        }
        statistics.succeeded(Verb::Ehlo);
        statistics.succeeded(Verb::Rcpt);
        assert_eq!(statistics.text(), "ehlo=1 rcpt=1/2 commands=2/3");
    }
}
