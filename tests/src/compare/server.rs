//! One of the two servers on a case's configuration, with its sinks, and what it makes of the dialogues.

use std::fs;
use std::net::SocketAddrV4;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::case::{Case, SINKS};
use super::dialogue::{Dialogue, Step};
use super::outcome::{Journal, Outcome, Recorded, comparable_reply};
use crate::address::{RELAY_PORT, SINK_PORT, unique_loopback};
use crate::client::{Client, Reply};
use crate::maillog;
use crate::postfix::PrivatePostfix;
use crate::scratch::Scratch;
use crate::sink::Sink;
use crate::wait;

/// How long a server's log may stand still while mail has not found its end: far above any pause that either takes
/// between two steps of a message, and short enough that one lost message does not hold up the comparison.
const QUIET: Duration = Duration::from_secs(15);

/// Which program.
#[derive(Debug, Clone)]
pub enum Kind {
    /// Debian's Postfix, unpacked below that directory.
    Postfix(PathBuf),
    /// This project's binary.
    Ringpost(PathBuf),
}

/// A running server; ended when dropped.
pub struct Server {
    child: Child,
    home: Scratch,
    address: SocketAddrV4,
    sinks: Vec<Sink>,
}

/// Lines that every configuration gets, before its own: what both need to run here, and nothing that decides.
fn common(directory: &Path) -> String {
    format!(
        "compatibility_level = 3.6\n\
         maillog_file = {0}/maillog\n\
         maillog_file_prefixes = {0}\n\
         myhostname = mail.here.example\n\
         mail_name = Postfix\n\
         inet_interfaces = 127.0.0.1\n\
         inet_protocols = all\n\
         mynetworks = 127.0.0.0/8\n\
         smtpd_authorized_xclient_hosts = 127.0.0.0/8\n\
         smtpd_error_sleep_time = 0\n\
         smtpd_forbid_bare_newline = normalize\n\
         smtpd_peername_lookup = no\n\
         smtp_dns_support_level = disabled\n\
         disable_dns_lookups = yes\n\
         enable_long_queue_ids = yes\n\
         in_flow_delay = 0\n\
         alias_maps =\n\
         alias_database =\n\
         local_recipient_maps =\n",
        directory.display()
    )
}

fn master_cf(address: SocketAddrV4, more: &str) -> String {
    format!(
        "{address} inet n - n - - smtpd\n\
         cleanup unix n - n - 0 cleanup\n\
         qmgr unix n - n 300 1 qmgr\n\
         rewrite unix - - n - - trivial-rewrite\n\
         bounce unix - - n - 0 bounce\n\
         defer unix - - n - 0 bounce\n\
         trace unix - - n - 0 bounce\n\
         proxymap unix - - n - - proxymap\n\
         proxywrite unix - - n - 1 proxymap\n\
         smtp unix - - n - - smtp\n\
         relay unix - - n - - smtp\n\
         error unix - - n - - error\n\
         retry unix - - n - - error\n\
         discard unix - - n - - discard\n\
         anvil unix - - n - 1 anvil\n\
         scache unix - - n - 1 scache\n\
         showq unix n - n - - showq\n\
         flush unix n - n 1000? 0 flush\n\
         postlog unix-dgram n - n - 1 postlogd\n{more}\n"
    )
}

impl Server {
    /// Writes the configuration, builds its tables and starts the server.
    ///
    /// # Panics
    /// When any of that fails, with what was printed.
    pub fn start(kind: &Kind, case: &Case) -> Server {
        let address = SocketAddrV4::new(unique_loopback(), RELAY_PORT);
        let sinks: Vec<Sink> =
            (0..SINKS).map(|_| Sink::willing(SocketAddrV4::new(unique_loopback(), SINK_PORT))).collect();
        let home = Scratch::new(&format!("compare-{}", case.name));
        // Postfix's daemons leave root behind and must still reach their files.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
        let fill = |text: &str| {
            let mut filled = text.replace("@DIR@", &home.path().to_string_lossy());
            for (index, sink) in sinks.iter().enumerate() {
                let place = format!("[{}]:{}", sink.address().ip(), sink.address().port());
                filled = filled.replace(&format!("@SINK{}@", index + 1), &place);
            }
            filled
        };
        for (name, text) in &case.files {
            fs::write(home.join(name), fill(text)).expect("the scratch directory is writable");
        }
        let main_cf = common(home.path()) + &fill(&case.main_cf);
        let master_cf = master_cf(address, &fill(&case.master_cf));
        let mut command = match kind {
            Kind::Postfix(peers) => {
                let postfix = PrivatePostfix::new(peers, home.path());
                let main_cf = format!("{}\n{main_cf}", postfix.main_cf().join("\n"));
                postfix
                    .prepare(&main_cf, &master_cf)
                    .unwrap_or_else(|error| panic!("Postfix's files: {error}"));
                for table in &case.builds {
                    succeed(postfix.program("postmap").arg(fill(table)));
                }
                postfix.master()
            }
            Kind::Ringpost(binary) => {
                let queue = home.join("queue");
                fs::create_dir_all(&queue).expect("the scratch directory is writable");
                // One shard: what several log at the same time does not come in the order of the dialogues.
                let main_cf =
                    format!("queue_directory = {}\nringpost_shards = 1\n{main_cf}", queue.display());
                fs::write(home.join("main.cf"), main_cf).expect("the scratch directory is writable");
                fs::write(home.join("master.cf"), master_cf).expect("the scratch directory is writable");
                for table in &case.builds {
                    succeed(Command::new(binary).args(["postmap", "-c"]).arg(home.path()).arg(fill(table)));
                }
                let mut command = Command::new(binary);
                command.arg("serve").arg("-c").arg(home.path());
                command
            }
        };
        let printed = fs::File::create(home.join("printed")).expect("the scratch directory is writable");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(printed);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        let mut server = Server { child, home, address, sinks };
        wait::until(&format!("{kind:?} listens for {}", case.name), || {
            let ended = server.child.try_wait().expect("a started child can be asked");
            assert!(ended.is_none(), "it ended for {}: {}", case.name, server.printed());
            std::net::TcpStream::connect(server.address).is_ok().then_some(())
        });
        server
    }

    fn printed(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.home.join(name)).unwrap_or_default();
        format!("{}\n{}", read("printed"), read("maillog"))
    }

    /// Says the dialogues, one after the other, waits until all mail has found its end, and gives what was seen.
    /// Mail whose end does not come is named in its dialogue's outcome. `log` is where a copy of the log is left.
    ///
    /// # Panics
    /// When the server takes no connection, or writes a log that is none.
    pub fn converse(self, dialogues: &[Dialogue], log: Option<&Path>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(dialogues.len());
        let mut ids: Vec<Vec<String>> = Vec::with_capacity(dialogues.len());
        for dialogue in dialogues {
            let (outcome, queued) = self.say(dialogue);
            outcomes.push(outcome);
            ids.push(queued);
        }
        let journal = self.settled_journal(&ids);
        if let Some(log) = log {
            fs::copy(self.home.join("maillog"), log)
                .unwrap_or_else(|error| panic!("cannot write {}: {error}", log.display()));
        }
        journal.tell_sessions(&mut outcomes);
        for (outcome, queued) in outcomes.iter_mut().zip(&ids) {
            queued.iter().for_each(|id| journal.tell(id, outcome));
            let unsettled = queued.iter().filter(|id| !journal.is_settled(id));
            outcome.unsettled = unsettled.map(|id| format!("{id}: {}", journal.lines(id))).collect();
        }
        for (number, sink) in self.sinks.iter().enumerate() {
            for message in sink.messages() {
                let track = message.track().and_then(|track| track.split('-').next()?.parse::<usize>().ok());
                // A notice bears no track of its own: its fate in the log shows it.
                if let Some(outcome) = track.and_then(|number| outcomes.get_mut(number)) {
                    outcome.delivered.insert(Recorded::new(number + 1, &message));
                }
            }
        }
        // What each server calls its own address and directory is no difference.
        for outcome in &mut outcomes {
            self.make_comparable(outcome);
        }
        outcomes
    }

    /// What the log says once these messages have found their ends, or nothing was logged for [`QUIET`].
    fn settled_journal(&self, ids: &[Vec<String>]) -> Journal {
        let size = || fs::metadata(self.home.join("maillog")).map_or(0, |log| log.len());
        // The size is always taken before the reading: what comes in between is read again.
        let mut grown = (size(), Instant::now());
        let mut journal = self.journal();
        wait::holds_within(wait::PATIENCE, || {
            let now = size();
            if now != grown.0 {
                grown = (now, Instant::now());
                journal = self.journal();
            }
            let ended = journal.has_ended(ids.len());
            grown.1.elapsed() > QUIET || ended && ids.iter().flatten().all(|id| journal.is_settled(id))
        });
        journal
    }

    fn journal(&self) -> Journal {
        let log = fs::read(self.home.join("maillog")).unwrap_or_default();
        Journal::new(maillog::parse(&String::from_utf8_lossy(&log)))
    }

    fn say(&self, dialogue: &Dialogue) -> (Outcome, Vec<String>) {
        let mut outcome = Outcome::default();
        let mut ids = Vec::new();
        let mut client = Client::try_connect(self.address)
            .unwrap_or_else(|error| panic!("no connection for dialogue {}: {error}", dialogue.number));
        let mut last = None;
        let mut heard = |said: &str, reply: std::io::Result<Reply>| {
            let text = match reply {
                Ok(reply) => {
                    last = Some(reply.code);
                    let lines = reply.lines.join("\n");
                    if let Some((_, id)) = lines.split_once("queued as ") {
                        ids.push(id.trim().to_owned());
                    }
                    format!("{} {lines}", reply.code)
                }
                Err(_) => {
                    last = None;
                    "(closed)".to_owned()
                }
            };
            outcome.replies.push((said.to_owned(), comparable_reply(&text)));
            last
        };
        let mut code = heard("(connect)", client.try_reply());
        for step in &dialogue.steps {
            code = match (step, code) {
                (_, None) => break,
                (Step::Say(line), _) => heard(line, client.try_command(line)),
                (Step::Content(content), Some(354)) => {
                    let sent = client.try_send(content).and_then(|()| client.try_send(b".\r\n"));
                    heard("(content)", sent.and_then(|()| client.try_reply()))
                }
                (Step::Content(_), code) => code,
            };
        }
        (outcome, ids)
    }

    fn make_comparable(&self, outcome: &mut Outcome) {
        let own = self.address.ip().to_string();
        let directory = self.home.path().to_string_lossy().into_owned();
        let sinks: Vec<String> = self.sinks.iter().map(|sink| sink.address().ip().to_string()).collect();
        let equal = |text: &str| {
            let mut text = text.replace(&own, "(own)").replace(&directory, "(dir)");
            for (index, sink) in sinks.iter().enumerate() {
                text = text.replace(sink, &format!("(sink {})", index + 1));
            }
            text
        };
        for (said, reply) in &mut outcome.replies {
            (*said, *reply) = (equal(said), equal(reply));
        }
        outcome.fates = outcome.fates.iter().map(|text| equal(text)).collect();
        outcome.verdicts = outcome.verdicts.iter().map(|text| equal(text)).collect();
        outcome.delivered = outcome
            .delivered
            .iter()
            .map(|one| Recorded {
                envelope: equal(&one.envelope),
                header: equal(&one.header),
                body: equal(&one.body),
            })
            .collect();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed());
        // Postfix's master ends its daemons on SIGTERM; were it killed at once they would stay.
        let told =
            pid.is_some_and(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM).is_ok());
        let ended = told
            && wait::holds_within(wait::PATIENCE, || matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)));
        if !ended {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
