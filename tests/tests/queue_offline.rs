//! postsuper and postcat while no engine runs: operators stop the system, and then look and clear up.

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use ringpost_tests::client::message_content;
use ringpost_tests::commands::{
    as_nobody, command, command_with_input, deferring, files_below, listed, nobody_can_run_commands,
    postsuper, queue_of, run, submit, succeeds, text, wait_until_in,
};
use ringpost_tests::{EngineSetup, Sink, maillog, skip, wait};

/// Messages in the deferred queue of a relay that has been stopped.
fn stopped_with(name: &str, messages: usize) -> (EngineSetup, Vec<String>) {
    let (setup, engine) = deferring(name);
    let ids: Vec<String> =
        (0..messages).map(|number| submit(&engine, &["b@sink.test"], &format!("track-{number}"))).collect();
    for id in &ids {
        wait_until_in(&setup, id, "deferred");
    }
    engine.stop();
    (setup, ids)
}

/// What postsuper has logged.
fn logged(setup: &EngineSetup) -> Vec<String> {
    let text = std::fs::read_to_string(setup.home().join("maillog")).expect("the relay made it");
    let ours = maillog::parse(&text).into_iter().filter(|line| line.process == "postsuper");
    ours.map(|line| match line.queue_id {
        Some(id) => format!("{id}: {}", line.text),
        None => line.text,
    })
    .collect()
}

/// The queue of a message in a system that is down.
fn queue_when_down(setup: &EngineSetup, id: &str) -> Option<String> {
    let list = command(setup, &["postqueue", "-j"]);
    let line = text(&list.stdout).lines().find(|line| line.contains(&format!("\"{id}\"")))?.to_owned();
    let message: serde_json::Value = serde_json::from_str(&line).expect("a line is an object");
    message["queue_name"].as_str().map(str::to_owned)
}

#[test]
fn mail_is_deleted_held_released_and_expired_while_the_system_is_down() {
    let (setup, ids) = stopped_with("offline", 5);
    let said = postsuper(&setup, &["-h", &ids[0], "-h", &ids[1], "-d", &ids[2]], "");
    let expected = format!(
        "postsuper: {}: placed on hold\npostsuper: {}: placed on hold\npostsuper: {}: removed\n\
         postsuper: Placed on hold: 2 messages\npostsuper: Deleted: 1 message\n",
        ids[0], ids[1], ids[2]
    );
    assert_eq!(said, expected);
    let expected = [
        format!("{}: placed on hold", ids[0]),
        format!("{}: placed on hold", ids[1]),
        format!("{}: removed", ids[2]),
        "Placed on hold: 2 messages".to_owned(),
        "Deleted: 1 message".to_owned(),
    ];
    assert_eq!(logged(&setup), expected);
    assert_eq!(queue_when_down(&setup, &ids[0]).as_deref(), Some("hold"));
    assert_eq!(queue_when_down(&setup, &ids[2]), None);
    // What is on hold is not held again; what is not is not released.
    assert_eq!(postsuper(&setup, &["-h", &ids[0]], ""), "postsuper: Placed on hold: 0 messages\n");
    assert_eq!(postsuper(&setup, &["-H", &ids[3]], ""), "postsuper: Released from hold: 0 messages\n");
    let said = postsuper(&setup, &["-H", "ALL"], "");
    assert!(said.ends_with("postsuper: Released from hold: 2 messages\n"), "{said}");
    postsuper(&setup, &["-h", &ids[4]], "");
    let said = postsuper(&setup, &["-f", &ids[4], "-e", &ids[3]], "");
    assert!(said.ends_with(&"postsuper: Force-expired: 1 message\n".repeat(2)), "{said}");
    assert_eq!(queue_when_down(&setup, &ids[4]).as_deref(), Some("deferred"));

    let engine = setup.start();
    for id in &ids[3..] {
        // Nothing can be delivered, so that they go back at their next attempt.
        succeeds(&setup, &["postqueue", "-i", id]);
        engine.wait_for_log("it is returned", |line| {
            line.queue_id.as_ref() == Some(id) && line.text.contains("returned to sender")
        });
    }
    for id in &ids[..2] {
        assert!(queue_of(&setup, id).is_some_and(|queue| queue != "hold"));
    }
    assert_eq!(queue_of(&setup, &ids[2]), None);
    engine.stop();
}

#[test]
fn all_is_deleted_while_the_system_is_down_and_stays_deleted() {
    let (setup, ids) = stopped_with("offline-all", 8);
    postsuper(&setup, &["-h", &ids[0]], "");
    assert_eq!(postsuper(&setup, &["-d", "ALL", "incoming"], ""), "postsuper: Deleted: 0 messages\n");
    let said = postsuper(&setup, &["-d", "ALL", "hold"], "");
    assert_eq!(said, format!("postsuper: {}: removed\npostsuper: Deleted: 1 message\n", ids[0]));
    let input = format!("{}\nnot an id\n{}\n", ids[1], ids[1]);
    let said = postsuper(&setup, &["-d", "-"], &input);
    assert!(said.contains("postsuper: warning: invalid mail queue id: not an id\n"), "{said}");
    assert!(said.ends_with("postsuper: Deleted: 1 message\n"), "{said}");
    // Another message's time of arrival makes another name.
    let mut stranger = ids[2].clone().into_bytes();
    stranger[9] = if stranger[9] == b'1' { b'2' } else { b'1' };
    let stranger = String::from_utf8(stranger).expect("ids are ASCII");
    assert_eq!(postsuper(&setup, &["-d", &stranger], ""), "postsuper: Deleted: 0 messages\n");
    let said = postsuper(&setup, &["-d", "ALL"], "");
    assert!(said.ends_with("postsuper: Deleted: 6 messages\n"), "{said}");
    let empty = command(&setup, &["postqueue", "-p"]);
    assert_eq!(text(&empty.stdout), "Mail queue is empty\n");
    let engine = setup.start();
    assert!(listed(&setup).is_empty());
    engine.stop();
}

#[test]
fn mail_requeued_while_the_system_is_down_is_delivered_once_under_its_new_name() {
    let (setup, engine) = deferring("offline-requeue");
    let small = submit(&engine, &["b@sink.test", "c@sink.test"], "small");
    let mut client = engine.client();
    let large = client.message("a@client.test", &["d@sink.test"], &message_content("large", 700_000));
    client.quit();
    for id in [&small, &large] {
        wait_until_in(&setup, id, "deferred");
    }
    engine.stop();
    let said = postsuper(&setup, &["-r", "ALL"], "");
    assert!(said.ends_with("postsuper: Requeued: 2 messages\n"), "{said}");
    assert_eq!(queue_when_down(&setup, &small), None);
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    sink.wait_for(2);
    wait::until("the queue is empty", || listed(&setup).is_empty().then_some(()));
    engine.stop();
    let messages = sink.messages();
    assert_eq!(messages.len(), 2);
    for message in &messages {
        let received = message.header("Received").unwrap_or_default();
        assert!(received.starts_with("by relay.test (Ringpost, from userid "), "{received}");
    }
    assert!(messages.iter().any(|message| message.content.len() > 700_000));
    let log = std::fs::read_to_string(setup.home().join("maillog")).expect("the relay made it");
    assert!(
        log.contains(&format!("orig_id={small}\n")) && log.contains(&format!("orig_id={large}\n")),
        "{log}"
    );
}

#[test]
fn a_queue_that_somebody_has_is_not_touched() {
    let (setup, engine) = deferring("offline-held");
    let id = submit(&engine, &["b@sink.test"], "one");
    wait_until_in(&setup, &id, "deferred");
    let socket = setup.queue().join("public/control");
    let aside = setup.queue().join("public/aside");
    std::fs::rename(&socket, &aside).expect("it is there");
    for words in [&["postsuper", "-d", "ALL"][..], &["postsuper", "-s"], &["postsuper", "-p"]] {
        let refused = command(&setup, words);
        assert_eq!(refused.status.code(), Some(1), "{refused:?}");
        let said = text(&refused.stderr);
        assert!(said.starts_with("postsuper: fatal: the mail system does not answer, but "), "{said}");
    }
    let said = text(&command(&setup, &["postsuper", "-d", "ALL"]).stderr);
    let holder = std::fs::read_to_string(setup.queue().join("engine.lock")).expect("the engine wrote it");
    assert!(said.contains(&format!("the spool is in use by process {} (", holder.trim())), "{said}");
    std::fs::rename(&aside, &socket).expect("it is there");
    assert!(queue_of(&setup, &id).is_some());
    engine.stop();
}

/// Gives a directory and all in it to a user.
fn give(path: &Path, uid: u32) {
    chown(path, Some(uid), Some(uid)).expect("the superuser may");
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("it can be read") {
            give(&entry.expect("it can be read").path(), uid);
        }
    }
}

fn owners(path: &Path) -> Vec<u32> {
    let mut owners = vec![std::fs::metadata(path).expect("it is there").uid()];
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("it can be read") {
            owners.extend(self::owners(&entry.expect("it can be read").path()));
        }
    }
    owners
}

#[test]
fn the_queue_stays_its_owners_whoever_clears_it_up() {
    const NOBODY: u32 = 65534;
    if !nobody_can_run_commands() {
        skip!("this test needs the superuser, setpriv, and a target directory that nobody can reach into");
    }
    let (setup, ids) = stopped_with("offline-owner", 2);
    let refused = run(as_nobody(&setup, &["postsuper", "-d", "ALL"]), "");
    assert_eq!(refused.status.code(), Some(1));
    let reserved = "postsuper: fatal: use of this command is reserved for the superuser\n";
    assert_eq!(text(&refused.stderr), reserved);
    give(setup.home(), NOBODY);
    postsuper(&setup, &["-r", &ids[0]], "");
    postsuper(&setup, &["-d", &ids[1]], "");
    assert!(owners(&setup.queue()).iter().all(|uid| *uid == NOBODY));
    // The owner needs no superuser.
    let said = run(as_nobody(&setup, &["postsuper", "-d", "ALL"]), "");
    assert!(said.status.success(), "{said:?}");
    assert!(text(&said.stderr).ends_with("postsuper: Deleted: 1 message\n"));
}

/// Lets a byte of a message rot on the disk.
fn harm(setup: &EngineSetup, track: &str) {
    let mut harmed = 0;
    for (path, mut bytes) in files_below(&setup.queue().join("spool")) {
        if let Some(at) = bytes.windows(track.len()).position(|window| window == track.as_bytes()) {
            bytes[at] ^= 1;
            std::fs::write(path, bytes).expect("the test owns it");
            harmed += 1;
        }
    }
    assert_eq!(harmed, 1);
}

#[test]
fn damaged_mail_is_deleted_by_its_queue_while_the_system_runs() {
    let (setup, ids) = stopped_with("corrupt-online", 3);
    harm(&setup, "track-0");
    harm(&setup, "track-2");
    let engine = setup.start();
    for id in &ids {
        succeeds(&setup, &["postqueue", "-i", id]);
    }
    engine.wait_for_log_count("what is damaged", 2, |line| {
        line.process == "qmgr" && line.text.contains("it stays in the spool as corrupt")
    });
    // Not by chance.
    let said = postsuper(&setup, &["-d", "ALL"], "");
    assert!(said.ends_with("postsuper: Deleted: 1 message\n"), "{said}");
    let said = postsuper(&setup, &["-d", &ids[0], "corrupt"], "");
    assert_eq!(said, format!("postsuper: {}: removed\npostsuper: Deleted: 1 message\n", ids[0]));
    let said = postsuper(&setup, &["-d", "ALL", "corrupt"], "");
    assert!(said.ends_with(": removed\npostsuper: Deleted: 1 message\n"), "{said}");
    assert_eq!(postsuper(&setup, &["-d", "ALL", "corrupt"], ""), "postsuper: Deleted: 0 messages\n");
    engine.stop();
    assert_eq!(postsuper(&setup, &["-s"], ""), "postsuper: Checked: 0 messages, 0 damaged\n");
}

#[test]
fn a_check_reads_all_that_is_queued_and_tells_damage() {
    let (setup, ids) = stopped_with("offline-check", 3);
    let spool = setup.queue().join("spool");
    let before = files_below(&spool);
    assert_eq!(postsuper(&setup, &["-s"], ""), "postsuper: Checked: 3 messages, 0 damaged\n");
    assert!(files_below(&spool) == before, "the spool has changed");
    // Without options, as Postfix: check, and purge.
    assert_eq!(postsuper(&setup, &[], ""), "postsuper: Checked: 3 messages, 0 damaged\n");

    harm(&setup, "track-1");
    let checked = command(&setup, &["postsuper", "-s"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let said = text(&checked.stderr);
    assert!(
        said.starts_with("postsuper: warning: shard ") && said.contains("checksum; set aside\n"),
        "{said}"
    );
    assert!(said.contains("\npostsuper: Checked: 3 messages, 1 damaged\n"), "{said}");
    assert!(said.contains("\npostsuper: fatal: 1 damaged"), "{said}");

    // Damaged mail is deleted where somebody says so by name.
    let said = postsuper(&setup, &["-d", "ALL"], "");
    assert!(said.contains("postsuper: Deleted: 2 messages\n"), "{said}");
    let said = postsuper(&setup, &["-d", &ids[1], "corrupt"], "");
    let expected = format!("postsuper: {}: removed\npostsuper: Deleted: 1 message\n", ids[1]);
    assert!(said.ends_with(&expected), "{said}");
    assert_eq!(postsuper(&setup, &["-s"], ""), "postsuper: Checked: 0 messages, 0 damaged\n");

    let engine = setup.start();
    let said = postsuper(&setup, &["-s"], "");
    assert!(said.starts_with("postsuper: warning: the mail system is running: "), "{said}");
    engine.stop();
}

#[test]
fn nothing_is_made_where_no_queue_is() {
    let setup = EngineSetup::new("offline-none");
    let _ = setup.command();
    assert_eq!(postsuper(&setup, &["-d", "ALL"], ""), "postsuper: Deleted: 0 messages\n");
    assert_eq!(postsuper(&setup, &[], ""), "");
    assert!(files_below(&setup.queue()).is_empty());
}

#[test]
fn a_message_is_shown_by_the_name_that_its_file_would_have() {
    let (setup, engine) = deferring("postcat-path");
    let id = submit(&engine, &["b@sink.test"], "track-shown");
    wait_until_in(&setup, &id, "deferred");
    let whole = succeeds(&setup, &["postcat", "-q", &id]);
    let queue = setup.queue();
    let hashed = queue.join(format!("deferred/A/{id}"));
    for name in [&id, &format!("deferred/{id}"), &hashed.to_string_lossy().into_owned()] {
        assert_eq!(succeeds(&setup, &["postcat", name]), whole, "{name}");
    }
    let absent = command(&setup, &["postcat", "deferred/4SVLCh0sf8z7Qhl"]);
    assert_eq!(absent.status.code(), Some(1));
    let expected = "postcat: fatal: open queue file deferred/4SVLCh0sf8z7Qhl: No such file or directory\n";
    assert_eq!(text(&absent.stderr), expected);
    let elsewhere = command(&setup, &["postcat", &format!("somewhere/{id}")]);
    assert_eq!(elsewhere.status.code(), Some(1));
    engine.stop();
    assert_eq!(succeeds(&setup, &["postcat", &format!("deferred/{id}")]), whole);

    // What is a file is read as one: the records of a segment, or nothing.
    let holds_it = |bytes: &Vec<u8>| bytes.windows(11).any(|window| window == b"track-shown");
    let segment = files_below(&queue.join("spool")).into_iter().find(|(_, bytes)| holds_it(bytes));
    let (segment, _) = segment.expect("the message lies in one of the segments");
    let records = succeeds(&setup, &["postcat", &segment.to_string_lossy()]);
    assert!(records.starts_with(&format!("*** SEGMENT RECORDS {} ***\n", segment.display())), "{records}");
    let line = records.lines().find(|line| line.contains(&format!(" message {id} ")));
    assert!(line.is_some_and(|line| line.ends_with(", from <a@client.test>, 1 recipients")), "{records}");
    assert!(records.contains(&format!(" retry   {id} ")), "{records}");
    let other = setup.home().join("main.cf").to_string_lossy().into_owned();
    let output = command_with_input(&setup, &["postcat", &other], "");
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(text(&output.stderr), format!("postcat: warning: {other}: input is not a valid queue file\n"));
    assert_eq!(command(&setup, &["postcat"]).status.code(), Some(1));
}
