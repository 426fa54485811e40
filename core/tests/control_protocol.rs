//! The control socket's bytes: what is written is read back, and nothing else is taken for it.

use proptest::prelude::*;
use ringpost_core::control::{
    Answer, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameHeader, Kick, ListedMessage, Operation, Queue, Queues,
    Refusal, Request, Which,
};
use ringpost_core::queue_id::QueueId;

/// Splits what an encoder wrote into its one frame.
fn frame(bytes: &[u8]) -> (u8, &[u8]) {
    let (header, payload) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>().expect("a whole header");
    let header = FrameHeader::read(header).expect("a header of ours");
    assert_eq!(header.payload_bytes, payload.len());
    (header.kind, payload)
}

fn id(number: u64) -> QueueId {
    QueueId::new(1_700_000_000_000_000 + number, number)
}

fn requests() -> Vec<Request> {
    let queues = Queues::of(&[Queue::Active, Queue::Hold]);
    let operations = [
        Operation::Delete,
        Operation::Hold,
        Operation::Release,
        Operation::Requeue,
        Operation::Expire,
        Operation::ForceExpire,
    ];
    let mut requests = vec![
        Request::List { queues },
        Request::Operate {
            operation: Operation::Delete,
            queues,
            which: Which::Ids((0..3).map(id).collect()),
        },
        Request::LogTotals,
        Request::Flush,
        Request::FlushMessage(id(7)),
        Request::FlushSite("example.com".to_owned()),
        Request::Kick(Kick::of_letters(b"FADI")),
        Request::Kick(Kick::of_letters(b"D")),
        Request::Read(id(8)),
        Request::WhyMessage(id(9)),
        Request::WhyAddress("a@b.example".to_owned()),
    ];
    requests.extend(operations.map(|operation| Request::Operate { operation, queues, which: Which::All }));
    requests
}

fn answers() -> Vec<Answer<'static>> {
    let message = ListedMessage {
        queue: Queue::Deferred,
        queue_id: id(5),
        arrival_us: 1_700_000_000_123_456,
        bytes: 4711,
        forced_expire: true,
        sender: "",
    };
    vec![
        Answer::Message(message),
        Answer::Message(ListedMessage { queue: Queue::Active, forced_expire: false, ..message }),
        Answer::Recipient { address: "häns@example.com", reason: "connect to mx: Connection refused" },
        Answer::Operated(id(5)),
        Answer::Field { label: "sender", value: "a@b" },
        Answer::Content(b"Subject: x\r\n\r\n"),
        Answer::Line("text"),
        Answer::Warning("text"),
        Answer::Refused(Refusal::Stopping, "the mail system is stopping"),
        Answer::End(u64::MAX),
    ]
}

#[test]
fn every_request_reads_back() {
    for request in requests() {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        let (kind, payload) = frame(&bytes);
        assert_eq!(Request::decode(kind, payload).as_ref(), Ok(&request));
        for end in 0..payload.len() {
            assert!(Request::decode(kind, &payload[..end]).is_err(), "{request:?} cut at {end}");
        }
        assert!(Request::decode(kind, &[payload, b"x"].concat()).is_err(), "{request:?} and a byte more");
    }
}

#[test]
fn every_answer_reads_back() {
    for answer in answers() {
        let mut bytes = Vec::new();
        answer.encode(&mut bytes);
        let (kind, payload) = frame(&bytes);
        assert_eq!(Answer::decode(kind, payload), Ok(answer));
    }
}

#[test]
fn an_overlong_frame_is_refused_before_it_is_read() {
    let mut header = [0, 0, 0, 0, 1];
    header[..4].copy_from_slice(&(FRAME_BYTES_MAX as u32 + 1).to_le_bytes());
    assert!(FrameHeader::read(&header).is_err());
    assert!(FrameHeader::read(&[0xff; 5]).is_err());
}

#[test]
fn a_text_beyond_the_limit_is_cut_and_not_refused() {
    let long = "é".repeat(100_000);
    let mut bytes = Vec::new();
    Answer::Recipient { address: &long, reason: &long }.encode(&mut bytes);
    let (kind, payload) = frame(&bytes);
    let Ok(Answer::Recipient { address, reason }) = Answer::decode(kind, payload) else { panic!("not read") };
    assert!(long.starts_with(address) && long.starts_with(reason) && address.len() > 16_000);
}

#[test]
fn too_many_ids_are_refused() {
    let mut bytes = Vec::new();
    let which = Which::Ids((0..1000).map(id).collect());
    Request::Operate { operation: Operation::Hold, queues: Queues::NONE, which }.encode(&mut bytes);
    let (kind, payload) = frame(&bytes);
    assert!(Request::decode(kind, payload).is_ok(), "a thousand are not too many");
    let mut more = payload.to_vec();
    // The count follows three bytes and says 1000 in two; 1001 is one more in the lower seven bits.
    more[3] += 1;
    more.push(15);
    more.extend_from_slice(id(1).as_bytes());
    assert!(Request::decode(kind, &more).is_err());
}

proptest! {
    #[test]
    fn arbitrary_payloads_never_panic(kind: u8, payload in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Request::decode(kind, &payload);
        let _ = Answer::decode(kind, &payload);
    }

    #[test]
    fn what_is_taken_is_what_would_be_written(kind in 1u8..10, payload in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(request) = Request::decode(kind, &payload) {
            let mut bytes = Vec::new();
            request.encode(&mut bytes);
            let (kind, payload) = frame(&bytes);
            prop_assert_eq!(Request::decode(kind, payload), Ok(request));
        }
    }

    #[test]
    fn a_request_with_a_changed_byte_is_another_or_none(
        which in 0usize..16,
        at in 0usize..100,
        bit in 0u8..8,
    ) {
        let all = requests();
        let mut bytes = Vec::new();
        all[which % all.len()].encode(&mut bytes);
        let payload = &mut bytes[FRAME_HEADER_BYTES..];
        if !payload.is_empty() {
            let at = at % payload.len();
            payload[at] ^= 1 << bit;
        }
        let kind = bytes[4];
        let _ = Request::decode(kind, &bytes[FRAME_HEADER_BYTES..]);
    }
}
