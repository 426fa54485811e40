//! Programs that others wrote on both sides: Postfix's smtp-source and smtp-sink, swaks, Python's smtplib. They know
//! nothing of this relay, and their SMTP is not ours.

use std::collections::BTreeSet;
use std::path::Path;

use ringpost_tests::maillog::LogLine;
use ringpost_tests::peers::{self, SmtpSink, postfix_tool, program};
use ringpost_tests::{Engine, EngineSetup, Sink};

fn removed(line: &LogLine) -> bool {
    line.process == "qmgr" && line.text == "removed"
}

fn sent(line: &LogLine) -> bool {
    line.process == "smtp" && line.text.contains("status=sent")
}

/// What smtp-source is asked for.
struct Work {
    words: &'static [&'static str],
    messages: usize,
    recipients: usize,
    bytes: usize,
}

impl Work {
    const fn of(messages: usize, bytes: usize) -> Work {
        Work { words: &[], messages, recipients: 1, bytes }
    }
}

fn smtp_source(tool: &Path, engine: &Engine, work: &Work, sessions: usize) {
    let numbers = [sessions, work.messages, work.bytes, work.recipients].map(|number| number.to_string());
    let [sessions, messages, bytes, recipients] = numbers.each_ref().map(String::as_str);
    let target = engine.setup().address().to_string();
    let mut words =
        vec!["-s", sessions, "-m", messages, "-l", bytes, "-r", recipients, "-N", "-f", "a@client.test"];
    words.extend(["-t", "user@sink.test"]);
    words.extend(work.words);
    words.push(&target);
    let output = peers::run(tool, &words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "smtp-source {words:?}: {}, {said}", output.status);
}

/// Postfix's source and Postfix's sink, and the relay's own log, which must tell of the same mail.
fn source_to_sink(name: &str, sessions: usize, works: &[Work]) {
    let (source, sink) = match (postfix_tool("smtp-source"), postfix_tool("smtp-sink")) {
        (Ok(source), Ok(sink)) => (source, sink),
        (Err(why), _) | (_, Err(why)) => {
            println!("SKIPPED {name}: {why}");
            return;
        }
    };
    let setup = EngineSetup::new(name);
    let smtp_sink = SmtpSink::start(&sink, &[], setup.sink_address(), setup.home());
    let engine = setup.start();
    let mut messages = 0;
    let mut recipients = 0;
    for work in works {
        smtp_source(&source, &engine, work, sessions);
        messages += work.messages;
        recipients += work.messages * work.recipients;
        engine.wait_for_log_count("removed", messages, removed);
    }
    let log = engine.log();
    assert_eq!(log.iter().filter(|line| removed(line)).count(), messages);
    assert_eq!(log.iter().filter(|line| sent(line)).count(), recipients);
    assert_eq!(smtp_sink.messages(), messages as u64, "smtp-sink counts each message once");
    engine.stop();
}

#[test]
fn smtp_source_and_smtp_sink_with_a_connection_for_each_message() {
    let work = [Work::of(2000, 4096), Work::of(1000, 100)];
    source_to_sink("source-fresh", 20, &work);
}

#[test]
fn smtp_source_and_smtp_sink_with_kept_connections() {
    let work = [
        Work { words: &["-d"], ..Work::of(3000, 4096) },
        Work { words: &["-d"], recipients: 10, ..Work::of(300, 4096) },
    ];
    source_to_sink("source-kept", 20, &work);
}

#[test]
fn smtp_source_and_smtp_sink_with_large_messages() {
    let work = [
        Work { words: &["-d"], ..Work::of(40, 1 << 20) },
        Work { words: &["-d"], ..Work::of(6, 9 << 20) },
        Work::of(4, 9 << 20),
    ];
    source_to_sink("source-large", 4, &work);
}

#[test]
fn each_recipient_that_smtp_source_names_gets_its_mail_exactly_once() {
    let source = match postfix_tool("smtp-source") {
        Ok(source) => source,
        Err(why) => ringpost_tests::skip!("{why}"),
    };
    let setup = EngineSetup::new("source-numbered");
    let sink = Sink::counting(setup.sink_address());
    let engine = setup.start();
    // -N numbers the recipients, so that none has the name of another.
    let work = Work { words: &["-d"], recipients: 3, ..Work::of(1000, 2000) };
    smtp_source(&source, &engine, &work, 20);
    engine.wait_for_log_count("removed", work.messages, removed);
    let messages = sink.messages();
    let recipients: Vec<&String> = messages.iter().flat_map(|message| &message.recipients).collect();
    let distinct: BTreeSet<&String> = recipients.iter().copied().collect();
    assert_eq!((recipients.len(), distinct.len()), (3000, 3000));
    engine.stop();
}

#[test]
fn swaks_sends_an_attachment_that_arrives_whole() {
    let swaks = match program("swaks") {
        Ok(swaks) => swaks,
        Err(why) => ringpost_tests::skip!("{why}"),
    };
    let setup = EngineSetup::new("swaks");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let attachment: Vec<u8> = (0..100_000_u32).map(|number| (number.wrapping_mul(31) >> 3) as u8).collect();
    let path = setup.home().join("attachment");
    std::fs::write(&path, &attachment).expect("the scratch directory is writable");
    let attach = format!("@{}", path.display());
    let target = setup.address().to_string();
    let words = [
        "--server",
        &target,
        "--from",
        "a@client.test",
        "--to",
        "b@sink.test,c@sink.test",
        "--body",
        ".\n..\nlast",
        "--attach",
        &attach,
        "--pipeline",
    ];
    let output = peers::run(&swaks, &words);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let taken = sink.wait_for(1);
    assert_eq!(taken[0].recipients, ["b@sink.test", "c@sink.test"]);
    let content = String::from_utf8_lossy(&taken[0].content);
    assert!(content.contains("\r\n\r\n.\r\n..\r\nlast\r\n"), "dots at the beginning of a line stay");
    let encoded = content.split("Content-Transfer-Encoding: BASE64\r\n\r\n").nth(1).unwrap_or("");
    let encoded = encoded.split("--").next().unwrap_or("").replace("\r\n", "");
    assert_eq!(encoded.len(), attachment.len().div_ceil(3) * 4);
    engine.stop();
}

#[test]
fn python_sends_8_bit_and_utf8_mail() {
    let python = match program("python3") {
        Ok(python) => python,
        Err(why) => ringpost_tests::skip!("{why}"),
    };
    let setup = EngineSetup::new("smtplib");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let script = format!(
        "import smtplib\n\
         from email.message import EmailMessage\n\
         with smtplib.SMTP('{}', {}) as s:\n\
         \x20   s.ehlo('client.test')\n\
         \x20   m = EmailMessage()\n\
         \x20   m['From'], m['To'], m['Subject'] = 'a@client.test', 'b@sink.test', 'grüße'\n\
         \x20   m.set_content('schöne grüße\\n' * 3, cte='8bit')\n\
         \x20   s.send_message(m, mail_options=['BODY=8BITMIME'])\n\
         \x20   s.sendmail('ä@client.test', ['ü@sink.test'], 'Subject: Ω\\r\\n\\r\\nß\\r\\n'.encode(), \
         ['SMTPUTF8', 'BODY=8BITMIME'])\n",
        setup.address().ip(),
        setup.address().port()
    );
    let output = peers::run(&python, &["-c", &script]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let taken = sink.wait_for(2);
    let of = |sender: &str| {
        taken.iter().find(|message| message.sender == sender).unwrap_or_else(|| panic!("none from {sender}"))
    };
    let eight_bit = of("a@client.test");
    assert!(eight_bit.sender_options.contains("BODY=8BITMIME"), "{}", eight_bit.sender_options);
    assert!(String::from_utf8_lossy(eight_bit.body()).starts_with("schöne grüße\r\n"));
    let utf8 = of("ä@client.test");
    assert_eq!(utf8.recipients, ["ü@sink.test"]);
    assert!(utf8.sender_options.contains("SMTPUTF8"), "{}", utf8.sender_options);
    assert_eq!(utf8.header("Subject").as_deref(), Some("Ω"));
    engine.stop();
}
