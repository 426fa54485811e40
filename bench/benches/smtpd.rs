//! The server session's decisions for one message, without its content: MAIL to DATA in one flight, and the dot.

use std::hint::black_box;
use std::net::IpAddr;
use std::rc::Rc;

use criterion::{Criterion, criterion_group, criterion_main};
use ringpost_core::smtpd::{Answer, Client, Request, Session, SmtpdSettings};

const FLIGHT: &[u8] = b"MAIL FROM:<sender@x.example> SIZE=4096\r\nRCPT TO:<recipient@y.example>\r\nDATA\r\n";
const EMPTY_BODY: &[u8] = b"\r\n.\r\n";

fn decide(criterion: &mut Criterion) {
    let mut client = Client::stranger(IpAddr::from([192, 0, 2, 1]), 1).named("client.example");
    client.in_mynetworks = true;
    let mut session = Session::new(Rc::new(SmtpdSettings::new("mx.example")), client);
    let (mut replies, mut content) = (Vec::with_capacity(4096), Vec::with_capacity(4096));
    session.step(b"EHLO client.example\r\n", &mut replies, &mut content);
    criterion.bench_function("smtpd/one message", |bencher| {
        bencher.iter(|| {
            replies.clear();
            content.clear();
            for input in [FLIGHT, EMPTY_BODY] {
                feed(&mut session, black_box(input), &mut replies, &mut content);
            }
            // What the shard writes to the log; it must not pile up here either.
            black_box(session.take_log());
            black_box(&replies);
        });
    });
}

fn feed(session: &mut Session, mut input: &[u8], replies: &mut Vec<u8>, content: &mut Vec<u8>) {
    loop {
        let step = session.step(input, replies, content);
        input = &input[step.consumed..];
        match step.request {
            Request::MoreInput | Request::Content => break,
            Request::EndOfContent => session.answer(Answer::Queued("4SVLCh0sf8z7Qhl"), replies),
            Request::Mail | Request::Recipient | Request::Data => session.answer(Answer::Accept, replies),
            other => panic!("a faultless message leads to {other:?}"),
        }
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
