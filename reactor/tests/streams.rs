//! TCP, Unix and UDP sockets on loopback.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)] // Helpers of tests, too, fail by panicking.

use bytes::Bytes;
use ringpost_reactor::{
    ConnectOptions, Endpoint, Handle, ListenOptions, Listener, Reactor, ReactorOptions, Stream, local,
};
use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    net::SocketAddr,
    path::PathBuf,
    rc::Rc,
    thread,
    time::Duration,
};

fn with<T, F: Future<Output = T>>(buffer_count: u16, body: impl FnOnce(Handle) -> F) -> T {
    let options =
        ReactorOptions { ring_entries: 128, buffer_count, buffer_bytes: 1024, ..Default::default() };
    let reactor = Reactor::start(options).unwrap();
    let handle = reactor.handle();
    reactor.run(body(handle))
}

fn loopback() -> Endpoint {
    Endpoint::Inet("127.0.0.1:0".parse().unwrap())
}

fn listen(handle: &Handle) -> Listener {
    handle.listen(&loopback(), &ListenOptions::default()).unwrap()
}

async fn connect(handle: &Handle, listener: &Listener) -> Stream {
    handle.connect(listener.local_endpoint(), &ConnectOptions::default()).await.unwrap()
}

async fn pair(handle: &Handle) -> (Stream, Stream) {
    let listener = listen(handle);
    let client = connect(handle, &listener).await;
    (client, listener.accept().await.unwrap())
}

async fn read_exactly(stream: &Stream, bytes: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < bytes {
        let chunk = stream.recv().await.unwrap();
        assert!(!chunk.is_empty(), "the stream ended after {} of {bytes} bytes", read.len());
        read.extend_from_slice(&chunk);
    }
    assert_eq!(read.len(), bytes);
    read
}

/// Turns until the figures satisfy a condition; the kernel needs some to end what was cancelled.
async fn settle(handle: &Handle, mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        handle.sleep(Duration::from_millis(2)).await;
    }
    panic!("did not settle: {:?}", handle.figures());
}

/// Bytes that tell their own position.
fn pattern(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes).map(|n| ((n * 31 + n / 251 + seed) % 256) as u8).collect()
}

#[test]
fn a_thousand_connections_at_once_get_their_own_bytes_back() {
    const CONNECTIONS: usize = 1000;
    with(256, async |handle| {
        let listener = Rc::new(listen(&handle));
        let (server, acceptor) = (handle.clone(), listener.clone());
        handle.spawn(async move {
            loop {
                let stream = acceptor.accept().await.unwrap();
                server.spawn(async move {
                    loop {
                        let chunk = stream.recv().await.unwrap();
                        if chunk.is_empty() {
                            break;
                        }
                        let bytes = chunk.to_vec();
                        drop(chunk);
                        stream.send(bytes).await.0.unwrap();
                    }
                });
            }
        });
        let mut streams = Vec::new();
        for _ in 0..CONNECTIONS {
            streams.push(Rc::new(connect(&handle, &listener).await));
        }
        let left = Rc::new(Cell::new(CONNECTIONS));
        let done = Rc::new(local::Notify::new());
        for (n, stream) in streams.iter().enumerate() {
            let (stream, left, done) = (stream.clone(), left.clone(), done.clone());
            handle.spawn(async move {
                for round in 0..3 {
                    let bytes = pattern(3000, n + round);
                    let (sent, bytes) = stream.send(bytes).await;
                    sent.unwrap();
                    assert_eq!(read_exactly(&stream, 3000).await, bytes);
                }
                left.set(left.get() - 1);
                if left.get() == 0 {
                    done.notify();
                }
            });
        }
        done.notified().await;
        drop(streams);
        // The listener's accept and the bell remain.
        settle(&handle, || handle.figures().in_flight == 2).await;
        let figures = handle.figures();
        assert_eq!((figures.orphans, figures.leased_buffers), (0, 0));
    });
}

#[test]
fn fast_senders_through_few_buffers_arrive_whole_and_in_order() {
    const SENDERS: usize = 40;
    const BYTES: usize = 200_000;
    with(8, async |handle| {
        let done = Rc::new(local::Notify::new());
        let left = Rc::new(Cell::new(SENDERS));
        let mut idle = Vec::new();
        for n in 0..SENDERS {
            let (client, server) = pair(&handle).await;
            handle.spawn(async move {
                let (sent, _) = client.send(pattern(BYTES, n)).await;
                sent.unwrap();
            });
            let (left, done, again) = (left.clone(), done.clone(), handle.clone());
            handle.spawn(async move {
                // Some begin late, with chunks waiting.
                let first = server.recv().await.unwrap();
                if n % 3 == 0 {
                    again.sleep(Duration::from_millis(20)).await;
                }
                let mut read = first.to_vec();
                drop(first);
                read.extend(read_exactly(&server, BYTES - read.len()).await);
                assert!(read == pattern(BYTES, n), "the bytes of sender {n} are out of order");
                assert!(server.recv().await.unwrap().is_empty());
                left.set(left.get() - 1);
                if left.get() == 0 {
                    done.notify();
                }
            });
            idle.push(pair(&handle).await);
        }
        done.notified().await;
        let figures = handle.figures();
        assert!(figures.enobufs > 0, "the buffers were meant to run out: {figures:?}");
        assert_eq!(figures.leased_buffers, 0);
    });
}

#[test]
fn streams_that_nobody_reads_do_not_starve_the_others() {
    with(8, async |handle| {
        let mut unread = Vec::new();
        for n in 0..20 {
            let (client, server) = pair(&handle).await;
            // Asks once, so that the receive is armed, and never again.
            let asked = handle.timeout(Duration::from_millis(1), server.recv()).await;
            assert!(asked.is_err());
            let client = Rc::new(client);
            let sender = client.clone();
            handle.spawn(async move {
                sender.send(pattern(5_000_000, n)).await.0.unwrap_or(());
            });
            unread.push((client, server));
        }
        handle.sleep(Duration::from_millis(20)).await;
        let (client, server) = pair(&handle).await;
        for round in 0..50 {
            client.send(pattern(2000, round)).await.0.unwrap();
            let read = handle.timeout(Duration::from_secs(10), read_exactly(&server, 2000)).await;
            assert_eq!(read.expect("the others hold all buffers"), pattern(2000, round));
        }
        for (n, (_, server)) in unread.iter().enumerate() {
            assert_eq!(read_exactly(server, 5_000_000).await, pattern(5_000_000, n));
        }
    });
}

#[test]
fn the_end_and_the_loss_of_a_connection_are_told() {
    with(16, async |handle| {
        let (client, server) = pair(&handle).await;
        assert!(server.try_recv().is_none());
        client.send(b"last words".to_vec()).await.0.unwrap();
        client.shutdown_send().await.unwrap();
        assert_eq!(read_exactly(&server, 10).await, b"last words");
        assert!(server.recv().await.unwrap().is_empty());
        assert!(server.try_recv().unwrap().unwrap().is_empty());
        server.send(b"goodbye".to_vec()).await.0.unwrap();
        assert_eq!(read_exactly(&client, 7).await, b"goodbye");
        drop(client);

        let mut error = None;
        for _ in 0..1000 {
            if let Err(failed) = server.send(vec![0; 1 << 20]).await.0 {
                error = Some(failed.kind());
                break;
            }
        }
        assert!(
            matches!(error, Some(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)),
            "{error:?}"
        );
    });
}

#[test]
fn vectored_sends_of_any_number_of_pieces_arrive_in_order() {
    with(64, async |handle| {
        let (client, server) = pair(&handle).await;
        let whole = pattern(700_000, 3);
        let mut pieces = vec![Bytes::new()];
        let mut rest = Bytes::from(whole.clone());
        let mut n = 0;
        while !rest.is_empty() {
            // 3,000 small pieces, more than the kernel takes at once, then large ones; some empty.
            let bytes = if n < 3000 { n % 7 } else { 100_000 };
            pieces.push(rest.split_to(bytes.min(rest.len())));
            n += 1;
        }
        let (told, finished) = local::oneshot();
        handle.spawn(async move {
            client.send_vectored(pieces).await.unwrap();
            client.send_vectored(Vec::new()).await.unwrap();
            told.send(client).unwrap();
        });
        assert!(read_exactly(&server, whole.len()).await == whole);
        finished.await.unwrap();
    });
}

#[test]
fn an_abandoned_send_is_not_continued_by_the_next() {
    with(16, async |handle| {
        let (client, server) = pair(&handle).await;
        let sent = handle.timeout(Duration::from_millis(10), client.send(vec![1; 64 << 20])).await;
        assert!(sent.is_err(), "nobody reads, so 64 MiB cannot be sent");
        assert_eq!(client.send(vec![2]).await.0.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        settle(&handle, || handle.figures().orphans == 0).await;
        drop((client, server));
    });
}

#[test]
fn dropped_futures_leave_nothing_behind() {
    with(16, async |handle| {
        let before = handle.figures().in_flight;
        {
            let (client, server) = pair(&handle).await;
            let udp = handle.udp("127.0.0.1:0".parse().unwrap()).unwrap();
            for _ in 0..100 {
                let limit = Duration::from_millis(1);
                assert!(handle.timeout(limit, udp.recv_from()).await.is_err());
                assert!(handle.timeout(limit, server.recv()).await.is_err());
            }
            assert!(handle.timeout(Duration::from_millis(5), client.send(vec![0; 64 << 20])).await.is_err());
        }
        settle(&handle, || handle.figures().orphans == 0 && handle.figures().in_flight == before).await;
        assert_eq!(handle.figures().leased_buffers, 0);
    });
}

#[test]
fn a_refused_and_an_unanswered_connection_are_told_apart() {
    with(16, async |handle| {
        let free = listen(&handle).local_endpoint().clone();
        settle(&handle, || handle.figures().in_flight == 1).await;
        let refused = handle.connect(&free, &ConnectOptions::default()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        // A full backlog of a listener that never accepts leaves a handshake unanswered.
        let deaf = handle.listen(&loopback(), &ListenOptions { backlog: 0, ..Default::default() }).unwrap();
        let options = ConnectOptions { timeout: Duration::from_millis(100), ..Default::default() };
        let mut connected = Vec::new();
        let failed = loop {
            match handle.connect(deaf.local_endpoint(), &options).await {
                Ok(stream) => connected.push(stream),
                Err(error) => break error,
            }
            assert!(connected.len() < 10);
        };
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        settle(&handle, || handle.figures().orphans == 0).await;
    });
}

#[test]
fn connections_come_from_the_address_that_is_asked_for() {
    with(16, async |handle| {
        let listener = listen(&handle);
        let bind: SocketAddr = "127.0.0.9:0".parse().unwrap();
        let options = ConnectOptions { bind: Some(bind), keepalive: true, ..Default::default() };
        let client = handle.connect(listener.local_endpoint(), &options).await.unwrap();
        let server = listener.accept().await.unwrap();
        let Endpoint::Inet(peer) = server.peer() else { panic!("a TCP peer has an address") };
        assert_eq!(peer.ip(), bind.ip());
        assert_eq!(client.local().unwrap(), *server.peer());
        assert_eq!(client.peer(), listener.local_endpoint());
        assert_eq!(server.local().unwrap(), *listener.local_endpoint());
    });
}

#[test]
fn ipv6_and_unix_sockets_work_alike() {
    with(16, async |handle| {
        let path = std::env::temp_dir().join(format!("ringpost-reactor-socket-{}", std::process::id()));
        let endpoints = [Endpoint::Inet("[::1]:0".parse().unwrap()), Endpoint::Unix(path.clone())];
        for endpoint in &endpoints {
            let listener = handle.listen(endpoint, &ListenOptions::default()).unwrap();
            let client = connect(&handle, &listener).await;
            let server = listener.accept().await.unwrap();
            client.send(b"hello".to_vec()).await.0.unwrap();
            assert_eq!(read_exactly(&server, 5).await, b"hello");
        }
        assert!(!path.exists(), "a Unix listener removes its path");

        // A path left behind by a killed process is taken over; one in use is not.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let listener = handle.listen(&Endpoint::Unix(path.clone()), &ListenOptions::default()).unwrap();
        let second = handle.listen(&Endpoint::Unix(path.clone()), &ListenOptions::default());
        assert_eq!(second.err().unwrap().kind(), io::ErrorKind::AddrInUse);
        let client = connect(&handle, &listener).await;
        assert_eq!(*listener.accept().await.unwrap().peer(), Endpoint::Unix(PathBuf::new()));
        drop(client);
    });
}

#[test]
fn a_paused_listener_accepts_nothing_until_it_resumes() {
    with(16, async |handle| {
        let listener = Rc::new(listen(&handle));
        let accepted = Rc::new(RefCell::new(Vec::new()));
        let (acceptor, list) = (listener.clone(), accepted.clone());
        handle.spawn(async move {
            loop {
                let stream = acceptor.accept().await.unwrap();
                list.borrow_mut().push(stream);
            }
        });
        let first = connect(&handle, &listener).await;
        settle(&handle, || accepted.borrow().len() == 1).await;
        listener.pause();
        settle(&handle, || handle.figures().in_flight == 1).await;
        let second = connect(&handle, &listener).await;
        handle.sleep(Duration::from_millis(10)).await;
        assert_eq!(accepted.borrow().len(), 1);
        listener.resume();
        settle(&handle, || accepted.borrow().len() == 2).await;
        drop((first, second));
    });
}

#[test]
fn a_port_is_free_again_when_its_reactor_has_ended() {
    let endpoint = with(16, async |handle| {
        let listener = listen(&handle);
        let endpoint = listener.local_endpoint().clone();
        let client = connect(&handle, &listener).await;
        handle.spawn(async move {
            let server = listener.accept().await.unwrap();
            server.recv().await.unwrap();
        });
        handle.sleep(Duration::from_millis(5)).await;
        drop(client);
        endpoint
    });
    let Endpoint::Inet(address) = endpoint else { panic!("a TCP listener has an address") };
    let refused = std::net::TcpStream::connect(address).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    with(16, async |handle| {
        handle.listen(&endpoint, &ListenOptions { reuse_port: false, ..Default::default() }).unwrap();
    });
}

#[test]
fn a_port_in_use_is_told() {
    with(16, async |handle| {
        let options = ListenOptions { reuse_port: false, ..Default::default() };
        let first = handle.listen(&loopback(), &options).unwrap();
        let second = handle.listen(first.local_endpoint(), &options);
        assert_eq!(second.err().unwrap().kind(), io::ErrorKind::AddrInUse);
    });
}

#[test]
fn a_fresh_connection_is_handed_to_another_shard() {
    let (mut sender, mut receiver) = ringpost_reactor::ring::spsc(2);
    let other = thread::spawn(move || {
        with(16, async |handle| {
            let stream = handle.adopt(receiver.recv().await.unwrap());
            let bytes = read_exactly(&stream, 4).await;
            stream.send(bytes).await.0.unwrap();
            stream.peer().clone()
        })
    });
    let expected = with(16, async |handle| {
        let (client, server) = pair(&handle).await;
        sender.try_send(server.pass()).unwrap();
        client.send(b"over".to_vec()).await.0.unwrap();
        assert_eq!(read_exactly(&client, 4).await, b"over");
        assert!(client.recv().await.unwrap().is_empty());
        client.local().unwrap()
    });
    assert_eq!(other.join().unwrap(), expected);
}

#[test]
fn a_used_connection_is_handed_over_with_what_was_not_read() {
    let (mut sender, mut receiver) = ringpost_reactor::ring::spsc(2);
    let other = thread::spawn(move || {
        with(16, async |handle| {
            let stream = handle.adopt(receiver.recv().await.unwrap());
            let bytes = read_exactly(&stream, 10).await;
            stream.send(bytes).await.0.unwrap();
        })
    });
    with(16, async |handle| {
        let (client, server) = pair(&handle).await;
        client.send(b"read".to_vec()).await.0.unwrap();
        assert_eq!(read_exactly(&server, 4).await, b"read");
        client.send(b"unread".to_vec()).await.0.unwrap();
        settle(&handle, || handle.figures().in_flight <= 2).await;
        server.rest().await;
        sender.try_send(server.pass()).unwrap();
        client.send(b"late".to_vec()).await.0.unwrap();
        assert_eq!(read_exactly(&client, 10).await, b"unreadlate");
        assert!(client.recv().await.unwrap().is_empty());
    });
    other.join().unwrap();
}

#[test]
fn a_stream_that_rested_receives_again() {
    with(16, async |handle| {
        let (client, server) = pair(&handle).await;
        for text in [b"one", b"two"] {
            client.send(text.to_vec()).await.0.unwrap();
            assert_eq!(read_exactly(&server, 3).await, text);
            server.rest().await;
            server.rest().await;
        }
    });
}

#[test]
fn handles_that_outlive_their_reactor_give_errors() {
    let (handle, listener, stream) = with(16, async |handle| {
        let listener = listen(&handle);
        let client = connect(&handle, &listener).await;
        (handle.clone(), listener, client)
    });
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let send = std::pin::pin!(stream.send(vec![1])).poll(&mut context);
    assert!(matches!(send, std::task::Poll::Ready((Err(_), _))));
    assert!(matches!(std::pin::pin!(stream.recv()).poll(&mut context), std::task::Poll::Ready(Err(_))));
    assert!(matches!(std::pin::pin!(listener.accept()).poll(&mut context), std::task::Poll::Ready(Err(_))));
    assert_eq!(handle.figures().in_flight, 0);
}

#[test]
fn datagrams_go_and_come_with_their_sender() {
    with(16, async |handle| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let one = handle.udp(address.parse().unwrap()).unwrap();
            let two = handle.udp(address.parse().unwrap()).unwrap();
            one.send_to(vec![9; 5000], two.local()).await.0.unwrap(); // Too long: dropped.
            one.send_to(b"question".to_vec(), two.local()).await.0.unwrap();
            let (bytes, from) = two.recv_from().await.unwrap();
            assert_eq!((bytes.as_slice(), from), (b"question".as_slice(), one.local()));
        }
    });
}

/// Streams that are read slowly, given up on, dropped halfway, through few buffers: what arrives is right, and nothing
/// stays behind.
#[test]
fn a_storm_of_dropped_streams_and_futures_leaves_nothing_behind() {
    for seed in 1..=4u64 {
        with(16, async |handle| {
            let state = Rc::new(Cell::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            let random = move |below: u64| {
                // xorshift64, so that a failing seed repeats its choices.
                let mut x = state.get();
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                state.set(x);
                x % below
            };
            let before = handle.figures().in_flight;
            let running = Rc::new(Cell::new(0));
            for n in 0..60 {
                let (client, server) = pair(&handle).await;
                let (random, again) = (random.clone(), handle.clone());
                let (random_too, again_too) = (random.clone(), handle.clone());
                running.set(running.get() + 2);
                let (one, two) = (running.clone(), running.clone());
                handle.spawn(async move {
                    let whole = pattern(1 << 18, n);
                    let mut sent = 0;
                    while sent < whole.len() && random(40) != 0 {
                        let bytes = (1 + random(20_000) as usize).min(whole.len() - sent);
                        let limit = Duration::from_millis(random(30));
                        let piece = whole[sent..sent + bytes].to_vec();
                        match again.timeout(limit, client.send(piece)).await {
                            Ok((Ok(()), _)) => sent += bytes,
                            Ok((Err(_), _)) | Err(_) => break,
                        }
                    }
                    one.set(one.get() - 1);
                });
                handle.spawn(async move {
                    let whole = pattern(1 << 18, n);
                    let mut read = 0;
                    while random_too(60) != 0 {
                        if random_too(10) == 0 {
                            again_too.sleep(Duration::from_millis(random_too(15))).await;
                        }
                        let limit = Duration::from_millis(random_too(3));
                        match again_too.timeout(limit, server.recv()).await {
                            Err(_) => continue,
                            Ok(Err(_)) => break,
                            Ok(Ok(chunk)) if chunk.is_empty() => break,
                            Ok(Ok(chunk)) => {
                                assert!(*chunk == whole[read..read + chunk.len()], "seed {seed}, stream {n}");
                                read += chunk.len();
                            }
                        }
                    }
                    two.set(two.get() - 1);
                });
            }
            settle(&handle, || running.get() == 0).await;
            settle(&handle, || handle.figures().in_flight == before).await;
            let figures = handle.figures();
            assert_eq!((figures.orphans, figures.leased_buffers, figures.timers), (0, 0, 0), "seed {seed}");
        });
    }
}

#[test]
fn the_end_of_a_reactor_cancels_and_reaps_everything() {
    let handle = with(16, async |handle| {
        let listener = listen(&handle);
        for n in 0..50 {
            let client = connect(&handle, &listener).await;
            let server = listener.accept().await.unwrap();
            let again = handle.clone();
            handle.spawn(async move {
                client.send(vec![0; 64 << 20]).await.0.unwrap();
            });
            handle.spawn(async move {
                let chunk = server.recv().await.unwrap();
                if n % 2 == 0 {
                    // Keeps a lease, and leaves the rest unread.
                    again.sleep(Duration::from_secs(3600)).await;
                }
                drop(chunk);
                server.recv().await.unwrap();
                server.recv().await.unwrap();
                again.sleep(Duration::from_secs(3600)).await;
            });
            let udp = handle.udp("127.0.0.1:0".parse().unwrap()).unwrap();
            handle.spawn(async move {
                udp.recv_from().await.unwrap();
            });
        }
        handle.spawn(async move {
            listener.accept().await.unwrap();
        });
        handle.sleep(Duration::from_millis(10)).await;
        assert!(handle.figures().in_flight > 100);
        handle.clone()
    });
    let figures = handle.figures();
    assert_eq!((figures.in_flight, figures.orphans, figures.leased_buffers, figures.timers), (0, 0, 0, 0));
}

#[test]
fn ten_thousand_idle_connections_hold_no_buffer() {
    // As many as the limit of open files allows, two descriptors each.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1024);
    let connections = (limit.saturating_sub(500) / 2).min(5000) as usize;
    with(64, async |handle| {
        let listener = listen(&handle);
        let resident_before = resident_bytes();
        let mut pairs = Vec::new();
        for _ in 0..connections {
            let client = connect(&handle, &listener).await;
            let server = listener.accept().await.unwrap();
            for stream in [&client, &server] {
                assert!(handle.timeout(Duration::ZERO, stream.recv()).await.is_err());
            }
            pairs.push((client, server));
        }
        handle.yield_now().await;
        assert_eq!(handle.figures().leased_buffers, 0);
        let each = resident_bytes().saturating_sub(resident_before) / (2 * connections);
        assert!(each <= 8192, "an idle connection costs {each} bytes");
    });
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
