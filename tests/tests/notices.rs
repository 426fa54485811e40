//! What senders and postmasters are told: failures once, delays once, deliveries when asked; and that no crash keeps it
//! from them.

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ringpost_spool::inspect::{self, Kind};
use ringpost_tests::client::message_content;
use ringpost_tests::evidence::{segments, spool_number};
use ringpost_tests::maillog::LogLine;
use ringpost_tests::notice::{Notice, faults};
use ringpost_tests::peers::program;
use ringpost_tests::sink::{Answer, Message, Stage};
use ringpost_tests::{Client, Engine, EngineSetup, Sink, repository, skip, wait};

/// A relay that tries again after a second.
fn impatient(name: &str) -> EngineSetup {
    EngineSetup::new(name).parameter("minimal_backoff_time", "1s").parameter("queue_run_delay", "1s")
}

/// One transaction in the client's own words; gives the queue id.
fn send(client: &mut Client, mail: &str, rcpts: &[&str], content: &[u8]) -> String {
    client.expect(mail, "250 2.1.0");
    for rcpt in rcpts {
        client.expect(rcpt, "250 2.1.5");
    }
    client.expect("DATA", "354");
    client.send(content);
    client.send(b".\r\n");
    client.reply().queue_id().to_owned()
}

fn is_notice(message: &Message) -> bool {
    message.header("Content-Type").is_some_and(|value| value.starts_with("multipart/report"))
}

fn notices(sink: &Sink) -> Vec<Arc<Message>> {
    sink.messages().into_iter().filter(|message| is_notice(message)).collect()
}

/// Reads a notice, and has Python's `email` package read it where there is one.
fn parsed(message: &Message) -> Notice {
    if let Ok(python) = program("python3") {
        assert_eq!(
            faults(&python, &message.content, &[]),
            "",
            "{}",
            String::from_utf8_lossy(&message.content)
        );
    }
    Notice::parse(&message.content)
}

fn removed(engine: &Engine, count: usize) {
    engine.wait_for_log_count("removed", count, |line| line.text == "removed");
}

/// A sink that does not offer DSN, and otherwise does what `script` says.
fn without_dsn(stage: &Stage<'_>) -> Option<Answer> {
    match stage {
        Stage::Hello(_) => Some(Answer::say("250-sink.test\r\n250 PIPELINING")),
        _ => None,
    }
}

#[test]
fn the_golden_notices_parse_in_python() {
    let python = match program("python3") {
        Ok(python) => python,
        Err(why) => skip!("{why}"),
    };
    let golden = |beginning: &str, words: &[&str]| {
        let paths: Vec<String> =
            repository::files().into_iter().filter(|path| path.starts_with(beginning)).collect();
        for path in &paths {
            let file = repository::read(path);
            // The head of a snapshot ends with its second line of dashes; the content is in wire form but for line ends.
            let content = file.splitn(3, "---\n").nth(2).unwrap_or_else(|| panic!("{path} is no snapshot"));
            let content = content.replace("\n..", "\n.").replace('\n', "\r\n");
            assert_eq!(faults(&python, content.as_bytes(), words), "", "{path}");
        }
        paths.len()
    };
    let notices = golden("core/tests/snapshots/smtp_notice__", &["--no-trace"]);
    assert!(
        notices >= 9,
        "failure, delay, success, relayed, expanded, expired, double bounce, SMTPUTF8, in a thread"
    );
    let reports = golden("core/tests/snapshots/session_report__", &["--no-trace", "--plain"]);
    assert!(reports >= 2, "sessions of clients, sessions with servers");
}

#[test]
fn recipients_that_fail_in_different_attempts_share_one_notice() {
    let setup = impatient("one-notice").parameter("ringpost_bounce_when", "message");
    let second = Arc::new(AtomicUsize::new(0));
    let tries = Arc::clone(&second);
    let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::Rcpt("first@sink.test") => Answer::say("550 5.1.1 no first here"),
        Stage::Rcpt("second@sink.test") => match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::say("450 4.2.0 ask me later"),
            _ => Answer::say("550 5.2.1 no second either"),
        },
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let all = ["first@sink.test", "second@sink.test", "third@sink.test"];
    client.message("author@client.test", &all, &message_content("two-attempts", 800));
    client.quit();
    removed(&engine, 2);
    engine.stop();
    assert_eq!(second.load(Ordering::Relaxed), 2, "the second recipient was tried twice");
    let told = notices(&sink);
    assert_eq!(told.len(), 1, "one notice for the message");
    let report = parsed(&told[0]);
    assert_eq!(report.recipients.len(), 2);
    assert_eq!(report.of_recipient(0, "Final-Recipient"), "rfc822; first@sink.test");
    assert_eq!(report.of_recipient(0, "Status"), "5.1.1");
    assert_eq!(report.of_recipient(1, "Final-Recipient"), "rfc822; second@sink.test");
    assert_eq!(report.of_recipient(1, "Diagnostic-Code"), "smtp; 550 5.2.1 no second either");
    assert!(!report.text.contains("third"), "{}", report.text);
}

#[test]
fn a_failure_is_not_forgotten_when_the_relay_is_killed_before_its_notice() {
    let setup = impatient("killed-before-notice")
        .parameter("ringpost_shards", "1")
        .parameter("ringpost_bounce_when", "message");
    let (firsts, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (count, is_open) = (Arc::clone(&firsts), Arc::clone(&open));
    let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::Rcpt("first@sink.test") => {
            count.fetch_add(1, Ordering::Relaxed);
            Answer::say("550 5.1.1 no first here")
        }
        Stage::Rcpt("second@sink.test") if !is_open.load(Ordering::Relaxed) => Answer::say("450 4.2.0 later"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let both = ["first@sink.test", "second@sink.test"];
    client.message("author@client.test", &both, &message_content("told-later", 800));
    engine.wait_for_log("bounced", |line| line.text.contains("status=bounced"));
    // The outcome rides on the next commit; a message that is accepted after it has been in that or a later one.
    client.message("author@client.test", &["other@sink.test"], &message_content("later", 800));
    engine.kill();
    open.store(true, Ordering::Relaxed);
    let engine = setup.start();
    engine.wait_for_log("the notice", |line| line.text.starts_with("sender non-delivery notification: "));
    wait::until("the notice arrives", || (notices(&sink).len() == 1).then_some(()));
    engine.stop();
    let report = parsed(&notices(&sink)[0]);
    assert_eq!(report.recipients.len(), 1);
    assert_eq!(report.of_recipient(0, "Diagnostic-Code"), "smtp; 550 5.1.1 no first here");
    assert_eq!(firsts.load(Ordering::Relaxed), 1, "who failed is not tried again");
}

/// The segment file and the offset of the commit in which the message was removed.
fn commit_of_removal(setup: &EngineSetup, queue_id: &str) -> (PathBuf, u64) {
    let number = spool_number(queue_id).expect("a queue id ends in a number");
    for path in segments(&setup.queue(), 0) {
        let bytes = std::fs::read(&path).expect("a segment can be read");
        let mut commit = 0;
        for frame in inspect::frames(&bytes) {
            match frame.kind {
                Kind::Commit => commit = frame.offset,
                Kind::Remove if frame.id == number => return (path, commit),
                _ => {}
            }
        }
    }
    panic!("{queue_id} was not removed");
}

#[test]
fn a_crash_between_a_notice_and_the_removal_repeats_the_notice_and_loses_nothing() {
    let setup = impatient("killed-after-notice").parameter("ringpost_shards", "1");
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::Rcpt("nobody@sink.test") => {
            count.fetch_add(1, Ordering::Relaxed);
            Answer::say("550 5.1.1 nobody here")
        }
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let both = ["nobody@sink.test", "somebody@sink.test"];
    let queue_id = client.message("author@client.test", &both, &message_content("twice", 800));
    removed(&engine, 2);
    // What was said before this is on the disk.
    client.message("author@client.test", &["other@sink.test"], &message_content("after", 800));
    engine.kill();
    assert_eq!(sink.messages().iter().filter(|message| is_notice(message)).count(), 1);

    // The disk as it was when the notice was stored and the removal was not: the log ends before that commit.
    let (path, end) = commit_of_removal(&setup, &queue_id);
    let file = std::fs::File::options().write(true).open(&path).expect("a segment can be written");
    let length = file.metadata().expect("a file has a length").len();
    let zeros = vec![0; usize::try_from(length - end).expect("a segment fits into memory")];
    file.write_all_at(&zeros, end).expect("a segment can be written");

    let engine = setup.start();
    wait::until("the notice comes again", || (notices(&sink).len() >= 2).then_some(()));
    engine.wait_for_log_count("its removal", 2, |line| {
        line.queue_id.as_deref() == Some(&queue_id) && line.text == "removed"
    });
    engine.stop();
    for notice in notices(&sink) {
        assert_eq!(parsed(&notice).of_recipient(0, "Final-Recipient"), "rfc822; nobody@sink.test");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1, "who failed is not tried again");
    let copies =
        sink.messages().iter().filter(|message| message.recipients == ["somebody@sink.test"]).count();
    assert_eq!(copies, 1, "who has the message does not get it again");
}

#[test]
fn a_delay_is_told_once_and_its_end_when_asked() {
    let setup = impatient("delayed")
        .parameter("delay_warning_time", "1s")
        .parameter("confirm_delay_cleared", "yes")
        .parameter("notify_classes", "delay")
        .parameter("delay_notice_recipient", "duty@sink.test");
    let tries = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tries);
    let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::Rcpt("slow@sink.test") if count.fetch_add(1, Ordering::Relaxed) < 4 => {
            Answer::say("450 4.2.2 mailbox full")
        }
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let queue_id = client.message("author@client.test", &["slow@sink.test"], &message_content("late", 800));
    client.quit();
    // The message, the warning, its copy, and the report of its delivery.
    removed(&engine, 4);
    let said = |what: &str| {
        let line =
            |line: &&LogLine| line.queue_id.as_deref() == Some(&queue_id) && line.text.starts_with(what);
        engine.log().iter().filter(line).count()
    };
    assert_eq!(said("sender delay notification: "), 1);
    assert_eq!(said("postmaster delay notification: "), 1);
    assert_eq!(said("sender delivery status notification: "), 1);
    engine.stop();
    assert!(tries.load(Ordering::Relaxed) >= 4);
    let told = notices(&sink);
    let of = |subject: &str| {
        let found = told.iter().find(|notice| notice.header("Subject").as_deref() == Some(subject));
        found.unwrap_or_else(|| panic!("no notice \"{subject}\""))
    };
    let warning = of("Delayed Mail (still being retried)");
    assert_eq!(
        (warning.sender.as_str(), &warning.recipients[..]),
        ("", &["author@client.test".to_owned()][..])
    );
    let report = parsed(warning);
    assert_eq!(report.of_recipient(0, "Action"), "delayed");
    assert_eq!(report.of_recipient(0, "Status"), "4.2.2");
    assert!(!report.of_recipient(0, "Will-Retry-Until").is_empty());
    assert!(report.returned_type.starts_with("text/rfc822-headers"));
    let copy = of("Postmaster Warning: Delayed Mail");
    assert_eq!(copy.sender, "double-bounce@relay.test");
    assert_eq!(copy.recipients, ["duty@sink.test"]);
    parsed(copy);
    assert_eq!(parsed(of("Successful Mail Delivery Report")).of_recipient(0, "Action"), "relayed");
}

#[test]
fn a_delivery_is_told_when_the_server_will_not_tell_it() {
    let setup = EngineSetup::new("relayed");
    let sink = Sink::scripted(setup.sink_address(), |stage| without_dsn(stage).unwrap_or(Answer::Usual));
    let engine = setup.start();
    let mut client = engine.client();
    let queue_id = send(
        &mut client,
        "MAIL FROM:<author@client.test> ENVID=order+2066 RET=FULL",
        &[
            "RCPT TO:<asked@sink.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;as+2Bked@client.test",
            "RCPT TO:<silent@sink.test>",
            "RCPT TO:<never@sink.test> NOTIFY=NEVER",
        ],
        &message_content("relayed", 800),
    );
    client.quit();
    removed(&engine, 2);
    engine.wait_for_log("the report", |line| {
        line.queue_id.as_deref() == Some(&queue_id)
            && line.text.starts_with("sender delivery status notification: ")
    });
    engine.stop();
    let told = notices(&sink);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].header("Subject").as_deref(), Some("Successful Mail Delivery Report"));
    let report = parsed(&told[0]);
    assert_eq!(report.of_message("Original-Envelope-Id"), "order 66");
    assert_eq!(report.recipients.len(), 1);
    assert_eq!(report.of_recipient(0, "Final-Recipient"), "rfc822; asked@sink.test");
    assert_eq!(report.of_recipient(0, "Original-Recipient"), "rfc822;as+ked@client.test");
    assert_eq!(report.of_recipient(0, "Action"), "relayed");
    assert_eq!(report.of_recipient(0, "Status"), "2.0.0");
    assert!(report.returned_type.starts_with("text/rfc822-headers"), "only failures return the message");
}

#[test]
fn a_server_that_tells_deliveries_itself_is_asked_to() {
    let setup = EngineSetup::new("dsn-passed-on");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    let rcpt = ["RCPT TO:<asked@sink.test> NOTIFY=SUCCESS"];
    send(
        &mut client,
        "MAIL FROM:<author@client.test> ENVID=x RET=HDRS",
        &rcpt,
        &message_content("passed", 800),
    );
    client.quit();
    removed(&engine, 1);
    engine.stop();
    let taken = sink.messages();
    assert_eq!(taken.len(), 1, "no report of ours");
    assert!(taken[0].sender_options.contains("RET=HDRS ENVID=x"), "{}", taken[0].sender_options);
}

#[test]
fn notices_join_the_thread_of_their_message_when_asked() {
    let setup = EngineSetup::new("threaded").parameter("enable_threaded_bounces", "yes");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt("nobody@sink.test") => Answer::say("550 5.1.1 nobody here"),
        _ => without_dsn(stage).unwrap_or(Answer::Usual),
    });
    let engine = setup.start();
    let mut client = engine.client();
    let rcpts = ["RCPT TO:<nobody@sink.test>", "RCPT TO:<asked@sink.test> NOTIFY=SUCCESS"];
    // Above 128 KiB content lies in chunks.
    for (id, bytes) in [("small@client.test", 800), ("large@client.test", 180_000)] {
        let mut content = format!("Message-ID: <{id}>\r\n").into_bytes();
        content.extend(message_content(id, bytes));
        send(&mut client, "MAIL FROM:<author@client.test>", &rcpts, &content);
    }
    client.quit();
    removed(&engine, 6);
    engine.stop();
    let told = notices(&sink);
    assert_eq!(told.len(), 4, "a failure and a delivery of each message");
    for id in ["<small@client.test>", "<large@client.test>"] {
        let about: Vec<_> =
            told.iter().filter(|notice| notice.header("In-Reply-To").as_deref() == Some(id)).collect();
        assert_eq!(about.len(), 2, "{id}");
        for notice in about {
            assert_eq!(notice.header("References").as_deref(), Some(id));
            parsed(notice);
        }
    }
}

#[test]
fn notify_never_is_never() {
    let setup = EngineSetup::new("never");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt("nobody@sink.test" | "delay@sink.test") => Answer::say("550 5.1.1 nobody here"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let rcpts = ["RCPT TO:<nobody@sink.test> NOTIFY=NEVER", "RCPT TO:<delay@sink.test> NOTIFY=DELAY,SUCCESS"];
    send(&mut client, "MAIL FROM:<author@client.test>", &rcpts, &message_content("never", 800));
    client.quit();
    removed(&engine, 1);
    assert!(!engine.log().iter().any(|line| line.text.contains("notification")));
    engine.stop();
    assert_eq!(sink.count(), 0);
}

#[test]
fn ret_hdrs_and_the_size_limit_return_headers_only() {
    let setup = EngineSetup::new("ret").parameter("bounce_size_limit", "200000");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt("nobody@sink.test") => Answer::say("550 5.1.1 nobody here"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let cases = [
        ("RET=HDRS", 800, "text/rfc822-headers"),
        ("RET=FULL", 800, "message/rfc822"),
        // Above 128 KiB content lies in chunks, and is returned whole all the same.
        ("RET=FULL", 180_000, "message/rfc822"),
        ("RET=FULL", 250_000, "text/rfc822-headers"),
    ];
    for (place, (ret, bytes, returned)) in cases.into_iter().enumerate() {
        let content = message_content(&format!("ret-{place}"), bytes);
        let mail = format!("MAIL FROM:<author@client.test> {ret}");
        send(&mut client, &mail, &["RCPT TO:<nobody@sink.test>"], &content);
        let notice = &sink.wait_for(place + 1)[place];
        let report = parsed(notice);
        assert!(report.returned_type.starts_with(returned), "{ret}, {bytes} bytes: {}", report.returned_type);
        assert!(report.returned.contains(&format!("X-Track: ret-{place}\r\n")));
        let whole = report.returned.len() > bytes;
        assert_eq!(whole, returned == "message/rfc822", "{ret}, {bytes} bytes: {}", report.returned.len());
    }
    client.quit();
    engine.stop();
}

#[test]
fn a_bounce_that_bounces_goes_to_the_postmaster_and_no_further() {
    let setup = EngineSetup::new("second-bounce")
        .parameter("notify_classes", "2bounce")
        .parameter("2bounce_notice_recipient", "duty@sink.test");
    let duty_reads = Arc::new(AtomicBool::new(true));
    let reads = Arc::clone(&duty_reads);
    let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::Rcpt("duty@sink.test") if reads.load(Ordering::Relaxed) => Answer::Usual,
        Stage::Rcpt(_) => Answer::say("550 5.1.1 nobody here"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    client.message("author@client.test", &["nobody@sink.test"], &message_content("twice", 800));
    // The message, its notice, and the notice to the postmaster.
    removed(&engine, 3);
    engine.wait_for_log("the copy", |line| line.text.starts_with("postmaster non-delivery notification: "));
    let taken = sink.messages();
    assert_eq!(taken.len(), 1);
    assert_eq!(
        (taken[0].sender.as_str(), &taken[0].recipients[..]),
        ("double-bounce@relay.test", &["duty@sink.test".to_owned()][..])
    );
    assert_eq!(taken[0].header("Subject").as_deref(), Some("Postmaster Copy: Undelivered Mail"));
    assert_eq!(taken[0].header("Auto-Submitted").as_deref(), Some("auto-generated"));
    let report = parsed(&taken[0]);
    assert_eq!(report.of_recipient(0, "Final-Recipient"), "rfc822; author@client.test");
    assert!(report.returned.contains("Undelivered Mail Returned to Sender"), "the notice is inside");

    duty_reads.store(false, Ordering::Relaxed);
    client.message("author@client.test", &["nobody@sink.test"], &message_content("thrice", 800));
    removed(&engine, 6);
    engine.wait_for_log("the end of it", |line| {
        line.text.contains("undeliverable postmaster notification discarded")
    });
    engine.stop();
    assert_eq!(sink.count(), 1, "nobody else hears of it");
}

#[test]
fn mail_to_the_double_bounce_address_ends_here() {
    let setup = EngineSetup::new("to-double-bounce").parameter("mydestination", "relay.test");
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = engine.client();
    let both = ["double-bounce@relay.test", "b@sink.test"];
    client.message("author@client.test", &both, &message_content("echo", 800));
    client.quit();
    removed(&engine, 1);
    engine.wait_for_log("its end", |line| {
        line.text.starts_with("to=<double-bounce@relay.test>, relay=none")
            && line.text.ends_with("status=sent (undeliverable postmaster notification discarded)")
    });
    engine.stop();
    assert_eq!(sink.count(), 1);
}

#[test]
fn verp_mail_leaves_and_comes_back_by_a_path_for_each_recipient() {
    let setup = EngineSetup::new("verp").parameter("smtpd_authorized_verp_clients", "127.0.0.0/8");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt(address) if address.starts_with("gone-") => Answer::say("550 5.1.1 gone"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let rcpts = ["a@sink.test", "gone-1@sink.test", "b@sink.test", "gone-2@sink.test"]
        .map(|address| format!("RCPT TO:<{address}>"));
    let rcpts = rcpts.each_ref().map(String::as_str);
    let content = message_content("verp", 800);
    let queue_id = send(&mut client, "MAIL FROM:<owner-list@client.test> XVERP=-=", &rcpts, &content);
    client.quit();
    removed(&engine, 3);
    engine.wait_for_log_count("a notice for each", 2, |line| {
        line.queue_id.as_deref() == Some(&queue_id)
            && line.text.starts_with("sender non-delivery notification: ")
    });
    engine.stop();
    let (told, mail): (Vec<_>, Vec<_>) = sink.messages().into_iter().partition(|message| is_notice(message));
    let paths = |messages: &[Arc<Message>], of: fn(&Message) -> String| -> Vec<String> {
        let mut all: Vec<String> = messages.iter().map(|message| of(message)).collect();
        all.sort();
        all
    };
    assert_eq!(
        paths(&mail, |message| format!("{} to {}", message.sender, message.recipients.join(" "))),
        [
            "owner-list-a=sink.test@client.test to a@sink.test",
            "owner-list-b=sink.test@client.test to b@sink.test"
        ]
    );
    assert_eq!(
        paths(&told, |message| message.recipients.join(" ")),
        ["owner-list-gone-1=sink.test@client.test", "owner-list-gone-2=sink.test@client.test"]
    );
    for notice in told {
        let report = parsed(&notice);
        assert_eq!(report.recipients.len(), 1);
        assert_eq!(report.of_message("X-Ringpost-Sender"), "rfc822; owner-list@client.test");
    }
}

#[test]
fn utf8_mail_is_returned_in_its_own_kind_of_report() {
    let setup = EngineSetup::new("utf8-notice");
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt("niemand-ö@sink.test") => Answer::say("550 5.1.1 nobody here"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    let rcpt = ["RCPT TO:<niemand-ö@sink.test>"];
    let mail = "MAIL FROM:<jürgen@client.test> SMTPUTF8 BODY=8BITMIME";
    send(&mut client, mail, &rcpt, "Subject: Grüße\r\n\r\nß\r\n".as_bytes());
    client.quit();
    let notice = &sink.wait_for(1)[0];
    engine.stop();
    assert_eq!(notice.recipients, ["jürgen@client.test"]);
    assert!(notice.sender_options.contains("SMTPUTF8"), "{}", notice.sender_options);
    let text = String::from_utf8_lossy(&notice.content);
    assert!(text.contains("Content-Type: message/global-delivery-status\r\n"), "{text}");
    assert!(text.contains("Final-Recipient: utf-8; niemand-ö@sink.test\r\n"), "{text}");
    assert!(text.contains("Content-Type: message/global\r\n"), "{text}");
    if let Ok(python) = program("python3") {
        assert_eq!(faults(&python, &notice.content, &[]), "", "{text}");
    }
}

#[test]
fn the_administrators_words_are_used() {
    let setup = EngineSetup::new("templates");
    let file = setup.home().join("bounce.cf");
    let text = "# ours\nfailure_template = <<EOF\nFrom: Robot <robot>\nSubject: It came back\n\nSorry, says \
                $myhostname, which tries for $maximal_queue_lifetime_days days.\nEOF\n";
    std::fs::write(&file, text).expect("the scratch directory is writable");
    let setup = setup.parameter("bounce_template_file", &file.to_string_lossy());
    let sink = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::Rcpt("nobody@sink.test") => Answer::say("550 5.1.1 nobody here"),
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let mut client = engine.client();
    client.message("author@client.test", &["nobody@sink.test"], &message_content("words", 800));
    client.quit();
    let notice = &sink.wait_for(1)[0];
    engine.stop();
    assert_eq!(notice.header("Subject").as_deref(), Some("It came back"));
    assert_eq!(notice.header("From").as_deref(), Some("Robot <robot@relay.test>"));
    assert!(parsed(notice).text.starts_with("Sorry, says relay.test, which tries for 5 days.\r\n"));

    std::fs::write(&file, "failure_template = <<EOF\nSubject: x\nX-Odd: y\n\ntext\nEOF\n").expect("writable");
    let refused = setup.start_refused();
    assert_eq!(refused.code, Some(78), "sysexits.h: EX_CONFIG");
    let place = format!("bounce_template_file {}: line 3: ", file.display());
    assert!(refused.printed.contains(&place), "{}", refused.printed);
}

#[test]
fn an_alias_is_told_as_expanded_and_its_members_report_no_success() {
    let setup = EngineSetup::new("expanded").parameter(
        "virtual_alias_maps",
        "inline:{ { list@sink.test = one@sink.test two@sink.test }, { alias@sink.test = three@sink.test } }",
    );
    let sink = Sink::scripted(setup.sink_address(), |stage| without_dsn(stage).unwrap_or(Answer::Usual));
    let engine = setup.start();
    let mut client = engine.client();
    let queue_id = send(
        &mut client,
        "MAIL FROM:<author@client.test> ENVID=lists",
        &[
            "RCPT TO:<list@sink.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;asked@client.test",
            "RCPT TO:<alias@sink.test> NOTIFY=SUCCESS",
            "RCPT TO:<plain@sink.test>",
        ],
        &message_content("expanded", 800),
    );
    client.quit();
    removed(&engine, 2);
    let said = engine.log();
    let told = said.iter().filter(|line| {
        line.queue_id.as_deref() == Some(&queue_id)
            && line.text.starts_with("sender delivery status notification: ")
    });
    assert_eq!(told.count(), 1, "the members' deliveries are no news");
    engine.stop();
    let delivered: usize = sink
        .messages()
        .iter()
        .filter(|message| !is_notice(message))
        .map(|message| message.recipients.len())
        .sum();
    assert_eq!(delivered, 4);
    let told = notices(&sink);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].recipients, ["author@client.test"]);
    let report = parsed(&told[0]);
    assert_eq!(report.of_message("Original-Envelope-Id"), "lists");
    assert_eq!(report.recipients.len(), 2);
    assert_eq!(report.of_recipient(0, "Final-Recipient"), "rfc822; list@sink.test");
    assert_eq!(report.of_recipient(0, "Original-Recipient"), "rfc822;asked@client.test");
    assert_eq!(report.of_recipient(1, "Final-Recipient"), "rfc822; alias@sink.test");
    for recipient in 0..2 {
        assert_eq!(report.of_recipient(recipient, "Action"), "expanded");
        assert_eq!(report.of_recipient(recipient, "Status"), "2.0.0");
    }
    assert!(report.returned_type.starts_with("text/rfc822-headers"));
}
