//! The queue commands against a running relay: what an operator sees, and what becomes of the mail.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringpost_tests::client::message_content;
use ringpost_tests::commands::{
    as_nobody, command, deferring, files_below, listed, nobody_can_run_commands, postsuper, queue_of, run,
    submit, succeeds, text, wait_until_in,
};
use ringpost_tests::engine::binary;
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{EngineSetup, Sink, skip, wait};

/// A sink that keeps each message's last reply until it is told to give it.
fn slow_sink(setup: &EngineSetup) -> (Sink, Sender<()>, Receiver<()>) {
    let (release, released) = channel::<()>();
    let (reached, reaching) = channel::<()>();
    let both = Arc::new(Mutex::new((released, reached)));
    let sink = Sink::scripted(setup.sink_address(), move |stage| {
        if let Stage::EndOfData(_) = stage {
            let both = both.lock().expect("no holder panics");
            both.1.send(()).expect("the test listens");
            // The test is over when nobody releases any more.
            let _ = both.0.recv();
        }
        Answer::Usual
    });
    (sink, release, reaching)
}

#[test]
fn an_empty_queue_is_told_in_one_line_and_in_no_json() {
    let (setup, engine) = deferring("empty");
    assert_eq!(succeeds(&setup, &["postqueue", "-p"]), "Mail queue is empty\n");
    assert_eq!(succeeds(&setup, &["mailq"]), "Mail queue is empty\n");
    assert_eq!(succeeds(&setup, &["postqueue", "-j"]), "");
    engine.stop();
}

#[test]
fn deferred_and_held_mail_is_listed_with_its_reasons() {
    let (setup, engine) = deferring("listed");
    let first = submit(&engine, &["b@sink.test", "c@sink.test"], "one");
    let second = submit(&engine, &["d@sink.test"], "two");
    wait_until_in(&setup, &first, "deferred");
    wait_until_in(&setup, &second, "deferred");
    let said = postsuper(&setup, &["-h", &second], "");
    assert_eq!(said, format!("postsuper: {second}: placed on hold\npostsuper: Placed on hold: 1 message\n"));

    let list = succeeds(&setup, &["postqueue", "-p"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 11, "{list}");
    assert_eq!(lines[0], "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------");
    assert!(lines[1].starts_with(&format!("{first:<17} ")) && lines[1].ends_with(" a@client.test"), "{list}");
    assert!(lines[2].starts_with('(') || lines[2].starts_with("  "), "{list}");
    assert!(lines[2].ends_with("Connection refused)"), "{list}");
    assert_eq!(lines[3], format!("{:47}b@sink.test", ""));
    assert_eq!(lines[4], format!("{:47}c@sink.test", ""));
    assert_eq!(lines[5], "");
    assert!(lines[6].starts_with(&format!("{:<17} ", format!("{second}!"))), "{list}");
    assert_eq!(lines[8], format!("{:47}d@sink.test", ""));
    assert!(list.ends_with("\n\n-- 4 Kbytes in 2 Requests.\n"), "{list}");

    let messages = listed(&setup);
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[0]["queue_name"], "deferred");
    assert_eq!(messages[0]["sender"], "a@client.test");
    assert_eq!(messages[0]["forced_expire"], false);
    assert_eq!(messages[0]["recipients"][1]["address"], "c@sink.test");
    let reason = messages[0]["recipients"][1]["delay_reason"].as_str();
    assert!(reason.is_some_and(|reason| reason.contains("Connection refused")), "{messages:?}");
    assert_eq!(messages[1]["queue_name"], "hold");
    assert!(engine.log().iter().any(|line| {
        line.process == "postsuper"
            && line.queue_id.as_deref() == Some(&second)
            && line.text == "placed on hold"
    }));

    // What is held stays held over a restart, and is not touched by a flush.
    engine.stop();
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    succeeds(&setup, &["postqueue", "-f"]);
    sink.wait_for(1);
    wait::until("the first has left", || queue_of(&setup, &first).is_none().then_some(()));
    assert_eq!(queue_of(&setup, &second).as_deref(), Some("hold"));
    let said = postsuper(&setup, &["-H", "ALL"], "");
    assert!(said.ends_with("postsuper: Released from hold: 1 message\n"), "{said}");
    sink.wait_for(2);
    engine.stop();
}

#[test]
fn a_message_deleted_in_delivery_may_finish_and_does_not_come_back() {
    let setup = EngineSetup::new("deleted-active");
    let (sink, release, reaching) = slow_sink(&setup);
    let engine = setup.start();
    let id = submit(&engine, &["b@sink.test"], "one");
    reaching.recv_timeout(wait::PATIENCE).expect("the sink gets the message");
    let list = succeeds(&setup, &["postqueue", "-p"]);
    assert!(list.contains(&format!("{id}* ")), "{list}");
    let said = postsuper(&setup, &["-d", &id], "");
    assert_eq!(said, format!("postsuper: {id}: removed\npostsuper: Deleted: 1 message\n"));
    // When the command has ended, the log says all of it.
    let ours = engine.log().into_iter().filter(|line| line.process == "postsuper");
    let told: Vec<String> = ours.map(|line| line.text).collect();
    assert_eq!(told, ["removed", "Deleted: 1 message"]);
    release.send(()).expect("the sink waits");
    wait::until("the queue is empty", || listed(&setup).is_empty().then_some(()));
    sink.wait_for(1);
    // As Postfix: the attempt that ran may still tell what it did; that it is gone is said once, by the command.
    engine.wait_for_log("it was sent", |line| line.text.contains("status=sent"));
    engine.stop();
    assert_eq!(sink.count(), 1);
}

#[test]
fn ids_are_read_from_standard_input_and_strange_ones_are_told() {
    let (setup, engine) = deferring("stdin");
    let ids: Vec<String> =
        (0..5).map(|number| submit(&engine, &["b@sink.test"], &format!("{number}"))).collect();
    let input = format!("{}\n{}\nnot an id\n{} \n", ids[0], ids[1], ids[2]);
    let said = postsuper(&setup, &["-d", "-"], &input);
    assert!(said.contains("postsuper: warning: invalid mail queue id: not an id\n"), "{said}");
    assert!(said.ends_with("postsuper: Deleted: 2 messages\n"), "{said}");
    assert_eq!(listed(&setup).len(), 3);
    // One that is not there is no failure.
    let said = postsuper(&setup, &["-d", &ids[0]], "");
    assert_eq!(said, "postsuper: Deleted: 0 messages\n");
    // A queue that the others are not in keeps them.
    let said = postsuper(&setup, &["-d", "ALL", "hold"], "");
    assert_eq!(said, "postsuper: Deleted: 0 messages\n");
    let said = postsuper(&setup, &["-d", "ALL"], "");
    assert!(said.ends_with("postsuper: Deleted: 3 messages\n"), "{said}");
    assert!(listed(&setup).is_empty());
    engine.stop();
}

#[test]
fn requeued_mail_gets_a_new_id_and_a_trace_header_and_is_delivered_once() {
    let (setup, engine) = deferring("requeued");
    let id = submit(&engine, &["b@sink.test", "c@sink.test"], "one");
    wait_until_in(&setup, &id, "deferred");
    let sink = Sink::willing(setup.sink_address());
    // The new message finds the destination dead; only the flush lets it go at once.
    let said = postsuper(&setup, &["-r", &id], "");
    assert_eq!(said, format!("postsuper: {id}: requeued\npostsuper: Requeued: 1 message\n"));
    succeeds(&setup, &["postqueue", "-f"]);
    let messages = wait::until("the mail arrives", || {
        succeeds(&setup, &["postqueue", "-f"]);
        (sink.count() == 1).then(|| sink.messages())
    });
    assert_eq!(messages[0].recipients, ["b@sink.test", "c@sink.test"]);
    let received = messages[0].header("Received").unwrap_or_default();
    assert!(received.starts_with("by relay.test (Ringpost, from userid "), "{received}");
    wait::until("the queue is empty", || listed(&setup).is_empty().then_some(()));
    assert!(
        engine
            .log()
            .iter()
            .any(|line| line.process == "pickup" && line.text.ends_with(&format!("orig_id={id}")))
    );
    engine.stop();
}

#[test]
fn requeued_mail_is_mapped_by_the_tables_as_they_are_now() {
    for engine_runs in [true, false] {
        let (setup, engine) = deferring(if engine_runs { "remapped" } else { "remapped-offline" });
        let id = submit(&engine, &["b@sink.test", "c@sink.test"], "one");
        wait_until_in(&setup, &id, "deferred");
        engine.stop();
        let setup = setup
            .parameter("virtual_alias_maps", "inline:{ b@sink.test=x@sink.test }")
            .parameter("always_bcc", "archive@sink.test");
        let engine = setup.start();
        wait_until_in(&setup, &id, "deferred");
        let requeue = |id: &str| {
            let said = postsuper(&setup, &["-r", id], "");
            assert!(said.ends_with("postsuper: Requeued: 1 message\n"), "{said}");
        };
        let engine = match engine_runs {
            true => {
                requeue(&id);
                engine
            }
            false => {
                engine.stop();
                requeue(&id);
                setup.start()
            }
        };
        // A copy that waits already is not made again.
        let again = wait::until("it has a new name", || {
            listed(&setup).first()?["queue_id"].as_str().map(str::to_owned)
        });
        wait_until_in(&setup, &again, "deferred");
        requeue(&again);
        let sink = Sink::willing(setup.sink_address());
        wait::until("the mail arrives", || {
            succeeds(&setup, &["postqueue", "-f"]);
            listed(&setup).is_empty().then_some(())
        });
        let mut recipients: Vec<String> =
            sink.messages().iter().flat_map(|message| message.recipients.clone()).collect();
        recipients.sort_unstable();
        assert_eq!(recipients, ["archive@sink.test", "c@sink.test", "x@sink.test"]);
        engine.stop();
    }
}

#[test]
fn one_message_is_flushed_by_its_id() {
    let (setup, engine) = deferring("flush-one");
    let first = submit(&engine, &["b@sink.test"], "one");
    wait_until_in(&setup, &first, "deferred");
    let sink = Sink::willing(setup.sink_address());
    succeeds(&setup, &["postkick", "public", "qmgr", "F"]);
    succeeds(&setup, &["postqueue", "-i", &first]);
    sink.wait_for(1);
    // As Postfix: one that is not there is no failure.
    assert_eq!(succeeds(&setup, &["postqueue", "-i", "4SVLCh0sf8z7Qhl"]), "");
    let wrong = command(&setup, &["postqueue", "-i", "nonsense"]);
    assert_eq!(wrong.status.code(), Some(69));
    engine.stop();
}

#[test]
fn a_site_that_has_no_flush_service_is_refused() {
    let (setup, engine) = deferring("flush-site");
    let refused = command(&setup, &["postqueue", "-s", "nowhere.test"]);
    assert_eq!(refused.status.code(), Some(69));
    let expected = "postqueue: fatal: Flush service is not configured for destination \"nowhere.test\"\n";
    assert_eq!(text(&refused.stderr), expected);
    engine.stop();
}

#[test]
fn flushing_again_and_again_during_a_queue_run_delivers_each_message_once() {
    let (setup, engine) = deferring("flush-run");
    for number in 0..30 {
        submit(&engine, &["b@sink.test"], &format!("{number}"));
    }
    wait::until("all are deferred", || {
        listed(&setup).iter().all(|message| message["queue_name"] == "deferred").then_some(())
    });
    let sink = Sink::willing(setup.sink_address());
    wait::until("the queue is empty", || {
        succeeds(&setup, &["postqueue", "-f"]);
        listed(&setup).is_empty().then_some(())
    });
    engine.stop();
    assert_eq!(sink.count(), 30);
}

#[test]
fn a_release_during_the_stop_loses_nothing() {
    let setup = EngineSetup::new("release-stop").parameter("ringpost_drain_limit", "1s");
    let mut engine = setup.start();
    let ids: Vec<String> =
        (0..20).map(|number| submit(&engine, &["b@sink.test"], &format!("{number}"))).collect();
    let said = postsuper(&setup, &["-h", "ALL"], "");
    assert!(said.contains("Placed on hold: "), "{said}");
    let releasing = {
        let setup = setup.clone();
        std::thread::spawn(move || command(&setup, &["postsuper", "-H", "ALL"]))
    };
    let status = engine.terminate();
    assert_eq!(status.code(), Some(0), "{}", engine.printed());
    releasing.join().expect("the command ends");
    let engine = setup.start();
    let there: Vec<String> = listed(&setup)
        .iter()
        .map(|message| message["queue_id"].as_str().unwrap_or_default().to_owned())
        .collect();
    for id in ids {
        assert!(there.contains(&id), "{id} is lost");
    }
    engine.stop();
}

#[test]
fn a_message_is_shown_in_parts() {
    let (setup, engine) = deferring("postcat");
    let mut client = engine.client();
    let content = b"Subject: shown\r\n\r\nfirst\r\n..dot\r\n";
    let id = client.message("a@client.test", &["b@sink.test"], content);
    client.quit();
    wait_until_in(&setup, &id, "deferred");
    assert_eq!(succeeds(&setup, &["postcat", "-bq", &id]), "\nfirst\n.dot\n");
    let header = succeeds(&setup, &["postcat", "-hq", &id]);
    assert!(header.starts_with("Received: ") && header.contains("\nSubject: shown\n"), "{header}");
    assert_eq!(succeeds(&setup, &["postcat", "-bhq", &id]), format!("{header}\nfirst\n.dot\n"));
    let all = succeeds(&setup, &["postcat", "-q", &id]);
    assert!(all.starts_with(&format!("*** ENVELOPE RECORDS deferred/{id} ***\nmessage_size: ")), "{all}");
    for line in ["sender: a@client.test", "recipient: b@sink.test", "named_attribute: helo_name=client.test"]
    {
        assert!(all.contains(&format!("\n{line}\n")), "{line} in {all}");
    }
    assert!(all.contains(&format!("\n*** MESSAGE CONTENTS deferred/{id} ***\nReceived: ")), "{all}");
    assert!(all.ends_with(&format!("*** MESSAGE FILE END deferred/{id} ***\n")), "{all}");
    let unknown = command(&setup, &["postcat", "-q", "4SVLCh0sf8z7Qhl"]);
    assert_eq!(unknown.status.code(), Some(1));
    let expected = "postcat: fatal: open queue file 4SVLCh0sf8z7Qhl: No such file or directory\n";
    assert_eq!(text(&unknown.stderr), expected);
    engine.stop();
}

#[test]
fn a_large_message_is_shown_and_requeued_whole() {
    let (setup, engine) = deferring("large");
    let mut client = engine.client();
    let content = message_content("large", 700_000);
    let id = client.message("a@client.test", &["b@sink.test"], &content);
    client.quit();
    wait_until_in(&setup, &id, "deferred");
    let body = succeeds(&setup, &["postcat", "-bq", &id]);
    assert!(body.len() > 600_000, "{} bytes", body.len());
    postsuper(&setup, &["-r", &id], "");
    let new = wait::until("the new one is deferred", || {
        let messages = listed(&setup);
        let new = messages.iter().find(|message| message["queue_id"] != id)?;
        (new["queue_name"] == "deferred").then(|| new["queue_id"].as_str().unwrap_or_default().to_owned())
    });
    assert_eq!(succeeds(&setup, &["postcat", "-bq", &new]), body);
    assert_eq!(listed(&setup).len(), 1);
    engine.stop();
}

#[test]
fn destinations_are_counted_by_age() {
    let (setup, engine) = deferring("qshape");
    submit(&engine, &["a@one.test", "b@one.test", "c@two.test"], "x");
    wait::until("the message is deferred", || {
        let shape = succeeds(&setup, &["qshape", "deferred"]);
        let rows: Vec<Vec<&str>> = shape.lines().map(|line| line.split_whitespace().collect()).collect();
        (rows.len() == 4 && rows[1][..3] == ["TOTAL", "3", "3"] && rows[2][..2] == ["one.test", "2"])
            .then_some(())
    });
    engine.stop();
}

#[test]
fn a_system_that_is_down_is_told_with_postfix_codes() {
    let setup = EngineSetup::new("down");
    setup.start().stop();
    let flush = command(&setup, &["postqueue", "-f"]);
    assert_eq!(flush.status.code(), Some(69));
    assert_eq!(text(&flush.stderr), "postqueue: fatal: Cannot flush mail queue - mail system is down\n");
    let kick = command(&setup, &["postkick", "public", "qmgr", "D"]);
    assert_eq!(kick.status.code(), Some(1));
    assert!(
        text(&kick.stderr)
            .contains("Cannot contact class public service qmgr - perhaps the mail system is down")
    );
    let usage = command(&setup, &["postqueue"]);
    assert_eq!(usage.status.code(), Some(69));
    assert!(text(&usage.stderr).starts_with("postqueue: fatal: usage: postqueue -f | "));
}

#[test]
fn the_queue_of_a_system_that_is_down_is_read_and_left_as_it_is() {
    let (setup, engine) = deferring("down-reads");
    let deferred = submit(&engine, &["b@sink.test"], "one");
    let held = submit(&engine, &["c@sink.test"], "two");
    wait_until_in(&setup, &deferred, "deferred");
    wait_until_in(&setup, &held, "deferred");
    postsuper(&setup, &["-h", &held], "");
    let gone = submit(&engine, &["d@sink.test"], "three");
    postsuper(&setup, &["-d", &gone], "");
    let list = succeeds(&setup, &["postqueue", "-p"]);
    let json = succeeds(&setup, &["postqueue", "-j"]);
    let whole = succeeds(&setup, &["postcat", "-q", &held]);
    engine.kill();
    for was_stopped in [false, true] {
        if was_stopped {
            setup.start().stop();
        }
        let before = files_below(&setup.queue().join("spool"));
        for (words, expected) in [(["postqueue", "-p"], &list), (["postqueue", "-j"], &json)] {
            let output = command(&setup, &words);
            assert!(output.status.success(), "{output:?}");
            assert_eq!(&text(&output.stdout), expected);
            assert_eq!(
                text(&output.stderr),
                "postqueue: warning: Mail system is down -- accessing queue directly\n"
            );
        }
        assert_eq!(succeeds(&setup, &["postcat", "-q", &held]), whole);
        assert!(!command(&setup, &["postcat", "-q", &gone]).status.success());
        assert!(files_below(&setup.queue().join("spool")) == before, "the spool has changed");
    }
    let engine = setup.start();
    assert_eq!(listed(&setup).len(), 2);
    engine.stop();
}

#[test]
fn other_users_reach_the_socket_in_a_new_queue_directory_and_not_the_mail() {
    use std::os::unix::fs::PermissionsExt;

    if !nobody_can_run_commands() {
        skip!("this test needs the superuser, setpriv, and a target directory that nobody can reach into");
    }
    let setup = EngineSetup::new("modes");
    let queue = setup.home().join("fresh");
    let setup = setup.parameter("queue_directory", &queue.to_string_lossy());
    // A careful administrator's umask shall not lock the users out.
    let usual = setup.command();
    let mut careful = Command::new("sh");
    careful.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(usual.get_program()).args(usual.get_args());
    let engine = setup.start_command(careful);
    let id = submit(&engine, &["b@sink.test"], "one");
    let list = run(as_nobody(&setup, &["mailq"]), "");
    assert!(list.status.success() && text(&list.stdout).contains(&id), "{list:?}");
    let mode = |path: &str| {
        let metadata = std::fs::metadata(queue.join(path)).expect("the engine made it");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!((mode(""), mode("public"), mode("public/control")), (0o755, 0o755, 0o666));
    assert_eq!((mode("spool"), mode("spool/shard-00")), (0o700, 0o700));
    assert_eq!(mode("engine.lock"), 0o600);
    engine.stop();
    // Without the engine to ask for them, only the superuser may read the queue.
    let refused = run(as_nobody(&setup, &["postqueue", "-p"]), "");
    assert_eq!(refused.status.code(), Some(69));
    assert_eq!(text(&refused.stderr), "postqueue: fatal: Queue report unavailable - mail system is down\n");
    assert!(text(&command(&setup, &["mailq"]).stdout).contains(&id));
}

#[test]
fn other_users_may_what_the_lists_say_and_never_change_the_queue() {
    let setup = EngineSetup::new("users").parameter("authorized_flush_users", "root, operator");
    let as_nobody = |words: &[&str]| as_nobody(&setup, words);
    if !nobody_can_run_commands() {
        skip!("this test needs the superuser, setpriv, and a target directory that nobody can reach into");
    }
    let engine = setup.start();
    let id = submit(&engine, &["b@sink.test"], "one");
    let list = run(as_nobody(&["postqueue", "-p"]), "");
    assert!(text(&list.stdout).contains(&id), "{list:?}");
    let flush = run(as_nobody(&["postqueue", "-f"]), "");
    assert_eq!(flush.status.code(), Some(69));
    assert!(text(&flush.stderr).starts_with("postqueue: fatal: User "), "{flush:?}");
    assert!(text(&flush.stderr).ends_with("(65534) is not allowed to flush the mail queue\n"), "{flush:?}");
    for words in
        [&["postsuper", "-d", "ALL"][..], &["postcat", "-q", &id], &["postkick", "public", "qmgr", "D"]]
    {
        let refused = run(as_nobody(words), "");
        assert_eq!(refused.status.code(), Some(1), "{words:?}: {refused:?}");
        assert!(
            text(&refused.stderr).contains("use of this command is reserved for the superuser"),
            "{refused:?}"
        );
    }
    assert_eq!(listed(&setup).len(), 1);
    engine.stop();
}

#[test]
fn hostile_bytes_on_the_control_socket_harm_nobody() {
    let (setup, mut engine) = deferring("hostile-control");
    let id = submit(&engine, &["b@sink.test"], "one");
    let path = setup.queue().join("public/control");
    let preamble = b"RINGCTL\x01";
    let attacks: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        b"RINGCTL\xff".to_vec(),
        [&preamble[..], &[0xff; 64]].concat(),
        [&preamble[..], &[0xff, 0xff, 0, 0, 2], &[0xff; 0xffff]].concat(),
        [&preamble[..], &[3, 0, 0, 0, 2, 9, 9, 9]].concat(),
        [&preamble[..], &[1, 0, 0, 0, 1]].concat(),
        preamble[..3].to_vec(),
        Vec::new(),
    ];
    for attack in &attacks {
        let mut stream = UnixStream::connect(&path).expect("everybody may connect");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a time limit");
        // The engine may close before it has read everything.
        let _ = stream.write_all(attack);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 1000, "{attack:?} was answered with {} bytes", answer.len());
    }
    // Sessions that say nothing take no places from others for ever: they end with their connection.
    let silent: Vec<UnixStream> = (0..100).filter_map(|_| UnixStream::connect(&path).ok()).collect();
    drop(silent);
    wait::until("there is room again", || {
        command(&setup, &["postqueue", "-j"]).status.success().then_some(())
    });
    assert!(engine.is_running());
    assert!(queue_of(&setup, &id).is_some());
    engine.stop();
}

#[test]
fn links_call_the_commands_by_their_names() {
    let (setup, engine) = deferring("links");
    let directory = setup.home().join("links");
    std::fs::create_dir(&directory).expect("the scratch directory is writable");
    for _ in 0..2 {
        let mut install = Command::new(binary());
        install.arg("install-links").arg(&directory);
        let output = run(install, "");
        assert!(output.status.success(), "{output:?}");
    }
    let mut mailq = Command::new(directory.join("mailq"));
    mailq.arg("-c").arg(setup.home());
    assert_eq!(text(&run(mailq, "").stdout), "Mail queue is empty\n");
    let mut postqueue = Command::new(directory.join("postqueue"));
    postqueue.arg("-p").env("MAIL_CONFIG", setup.home());
    postqueue.stdin(Stdio::null());
    let output = postqueue.output().expect("the link leads to the program");
    assert_eq!(text(&output.stdout), "Mail queue is empty\n");
    engine.stop();
}

#[test]
fn a_site_that_asks_gets_its_mail_and_no_other() {
    let setup = EngineSetup::new("flush-served").parameter("fast_flush_domains", "wanted.test");
    let engine = setup.start();
    let wanted = submit(&engine, &["b@wanted.test"], "wanted");
    let other = submit(&engine, &["b@other.test"], "other");
    for id in [&wanted, &other] {
        wait_until_in(&setup, id, "deferred");
    }
    let sink = Sink::willing(setup.sink_address());
    succeeds(&setup, &["postkick", "public", "qmgr", "F"]);
    succeeds(&setup, &["postqueue", "-s", "wanted.test"]);
    assert_eq!(sink.wait_for(1)[0].recipients, ["b@wanted.test"]);
    wait::until("it has left", || queue_of(&setup, &wanted).is_none().then_some(()));
    assert_eq!(queue_of(&setup, &other).as_deref(), Some("deferred"));
    engine.stop();
}

#[test]
fn expired_mail_is_marked_and_returned_at_its_next_attempt() {
    let (setup, engine) = deferring("expired");
    let id = submit(&engine, &["b@sink.test"], "one");
    wait_until_in(&setup, &id, "deferred");
    postsuper(&setup, &["-h", &id], "");
    let said = postsuper(&setup, &["-e", &id], "");
    assert_eq!(said, format!("postsuper: {id}: expired\npostsuper: Force-expired: 1 message\n"));
    let list = succeeds(&setup, &["mailq"]);
    assert!(list.contains(&format!("\n{id}!# ")), "{list}");
    assert_eq!(listed(&setup)[0]["forced_expire"], true);
    // The mark outlives a restart; -f takes it off hold as well.
    engine.stop();
    let engine = setup.start();
    assert_eq!(listed(&setup)[0]["forced_expire"], true);
    postsuper(&setup, &["-f", &id], "");
    engine.wait_for_log("that it is returned", |line| {
        line.queue_id.as_deref() == Some(&id)
            && line.text.contains("status=force-expired, returned to sender")
    });
    wait::until("it has left", || queue_of(&setup, &id).is_none().then_some(()));
    engine.stop();
}

#[test]
fn mail_held_in_delivery_stays_with_what_its_attempt_found_out() {
    let setup = EngineSetup::new("held-active");
    let (tell, told) = channel::<()>();
    let (reached, reaching) = channel::<()>();
    let both = Arc::new(Mutex::new((told, reached)));
    let sink = Sink::scripted(setup.sink_address(), move |stage| match stage {
        Stage::Rcpt("c@sink.test") => Answer::say("451 4.7.1 Come back later"),
        Stage::EndOfData(_) => {
            let both = both.lock().expect("no holder panics");
            both.1.send(()).expect("the test listens");
            // The test is over when nobody tells any more.
            let _ = both.0.recv();
            Answer::Usual
        }
        _ => Answer::Usual,
    });
    let engine = setup.start();
    let id = submit(&engine, &["b@sink.test", "c@sink.test"], "one");
    reaching.recv_timeout(wait::PATIENCE).expect("the sink gets the message");
    postsuper(&setup, &["-h", &id], "");
    tell.send(()).expect("the sink waits");
    wait_until_in(&setup, &id, "hold");
    let message = listed(&setup).remove(0);
    assert_eq!(message["recipients"].as_array().map(Vec::len), Some(1), "{message}");
    assert_eq!(message["recipients"][0]["address"], "c@sink.test");
    assert!(
        message["recipients"][0]["delay_reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("Come back later"))
    );
    engine.stop();
    let engine = setup.start();
    assert_eq!(queue_of(&setup, &id).as_deref(), Some("hold"));
    engine.stop();
    assert_eq!(sink.count(), 1);
}

#[test]
fn an_operator_is_told_what_mail_waits_for() {
    let (setup, engine) = deferring("why");
    let id = submit(&engine, &["b@sink.test"], "one");
    wait_until_in(&setup, &id, "deferred");
    let why = succeeds(&setup, &["why", &id]);
    assert!(why.starts_with(&format!("{id}: deferred, attempts: 1; it is tried again in ")), "{why}");
    assert!(why.contains("\n  to <b@sink.test>: connect to "), "{why}");
    for _ in 0..2 {
        // The third failure in a row makes the destination dead.
        let id = submit(&engine, &["b@sink.test"], "more");
        wait_until_in(&setup, &id, "deferred");
    }
    let why = succeeds(&setup, &["why", "sink.test"]);
    assert!(why.starts_with("sink.test:\n  shard 0, smtp:["), "{why}");
    assert!(why.contains(&format!("\n  {id} (deferred) to <b@sink.test>: connect to ")), "{why}");
    postsuper(&setup, &["-h", &id], "");
    let why = succeeds(&setup, &["why", &id]);
    assert!(why.contains(&format!("it is on hold until an operator says: postsuper -H {id}")), "{why}");
    let unknown = command(&setup, &["why", "4SVLCh0sf8z7Qhl"]);
    assert_eq!(unknown.status.code(), Some(64));
    engine.stop();
}

#[test]
fn every_command_tells_how_it_is_called() {
    for name in ["postqueue", "mailq", "postsuper", "postcat", "postkick", "qshape", "why", "install-links"] {
        let told = Command::new(binary()).args([name, "--help"]).output();
        let told = told.expect("the binary runs");
        let text = String::from_utf8_lossy(&told.stdout);
        assert!(told.status.success() && text.starts_with("usage: ") && text.contains(name), "{told:?}");
    }
}
