//! Policy servers: what they are told, what is done with what they say, and that one that misbehaves holds up only the
//! session that asked it.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ringpost_tests::client::message_content;
use ringpost_tests::maillog::LogLine;
use ringpost_tests::{Client, Engine, EngineSetup, Sink};

/// A policy server; the recipient says what it does. It ends with the test.
#[derive(Clone, Default)]
struct PolicyServer {
    /// The number of the connection and the attributes, for each request.
    requests: Arc<Mutex<Vec<(usize, String)>>>,
}

impl PolicyServer {
    fn tcp() -> (PolicyServer, u16) {
        let server = PolicyServer::default();
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let serving = server.clone();
        thread::spawn(move || {
            for number in 0.. {
                let Ok((stream, _)) = listener.accept() else { return };
                let serving = serving.clone();
                thread::spawn(move || serving.serve(number, &stream, &stream));
            }
        });
        (server, port)
    }

    fn unix(path: &std::path::Path) -> PolicyServer {
        let server = PolicyServer::default();
        let listener = UnixListener::bind(path).expect("the queue directory is writable");
        let serving = server.clone();
        thread::spawn(move || {
            for number in 0.. {
                let Ok((stream, _)) = listener.accept() else { return };
                let serving = serving.clone();
                thread::spawn(move || serving.serve(number, &stream, &stream));
            }
        });
        server
    }

    fn serve(&self, number: usize, input: impl std::io::Read, mut output: impl Write) {
        let mut input = BufReader::new(input);
        loop {
            let mut request = String::new();
            loop {
                match input.read_line(&mut request) {
                    Ok(length) if length > 1 => {}
                    Ok(1) => break,
                    _ => return,
                }
            }
            let recipient = attribute(&request, "recipient").to_owned();
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).push((number, request));
            let answer: &[u8] = match recipient.split('@').next().unwrap_or_default() {
                "hang" => continue,
                "close" => return,
                "middle" => {
                    // A part of an answer, then the end; a client that has gone already is no matter.
                    let _ = output.write_all(b"action=DUN");
                    return;
                }
                "garbage" => b"HTTP/1.1 400 Bad Request\r\n\r\n",
                "endless" => {
                    while output.write_all(&[b'x'; 4096]).is_ok() {}
                    return;
                }
                "reject" => b"action=REJECT not today\n\n",
                "prepend" => b"action=PREPEND X-Policy: seen\n\n",
                _ => b"action=DUNNO\n\n",
            };
            if output.write_all(answer).is_err() {
                return;
            }
        }
    }

    fn requests(&self) -> Vec<(usize, String)> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn attribute<'r>(request: &'r str, name: &str) -> &'r str {
    let found = request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in {request}"))
}

/// A relay on one shard that asks for each recipient.
fn asking(name: &str, service: &str) -> EngineSetup {
    EngineSetup::new(name)
        .parameter("ringpost_shards", "1")
        .parameter("smtpd_recipient_restrictions", &format!("check_policy_service {service}"))
}

fn says(client: &mut Client, recipient: &str) -> String {
    let reply = client.command(&format!("RCPT TO:<{recipient}>"));
    format!("{} {}", reply.code, reply.text())
}

fn begin(engine: &Engine) -> Client {
    let mut client = engine.client();
    client.expect("MAIL FROM:<from@client.test> SIZE=1234", "250 ");
    client
}

const PROBLEM: &str = "451 4.3.5 <{}>: Recipient address rejected: Server configuration problem";

fn problem(recipient: &str) -> String {
    PROBLEM.replace("{}", recipient)
}

#[test]
fn a_server_is_told_all_and_decides() {
    let (server, port) = PolicyServer::tcp();
    let service = format!("{{ inet:127.0.0.1:{port}, policy_context=relay }}");
    let setup = asking("policy-decides", &service)
        .parameter("smtpd_end_of_data_restrictions", &format!("check_policy_service inet:127.0.0.1:{port}"));
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut client = begin(&engine);
    assert_eq!(
        says(&mut client, "reject@there.test"),
        "554 5.7.1 <reject@there.test>: Recipient address rejected: not today"
    );
    assert_eq!(says(&mut client, "prepend@there.test"), "250 2.1.5 Ok");
    client.expect("DATA", "354 ");
    client.send(b"Subject: policy\r\n\r\ntext\r\n.\r\n");
    let queue_id = client.reply().queue_id().to_owned();
    client.expect("MAIL FROM:<>", "250 ");
    assert_eq!(says(&mut client, "other@there.test"), "250 2.1.5 Ok");
    client.quit();
    let mail = sink.wait_for(1);
    assert!(String::from_utf8_lossy(&mail[0].content).contains("X-Policy: seen\r\n"));

    let requests = server.requests();
    let attributes = |at: usize, names: &[&str]| -> Vec<String> {
        names.iter().map(|name| attribute(&requests[at].1, name).to_owned()).collect()
    };
    let about = ["protocol_state", "recipient", "sender", "size", "queue_id", "recipient_count"];
    assert_eq!(attributes(0, &about), ["RCPT", "reject@there.test", "from@client.test", "1234", "", "0"]);
    assert_eq!(
        attributes(2, &about),
        ["END-OF-MESSAGE", "prepend@there.test", "from@client.test", "25", &queue_id, "1"]
    );
    assert_eq!(attributes(3, &about), ["RCPT", "other@there.test", "", "0", "", "0"]);
    let session =
        ["client_name", "helo_name", "protocol_name", "policy_context", "server_address", "server_port"];
    let place = engine.setup().address();
    let (ip, listens) = (place.ip().to_string(), place.port().to_string());
    assert_eq!(attributes(0, &session), ["localhost", "client.test", "ESMTP", "relay", &ip, &listens]);
    let instances: Vec<&str> = requests.iter().map(|(_, text)| attribute(text, "instance")).collect();
    assert!(instances[0] == instances[1] && instances[1] == instances[2], "one message: {instances:?}");
    assert_ne!(instances[2], instances[3], "another message");
    // Another setting makes another service; each keeps its connection.
    let connections: Vec<usize> = requests.iter().map(|(number, _)| *number).collect();
    assert_eq!(connections, [0, 0, 1, 0]);
    engine.stop();
}

#[test]
fn a_server_that_hangs_holds_up_only_the_session_that_asked() {
    let (server, port) = PolicyServer::tcp();
    let service = format!("{{ inet:127.0.0.1:{port}, timeout=3s, try_limit=1 }}");
    let setup = asking("policy-hangs", &service);
    let sink = Sink::willing(setup.sink_address());
    let engine = setup.start();
    let mut stuck = begin(&engine);
    stuck.send(b"RCPT TO:<hang@there.test>\r\n");
    ringpost_tests::wait::until("the server is asked", || (!server.requests().is_empty()).then_some(()));
    for _ in 0..20 {
        let mut client = engine.client();
        client.message("from@client.test", &["free@there.test"], &message_content("policy", 200));
        client.quit();
    }
    let told = |line: &LogLine| line.text.contains(&problem("hang@there.test"));
    assert!(!engine.log().iter().any(told), "twenty others have passed by the session that waits");
    let reply = stuck.reply();
    assert!(reply.is(&problem("hang@there.test")), "{reply:?}");
    assert_eq!(says(&mut stuck, "free@there.test"), "250 2.1.5 Ok");
    stuck.quit();
    let place = format!("127.0.0.1:{port}");
    engine.wait_for_log("the time limit", |line| {
        line.text == format!("warning: problem talking to server {place}: Connection timed out")
    });
    sink.wait_for(20);
    engine.stop();
}

#[test]
fn what_is_no_answer_is_a_problem_and_no_more() {
    let (server, port) = PolicyServer::tcp();
    let setup = asking("policy-garbage", &format!("{{ inet:127.0.0.1:{port}, retry_delay=0s }}"));
    let engine = setup.start();
    let mut client = begin(&engine);
    for recipient in ["close@there.test", "middle@there.test", "garbage@there.test", "endless@there.test"] {
        assert_eq!(says(&mut client, recipient), problem(recipient));
        assert_eq!(says(&mut client, "free@there.test"), "250 2.1.5 Ok");
    }
    client.quit();
    let asked = |local: &str| server.requests().iter().filter(|(_, text)| text.contains(local)).count();
    for local in ["close", "middle", "garbage", "endless"] {
        assert_eq!(asked(&format!("recipient={local}")), 2, "{local}");
    }
    let place = format!("127.0.0.1:{port}");
    for text in [
        format!("warning: premature end-of-input on {place} while reading input attribute name"),
        format!("warning: missing attribute value in input from {place}"),
        format!("warning: unreasonable length of input from {place}"),
        format!("warning: problem talking to server {place}: Success"),
    ] {
        engine.wait_for_log(&text, |line| line.text == text);
    }
    engine.stop();
}

#[test]
fn a_unix_socket_is_asked_and_a_missing_one_told() {
    let missing = "{ unix:private/none, default_action=DUNNO, retry_delay=0s }";
    let setup = asking("policy-unix", &format!("unix:private/policy, check_policy_service {missing}"));
    std::fs::create_dir_all(setup.queue().join("private")).expect("the queue directory is writable");
    let server = PolicyServer::unix(&setup.queue().join("private/policy"));
    let engine = setup.start();
    let mut client = begin(&engine);
    assert_eq!(
        says(&mut client, "reject@there.test"),
        "554 5.7.1 <reject@there.test>: Recipient address rejected: not today"
    );
    assert_eq!(says(&mut client, "free@there.test"), "250 2.1.5 Ok");
    client.quit();
    let gone = "private/none: No such file or directory";
    for text in [format!("warning: connect to {gone}"), format!("warning: problem talking to server {gone}")]
    {
        engine.wait_for_log("the missing server", |line| line.text == text);
    }
    assert_eq!(server.requests().len(), 2);
    engine.stop();
}

#[test]
fn connections_end_when_they_have_carried_enough() {
    let (server, port) = PolicyServer::tcp();
    let service = format!("{{ inet:127.0.0.1:{port}, request_limit=2 }}");
    let engine = asking("policy-limit", &service).start();
    let mut client = begin(&engine);
    for _ in 0..5 {
        assert_eq!(says(&mut client, "free@there.test"), "250 2.1.5 Ok");
    }
    let connections: Vec<usize> = server.requests().iter().map(|(number, _)| *number).collect();
    assert_eq!(connections, [0, 0, 1, 1, 2]);
    engine.stop();
}

#[test]
fn a_connection_that_the_server_ends_meanwhile_is_no_trouble() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    // Each connection is closed after one answer, as servers do that restart.
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let answer = |mut stream: &TcpStream| -> Option<()> {
                for line in BufReader::new(stream).lines() {
                    if line.ok()?.is_empty() {
                        return stream.write_all(b"action=DUNNO\n\n").ok();
                    }
                }
                None
            };
            answer(&stream);
        }
    });
    let engine = asking("policy-restart", &format!("inet:127.0.0.1:{port}")).start();
    let mut client = begin(&engine);
    for _ in 0..5 {
        assert_eq!(says(&mut client, "free@there.test"), "250 2.1.5 Ok");
    }
    client.quit();
    engine.wait_for_log("the end", |line| line.text.starts_with("disconnect from"));
    assert!(!engine.log().iter().any(|line| line.text.contains("problem")), "{:?}", engine.log());
    engine.stop();
}
