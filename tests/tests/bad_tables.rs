//! Tables that nobody should have: missing, damaged, huge, circular, behind servers that hang, changing while they are
//! read, with expressions that explode. Whoever needs one is told to come back; the others do not notice.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use ringpost_tests::client::{Reply, message_content};
use ringpost_tests::engine::binary;
use ringpost_tests::{Client, Engine, EngineSetup, Sink, wait};

/// Lets the sessions of a test wait for nothing but what they ask.
fn setup(name: &str) -> EngineSetup {
    EngineSetup::new(name)
        .parameter("smtpd_reject_unlisted_recipient", "no")
        .parameter("smtpd_error_sleep_time", "0")
        .parameter("smtpd_soft_error_limit", "10000")
        .parameter("smtpd_hard_error_limit", "10000")
}

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn postmap(table: &str) {
    let built = Command::new(binary()).args(["postmap", table]).output().expect("the binary runs");
    assert!(built.status.success(), "{table}: {built:?}");
}

/// A restriction list in which the recipient `N@bad.test` asks the N-th table, and nobody else any.
fn each_by_its_own_recipient(setup: EngineSetup, tables: &[String]) -> EngineSetup {
    let (mut choice, mut names) = (String::new(), String::new());
    let mut setup = setup;
    for (number, table) in tables.iter().enumerate() {
        choice += &format!("{number}@bad.test=bad{number}, ");
        names += &format!("bad{number} ");
        setup = setup.parameter(&format!("bad{number}"), &format!("check_recipient_access {table}"));
    }
    setup.parameter("smtpd_restriction_classes", &names).parameter(
        "smtpd_recipient_restrictions",
        &format!("check_recipient_access inline:{{{choice}}}, permit"),
    )
}

/// Postfix's words and code for an access table that cannot be asked.
fn refusal(number: usize) -> String {
    format!("451 4.3.5 <{number}@bad.test>: Recipient address rejected: Server configuration error")
}

/// Code and text of a reply.
fn said(reply: &Reply) -> String {
    format!("{} {}", reply.code, reply.text())
}

fn asking(engine: &Engine) -> Client {
    let mut client = engine.client();
    client.expect("MAIL FROM:<sender@client.test>", "250 ");
    client
}

#[test]
fn tables_that_cannot_be_opened_give_451_and_their_reason() {
    let setup = setup("bad-tables-open");
    let home = setup.home().to_owned();
    let path = |name: &str| home.join(name).display().to_string();
    fs::create_dir(home.join("directory")).expect("the scratch directory is writable");
    for suffix in ["ringdb", "cdb", "lmdb"] {
        write(&home.join(format!("garbage.{suffix}")), [0xa5; 10_000]);
        write(&home.join(format!("empty.{suffix}")), "");
        // Nothing but a hole: it takes no room on the disk, and must take none in memory.
        let huge =
            File::create(home.join(format!("hole.{suffix}"))).expect("the scratch directory is writable");
        huge.set_len(64 << 30).expect("the file system has sparse files");
    }
    let huge = File::create(home.join("huge")).expect("the scratch directory is writable");
    huge.set_len(64 << 30).expect("the file system has sparse files");
    write(&home.join("bad.cf"), "hosts = localhost\nquery = SELECT '%z'\n");
    let nested = |outer: &str| (0..40).fold("static:x".to_owned(), |inner, _| format!("{outer}:{{{inner}}}"));
    let mut tables = Vec::new();
    for kind in ["hash", "btree", "cdb", "lmdb"] {
        tables.extend(["missing", "garbage", "empty", "hole"].map(|name| format!("{kind}:{}", path(name))));
    }
    for kind in ["texthash", "regexp", "pcre", "cidr"] {
        tables.extend(["missing", "huge", "directory"].map(|name| format!("{kind}:{}", path(name))));
    }
    for kind in ["sqlite", "pgsql", "mysql", "ldap", "memcache", "redis"] {
        tables.extend(["missing.cf", "huge"].map(|name| format!("{kind}:{}", path(name))));
    }
    tables.extend(["pgsql", "mysql", "sqlite"].map(|kind| format!("{kind}:{}", path("bad.cf"))));
    tables.push("fail:always".into());
    tables.push("inline:{nothing}".into());
    tables.push("unix:shadow.byname".into());
    tables.push(format!("proxy:proxy:hash:{}", path("missing")));
    tables.extend(["unionmap", "pipemap"].map(nested));
    tables.push("unionmap:{static:x, fail:one}".into());
    let engine = each_by_its_own_recipient(setup, &tables).start();
    let mut client = asking(&engine);
    for (number, table) in tables.iter().enumerate() {
        let reply = client.command(&format!("RCPT TO:<{number}@bad.test>"));
        assert!(reply.is(&refusal(number)), "{table}: {}", reply.text());
    }
    client.expect("RCPT TO:<somebody@good.test>", "250 ");
    client.quit();
    assert!(engine.process().resident_bytes() < 1 << 30, "holes are not read into memory");
    for table in tables.iter().filter(|table| !table.starts_with("fail:")) {
        let begins = format!("warning: {table} is unavailable. ");
        engine.wait_for_log("why it is unavailable", |line| line.text.starts_with(&begins));
    }
    engine.stop();
}

#[test]
fn servers_that_hang_babble_or_are_gone_hold_up_nobody_else() {
    let setup = setup("bad-tables-servers").parameter("ringpost_lookup_time_limit", "4s");
    // Connections are made, and nobody ever reads or writes.
    let silent = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = silent.local_addr().expect("it is bound").port();
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let gone = gone.expect("loopback has a free port").port();
    let babbling = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let babble = babbling.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = babbling.accept() {
            std::thread::spawn(move || {
                use std::io::Write;
                while stream.write_all(&[b'?'; 4096]).is_ok() {}
            });
        }
    });
    let mut tables = Vec::new();
    for port in [port, gone, babble] {
        let file = |kind: &str, content: &str| {
            let name = setup.home().join(format!("{kind}-{port}.cf"));
            write(&name, content);
            format!("{kind}:{}", name.display())
        };
        tables.push(format!("tcp:127.0.0.1:{port}"));
        tables.push(format!("socketmap:inet:127.0.0.1:{port}:map"));
        tables.push(file("memcache", &format!("memcache = inet:127.0.0.1:{port}\nmax_try = 1\n")));
        tables.push(file("redis", &format!("hosts = inet:127.0.0.1:{port}\ntimeout = 4\n")));
        let query = "user = u\npassword = p\ndbname = d\nquery = SELECT '%s'\n";
        tables.push(file("pgsql", &format!("hosts = 127.0.0.1:{port}\n{query}")));
        tables.push(file("mysql", &format!("hosts = 127.0.0.1:{port}\n{query}")));
        tables
            .push(file("ldap", &format!("server_host = 127.0.0.1:{port}\nsearch_base = o=x\ntimeout = 4\n")));
    }
    let _sink = Sink::willing(setup.sink_address());
    let engine = each_by_its_own_recipient(setup, &tables).start();
    let mut waiting: Vec<Client> = tables.iter().map(|_| asking(&engine)).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        client.send(format!("RCPT TO:<{number}@bad.test>\r\n").as_bytes());
    }
    for number in 0..5 {
        let mut client = engine.client();
        client.message(
            "sender@client.test",
            &[&format!("{number}@good.test")],
            &message_content("beside", 500),
        );
        client.quit();
    }
    let silent_still = waiting[0].stream();
    silent_still.set_nonblocking(true).expect("a socket can be asked");
    let heard = silent_still.peek(&mut [0]).map_err(|error| error.kind());
    assert_eq!(heard, Err(ErrorKind::WouldBlock), "mail of others is taken while the first still waits");
    silent_still.set_nonblocking(false).expect("a socket can be asked");
    for (number, (client, table)) in waiting.iter_mut().zip(&tables).enumerate() {
        let reply = client.reply();
        assert!(reply.is(&refusal(number)), "{table}: {}", reply.text());
        client.expect("RCPT TO:<somebody@good.test>", "250 ");
    }
    drop(silent);
    engine.stop();
}

/// `count` entries that are rejected, with values of many lengths.
fn entries(count: usize) -> String {
    (0..count).map(|n| format!("user{n}@old.test REJECT {}\n", "x".repeat(n % 300))).collect()
}

#[test]
fn tables_that_change_while_they_are_read_are_trouble_at_worst() {
    let setup = setup("bad-tables-change");
    let kinds = [("hash", "ringdb"), ("cdb", "cdb"), ("lmdb", "lmdb")];
    let source = |kind: &str| setup.home().join(format!("table-{kind}"));
    let tables: Vec<String> = kinds
        .iter()
        .map(|(kind, _)| {
            write(&source(kind), entries(5000));
            let table = format!("{kind}:{}", source(kind).display());
            postmap(&table);
            table
        })
        .collect();
    let list = tables.iter().map(|table| format!("check_recipient_access {table}, ")).collect::<String>();
    let files: Vec<_> =
        kinds.iter().map(|(kind, suffix)| setup.home().join(format!("table-{kind}.{suffix}"))).collect();
    let engine = setup.clone().parameter("smtpd_recipient_restrictions", &format!("{list} permit")).start();
    let mut client = asking(&engine);
    let mut ask = |recipient: &str| said(&client.command(&format!("RCPT TO:<{recipient}>")));
    assert!(ask("user7@old.test").starts_with("554 5.7.1 "));
    // Overwritten with nonsense, then cut off, in place, as `cp` does it: each answer is one that a table can give, or 451.
    for file in &files {
        let whole = fs::read(file).expect("it was built");
        for part in [3, 2, 1] {
            let mut damaged = whole.clone();
            let from = damaged.len() / 4 * part;
            damaged[from..].fill(0xff);
            let open = File::options().write(true).open(file).expect("it was built");
            std::os::unix::fs::FileExt::write_all_at(&open, &damaged, 0)
                .expect("the scratch directory is writable");
            for user in (0..5000).step_by(997) {
                let answer = ask(&format!("user{user}@old.test"));
                assert!(answer.starts_with("554 5.7.1 ") || answer.starts_with("451 4.3.5 "), "{answer}");
            }
        }
        File::options().write(true).open(file).and_then(|open| open.set_len(4096)).expect("it is ours");
        for user in (0..5000).step_by(499) {
            let answer = ask(&format!("user{user}@old.test"));
            assert!(answer.starts_with("554 5.7.1 ") || answer.starts_with("451 4.3.5 "), "{answer}");
        }
    }
    // All of them are built anew, and take the damaged ones' place.
    for ((kind, _), table) in kinds.iter().zip(&tables) {
        write(&source(kind), "somebody@new.test REJECT new\n");
        postmap(table);
    }
    wait::until("the new tables are taken", || ask("user7@old.test").starts_with("250 ").then_some(()));
    assert!(ask("somebody@new.test").starts_with("554 5.7.1 "));
    engine.stop();
}

#[test]
fn a_table_that_is_replaced_again_and_again_always_answers() {
    let setup = setup("bad-tables-replaced");
    let path = setup.home().join("table");
    let table = format!("hash:{}", path.display());
    write(&path, "always@table.test REJECT\n");
    postmap(&table);
    let engine = setup
        .parameter("smtpd_recipient_restrictions", &format!("check_recipient_access {table}, permit"))
        .start();
    let mut client = asking(&engine);
    for round in 0..30 {
        write(&path, format!("always@table.test REJECT {round}\n{}", entries(round * 10)));
        postmap(&table);
        for _ in 0..20 {
            client.expect("RCPT TO:<always@table.test>", "554 5.7.1 ");
        }
        client.expect("RCPT TO:<somebody@good.test>", "250 ");
    }
    engine.stop();
}

#[test]
fn expressions_that_explode_end_in_time() {
    let setup = setup("bad-tables-patterns");
    let (perl, posix) = (setup.home().join("perl"), setup.home().join("posix"));
    write(&perl, "/^X-Perl: (a+)+\\1$/ REJECT\n/^X-Perl: (a*)*(?=b)c/ REJECT\n");
    // The last one's automaton would have a hundred million states.
    write(
        &posix,
        "/^X-Posix: (a+)+(a+)+(a+)+$/ REJECT\n/^X-Back: (.*)(.*)(.*)(.*)\\1\\2\\3\\4$/ REJECT\n\
         /(((x{1,500}){1,500}){1,500})$/ REJECT\n/^X-Last: here/ REJECT last\n",
    );
    let checks = format!("pcre:{}, regexp:{}", perl.display(), posix.display());
    let _sink = Sink::willing(setup.sink_address());
    let begun = Instant::now();
    let engine = setup.parameter("header_checks", &checks).start();
    let long = "a".repeat(3000);
    let send = |header: &str| {
        let content = format!("Subject: x\r\n{header}\r\n\r\nbody\r\n");
        let mut client = engine.client();
        let reply = client.try_message("sender@client.test", &["u@good.test"], content.as_bytes());
        said(&reply.expect("the server answers"))
    };
    for header in [format!("X-Perl: {long}!"), format!("X-Back: {long}!")] {
        let reply = send(&header);
        assert!(reply.starts_with("451 4.3.0 "), "{:.20}: {reply}", header);
    }
    let reply = send(&format!("X-Posix: {long}!"));
    assert!(reply.starts_with("250 "), "an automaton does not explode: {reply}");
    let reply = send("X-Last: here");
    assert!(reply.starts_with("550 5.7.1 last"), "what cannot be read is left out, the rest counts: {reply}");
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let place = format!("{}, line 3: ", posix.display());
    engine.wait_for_log("which rule was left out", |line| line.text.contains(&place));
    engine.stop();
}

#[test]
fn tables_that_lead_in_circles_end_in_time() {
    let setup = setup("bad-tables-circles").parameter("mydestination", "own.test").parameter(
        "virtual_alias_maps",
        "inline:{a@own.test=b@own.test, b@own.test=a@own.test, {many@own.test = many@own.test, x@own.test}, \
         {x@own.test = y@own.test, x1@own.test}, {y@own.test = x@own.test, y1@own.test}}",
    );
    let setup = setup
        .parameter("local_recipient_maps", "")
        .parameter("canonical_maps", "inline:{c@own.test=d@own.test, d@own.test=c@own.test}");
    let _sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    for recipient in ["a@own.test", "x@own.test", "many@own.test", "c@own.test"] {
        let mut client = asking(&engine);
        let begun = Instant::now();
        let mut replies = vec![said(&client.command(&format!("RCPT TO:<{recipient}>")))];
        if replies[0].starts_with("250") {
            client.expect("DATA", "354 ");
            client.send(b"Subject: x\r\n\r\nbody\r\n.\r\n");
            replies.push(said(&client.reply()));
        }
        let last = replies.last().expect("there is one");
        assert!(last.starts_with("451 4."), "{recipient}: {replies:?}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{recipient}");
    }
    engine.stop();
}
