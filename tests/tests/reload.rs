//! `ringpost reload`: what begins afterwards has the new settings, what runs keeps the old; a configuration that is wrong
//! changes nothing; and no mail, memory or descriptor is lost however often it is done.

use std::fmt::Write as _;
use std::net::{SocketAddrV4, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringpost_tests::client::message_content;
use ringpost_tests::commands::{as_nobody, command, deferring, nobody_can_run_commands, succeeds, text};
use ringpost_tests::ledger::Ledger;
use ringpost_tests::load::{Load, Plan};
use ringpost_tests::maillog::LogLine;
use ringpost_tests::sink::{Answer, Stage};
use ringpost_tests::{Client, Engine, EngineSetup, Sink, wait};
use rustix::process::Signal;

/// Writes the configuration of `setup` over that of the engine, and reloads.
fn reload(setup: &EngineSetup) {
    setup.command();
    succeeds(setup, &["reload"]);
}

/// The same for a configuration that is wrong: exit code and words.
fn refused(setup: &EngineSetup) -> (Option<i32>, String) {
    setup.command();
    refusal(&command(setup, &["reload"]))
}

fn refusal(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), text(&output.stderr))
}

fn is_reload(line: &LogLine) -> bool {
    line.process == "master" && line.text.starts_with("reload -- version ")
}

fn is_refused(line: &LogLine, why: &str) -> bool {
    line.process == "master" && line.text.starts_with("warning: reload refused: ") && line.text.contains(why)
}

/// A second address beside that of the setup.
fn other_address(setup: &EngineSetup) -> SocketAddrV4 {
    SocketAddrV4::new(*setup.address().ip(), setup.address().port() + 1)
}

fn master_cf(services: &[(SocketAddrV4, &str)]) -> String {
    let mut text = String::new();
    for (address, settings) in services {
        writeln!(text, "{address} inet n - n - - smtpd {settings}").expect("a string takes it");
    }
    text + "smtp unix - - n - - smtp\nrelay unix - - n - - smtp\n"
}

fn queue_with(engine: &Engine, recipients: &[&str], track: &str) -> String {
    let mut client = engine.client();
    let queue_id = client.message("sender@client.test", recipients, &message_content(track, 500));
    client.quit();
    queue_id
}

fn file(setup: &EngineSetup, name: &str, content: &str) -> String {
    let path = setup.home().join(name);
    std::fs::write(&path, content).expect("the scratch directory is writable");
    path.to_str().expect("its name is text").to_owned()
}

/// Whether EHLO is answered with this limit.
fn has_size(client: &mut Client, bytes: &str) -> bool {
    client.command("EHLO client.test").lines.contains(&format!("SIZE {bytes}"))
}

#[test]
fn new_sessions_see_new_settings_and_tables_and_an_open_one_keeps_the_old() {
    let setup = EngineSetup::new("reload-sessions");
    let access = file(&setup, "access", "a@bad.test REJECT not from here\n");
    let setup = setup
        .parameter("ringpost_shards", "2")
        .parameter("message_size_limit", "100000")
        .parameter("smtpd_sender_restrictions", &format!("check_sender_access texthash:{access}"));
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut before = engine.client();
    assert!(has_size(&mut before, "100000"));
    let changed = setup
        .clone()
        .parameter("message_size_limit", "200000")
        .parameter("smtpd_banner", "renewed ESMTP")
        .parameter("smtpd_sender_restrictions", "check_sender_access inline:{c@d.test=REJECT}");
    reload(&changed);
    for _ in 0..4 {
        let mut after = Client::try_connect(setup.address()).expect("it listens");
        assert!(after.reply().is("220 renewed ESMTP"));
        assert!(has_size(&mut after, "200000"));
        after.expect("MAIL FROM:<a@bad.test>", "250 ");
        after.expect("RCPT TO:<x@sink.test>", "250 ");
        after.quit();
    }
    // The older session goes on as it began, with the table that is named nowhere any more.
    assert!(has_size(&mut before, "100000"));
    before.expect("MAIL FROM:<c@d.test>", "250 ");
    before.expect("RCPT TO:<x@sink.test>", "250 ");
    before.expect("RSET", "250 ");
    before.expect("MAIL FROM:<a@bad.test>", "250 ");
    before.expect("RCPT TO:<x@sink.test>", "554 5.7.1 <a@bad.test>: Sender address rejected: not from here");
    before.expect("RSET", "250 ");
    before.message("sender@client.test", &["x@sink.test"], &message_content("old-session", 500));
    before.quit();
    assert_eq!(sink.wait_for(1)[0].track().as_deref(), Some("old-session"));
    let home = setup.home().display().to_string();
    let said = engine.wait_for_log("that it has reloaded", is_reload);
    assert!(said.text.ends_with(&format!(", configuration {home}")), "{}", said.text);
    engine.stop();
}

#[test]
fn a_signal_reloads_as_the_command_does() {
    let setup = EngineSetup::new("reload-signal");
    let engine = setup.start();
    setup.clone().parameter("smtpd_banner", "signalled ESMTP").command();
    engine.signal(Signal::HUP);
    engine.wait_for_log("that it has reloaded", is_reload);
    let mut client = Client::try_connect(setup.address()).expect("it listens");
    assert!(client.reply().is("220 signalled ESMTP"));
    setup.clone().parameter("smtpd_timeout", "soon").command();
    engine.signal(Signal::HUP);
    let place = format!("{}/main.cf:", setup.home().display());
    engine.wait_for_log("why it has not", |line| {
        is_refused(line, &place) && line.text.contains("smtpd_timeout")
    });
    let mut client = Client::try_connect(setup.address()).expect("it listens");
    assert!(client.reply().is("220 signalled ESMTP"));
    engine.stop();
}

#[test]
fn what_does_not_load_is_refused_with_file_and_line_and_changes_nothing() {
    let setup = EngineSetup::new("reload-refused");
    let access = file(&setup, "access", "a@bad.test REJECT not from here\n");
    let setup =
        setup.parameter("smtpd_sender_restrictions", &format!("check_sender_access texthash:{access}"));
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let taken = std::net::TcpListener::bind(other_address(&setup)).expect("the port is free");
    let mut open = engine.client();
    let (main, master) = (setup.home().join("main.cf"), setup.home().join("master.cf"));
    let lines = std::fs::read_to_string(&main).expect("it was written").lines().count();
    let last = |path: &Path, line: usize| format!("{}:{line}: ", path.display());
    let two = [(setup.address(), ""), (other_address(&setup), "")];
    let wrong = [
        (setup.clone().parameter("not a name", "x"), last(&main, lines + 1), "missing '='"),
        (setup.clone().parameter("smtpd_timeout", "soon"), last(&main, lines + 1), "smtpd_timeout"),
        (setup.clone().parameter("smtp_tcp_port", "no"), last(&main, lines + 1), "smtp_tcp_port"),
        (setup.clone().parameter("mynetworks", "300.1.1.1"), last(&main, lines + 1), "mynetworks"),
        (
            setup.clone().parameter("x", "$y").parameter("y", "$x").parameter("myorigin", "$x"),
            "main.cf:".into(),
            "myorigin",
        ),
        (
            setup.clone().parameter("transport_maps", "texthash:/nowhere/at/all"),
            last(&main, lines + 1),
            "transport_maps: texthash:/nowhere/at/all: ",
        ),
        (
            setup.clone().parameter("smtpd_client_restrictions", "check_client_access hash:/nowhere/too"),
            last(&main, lines + 1),
            "smtpd_client_restrictions: hash:/nowhere/too: ",
        ),
        (
            setup
                .clone()
                .parameter("address_verify_map", "btree:/nowhere/at/all")
                .parameter("smtpd_recipient_restrictions", "reject_unverified_recipient"),
            last(&main, lines + 1),
            "address_verify_map: btree:/nowhere/at/all: ",
        ),
        (setup.clone().parameter("smtpd_tls_security_level", "encrypt"), last(&main, lines + 1), "refused"),
        (setup.clone().master_cf("smtp inet n\n"), last(&master, 1), ""),
        (setup.clone().master_cf("smtp unix - - n - - smtp\n"), String::new(), "nothing to serve"),
        (setup.clone().master_cf(&master_cf(&two)), last(&master, 2), "cannot listen on"),
        (setup.clone().parameter("maillog_file", "/nowhere/log"), String::new(), "/nowhere/log"),
    ];
    let places = wrong.len();
    for (changed, place, what) in wrong {
        let changed = changed.parameter("smtpd_banner", "never seen");
        let (code, words) = refused(&changed);
        assert!(code.is_some_and(|code| code != 0), "{what}: {code:?}");
        let named = words.lines().find(|line| line.contains(&place) && line.contains(what));
        assert!(named.is_some(), "{place}{what}: {words}");
        assert!(
            words.ends_with("nothing has changed: the mail system runs with its old configuration\n"),
            "{words}"
        );
        engine.wait_for_log("why it was refused", |line| is_refused(line, &place) && is_refused(line, what));
        let mut client = engine.client();
        client.expect("MAIL FROM:<a@bad.test>", "250 ");
        client.expect("RCPT TO:<x@sink.test>", "554 5.7.1 ");
        client.quit();
    }
    drop(taken);
    assert!(engine.log().iter().all(|line| !is_reload(line)));
    open.message("sender@client.test", &["x@sink.test"], &message_content("kept", 500));
    assert_eq!(sink.wait_for(1)[0].track().as_deref(), Some("kept"));
    // Mended, it is taken.
    reload(&setup.clone().parameter("smtpd_banner", "mended ESMTP"));
    let mut client = Client::try_connect(setup.address()).expect("it listens");
    assert!(client.reply().is("220 mended ESMTP"));
    assert!(places > 10);
    engine.stop();
}

#[test]
fn a_hostile_configuration_is_refused_in_bounded_words() {
    let setup = EngineSetup::new("reload-hostile");
    let engine = setup.start();
    let main = setup.home().join("main.cf");
    setup.command();
    let sound = std::fs::read(&main).expect("it was written");
    let mut many = sound.clone();
    for number in 0..200_000 {
        many.extend_from_slice(format!("no definition {number}\n").as_bytes());
    }
    let deep = format!("deep = {}x{}\nmyorigin = $deep\n", "${none:{".repeat(10_000), "}}".repeat(10_000));
    let growing: String =
        (0..64).map(|level| format!("g{level} = $g{0}$g{0}\n", level + 1)).collect::<String>()
            + "g64 = x\nmyorigin = $g0\n";
    let hostile: [(&str, Vec<u8>); 5] = [
        ("lines that define nothing", many),
        ("bytes that are no text", [&sound[..], b"\xff\xfe\0 = \0\n"].concat()),
        ("nesting", [&sound[..], deep.as_bytes()].concat()),
        ("growth", [&sound[..], growing.as_bytes()].concat()),
        ("nothing at all to continue", [b"  continues\n", &sound[..]].concat()),
    ];
    let resident = engine.process().resident_bytes();
    for (what, content) in hostile {
        std::fs::write(&main, content).expect("the scratch directory is writable");
        let (code, words) = refusal(&command(&setup, &["reload"]));
        assert_eq!(code, Some(78), "{what}: {}", &words[..words.len().min(1000)]);
        assert!(words.lines().count() <= 102 && words.contains("main.cf:"), "{what}: {} bytes", words.len());
        engine.client().quit();
    }
    let grown = engine.process().resident_bytes().saturating_sub(resident);
    assert!(grown < 100 << 20, "{grown} bytes more");
    std::fs::remove_file(&main).expect("it is there");
    engine.signal(Signal::HUP);
    engine.wait_for_log("that there is no file", |line| is_refused(line, "cannot read"));
    std::fs::write(&main, sound).expect("the scratch directory is writable");
    succeeds(&setup, &["reload"]);
    engine.stop();
}

#[test]
fn what_waits_for_a_restart_is_told_by_name() {
    let setup = EngineSetup::new("reload-restart").parameter("ringpost_shards", "1");
    let engine = setup.start();
    let elsewhere = setup.home().join("elsewhere");
    let changed = setup
        .clone()
        .parameter("ringpost_shards", "2")
        .parameter("ringpost_spool_segment_size", "33554432")
        .parameter("smtp_transport_rate_delay", "7s")
        .parameter("smtpd_banner", "warned ESMTP")
        .parameter("queue_directory", elsewhere.to_str().expect("its name is text"));
    changed.command();
    let here = format!("queue_directory={}", setup.queue().display());
    let output = command(&setup, &["reload", "-o", &here]);
    assert!(output.status.success(), "{output:?}");
    let words = text(&output.stderr);
    for name in
        ["ringpost_shards", "ringpost_spool_segment_size", "smtp_transport_rate_delay", "queue_directory"]
    {
        let warning = format!("{name}: the change from ");
        assert!(words.contains(&format!("ringpost: warning: {warning}")), "{name}: {words}");
        engine.wait_for_log("what waits", |line| line.text.starts_with(&format!("warning: {warning}")));
    }
    assert!(!elsewhere.exists());
    let mut client = Client::try_connect(setup.address()).expect("it listens");
    assert!(client.reply().is("220 warned ESMTP"), "the rest is taken");
    let lost = command(&setup, &["reload"]);
    assert_eq!(lost.status.code(), Some(69), "no engine has that queue directory: {lost:?}");
    engine.stop();
}

#[test]
fn only_root_and_the_engines_user_may_reload() {
    if !nobody_can_run_commands() {
        return;
    }
    let setup = EngineSetup::new("reload-rights");
    let engine = setup.start();
    let output = ringpost_tests::commands::run(as_nobody(&setup, &["reload"]), "");
    assert_eq!(output.status.code(), Some(77), "{output:?}");
    assert!(engine.log().iter().all(|line| !is_reload(line)));
    engine.stop();
}

#[test]
fn listeners_come_and_go_and_sessions_of_those_that_went_finish() {
    let setup = EngineSetup::new("reload-listeners").parameter("ringpost_shards", "2");
    let (first, second) = (setup.address(), other_address(&setup));
    let sink = Sink::willing(setup.sink_address());
    let with = |services: &[(SocketAddrV4, &str)]| setup.clone().master_cf(&master_cf(services));
    let engine = with(&[(first, "")]).start();
    let mut kept = engine.client();
    assert!(TcpStream::connect(second).is_err());
    reload(&with(&[(first, ""), (second, "-o smtpd_banner=second")]));
    let mut added: Vec<Client> = (0..8)
        .map(|_| {
            let mut client = Client::try_connect(second).expect("it listens");
            assert!(client.reply().is("220 second"));
            client
        })
        .collect();
    // The same address with another service, and the first is gone.
    reload(&with(&[(second, "-o smtpd_banner=changed")]));
    wait::until("the address is closed", || TcpStream::connect(first).is_err().then_some(()));
    let mut client = Client::try_connect(second).expect("it listens");
    assert!(client.reply().is("220 changed"));
    kept.message("sender@client.test", &["x@sink.test"], &message_content("kept", 500));
    for (number, client) in added.iter_mut().enumerate() {
        client.expect("HELO client.test", "250 ");
        client.message(
            "sender@client.test",
            &["x@sink.test"],
            &message_content(&format!("added-{number}"), 500),
        );
    }
    sink.wait_for(9);
    reload(&with(&[(first, ""), (second, "")]));
    engine.client().quit();
    engine.stop();
}

#[test]
fn client_counts_follow_a_service_whose_place_in_master_cf_changes() {
    let setup = EngineSetup::new("reload-counts").parameter("mynetworks", "192.0.2.1");
    let setup = setup
        .parameter("smtpd_client_event_limit_exceptions", "")
        .parameter("smtpd_relay_restrictions", "permit")
        .parameter("smtpd_recipient_restrictions", "reject_unauth_destination")
        .parameter("smtpd_client_connection_count_limit", "2");
    let (first, second) = (setup.address(), other_address(&setup));
    let with = |services: &[(SocketAddrV4, &str)]| setup.clone().master_cf(&master_cf(services));
    let engine = with(&[(first, "")]).start();
    let open = [engine.client(), engine.client()];
    reload(&with(&[(second, ""), (first, "")]));
    let refused = |address| Client::try_connect(address).expect("it listens").reply().is("421 ");
    assert!(refused(first), "its two sessions still count");
    assert!(!refused(second), "they are not the other service's");
    drop(open);
    wait::until("the sessions have ended", || (!refused(first)).then_some(()));
    engine.stop();
}

#[test]
fn deferred_mail_leaves_by_the_new_relayhost_and_so_does_what_waits_for_a_slot() {
    let setup = EngineSetup::new("reload-relayhost")
        .parameter("smtp_destination_concurrency_limit", "1")
        .parameter("relay_destination_concurrency_limit", "1");
    let silent = Sink::scripted(setup.sink_address(), |stage| match stage {
        Stage::EndOfData(_) => Answer::Silence,
        _ => Answer::Usual,
    });
    let elsewhere = other_address(&setup);
    let elsewhere = SocketAddrV4::new(*elsewhere.ip(), elsewhere.port() + 1);
    let willing = Sink::willing(elsewhere);
    let engine = setup.start();
    for number in 0..5 {
        queue_with(&engine, &["x@sink.test"], &format!("m-{number}"));
    }
    wait::until("one delivery is under way", || (silent.connections_open() == 1).then_some(()));
    reload(&setup.clone().parameter("relayhost", &format!("[{}]:{}", elsewhere.ip(), elsewhere.port())));
    let taken = willing.wait_for(4);
    assert_eq!(taken.len(), 4, "the fifth is with the server that does not answer");
    drop(silent);
    engine
        .wait_for_log("that the delivery under way has ended", |line| line.text.contains("status=deferred"));
    succeeds(&setup, &["postqueue", "-f"]);
    willing.wait_for(5);
    let mut tracks: Vec<_> = willing.messages().iter().filter_map(|message| message.track()).collect();
    tracks.sort_unstable();
    assert_eq!(tracks, ["m-0", "m-1", "m-2", "m-3", "m-4"]);
    engine.stop();
}

#[test]
fn defer_transports_and_retry_times_are_taken_over() {
    let (setup, engine) = deferring("reload-defer");
    let willing = {
        let id = queue_with(&engine, &["x@sink.test"], "early");
        engine.wait_for_log("that it is deferred", |line| {
            line.queue_id.as_deref() == Some(&*id) && line.text.contains("status=deferred")
        });
        let changed = setup.clone().parameter("defer_transports", "smtp, relay");
        reload(&changed);
        succeeds(&setup, &["postqueue", "-f"]);
        let later = queue_with(&engine, &["y@sink.test"], "later");
        engine.wait_for_log("that its transport is deferred", |line| {
            line.queue_id.as_deref() == Some(&*later) && line.text.contains("deferred transport")
        });
        Sink::willing(setup.sink_address())
    };
    reload(&setup.clone().parameter("defer_transports", ""));
    succeeds(&setup, &["postqueue", "-f"]);
    willing.wait_for(2);
    engine.stop();
}

#[test]
fn another_concurrency_limit_holds_while_mail_flows() {
    let setup = EngineSetup::new("reload-limit")
        .parameter("ringpost_shards", "2")
        .parameter("initial_destination_concurrency", "10")
        .parameter("default_destination_concurrency_limit", "10");
    let flow = Arc::new(Mutex::new(Flow::default()));
    let seen = flow.clone();
    let sink = Sink::scripted(setup.sink_address(), move |stage| {
        match stage {
            Stage::Mail(_) => {
                let mut flow = locked(&seen);
                flow.open += 1;
                flow.most_after = flow.most_after.max(if flow.limited { flow.open } else { 0 });
            }
            Stage::EndOfData(_) => {
                wait::until("the test lets mail through", || locked(&seen).released.then_some(()));
                let mut flow = locked(&seen);
                flow.open -= 1;
                flow.limited |= flow.open <= 3;
            }
            _ => {}
        }
        Answer::Usual
    });
    let flow = || locked(&flow);
    let engine = setup.start();
    let acknowledged = Load::start(setup.address(), &Plan::new("limit", 4, 15)).finish();
    assert_eq!(acknowledged.len(), 60);
    wait::until("ten deliveries run", || (flow().open == 10).then_some(()));
    reload(&setup.clone().parameter("default_destination_concurrency_limit", "3"));
    flow().released = true;
    sink.wait_for(60);
    assert!(flow().limited && flow().most_after <= 3, "{:?}", flow());
    engine.stop();
    assert_eq!(sink.count(), 60);
}

fn locked(flow: &Mutex<Flow>) -> MutexGuard<'_, Flow> {
    flow.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a sink sees of a limit that changes.
#[derive(Debug, Default)]
struct Flow {
    /// Transactions.
    open: usize,
    /// They may end.
    released: bool,
    /// There were as few as the new limit allows.
    limited: bool,
    /// The most since then.
    most_after: usize,
}

#[test]
fn the_logs_file_is_opened_anew() {
    let setup = EngineSetup::new("reload-log");
    let engine = setup.start();
    engine.client().quit();
    let (log, moved) = (setup.home().join("maillog"), setup.home().join("maillog.1"));
    engine.wait_for_log("the session", |line| line.text.starts_with("disconnect from"));
    std::fs::rename(&log, &moved).expect("it is there");
    reload(&setup);
    engine.wait_for_log("in the new file that it has reloaded", is_reload);
    let other = setup.home().join("mail.other");
    let renamed = setup
        .clone()
        .parameter("maillog_file", other.to_str().expect("its name is text"))
        .parameter("syslog_name", "renamed");
    reload(&renamed);
    engine.client().quit();
    wait::until("the other file has the session", || {
        let text = std::fs::read_to_string(&other).unwrap_or_default();
        text.contains("renamed/smtpd[").then_some(())
    });
    engine.stop();
}

/// What the engine has open, besides the segments of its spool, which come and go with the mail.
fn files_but_spool(engine: &Engine) -> Vec<String> {
    let mut files = engine.process().open_file_names();
    files.retain(|name| !name.contains("/spool/"));
    files.sort_unstable();
    files
}

#[test]
fn fifty_reloads_under_load_lose_and_repeat_nothing_and_leak_nothing() {
    let setup = EngineSetup::new("reload-often");
    let routes = file(&setup, "routes", "elsewhere.test error:5.7.1 not there\n");
    let setup = setup
        .parameter("ringpost_shards", "2")
        .parameter("smtpd_reject_unlisted_recipient", "no")
        .parameter("transport_maps", &format!("texthash:{routes}"));
    let sink = Sink::counting(setup.sink_address());
    let second = other_address(&setup);
    let engine = setup.start();
    let both = [(setup.address(), ""), (second, "")];
    let variants = [
        setup.clone().master_cf(&master_cf(&both)),
        setup.clone().parameter("default_destination_concurrency_limit", "3"),
        setup.clone().parameter("default_destination_recipient_limit", "1"),
        setup.clone().parameter("smtp_connection_cache_on_demand", "no"),
        setup.clone().parameter("transport_maps", "inline:{elsewhere.test={error:5.7.1 not there}}"),
    ];
    // The first rounds fill caches and arenas; they are not counted.
    let warm = Load::start(setup.address(), &Plan::new("warm", 8, 40)).finish();
    for variant in &variants {
        reload(variant);
    }
    sink.wait_for(warm.len());
    let quiet = || {
        reload(&setup);
        wait::until("nobody is connected", || (sink.connections_open() == 0).then_some(()));
        wait::until("older settings are gone", || {
            let threads = engine.process().thread_names();
            let keeps = |name: &String| name.starts_with("retired") || name.starts_with("control-session");
            (!threads.iter().any(keeps)).then(|| files_but_spool(&engine))
        })
    };
    let (files, threads) = (quiet(), engine.process().threads());
    let resident = engine.process().anonymous_bytes();
    let load = Load::start(setup.address(), &Plan::new("often", 8, 100_000));
    for round in 0..50 {
        reload(&variants[round % variants.len()]);
    }
    let acknowledged = load.stop();
    assert!(!acknowledged.is_empty());
    sink.wait_for(warm.len() + acknowledged.len());
    engine.wait_for_log_count("that it has reloaded", 56, is_reload);
    let after = quiet();
    assert!(after.len() <= files.len(), "before: {files:?}, after: {after:?}");
    wait::until("threads of older settings have ended", || {
        (engine.process().threads() <= threads).then_some(())
    });
    let grown = engine.process().anonymous_bytes().saturating_sub(resident);
    assert!(grown < 40 << 20, "{grown} bytes more after 50 reloads");
    engine.stop();
    let mut ledger = Ledger::default();
    warm.into_iter().chain(acknowledged).for_each(|message| ledger.acknowledge(message.track));
    sink.messages().iter().for_each(|message| ledger.deliver(message));
    assert_eq!((ledger.lost(), ledger.repeated()), (vec![], vec![]));
}

#[test]
fn a_changed_client_configuration_of_a_remote_table_is_noticed() {
    let setup = EngineSetup::new("reload-watch-cf").parameter("smtpd_reject_unlisted_recipient", "no");
    let database = setup.home().join("routes.db");
    rusqlite::Connection::open(&database)
        .and_then(|routes| {
            routes.execute_batch(
                "CREATE TABLE old (name TEXT, transport TEXT);
                 CREATE TABLE new (name TEXT, transport TEXT);
                 INSERT INTO old VALUES ('back.test', 'error:5.7.1 old words');
                 INSERT INTO new VALUES ('back.test', 'error:5.7.1 new words');",
            )
        })
        .expect("a database can be made");
    let content = |table: &str| {
        format!("dbpath = {}\nquery = SELECT transport FROM {table} WHERE name = '%s'\n", database.display())
    };
    let table = file(&setup, "routes.cf", &content("old"));
    let setup = setup.parameter("transport_maps", &format!("sqlite:{table}"));
    let engine = setup.start();
    queue_with(&engine, &["u@back.test"], "old");
    engine.wait_for_log("what the old query finds", |line| line.text.contains("(old words)"));
    file(&setup, "routes.cf", &content("new"));
    engine.wait_for_log("that the table has changed", |line| {
        line.process == "proxymap"
            && line.text.contains(&table)
            && line.text.contains("has changed -- restarting")
    });
    queue_with(&engine, &["u@back.test"], "new");
    engine.wait_for_log("what the new query finds", |line| line.text.contains("(new words)"));
    engine.stop();
}
