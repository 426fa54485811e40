//! Tables behind servers and libraries: who asks one that hangs waits alone, and trouble is never "not found".

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use ringpost_tests::client::message_content;
use ringpost_tests::commands::{command, text};
use ringpost_tests::maillog::LogLine;
use ringpost_tests::{Engine, EngineSetup, Sink};

/// Serves `socketmap:`; keys with `slow` in them are never answered, those with `back` are, all others are not found.
/// It ends with the test.
fn socketmap() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            std::thread::spawn(move || while answer(&stream).is_some() {});
        }
    });
    port
}

fn answer(mut stream: &TcpStream) -> Option<()> {
    let mut length = 0;
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        match byte[0] {
            b':' => break,
            digit => length = length * 10 + usize::from(digit - b'0'),
        }
    }
    let mut request = vec![0; length + 1];
    stream.read_exact(&mut request).ok()?;
    let key = String::from_utf8_lossy(&request).into_owned();
    if key.contains("slow") {
        return Some(());
    }
    let reply: &[u8] = match key.contains("back") {
        true => b"22:OK error:5.7.1 told so,",
        false => b"9:NOTFOUND ,",
    };
    stream.write_all(reply).ok()
}

fn send(engine: &Engine, recipient: &str) -> String {
    let mut client = engine.client();
    let queue_id = client.message("sender@client.test", &[recipient], &message_content("tables", 500));
    client.quit();
    queue_id
}

fn delivery(recipient: &'static str, status: &'static str) -> impl Fn(&LogLine) -> bool {
    move |line| line.text.starts_with(&format!("to=<{recipient}>")) && line.text.contains(status)
}

#[test]
fn a_table_that_hangs_holds_up_only_the_mail_that_asked_it() {
    let setup = EngineSetup::new("table-hangs")
        .parameter("smtpd_reject_unlisted_recipient", "no")
        .parameter("ringpost_lookup_time_limit", "3s")
        .parameter("transport_maps", &format!("socketmap:inet:127.0.0.1:{}:routes", socketmap()));
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    send(&engine, "u@slow.test");
    send(&engine, "v@fast.test");
    send(&engine, "w@back.test");
    let deferred = "status=deferred (address resolver failure)";
    engine.wait_for_log("mail for the slow domain is deferred", delivery("u@slow.test", deferred));
    let log = engine.log();
    let at = |wanted: &dyn Fn(&LogLine) -> bool| log.iter().position(wanted);
    let slow = at(&delivery("u@slow.test", deferred)).expect("it was waited for");
    let fast = at(&delivery("v@fast.test", "status=sent"));
    let back = at(&delivery("w@back.test", "status=bounced (told so)"));
    assert!(fast.is_some_and(|fast| fast < slow), "mail that asks for something else goes on");
    assert!(back.is_some_and(|back| back < slow), "and is told what the table says");
    assert!(
        log.iter()
            .any(|line| line.process == "trivial-rewrite" && line.text.contains("the time limit is over"))
    );
    assert_eq!(sink.wait_for(1)[0].recipients, ["v@fast.test"]);
    engine.stop();
}

#[test]
fn a_session_whose_table_hangs_gets_451_while_others_go_on() {
    let access = format!("check_recipient_access socketmap:inet:127.0.0.1:{}:access", socketmap());
    let setup = EngineSetup::new("table-hangs-session")
        .parameter("ringpost_lookup_time_limit", "3s")
        .parameter("smtpd_recipient_restrictions", &access);
    let _sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut asking = engine.client();
    asking.expect("MAIL FROM:<sender@client.test>", "250 ");
    asking.send(b"RCPT TO:<u@slow.test>\r\n");
    for _ in 0..5 {
        send(&engine, "v@fast.test");
    }
    // Postfix's words and code for an access table that cannot be asked.
    let refusal = "451 4.3.5 <u@slow.test>: Recipient address rejected: Server configuration error";
    let is_refused = |line: &LogLine| line.text.contains(refusal);
    assert!(!engine.log().iter().any(is_refused), "the others do not wait for it");
    let reply = asking.reply();
    assert!(reply.is(refusal), "{}", reply.text());
    asking.expect("RCPT TO:<v@fast.test>", "250 ");
    asking.quit();
    engine.stop();
}

#[test]
fn a_database_routes_mail_and_one_that_is_not_approved_is_not_asked_by_proxy() {
    let setup = EngineSetup::new("table-sqlite").parameter("smtpd_reject_unlisted_recipient", "no");
    let file = |name: &str| setup.home().join(name).to_str().expect("its name is text").to_owned();
    let (database, table) = (file("routes.db"), file("routes.cf"));
    rusqlite::Connection::open(&database)
        .and_then(|routes| {
            routes.execute_batch(
                "CREATE TABLE routes (name TEXT, transport TEXT);
                 INSERT INTO routes VALUES ('back.test', 'error:5.7.1 told so'), ('o''x@y.test', 'error:5.7.1 told so');",
            )
        })
        .expect("a database can be made");
    let content = format!("dbpath = {database}\nquery = SELECT transport FROM routes WHERE name = '%s'\n");
    std::fs::write(&table, content).expect("its file can be written");
    let setup = setup.parameter("transport_maps", &format!("proxy:sqlite:{table}"));
    let engine = setup.start();
    for recipient in ["u@back.test", "o'x@y.test"] {
        send(&engine, recipient);
        engine
            .wait_for_log("the database says where it goes", delivery(recipient, "status=bounced (told so)"));
    }
    engine.stop();
    let words = ["postmap", "-q", "back.test", &format!("proxy:sqlite:{table}")];
    let found = command(&setup, &words);
    assert_eq!(text(&found.stdout), "error:5.7.1 told so\n");

    let setup = setup.parameter("proxy_read_maps", "");
    let engine = setup.start();
    send(&engine, "v@back.test");
    let deferred = "status=deferred (address resolver failure)";
    engine.wait_for_log("nothing is found out", delivery("v@back.test", deferred));
    assert!(engine.log().iter().any(|line| {
        line.process == "proxymap"
            && line.text.contains("is not configured for table")
            && line.text.contains(&table)
    }));
    engine.stop();
    let refused = command(&setup, &words);
    assert!(!refused.status.success() && refused.stdout.is_empty());
}
