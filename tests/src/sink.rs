//! An SMTP server that takes mail the way a script says, and remembers what it took. One blocking thread a
//! connection; shares no code with the server under test.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use crate::wait::PATIENCE;

/// The most bytes of one message that a sink keeps; the relay's own limit is near 10 MiB.
const CONTENT_BYTES_MAX: usize = 64 << 20;

/// Where a session stands when the script is asked.
#[derive(Debug)]
pub enum Stage<'a> {
    /// A connection was accepted; the answer is the greeting.
    Connect,
    /// EHLO or HELO with its argument.
    Hello(&'a str),
    /// MAIL with the address between the angle brackets.
    Mail(&'a str),
    /// RCPT with the address between the angle brackets.
    Rcpt(&'a str),
    /// RSET.
    Reset,
    /// DATA.
    Data,
    /// The final dot of this message.
    EndOfData(&'a Message),
}

/// What the sink does at a stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What a willing server says.
    Usual,
    /// This reply, without its CRLF.
    Say(String),
    /// Close the connection without a word.
    Drop,
    /// Accept and remember the message, then close before the reply: the relay cannot know that it was taken.
    TakeAndDrop,
    /// Say nothing until the sink is dropped.
    Silence,
}

impl Answer {
    /// This reply.
    pub fn say(reply: &str) -> Answer {
        Answer::Say(reply.to_owned())
    }
}

/// Decides the answers of a [`Sink`].
pub type Script = Arc<dyn Fn(&Stage<'_>) -> Answer + Send + Sync>;

/// A message that the sink accepted.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The reverse-path, without brackets.
    pub sender: String,
    /// The words after the reverse-path (`SIZE=…`).
    pub sender_options: String,
    /// The recipients that the sink accepted.
    pub recipients: Vec<String>,
    /// The content with dot-stuffing undone, lines as they came.
    pub content: Vec<u8>,
    /// Which connection brought it, counted from 1.
    pub connection: usize,
}

impl Message {
    /// The value of the first header line `name`, unfolded lines only.
    pub fn header(&self, name: &str) -> Option<String> {
        let end = find(&self.content, b"\r\n\r\n").unwrap_or(self.content.len());
        let header = String::from_utf8_lossy(&self.content[..end]);
        header.split("\r\n").find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    /// What follows the empty line after the header.
    pub fn body(&self) -> &[u8] {
        find(&self.content, b"\r\n\r\n").map_or(b"", |end| &self.content[end + 4..])
    }

    /// The id that [`crate::client::message_content`] put in.
    pub fn track(&self) -> Option<String> {
        self.header("X-Track")
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[derive(Debug, Default)]
struct Taken {
    messages: Vec<Arc<Message>>,
    streams: HashMap<usize, TcpStream>,
}

struct Shared {
    script: Script,
    taken: Mutex<Taken>,
    arrived: Condvar,
    stopping: AtomicBool,
    connections: AtomicUsize,
    open: AtomicUsize,
    open_most: AtomicUsize,
    keep_content: bool,
}

impl Shared {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        // A thread that panicked in here left whole messages behind; its panic fails the test anyway.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running sink; stops when dropped.
pub struct Sink {
    shared: Arc<Shared>,
    address: SocketAddrV4,
    acceptor: Option<thread::JoinHandle<()>>,
}

impl Sink {
    /// Takes everything.
    pub fn willing(address: SocketAddrV4) -> Sink {
        Sink::scripted(address, |_| Answer::Usual)
    }

    /// Takes everything and keeps only the header of each message, for tests with many.
    pub fn counting(address: SocketAddrV4) -> Sink {
        Sink::start(address, Arc::new(|_: &Stage<'_>| Answer::Usual), false)
    }

    /// Does what `script` says.
    pub fn scripted(
        address: SocketAddrV4,
        script: impl Fn(&Stage<'_>) -> Answer + Send + Sync + 'static,
    ) -> Sink {
        Sink::start(address, Arc::new(script), true)
    }

    fn start(address: SocketAddrV4, script: Script, keep_content: bool) -> Sink {
        let listener = TcpListener::bind(address)
            .unwrap_or_else(|error| panic!("no sink can listen on {address}: {error}"));
        let shared = Arc::new(Shared {
            script,
            taken: Mutex::default(),
            arrived: Condvar::new(),
            stopping: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            open_most: AtomicUsize::new(0),
            keep_content,
        });
        let for_acceptor = Arc::clone(&shared);
        let acceptor = thread::spawn(move || accept_all(&listener, &for_acceptor));
        Sink { shared, address, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// How many messages it has accepted.
    pub fn count(&self) -> usize {
        self.shared.taken().messages.len()
    }

    /// What it has accepted, in order.
    pub fn messages(&self) -> Vec<Arc<Message>> {
        self.shared.taken().messages.clone()
    }

    /// Connections since it started.
    pub fn connections(&self) -> usize {
        // Relaxed, here and below: counters read for a report; nothing is published through them.
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub fn connections_open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    /// The most connections open at once.
    pub fn connections_most(&self) -> usize {
        self.shared.open_most.load(Ordering::Relaxed)
    }

    /// Waits until it has accepted `count` messages and gives all that it has.
    ///
    /// # Panics
    /// When no further message arrives for [`PATIENCE`].
    pub fn wait_for(&self, count: usize) -> Vec<Arc<Message>> {
        let mut taken = self.shared.taken();
        let mut last = (taken.messages.len(), Instant::now());
        while taken.messages.len() < count {
            let waited = self.shared.arrived.wait_timeout(taken, PATIENCE);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
            if taken.messages.len() > last.0 {
                last = (taken.messages.len(), Instant::now());
            }
            assert!(
                taken.messages.len() >= count || last.1.elapsed() < PATIENCE,
                "the sink waits for {count} messages and has {}",
                taken.messages.len()
            );
        }
        taken.messages.clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Release pairs with the acceptor's Acquire.
        self.shared.stopping.store(true, Ordering::Release);
        // The acceptor sleeps in accept(): a connection wakes it.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for stream in self.shared.taken().streams.values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopping.load(Ordering::Acquire) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let number = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let open = shared.open.fetch_add(1, Ordering::Relaxed) + 1;
        shared.open_most.fetch_max(open, Ordering::Relaxed);
        if let Ok(copy) = stream.try_clone() {
            shared.taken().streams.insert(number, copy);
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // The relay may close at any time: that ends the session and is not the sink's business.
            let _ = (Session { shared: &shared, number, message: Message::default() }).run(stream);
            shared.taken().streams.remove(&number);
            shared.open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

struct Session<'a> {
    shared: &'a Shared,
    number: usize,
    message: Message,
}

/// Whether the session goes on after an answer, and whether the answer was a yes.
enum Next {
    Accepted,
    Refused,
    Ended,
}

impl Session<'_> {
    fn run(mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut writer = stream.try_clone()?;
        let mut reader = BufReader::with_capacity(64 << 10, stream);
        if let Next::Ended = self.answer(&mut writer, &mut reader, &Stage::Connect, "220 sink.test ESMTP")? {
            return Ok(());
        }
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let verb = text.split(' ').next().unwrap_or("").to_ascii_uppercase();
            let next = match verb.as_str() {
                "EHLO" => {
                    let usual = "250-sink.test\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n\
                                 250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 SMTPUTF8";
                    let name = text.get(5..).unwrap_or("").to_owned();
                    self.answer(&mut writer, &mut reader, &Stage::Hello(&name), usual)?
                }
                "HELO" => {
                    let name = text.get(5..).unwrap_or("").to_owned();
                    self.answer(&mut writer, &mut reader, &Stage::Hello(&name), "250 sink.test")?
                }
                "MAIL" => self.mail(&mut writer, &mut reader, &text)?,
                "RCPT" => self.rcpt(&mut writer, &mut reader, &text)?,
                "DATA" => self.data(&mut writer, &mut reader)?,
                "RSET" => {
                    self.message = Message::default();
                    self.answer(&mut writer, &mut reader, &Stage::Reset, "250 2.0.0 Ok")?
                }
                "NOOP" => {
                    writer.write_all(b"250 2.0.0 Ok\r\n")?;
                    Next::Accepted
                }
                "QUIT" => {
                    writer.write_all(b"221 2.0.0 Bye\r\n")?;
                    Next::Ended
                }
                _ => {
                    writer.write_all(b"500 5.5.2 What?\r\n")?;
                    Next::Refused
                }
            };
            if let Next::Ended = next {
                return Ok(());
            }
        }
    }

    fn mail(
        &mut self,
        writer: &mut TcpStream,
        reader: &mut BufReader<TcpStream>,
        text: &str,
    ) -> io::Result<Next> {
        let (address, options) = path_and_options(text);
        let next = self.answer(writer, reader, &Stage::Mail(&address), "250 2.1.0 Ok")?;
        if let Next::Accepted = next {
            self.message = Message { sender: address, sender_options: options, ..Message::default() };
        }
        Ok(next)
    }

    fn rcpt(
        &mut self,
        writer: &mut TcpStream,
        reader: &mut BufReader<TcpStream>,
        text: &str,
    ) -> io::Result<Next> {
        let (address, _) = path_and_options(text);
        let next = self.answer(writer, reader, &Stage::Rcpt(&address), "250 2.1.5 Ok")?;
        if let Next::Accepted = next {
            self.message.recipients.push(address);
        }
        Ok(next)
    }

    fn data(&mut self, writer: &mut TcpStream, reader: &mut BufReader<TcpStream>) -> io::Result<Next> {
        if self.message.recipients.is_empty() {
            writer.write_all(b"554 5.5.1 Error: no valid recipients\r\n")?;
            return Ok(Next::Refused);
        }
        match self.answer(writer, reader, &Stage::Data, "354 Go on")? {
            Next::Accepted => {}
            other => return Ok(other),
        }
        let mut message = std::mem::take(&mut self.message);
        message.connection = self.number;
        self.read_content(reader, &mut message)?;
        let answer = (self.shared.script)(&Stage::EndOfData(&message));
        if matches!(answer, Answer::Usual | Answer::TakeAndDrop) {
            self.shared.taken().messages.push(Arc::new(message));
            self.shared.arrived.notify_all();
        }
        self.carry_out(writer, reader, answer, "250 2.0.0 Ok: taken")
    }

    fn read_content(&self, reader: &mut BufReader<TcpStream>, message: &mut Message) -> io::Result<()> {
        let mut line = Vec::new();
        let mut in_header = true;
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // RFC 5321 section 4.5.2: a line that is only a dot ends the content, another leading dot is dropped.
            if line == b".\r\n" {
                return Ok(());
            }
            let kept = if line[0] == b'.' { &line[1..] } else { &line[..] };
            if self.shared.keep_content || in_header {
                message.content.extend_from_slice(kept);
            }
            in_header &= kept != b"\r\n";
            assert!(message.content.len() <= CONTENT_BYTES_MAX, "the relay sends a message without end");
        }
    }

    fn answer(
        &self,
        writer: &mut TcpStream,
        reader: &mut BufReader<TcpStream>,
        stage: &Stage<'_>,
        usual: &str,
    ) -> io::Result<Next> {
        self.carry_out(writer, reader, (self.shared.script)(stage), usual)
    }

    fn carry_out(
        &self,
        writer: &mut TcpStream,
        reader: &mut BufReader<TcpStream>,
        answer: Answer,
        usual: &str,
    ) -> io::Result<Next> {
        match answer {
            Answer::Usual => {
                writer.write_all(format!("{usual}\r\n").as_bytes())?;
                Ok(Next::Accepted)
            }
            Answer::Say(reply) => {
                writer.write_all(format!("{reply}\r\n").as_bytes())?;
                if reply.starts_with("421") {
                    return Ok(Next::Ended);
                }
                Ok(if reply.starts_with(['2', '3']) { Next::Accepted } else { Next::Refused })
            }
            Answer::Drop | Answer::TakeAndDrop => {
                reader.get_ref().shutdown(Shutdown::Both)?;
                Ok(Next::Ended)
            }
            Answer::Silence => {
                // Reads on without a word until the relay gives up or the sink is dropped.
                io::copy(reader, &mut io::sink())?;
                Ok(Next::Ended)
            }
        }
    }
}

/// `MAIL FROM:<a@b> SIZE=1` gives `a@b` and `SIZE=1`.
fn path_and_options(text: &str) -> (String, String) {
    let path = text.split_once('<').map_or("", |(_, rest)| rest);
    let (address, options) = path.rsplit_once('>').unwrap_or((path, ""));
    (address.to_owned(), options.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{SINK_PORT, unique_loopback};
    use crate::client::{Client, message_content};

    fn address() -> SocketAddrV4 {
        SocketAddrV4::new(unique_loopback(), SINK_PORT)
    }

    #[test]
    fn takes_a_message_and_undoes_dot_stuffing() {
        let sink = Sink::willing(address());
        let mut client = Client::greeted(sink.address());
        let reply = client.try_message("a@b.test", &["c@d.test"], b"X-Track: t\r\n\r\n..dot\r\nend\r\n");
        assert_eq!(reply.expect("the sink replies").code, 250);
        let taken = sink.wait_for(1);
        assert_eq!(taken[0].sender, "a@b.test");
        assert_eq!(taken[0].recipients, ["c@d.test"]);
        assert_eq!(taken[0].body(), b".dot\r\nend\r\n");
        assert_eq!(taken[0].track().as_deref(), Some("t"));
        client.quit();
    }

    #[test]
    fn refuses_drops_and_keeps_count_as_the_script_says() {
        let sink = Sink::scripted(address(), |stage| match stage {
            Stage::Rcpt("no@d.test") => Answer::say("550 5.1.1 no such user"),
            Stage::EndOfData(message) if message.sender == "lost@b.test" => Answer::TakeAndDrop,
            _ => Answer::Usual,
        });
        let mut client = Client::greeted(sink.address());
        client.expect("MAIL FROM:<lost@b.test>", "250");
        client.expect("RCPT TO:<no@d.test>", "550 5.1.1");
        client.expect("DATA", "554");
        let lost = client.try_message("lost@b.test", &["c@d.test"], &message_content("t", 500));
        assert!(lost.is_err(), "the sink must close instead of answering: {lost:?}");
        assert_eq!(sink.count(), 1);
        assert_eq!(sink.connections(), 1);
    }

    #[test]
    fn a_dropped_sink_refuses_connections_and_its_address_is_free() {
        let sink = Sink::willing(address());
        let address = sink.address();
        drop(sink);
        assert!(TcpStream::connect(address).is_err());
        drop(Sink::willing(address));
    }
}
