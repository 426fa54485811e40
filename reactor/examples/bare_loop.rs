//! The bare receive-and-send loop: what the reactor itself costs for a relayed message.
//!
//! A server that speaks just enough SMTP for four round trips: it answers each line by its first letter, takes the body
//! until the lonely dot, and sends the message on over a kept connection (one for each client), with pipelining. No
//! spool, no queue, no parsing beyond line ends. The relay's own cost is measured against this.
//!
//! Usage: `bare_loop LISTEN-ADDRESS TARGET-ADDRESS [CORE]`, for example `bare_loop 127.0.0.1:2525 127.0.0.1:2600 0`.

use bytes::Bytes;
use ringpost_reactor::{
    ConnectOptions, Endpoint, Handle, ListenOptions, Reactor, ReactorOptions, Stream, local,
};
use std::{error::Error, io, net::SocketAddr, process::ExitCode, rc::Rc};

/// Longest message; a client that sends more is cut off.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
const BODY_END: &[u8] = b"\r\n.\r\n";

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bare_loop: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (listen, target, core) = match arguments.as_slice() {
        [listen, target] => (listen, target, None),
        [listen, target, core] => (listen, target, Some(core.parse()?)),
        _ => return Err("usage: bare_loop LISTEN-ADDRESS TARGET-ADDRESS [CORE]".into()),
    };
    let listen = Endpoint::Inet(listen.parse::<SocketAddr>()?);
    let target = Rc::new(Endpoint::Inet(target.parse::<SocketAddr>()?));
    let reactor = Reactor::start(ReactorOptions { core, ..Default::default() })?;
    let handle = reactor.handle();
    reactor.run(async {
        let listener = handle.listen(&listen, &ListenOptions::default())?;
        loop {
            let client = listener.accept().await?;
            let (handle, target) = (handle.clone(), target.clone());
            handle.clone().spawn(async move {
                if let Err(error) = session(&handle, client, target).await {
                    eprintln!("bare_loop: session: {error}");
                }
            });
        }
    })
}

/// One client's session. Its messages go on one after another; one may be on its way while the next comes in.
async fn session(handle: &Handle, client: Stream, target: Rc<Endpoint>) -> io::Result<()> {
    let mut onward: Option<local::OneshotReceiver<io::Result<Onward>>> = None;
    let (mut reply, mut input) = (b"220 bare ESMTP\r\n".to_vec(), Vec::new());
    let mut message: Option<Vec<u8>> = None;
    loop {
        if !reply.is_empty() {
            let (sent, mut back) = client.send(reply).await;
            sent?;
            back.clear();
            reply = back;
        }
        let chunk = client.recv().await?;
        if chunk.is_empty() {
            return Ok(());
        }
        let Some(body) = &mut message else {
            input.extend_from_slice(&chunk);
            drop(chunk);
            while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
                match input[0].to_ascii_uppercase() {
                    b'D' => {
                        reply.extend_from_slice(b"354 go on\r\n");
                        message = Some(input.split_off(end + 1));
                    }
                    b'Q' => {
                        reply.extend_from_slice(b"221 bye\r\n");
                        return client.send(reply).await.0;
                    }
                    _ => reply.extend_from_slice(b"250 ok\r\n"),
                }
                input.drain(..=end);
            }
            continue;
        };
        body.extend_from_slice(&chunk);
        drop(chunk);
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if body.ends_with(BODY_END) {
            let body = Bytes::from(message.take().unwrap_or_default());
            let before = match onward.take() {
                Some(onward) => Some(onward.await.map_err(io::Error::other)??),
                None => None,
            };
            let (told, done) = local::oneshot();
            let (task, target) = (handle.clone(), target.clone());
            handle.spawn(async move {
                // A session that has ended does not ask any more.
                let _ = told.send(deliver(&task, before, &target, body).await);
            });
            onward = Some(done);
            reply.extend_from_slice(b"250 taken\r\n");
        }
    }
}

/// A kept connection to the target.
struct Onward {
    stream: Stream,
    commands: Vec<u8>,
}

async fn deliver(
    handle: &Handle,
    kept: Option<Onward>,
    target: &Endpoint,
    body: Bytes,
) -> io::Result<Onward> {
    let mut onward = match kept {
        Some(onward) => onward,
        None => {
            let stream = handle.connect(target, &ConnectOptions::default()).await?;
            expect_replies(&stream, 1).await?;
            stream.send(b"EHLO bare\r\n".to_vec()).await.0?;
            expect_replies(&stream, 1).await?;
            Onward { stream, commands: Vec::new() }
        }
    };
    onward.commands.extend_from_slice(b"MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n");
    let (sent, mut commands) = onward.stream.send(onward.commands).await;
    sent?;
    commands.clear();
    onward.commands = commands;
    expect_replies(&onward.stream, 3).await?;
    onward.stream.send_vectored(vec![body]).await?;
    expect_replies(&onward.stream, 1).await?;
    Ok(onward)
}

/// Waits for so many replies; all must be positive (RFC 5321, section 4.2.1).
async fn expect_replies(stream: &Stream, mut count: usize) -> io::Result<()> {
    let mut input = Vec::new();
    while count > 0 {
        let chunk = stream.recv().await?;
        if chunk.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        input.extend_from_slice(&chunk);
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = &input[..end];
            if !matches!(line.first(), Some(b'2' | b'3')) {
                return Err(io::Error::other(String::from_utf8_lossy(line).into_owned()));
            }
            // A hyphen after the code says that the reply goes on.
            if line.get(3) != Some(&b'-') {
                count = count.saturating_sub(1);
            }
            input.drain(..=end);
        }
    }
    Ok(())
}
