//! Configurations that nobody should write: `ringpost check` and `postconf` end within bounds of processor time and
//! memory, and say what is wrong and where.

use std::fs;
use std::process::{Command, Output, Stdio};

use ringpost_tests::Scratch;
use ringpost_tests::engine::binary;

/// Seconds of processor time that one command may use; a debug build is slow.
const CPU_SECONDS_MAX: u32 = 60;
/// Kibibytes of address space.
const MEMORY_KIB_MAX: u32 = 2 << 20;

const TEN_MEGABYTES: usize = 10 << 20;

/// Runs the binary with `words` and `-c` on a directory with this `main.cf`, within the bounds.
fn run(main_cf: &[u8], words: &[&str]) -> Output {
    let scratch = Scratch::new("bad-configuration");
    fs::write(scratch.join("main.cf"), main_cf).expect("the scratch directory is writable");
    fs::write(scratch.join("master.cf"), "127.0.0.1:2525 inet n - n - - smtpd\nsmtp unix - - n - - smtp\n")
        .expect("the scratch directory is writable");
    let script = format!("ulimit -t {CPU_SECONDS_MAX}; ulimit -v {MEMORY_KIB_MAX}; exec \"$@\"");
    let output = Command::new("/bin/sh")
        .args(["-c", &script, "sh"])
        .arg(binary())
        .args([words[0], "-c", "."])
        .args(&words[1..])
        .current_dir(scratch.path())
        .env_remove("MAIL_CONFIG")
        .stdin(Stdio::null())
        .output()
        .expect("there is a shell");
    assert!(output.status.code().is_some(), "{words:?} ended by {}: {}", output.status, error(&output));
    output
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn check(main_cf: &str) -> (Option<i32>, String, String) {
    let output = run(main_cf.as_bytes(), &["check"]);
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned(), error(&output))
}

fn repeated(line: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(TEN_MEGABYTES + 100);
    for index in 0.. {
        if text.len() >= TEN_MEGABYTES {
            break;
        }
        text.push_str(&line(index));
    }
    text
}

#[test]
fn unknown_parameters_are_told_once_each_and_stop_nothing() {
    let (code, out, error) =
        check("compatibility_level = 3.6\nrelayhots = [a.example]\nmine = x\nmyhostname = $mine.example\n");
    assert_eq!(code, Some(0), "{error}");
    let told = out.lines().filter(|line| line.contains("relayhots")).collect::<Vec<_>>();
    assert_eq!(told.len(), 1, "{out}");
    assert!(told[0].starts_with("./main.cf:2: ") && told[0].contains("unknown"), "{told:?}");
    assert!(out.contains("./main.cf:3: mine = x: user-defined"), "{out}");
}

#[test]
fn ten_megabytes_of_definitions_load() {
    let text = repeated(|index| format!("an_unknown_parameter_{index} = value of it\n"));
    let (code, out, error) = check(&text);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(out.lines().filter(|line| line.contains("unknown")).count(), text.lines().count());
    let output = run(text.as_bytes(), &["postconf", "-n"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(self::error(&output).lines().count(), text.lines().count(), "each is told once");
}

#[test]
fn ten_megabytes_of_one_name_keep_the_last() {
    let text = repeated(|index| format!("relayhost = [host{index}.example]\n"));
    let (code, out, error) = check(&text);
    assert_eq!(code, Some(0), "{error}");
    assert_eq!(out.lines().filter(|line| line.contains("relayhost")).count(), 1);
}

#[test]
fn a_line_of_ten_megabytes_is_loaded_or_refused_with_its_place() {
    let networks = format!(
        "mynetworks = {}",
        repeated(|index| format!("10.{}.{}.0/24 ", index / 256 % 256, index % 256))
    );
    let (code, _, error) = check(&networks);
    assert!(
        code == Some(0) || code == Some(78) && error.contains("./main.cf:1: mynetworks"),
        "{code:?} {:.200}",
        error
    );
    assert!(error.len() < 10_000, "what is wrong is told in short");
    let names = format!("smtpd_banner = {}", repeated(|_| "$myhostname".to_owned()));
    let (code, _, error) = check(&names);
    assert_eq!(code, Some(78), "{error:.200}");
    assert!(error.contains("./main.cf:1: smtpd_banner"), "{error:.200}");
    let output = run(names.as_bytes(), &["postconf", "-x", "smtpd_banner"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && output.stderr.len() < 10_000);
}

#[test]
fn references_that_loop_or_double_are_refused_with_their_place() {
    let (code, _, error) = check("relayhost = $a\na = $b\nb = $a\n");
    assert_eq!(code, Some(78));
    assert!(error.contains("./main.cf:1: relayhost: unreasonable macro call nesting"), "{error}");
    let mut doubling = String::from("smtpd_banner = $x0\n");
    for index in 0..64 {
        doubling.push_str(&format!("x{index} = $x{0}$x{0}\n", index + 1));
    }
    let (code, _, error) = check(&doubling);
    assert_eq!(code, Some(78));
    assert!(error.contains("./main.cf:1: smtpd_banner: "), "{error}");
    let output = run(doubling.as_bytes(), &["postconf", "-x", "smtpd_banner"]);
    assert_eq!(output.status.code(), Some(1));
    let braces = format!("a = 1\nsmtpd_banner = {}{}\n", "${a?{".repeat(100_000), "}}".repeat(100_000));
    let (code, _, error) = check(&braces);
    assert_eq!(code, Some(78));
    assert!(error.contains("./main.cf:2: smtpd_banner: ") && error.len() < 10_000, "{error:.200}");
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    for (text, what) in [(&b"a = 1\nrelayhost = x\0y\n"[..], "NUL"), (b"a = 1\nrelayhost = \xff\n", "UTF-8")]
    {
        let output = run(text, &["check"]);
        assert_eq!(output.status.code(), Some(78));
        let error = error(&output);
        assert!(error.contains("./main.cf:2: ") && error.contains(what), "{error}");
    }
    let output = run(b"# caf\xe9\nrelayhost = [a.example]\n", &["check"]);
    assert_eq!(output.status.code(), Some(0), "a comment is not read: {}", error(&output));
}

#[test]
fn a_file_beyond_the_limit_is_refused() {
    let output = run(&vec![b'#'; 65 << 20], &["check"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(error(&output).contains("too large"), "{}", error(&output));
}
