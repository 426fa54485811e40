//! Starts that are refused, and why: each ends with the exit code of sysexits.h that fits and says where the fault is.

use std::net::TcpListener;
use std::process::Command;

use ringpost_tests::client::message_content;
use ringpost_tests::engine::{binary, refused};
use ringpost_tests::{EngineSetup, Sink};

/// sysexits.h.
const EX_USAGE: i32 = 64;
const EX_UNAVAILABLE: i32 = 69;
const EX_CANTCREAT: i32 = 73;
const EX_TEMPFAIL: i32 = 75;
const EX_NOPERM: i32 = 77;
const EX_CONFIG: i32 = 78;

fn refused_with_main_cf(name: &str, main_cf: &str) -> ringpost_tests::RefusedStart {
    let setup = EngineSetup::new(name);
    // Writes both files; then main.cf is replaced by the faulty one.
    let _ = setup.command();
    std::fs::write(setup.home().join("main.cf"), main_cf).expect("the scratch directory is writable");
    refused(setup.raw_command())
}

#[test]
fn a_fault_in_main_cf_is_named_by_file_and_line() {
    for (name, main_cf, line) in [
        ("no-equals", "myhostname = a.test\n\nthis is no parameter\n", 3),
        ("leading-continuation", "   continues nothing\n", 1),
        ("bad-number", "myhostname = a.test\n# a comment\nmessage_size_limit = many\n", 3),
        ("bad-time", "smtp_connect_timeout = 30 parsecs\n", 1),
        ("bad-boolean", "myhostname = a.test\nsoft_bounce = maybe\n", 2),
        ("out-of-range", "ringpost_shards = 1000000\n", 1),
    ] {
        let start = refused_with_main_cf(name, main_cf);
        assert_eq!(start.code, Some(EX_CONFIG), "{name}: {}", start.printed);
        let place = format!("main.cf:{line}");
        let place_in_words = format!("main.cf, line {line}");
        assert!(
            start.printed.contains(&place) || start.printed.contains(&place_in_words),
            "{name} does not name {place}: {}",
            start.printed
        );
    }
}

#[test]
fn a_fault_in_master_cf_is_named_by_file_and_line() {
    let setup = EngineSetup::new("master-cf").master_cf("# comment\nsmtp inet n -\n");
    let start = setup.start_refused();
    assert_eq!(start.code, Some(EX_CONFIG), "{}", start.printed);
    assert!(start.printed.contains("master.cf") && start.printed.contains('2'), "{}", start.printed);
}

#[test]
fn a_missing_configuration_directory_is_said() {
    let mut command = Command::new(binary());
    command.args(["serve", "-c", "/nonexistent/ringpost"]);
    let start = refused(command);
    assert_eq!(start.code, Some(EX_CONFIG), "{}", start.printed);
    assert!(start.printed.contains("/nonexistent/ringpost"), "{}", start.printed);
}

#[test]
fn a_wrong_word_on_the_command_line_is_a_usage_error() {
    for words in
        [&["serve", "--no-such-option"][..], &["no-such-command"], &["serve", "-o", "no-equals-sign"]]
    {
        let mut command = Command::new(binary());
        command.args(words);
        let start = refused(command);
        assert_eq!(start.code, Some(EX_USAGE), "{words:?}: {}", start.printed);
    }
}

#[test]
fn help_and_version_are_answers_and_not_errors() {
    for words in [&["--help"][..], &["--version"], &["serve", "--help"], &["check", "--help"]] {
        let output = Command::new(binary()).args(words).output().expect("the binary can be run");
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(!output.stdout.is_empty(), "{words:?} prints nothing");
    }
}

#[test]
fn a_second_engine_on_the_same_spool_goes_away() {
    let first = EngineSetup::new("first");
    let second = EngineSetup::new("second").parameter("queue_directory", &first.queue().to_string_lossy());
    let sink = Sink::willing(first.sink_address());
    let engine = first.start();
    let start = second.start_refused();
    assert_eq!(start.code, Some(EX_TEMPFAIL), "{}", start.printed);
    assert!(start.printed.contains(&*first.queue().to_string_lossy()), "{}", start.printed);
    // And the first is unharmed.
    let mut client = engine.client();
    client.message("a@client.test", &["b@sink.test"], &message_content("after", 500));
    client.quit();
    sink.wait_for(1);
    engine.stop();
}

#[test]
fn a_port_in_use_is_named() {
    let setup = EngineSetup::new("port-in-use");
    let _listener = TcpListener::bind(setup.address()).expect("a fresh loopback address is free");
    let start = setup.start_refused();
    assert!(matches!(start.code, Some(EX_UNAVAILABLE | EX_TEMPFAIL)), "{:?}: {}", start.code, start.printed);
    assert!(start.printed.contains(&setup.address().to_string()), "{}", start.printed);
}

#[test]
fn a_queue_directory_that_cannot_be_made_is_named() {
    let setup = EngineSetup::new("no-queue");
    let file = setup.home().join("a-file");
    std::fs::write(&file, b"not a directory").expect("the scratch directory is writable");
    let queue = file.join("queue");
    let setup = setup.parameter("queue_directory", &queue.to_string_lossy());
    let start = setup.start_refused();
    let code = start.code.unwrap_or(0);
    assert!([EX_CANTCREAT, EX_TEMPFAIL, EX_NOPERM, EX_CONFIG].contains(&code), "{code}: {}", start.printed);
    assert!(start.printed.contains(&*queue.to_string_lossy()), "{}", start.printed);
}

#[test]
fn check_tells_what_each_parameter_does() {
    let setup = EngineSetup::new("check").parameter("default_process_limit", "50").parameter("my_own", "x");
    let _ = setup.command();
    let output = Command::new(binary()).arg("check").arg("-c").arg(setup.home()).output();
    let output = output.expect("the binary can be run");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}{}", String::from_utf8_lossy(&output.stderr));
    let line = |name: &str| {
        printed.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("no {name} in:\n{printed}"))
    };
    assert!(line("relayhost").contains("honoured"));
    assert!(line("default_process_limit").contains("without effect"));
}
