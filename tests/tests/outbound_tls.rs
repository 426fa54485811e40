//! Mail leaves encrypted as the policy says, to a server on OpenSSL, and waits where the policy forbids anything else.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use ringpost_tests::client::message_content;
use ringpost_tests::{Engine, EngineSetup, wait};

/// A server, ended when dropped.
struct TlsServer {
    child: Child,
    record: PathBuf,
}

impl TlsServer {
    fn start(setup: &EngineSetup, name: &str, words: &[&str]) -> TlsServer {
        let authority = Authority::new(setup);
        let (chain, key) = authority.certificate(name);
        let record = setup.home().join("record");
        let address = setup.sink_address();
        let script = ringpost_tests::repository::root().join("tests/src/tls_server.py");
        let child = Command::new("python3")
            .arg(script)
            .args([address.ip().to_string(), address.port().to_string()])
            .args([&chain, &key, &record])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("python3 is installed");
        let server = TlsServer { child, record };
        wait::until("the TLS server listens", || std::net::TcpStream::connect(address).ok());
        server
    }

    fn messages(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(&self.record).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("the server writes JSON")).collect()
    }

    fn wait_for(&self, count: usize) -> Vec<serde_json::Value> {
        wait::until(&format!("{count} messages"), || Some(self.messages()).filter(|all| all.len() >= count))
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Vouches for servers; its certificate is in `ca.pem` of the setup's directory.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    home: PathBuf,
}

impl Authority {
    fn new(setup: &EngineSetup) -> Authority {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("keys can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        fs::write(setup.home().join("ca.pem"), issuer.pem()).expect("the scratch directory is writable");
        Authority { issuer, home: setup.home().to_owned() }
    }

    fn certificate(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().expect("keys can be made");
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a host name");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        let (chain, private) = (self.home.join("chain.pem"), self.home.join("key.pem"));
        fs::write(&chain, certificate.pem()).expect("the scratch directory is writable");
        fs::write(&private, key.serialize_pem()).expect("the scratch directory is writable");
        (chain, private)
    }
}

/// One shard, since sessions on two of them would begin at the same time.
fn setup(name: &str) -> EngineSetup {
    EngineSetup::new(name).parameter("smtp_tls_loglevel", "1").parameter("ringpost_shards", "1")
}

fn send(engine: &Engine, recipients: &[&str]) {
    let mut client = engine.client();
    client.message("sender@client.test", recipients, &message_content("tls", 3000));
    client.quit();
}

fn deferred(engine: &Engine, why: &str) {
    engine.wait_for_log(why, |line| line.text.contains("status=deferred") && line.text.contains(why));
}

#[test]
fn mail_is_encrypted_where_the_server_can() {
    let setup = setup("tls-may").parameter("smtp_tls_security_level", "may");
    let server = TlsServer::start(&setup, "elsewhere.test", &["starttls"]);
    let engine = setup.start();
    send(&engine, &["a@sink.test", "b@sink.test"]);
    let taken = &server.wait_for(1)[0];
    assert_eq!(taken["version"], "TLSv1.3");
    assert_eq!(taken["recipients"].as_array().map(Vec::len), Some(2));
    engine.wait_for_log("the connection is told of", |line| {
        line.text.starts_with("Untrusted TLS connection established to ")
            && line.text.ends_with(": TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits)")
    });
    // The next connection to the same server begins where this one ended.
    send(&engine, &["c@sink.test"]);
    assert_eq!(server.wait_for(2)[1]["resumed"], true);
    engine.stop();
}

#[test]
fn what_may_be_encrypted_leaves_plain_where_nobody_offers_it_or_wants_it() {
    for mode in ["silent", "refuse"] {
        let setup = setup(&format!("tls-{mode}")).parameter("smtp_tls_security_level", "may");
        let server = TlsServer::start(&setup, "elsewhere.test", &[mode]);
        let engine = setup.start();
        send(&engine, &["a@sink.test"]);
        assert_eq!(server.wait_for(1)[0]["version"], serde_json::Value::Null);
        engine.stop();
    }
}

#[test]
fn what_must_be_encrypted_waits() {
    let cases = [
        ("silent", "TLS is required, but was not offered by host "),
        ("refuse", "refused to start TLS: 454 4.7.0 TLS not available"),
        ("broken", "Cannot start TLS: handshake failure"),
        ("inject", "protocol error"),
    ];
    for (mode, why) in cases {
        let setup = setup(&format!("tls-must-{mode}")).parameter("smtp_tls_security_level", "encrypt");
        let server = TlsServer::start(&setup, "elsewhere.test", &[mode]);
        let engine = setup.start();
        send(&engine, &["a@sink.test"]);
        deferred(&engine, why);
        assert_eq!(server.messages().len(), 0);
        engine.stop();
    }
}

#[test]
fn a_failed_handshake_is_passed_over_once_the_message_has_waited() {
    let setup = setup("tls-fallback")
        .parameter("smtp_tls_security_level", "may")
        .parameter("minimal_backoff_time", "1s")
        .parameter("queue_run_delay", "1s");
    let server = TlsServer::start(&setup, "elsewhere.test", &["broken"]);
    let engine = setup.start();
    send(&engine, &["a@sink.test"]);
    deferred(&engine, "Cannot start TLS: handshake failure");
    assert_eq!(server.wait_for(1)[0]["version"], serde_json::Value::Null);
    engine.stop();
}

#[test]
fn secure_wants_the_name_and_somebody_who_vouches_for_it() {
    // (name in the certificate, match, who is trusted, what becomes of it)
    let cases = [
        ("mx.good.test", "mx.good.test", true, None),
        ("mx.good.test", ".good.test", true, None),
        ("mx.good.test", "mx.other.test", true, Some("Server certificate not verified")),
        ("mx.good.test", "mx.good.test", false, Some("Server certificate not trusted")),
    ];
    for (place, (name, names, trusted, why)) in cases.into_iter().enumerate() {
        let setup = setup(&format!("tls-secure-{place}"));
        let sink = setup.sink_address();
        let policy = format!("inline:{{ {{[{}]:{} = secure match={names}}} }}", sink.ip(), sink.port());
        let ca = setup.home().join("ca.pem").to_string_lossy().into_owned();
        let server = TlsServer::start(&setup, name, &["starttls"]);
        let mut setup = setup.parameter("smtp_tls_policy_maps", &policy);
        if trusted {
            setup = setup.parameter("smtp_tls_CAfile", &ca);
        }
        let engine = setup.start();
        send(&engine, &["a@sink.test"]);
        match why {
            None => {
                server.wait_for(1);
                engine
                    .wait_for_log("it is verified", |line| line.text.starts_with("Verified TLS connection"));
            }
            Some(why) => {
                deferred(&engine, why);
                assert_eq!(server.messages().len(), 0, "{why}");
            }
        }
        engine.stop();
    }
}

#[test]
fn connections_carry_more_mail_only_if_they_may() {
    for (reuse, mails) in [("yes", 2), ("no", 1)] {
        let setup = setup(&format!("tls-reuse-{reuse}"));
        let destination = setup.sink_address().ip().to_string();
        let setup = setup
            .parameter("smtp_tls_security_level", "encrypt")
            .parameter("smtp_tls_mandatory_protocols", "<=TLSv1.2")
            .parameter("smtp_tls_connection_reuse", reuse)
            .parameter("smtp_connection_cache_destinations", &destination)
            .parameter("smtp_connection_cache_time_limit", "30s")
            .parameter("connection_cache_ttl_limit", "30s");
        let server = TlsServer::start(&setup, "elsewhere.test", &["starttls"]);
        let engine = setup.start();
        send(&engine, &["a@sink.test"]);
        server.wait_for(1);
        send(&engine, &["b@sink.test"]);
        let last = &server.wait_for(2)[1];
        assert_eq!((last["mail"].as_u64(), last["version"].as_str()), (Some(mails), Some("TLSv1.2")));
        engine.stop();
    }
}

#[test]
fn tls_can_begin_before_smtp() {
    let setup = setup("tls-wrapper")
        .parameter("smtp_tls_security_level", "encrypt")
        .parameter("smtp_tls_wrappermode", "yes");
    let server = TlsServer::start(&setup, "elsewhere.test", &["wrapper"]);
    let engine = setup.start();
    send(&engine, &["a@sink.test"]);
    assert_eq!(server.wait_for(1)[0]["version"], "TLSv1.3");
    engine.stop();
}

#[test]
fn a_policy_that_is_not_understood_holds_mail_back() {
    let setup = setup("tls-bad-policy").parameter("smtp_tls_policy_maps", "static:dane");
    let server = TlsServer::start(&setup, "elsewhere.test", &["starttls"]);
    let engine = setup.start();
    send(&engine, &["a@sink.test"]);
    deferred(&engine, "client TLS configuration problem");
    assert_eq!(server.messages().len(), 0);
    engine.stop();
}
