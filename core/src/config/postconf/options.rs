//! The command line of postconf: letters, and which of them go together.

use super::said::printable;

/// What is shown or edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// `-p` or nothing: `main.cf`.
    Main,
    /// `-M`: the entries of `master.cf`.
    Entries,
    /// `-F`: their fields.
    Fields,
    /// `-P`: their own parameters.
    Settings,
    /// `-a`, `-A`: kinds of SASL.
    Sasl,
    /// `-b`: the texts of notices, names expanded.
    ExpandedTemplates,
    /// `-t`: the texts of notices.
    Templates,
    /// `-l`: ways of locking a mailbox.
    Locks,
    /// `-m`: kinds of lookup tables.
    Tables,
    /// `-T`: about TLS.
    Tls,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing is changed.
    Show,
    /// `-e`, or `name=value`.
    Edit,
    /// `-X`.
    Delete,
    /// `-#`.
    CommentOut,
}

/// Which values of `main.cf` are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Those that hold.
    Actual,
    /// `-d`.
    Defaults,
    /// `-n`: those that are set.
    Set,
}

/// `-C`: which parameters of `main.cf` are shown when none is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Classes {
    /// With names of their own.
    pub builtin: bool,
    /// With names made from a service's.
    pub service: bool,
    /// The administrator's own.
    pub user: bool,
}

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What is shown or edited.
    pub subject: Subject,
    /// What is done.
    pub action: Action,
    /// Which values of `main.cf`.
    pub values: Values,
    /// Which parameters of `main.cf`.
    pub classes: Classes,
    /// `-f`: long lines are folded.
    pub fold: bool,
    /// Names are printed; not with `-h`.
    pub with_names: bool,
    /// Values are printed; not with `-H`.
    pub with_values: bool,
    /// `-x`: references are expanded.
    pub expand: bool,
    /// `-o`, as written.
    pub overrides: Vec<String>,
    /// `-c`.
    pub directory: Option<String>,
    /// `-T`.
    pub tls: String,
    /// The words after the options.
    pub words: Vec<String>,
}

/// A command line that means nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionError {
    /// What is said first, without `fatal:`.
    pub complaint: Option<String>,
    /// The fatal error.
    pub fatal: String,
}

impl From<String> for OptionError {
    fn from(fatal: String) -> Self {
        OptionError { complaint: None, fatal }
    }
}

/// After `usage: ` and the program's name.
pub const USAGE: &str = "[-a (server SASL types)] [-A (client SASL types)] [-b (bounce templates)] \
[-c config_dir] [-c param_class] [-d (parameter defaults)] [-e (edit configuration)] [-f (fold lines)] \
[-F (master.cf fields)] [-h (no names)] [-H (no values)] [-l (lock types)] [-m (map types)] [-M (master.cf)] \
[-n (non-default parameters)] [-o name=value (override parameter value)] [-p (main.cf, default)] \
[-P (master.cf parameters)] [-t (bounce templates)] [-T compile-version|run-version|public-key-algorithms] \
[-v (verbose)] [-x (expand parameter values)] [-X (exclude)] [-# (comment-out)] [name...]";

/// The letters without a value, in the order in which complaints name them; `C`, `c`, `o` and `T` take one.
const LETTERS: &str = "aAbdefFhHlmMnopPtTxX#";
const VALUED: &str = "cCoT";

/// Of each of these sets one letter at most may be given. The first set that is broken is told.
const ONE_OF: [&str; 6] = ["aAbFlmMpPtT", "denX#", "efX#", "exX#", "deoX#", "ehHX#"];

/// What may be given together with a subject's letter; with the others, nothing.
const TOGETHER: [(char, &str); 11] = [
    ('a', ""),
    ('A', ""),
    ('b', ""),
    ('F', "efhHox"),
    ('l', ""),
    ('m', ""),
    ('M', "efoxX#"),
    ('p', "defhHnoxX#"),
    ('P', "efhHoxX"),
    ('t', ""),
    ('T', ""),
];

impl Options {
    /// Reads the words after the program's name. Options end at the first word that is none, as Postfix's do.
    ///
    /// # Errors
    /// Letters that do not exist, lack a value, or do not go together.
    pub fn read(words: impl IntoIterator<Item = String>) -> Result<Options, OptionError> {
        let mut given = Given::default();
        let rest = given.read_letters(words.into_iter())?;
        if rest.first().is_some_and(|word| word.contains('=')) && given.edits() {
            given.letters.push('e');
        }
        given.check()?;
        given.options(rest)
    }
}

#[derive(Default)]
struct Given {
    letters: Vec<char>,
    classes: Vec<String>,
    overrides: Vec<String>,
    directory: Option<String>,
    tls: Option<String>,
}

impl Given {
    fn has(&self, letter: char) -> bool {
        self.letters.contains(&letter)
    }

    /// Whether words may be edits.
    fn edits(&self) -> bool {
        !self.letters.iter().any(|letter| "aAblmtT".contains(*letter)) && !self.has('e')
    }

    fn read_letters(&mut self, mut words: impl Iterator<Item = String>) -> Result<Vec<String>, OptionError> {
        while let Some(word) = words.next() {
            let letters = match word.strip_prefix('-') {
                Some("-") => return Ok(words.collect()),
                Some(letters) if !letters.is_empty() => letters,
                _ => return Ok(core::iter::once(word).chain(words).collect()),
            };
            for (index, letter) in letters.char_indices() {
                if VALUED.contains(letter) {
                    let attached = &letters[index + letter.len_utf8()..];
                    let value = if attached.is_empty() { words.next() } else { Some(attached.to_owned()) };
                    let missing = || usage(format!("option requires an argument -- '{letter}'"));
                    self.take(letter, value.ok_or_else(missing)?)?;
                    break;
                }
                match letter {
                    'v' => {}
                    // A letter that Postfix keeps for itself.
                    'E' => return Err(OptionError { complaint: None, ..usage(String::new()) }),
                    _ if LETTERS.contains(letter) => self.letters.push(letter),
                    _ => return Err(usage(format!("invalid option -- '{letter}'"))),
                }
            }
        }
        Ok(Vec::new())
    }

    fn take(&mut self, letter: char, value: String) -> Result<(), OptionError> {
        match letter {
            'c' => self.directory = Some(value),
            'C' => self.classes.push(value),
            'o' => {
                self.letters.push('o');
                self.overrides.push(value);
            }
            _ if self.tls.is_some() => {
                return Err("At most one -T <mode> option may be specified".to_owned().into());
            }
            _ => {
                self.letters.push('T');
                self.tls = Some(value);
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), OptionError> {
        if self.has('b') && self.has('t') {
            return Err("specify one of -b and -t".to_owned().into());
        }
        let given_of = |set: &dyn Fn(char) -> bool| -> Vec<String> {
            let letters = LETTERS.chars().filter(|letter| self.has(*letter) && set(*letter));
            letters.map(|letter| format!("-{letter}")).collect()
        };
        for set in ONE_OF {
            let given = given_of(&|letter| set.contains(letter));
            if given.len() > 1 {
                return Err(format!("specify one of {}", given.join(" ")).into());
            }
        }
        for (subject, together) in TOGETHER {
            let wrong = given_of(&|letter| letter != subject && !together.contains(letter));
            if self.has(subject) && !wrong.is_empty() {
                let wrong = wrong.join(" ");
                return Err(format!("with option -{subject}, do not specify {wrong}").into());
            }
        }
        Ok(())
    }

    fn options(self, words: Vec<String>) -> Result<Options, OptionError> {
        const SUBJECTS: [(char, Subject); 10] = [
            ('M', Subject::Entries),
            ('F', Subject::Fields),
            ('P', Subject::Settings),
            ('a', Subject::Sasl),
            ('A', Subject::Sasl),
            ('b', Subject::ExpandedTemplates),
            ('t', Subject::Templates),
            ('l', Subject::Locks),
            ('m', Subject::Tables),
            ('T', Subject::Tls),
        ];
        let subject = SUBJECTS.into_iter().find(|(letter, _)| self.has(*letter));
        let subject = subject.map_or(Subject::Main, |(_, subject)| subject);
        let actions = [('e', Action::Edit), ('X', Action::Delete), ('#', Action::CommentOut)];
        let action = actions.into_iter().find(|(letter, _)| self.has(*letter));
        let action = action.map_or(Action::Show, |(_, action)| action);
        match action {
            Action::Edit if words.is_empty() => {
                return Err("-e requires name=value argument".to_owned().into());
            }
            Action::Delete | Action::CommentOut if words.is_empty() => {
                return Err("missing service argument".to_owned().into());
            }
            _ => {}
        }
        if matches!(subject, Subject::Templates | Subject::ExpandedTemplates) && words.len() > 1 {
            return Err("options -b and -t require at most one template file".to_owned().into());
        }
        let values = match (self.has('d'), self.has('n')) {
            (true, _) => Values::Defaults,
            (_, true) => Values::Set,
            _ => Values::Actual,
        };
        Ok(Options {
            subject,
            action,
            values,
            classes: classes(&self.classes)?,
            fold: self.has('f'),
            with_names: !self.has('h'),
            with_values: !self.has('H'),
            expand: self.has('x'),
            overrides: self.overrides,
            directory: self.directory,
            tls: self.tls.unwrap_or_default(),
            words,
        })
    }
}

fn usage(complaint: String) -> OptionError {
    OptionError { complaint: Some(complaint), fatal: format!("usage: postconf {USAGE}") }
}

fn classes(lists: &[String]) -> Result<Classes, String> {
    let mut classes = Classes { builtin: true, service: true, user: true };
    // The last -C counts.
    for list in lists {
        classes = Classes { builtin: false, service: false, user: false };
        for word in list.split([',', ' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()) {
            match word.to_ascii_lowercase().as_str() {
                "builtin" => classes.builtin = true,
                "service" => classes.service = true,
                "user" => classes.user = true,
                "all" => classes = Classes { builtin: true, service: true, user: true },
                _ => {
                    let (word, list) = (printable(word), printable(list));
                    return Err(format!("unknown -C option value \"{word}\" in \"{list}\""));
                }
            }
        }
    }
    Ok(classes)
}
