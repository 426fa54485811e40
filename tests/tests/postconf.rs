//! `postconf` against Debian's, on the same files: standard output, standard error, exit code and edited files are
//! equal byte for byte, except what is listed here with its reason.
//!
//! The cases are in `tests/postconf/`: the files, then command lines, each run on a fresh copy. Lines of standard error
//! are compared sorted, because Postfix tells of unused parameters in the order of a hash table with a random seed.
//!
//! Differences that no case shows, because they are on purpose: `-m`, `-a`, `-A` and `-T` list what this program has;
//! `-b` and `-t` have texts of our own; `-v` says nothing more; several new parameters are appended in the order of the
//! command line, not of a hash table; the DNS is not asked for names in `inet_interfaces`. Where Postfix 3.7.11 goes wrong, this does not: an edit
//! of a `main.cf` whose last line has no end joins two lines, `-X` of one name twice and `-Fe` with an empty command crash,
//! `-Fe` makes an empty field, `-oname=value` is split at every later `o`, `-Fh` drops the blank after `pipe`, a second entry
//! of the same name and type repeats the warnings of the first, and numbers beyond 64 bits in comparisons are fatal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use ringpost_tests::engine::binary;
use ringpost_tests::{Scratch, peers, repository, skip};

/// Parameters whose defaults differ on purpose, and why.
const OTHER_DEFAULTS: [(&str, &str); 13] = [
    ("daemon_directory", "Debian's packages move it; services are no programs here"),
    ("enable_long_queue_ids", "queue ids have the long shape only"),
    ("html_directory", "Debian's packages set it"),
    ("mail_name", "this is Ringpost"),
    ("mail_release_date", "this is Ringpost"),
    ("mail_version", "this is Ringpost"),
    ("manpage_directory", "Debian's packages move it"),
    ("process_id", "two processes"),
    ("readme_directory", "Debian's packages set it"),
    ("shlib_directory", "Debian's packages set it"),
    ("smtpd_forbid_bare_newline", "the safer default of later releases"),
    ("smtpd_forbid_unauth_pipelining", "the safer default of later releases"),
    // Expanded only.
    ("smtpd_banner", "names mail_name"),
];

/// Parameters of later releases that are served.
const LATER: [&str; 2] = ["smtpd_client_ipv4_prefix_length", "smtpd_client_ipv6_prefix_length"];

/// More that the expanded listing shows because of [`OTHER_DEFAULTS`].
const FOLLOWING: [&str; 6] = [
    "lmtp_banner",
    "milter_macro_v",
    "postscreen_greet_banner",
    "smtpd_banner",
    "postscreen_forbid_unauth_pipelining",
    "process_name",
];

/// Programs at a time: after a fatal error both sleep for a second.
const AT_A_TIME: usize = 64;

#[test]
fn every_parameter_has_postfixs_default() {
    let postconf = match peers::postfix_tool("postconf") {
        Ok(path) => path,
        Err(reason) => skip!("{reason}"),
    };
    let scratch = Scratch::new("postconf-defaults");
    let directory = scratch.join("cf");
    fs::create_dir(&directory).expect("the scratch directory is writable");
    fs::write(directory.join("main.cf"), "").expect("the scratch directory is writable");
    fs::write(directory.join("master.cf"), "").expect("the scratch directory is writable");
    for words in [&["-d"][..], &["-dx"]] {
        let (theirs, ours) = (Program::theirs(&postconf), Program::ours());
        let [theirs, ours] = [theirs, ours].map(|program| program.run(scratch.path(), words));
        let listing = |run: &Run| -> BTreeMap<String, String> {
            let lines = run.out.lines().map(|line| line.split_once(" =").expect("name = value"));
            lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
        };
        let sorted = |run: &Run| run.out.lines().map(str::to_owned).collect::<Vec<String>>().is_sorted();
        assert!(sorted(&theirs) && sorted(&ours), "both listings are in the order of bytes");
        let (theirs, ours) = (listing(&theirs), listing(&ours));
        let mut differing: BTreeSet<&str> = BTreeSet::new();
        for (name, value) in &theirs {
            let own = ours.get(name).unwrap_or_else(|| panic!("{name} is missing"));
            if own != value {
                differing.insert(name);
            }
        }
        let listed: BTreeSet<&str> = OTHER_DEFAULTS.iter().map(|(name, _)| *name).collect();
        let expected = |name: &&str| match words {
            ["-dx"] => listed.contains(*name) || FOLLOWING.contains(name),
            _ => listed.contains(*name),
        };
        let unexpected: Vec<String> = differing
            .iter()
            .filter(|name| !expected(name))
            .map(|name| format!("{name}: theirs{} ours{}", theirs[*name], ours[*name]))
            .collect();
        assert!(unexpected.is_empty(), "{words:?}:\n{}", unexpected.join("\n"));
        if words == ["-d"] {
            let untrue = listed.iter().filter(|name| **name != "smtpd_banner" && !differing.contains(*name));
            assert_eq!(untrue.collect::<Vec<_>>(), Vec::<&&str>::new(), "listed, but equal");
        }
        let own: Vec<&String> = ours
            .keys()
            .filter(|name| !theirs.contains_key(*name))
            .filter(|name| !name.starts_with("ringpost_") && !LATER.contains(&name.as_str()))
            .collect();
        assert!(own.is_empty(), "not Postfix's and not listed: {own:?}");
    }
}

#[test]
fn listings_edits_and_errors_are_postfixs() {
    let postconf = match peers::postfix_tool("postconf") {
        Ok(path) => path,
        Err(reason) => skip!("{reason}"),
    };
    let scratch = Scratch::new("postconf-cases");
    let mut runs = Vec::new();
    let debian = Case::of_debian(&postconf);
    runs.extend(debian.commands.iter().map(|words| (debian.clone(), words.clone())));
    let mut names: Vec<PathBuf> = fs::read_dir(repository::root().join("tests/postconf"))
        .expect("the cases are in the repository")
        .map(|entry| entry.expect("readable").path())
        .collect();
    names.sort();
    assert!(names.len() >= 30, "{} cases", names.len());
    for path in &names {
        let case = Case::read(path);
        runs.extend(case.commands.iter().map(|words| (case.clone(), words.clone())));
    }
    let next = Mutex::new(runs.iter().enumerate());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some((index, (case, words))) = next.lock().expect("nobody panicked").next() else {
                        return;
                    };
                    let home = scratch.join(&index.to_string());
                    if let Some(text) = compare(case, words, &postconf, &home) {
                        failures.lock().expect("nobody panicked").push((index, text));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().expect("nobody panicked");
    failures.sort();
    let texts: Vec<String> = failures.into_iter().map(|(_, text)| text).collect();
    assert!(texts.is_empty(), "{} of {} differ\n\n{}", texts.len(), runs.len(), texts.join("\n"));
}

/// Runs both programs; what differs.
fn compare(case: &Case, words: &[String], postconf: &Path, home: &Path) -> Option<String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = |program: Program| {
        let directory = home.join("cf");
        case.put_into(&directory);
        let run = program.run(home, &words);
        let file = |name: &str| fs::read(directory.join(name)).map(shown).unwrap_or_default();
        let outcome = (run, file("main.cf"), file("master.cf"));
        fs::remove_dir_all(&directory).expect("ours");
        outcome
    };
    let theirs = outcome(Program::theirs(postconf));
    let ours = outcome(Program::ours());
    let mut text = String::new();
    let parts = [
        ("standard output", &theirs.0.out, &ours.0.out),
        ("standard error", &theirs.0.error, &ours.0.error),
        ("exit code", &theirs.0.code, &ours.0.code),
        ("main.cf", &theirs.1, &ours.1),
        ("master.cf", &theirs.2, &ours.2),
    ];
    for (what, theirs, ours) in parts {
        if theirs != ours {
            text.push_str(&format!("-- {what}, theirs:\n{theirs}\n-- ours:\n{ours}\n"));
        }
    }
    (!text.is_empty()).then(|| format!("== {}: postconf {}\n{text}", case.name, words.join(" ")))
}

fn shown(bytes: Vec<u8>) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

struct Program {
    path: PathBuf,
    first: &'static [&'static str],
}

struct Run {
    out: String,
    error: String,
    code: String,
}

impl Program {
    fn theirs(path: &Path) -> Program {
        Program { path: path.to_path_buf(), first: &[] }
    }

    fn ours() -> Program {
        Program { path: binary(), first: &["postconf"] }
    }

    /// Runs it in `home`, on the configuration `cf`.
    fn run(&self, home: &Path, words: &[&str]) -> Run {
        let output = Command::new(&self.path)
            .args(self.first)
            .args(["-c", "cf"])
            .args(words)
            .current_dir(home)
            .env_remove("MAIL_CONFIG")
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| panic!("cannot run {}: {error}", self.path.display()));
        let error = shown(output.stderr);
        let mut lines: Vec<String> = error.lines().map(without_path).collect();
        lines.sort();
        Run { out: shown(output.stdout), error: lines.join("\n"), code: output.status.to_string() }
    }
}

/// The program's path as messages bear it.
fn without_path(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let bare = word.strip_suffix(':').unwrap_or(word);
        match bare.rsplit_once('/') {
            Some((_, "postconf")) => word.rsplit_once('/').map_or(word, |(_, name)| name),
            _ => word,
        }
    });
    words.collect::<Vec<&str>>().join(" ")
}

/// One file of cases: `== main.cf`, `== master.cf`, `== other NAME`, then `== commands`; what stands before is for
/// people. With `escaped` after a file's name `\n`, `\0`, `\r`, `\t`, `\\` and `\xHH` stand for bytes, and lines do not
/// end by themselves. `@CF@` stands for the directory. Words of commands are separated by blanks; `'` quotes, `\n` is a line end.
#[derive(Clone)]
struct Case {
    name: String,
    files: Vec<(String, Vec<u8>)>,
    commands: Vec<Vec<String>>,
}

impl Case {
    /// The files that Debian's package installs.
    fn of_debian(postconf: &Path) -> Case {
        let root = postconf.parent().and_then(Path::parent).expect("it lies in bin");
        let share = root.join("tree/usr/share/postfix");
        let file = |name: &str, from: &str| {
            let content = fs::read(share.join(from)).expect("the package has it");
            (name.to_owned(), content)
        };
        let commands = "-n\n-nf\n-nx\n-M\n-Mf\n-Mfx\n-F\n-Ff\n-P\n-C service\n-C service -x\n-C user\n\
            smtpd_banner myorigin\n-e smtpd_banner=x\n-X readme_directory\n\
            -# smtpd_tls_CApath\n-F '*/*/chroot=n'\n-P smtp/inet/max_use=1\n-M# smtp/inet\n-MX relay/unix\n\
            -PX relay/unix/syslog_name";
        Case {
            name: "Debian's own files".to_owned(),
            files: vec![file("main.cf", "main.cf.tls"), file("master.cf", "master.cf.dist")],
            commands: commands.lines().map(|line| split_words(line.trim())).collect(),
        }
    }

    fn read(path: &Path) -> Case {
        let text = fs::read_to_string(path).expect("a case is a text");
        let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        let mut case = Case { name, files: Vec::new(), commands: Vec::new() };
        for section in text.split("\n== ").skip(1) {
            let (title, body) = section.split_once('\n').unwrap_or((section, ""));
            let body = if body.is_empty() { String::new() } else { format!("{body}\n") };
            match title.split(' ').collect::<Vec<&str>>()[..] {
                ["commands"] => {
                    case.commands
                        .extend(body.lines().filter(|line| !line.trim().is_empty()).map(split_words));
                }
                [file] => case.files.push((file.to_owned(), body.into_bytes())),
                [file, "escaped"] => case.files.push((file.to_owned(), unescaped(&body))),
                _ => panic!("{}: == {title}", path.display()),
            }
        }
        assert!(!case.commands.is_empty(), "{} has no commands", path.display());
        case
    }

    /// Writes the files, old enough that nobody waits for them to settle.
    fn put_into(&self, directory: &Path) {
        fs::create_dir_all(directory).expect("the scratch directory is writable");
        let old = SystemTime::now() - Duration::from_secs(3600);
        for (name, content) in &self.files {
            let path = directory.join(name);
            let content = match String::from_utf8(content.clone()) {
                Ok(text) => text.replace("@CF@", &directory.display().to_string()).into_bytes(),
                Err(error) => error.into_bytes(),
            };
            fs::write(&path, content).expect("the scratch directory is writable");
            let file = fs::File::options().write(true).open(&path).expect("just written");
            file.set_modified(old).expect("ours");
        }
    }
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = text.bytes().filter(|byte| *byte != b'\n');
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let escaped = match bytes.next().expect("a letter after the backslash") {
            b'x' => {
                let mut digit =
                    || (bytes.next().expect("two digits") as char).to_digit(16).expect("a digit") as u8;
                digit() * 16 + digit()
            }
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => 0,
            other => other,
        };
        out.push(escaped);
    }
    out
}

fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for character in line.replace("\\n", "\n").chars() {
        match character {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' if !quoted => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    words
}
