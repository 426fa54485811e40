//! Envelopes, through the doors that the shards use.

use bytes::Bytes;
use proptest::prelude::*;
use ringpost_core::envelope::{
    BodyKind, Envelope, EnvelopeFields, EnvelopeWriter, KeptRecipient, Notify, Origin, PIECE_BYTES_MAX,
    Recipient, Ret,
};
use ringpost_core::verp::VerpDelimiters;

/// A whole envelope with these recipients.
fn written<'a>(fields: &EnvelopeFields<'_>, recipients: impl IntoIterator<Item = Recipient<'a>>) -> Vec<u8> {
    let mut writer = EnvelopeWriter::new(Vec::new(), fields);
    for recipient in recipients {
        assert!(writer.recipient(&recipient).is_none(), "they all fit");
    }
    writer.finish().head
}

fn plain(address: &str) -> Recipient<'_> {
    Recipient { address, ..Recipient::default() }
}

/// An envelope with so many recipients, and its pieces.
fn in_pieces(count: u32, notify_last: Notify) -> (Vec<u8>, Vec<Bytes>) {
    let mut writer = EnvelopeWriter::new(Vec::new(), &EnvelopeFields::default());
    let mut pieces = Vec::new();
    for number in 0..count {
        let address = format!("user{number}@example.com");
        let notify = if number + 1 == count { notify_last } else { Notify::UNSET };
        pieces.extend(writer.recipient(&Recipient { notify, ..plain(&address) }));
    }
    assert_eq!(writer.recipient_count(), count);
    let written = writer.finish();
    pieces.extend(written.last_piece);
    (written.head, pieces.into_iter().map(Bytes::from).collect())
}

const ORIGIN: Origin<'static> =
    Origin { name: "far.example", address: "192.0.2.9", port: 4711, helo: "far", protocol: "SMTP" };

fn sample() -> Vec<u8> {
    let fields = EnvelopeFields {
        sender: "jürgen@example.com",
        envid: "batch 7",
        ret: Some(Ret::Headers),
        body: BodyKind::EightBitMime,
        smtputf8: true,
        content_bytes: 4096,
        arrival_us: 1_700_000_000_123_456,
        client_name: "mail.example.com",
        client_address: "2001:db8::1",
        client_port: 49152,
        helo: "mail",
        protocol: "ESMTP",
        filter: "scan:[127.0.0.1]:10025",
        forwarded: Some(ORIGIN),
        ident: "4ABC",
        is_local: true,
        is_probe: false,
        verp: VerpDelimiters::from_bytes(*b"+="),
    };
    let b = Recipient {
        address: "\"b c\"@example.org",
        orcpt: "rfc822;list@example.org",
        original: "list@example.org",
        notify: Notify::SUCCESS.with(Notify::FAILURE),
    };
    written(&fields, [plain("a@example.org"), b])
}

#[test]
fn what_is_written_is_read() {
    let envelope = Envelope::decode(sample().into()).expect("whole");
    let fields = envelope.fields();
    assert_eq!(fields.sender, "jürgen@example.com");
    assert_eq!(fields.envid, "batch 7");
    assert_eq!((fields.forwarded, fields.ident), (Some(ORIGIN), "4ABC"));
    assert!(fields.is_local && !fields.is_probe && fields.origin() == ORIGIN);
    assert_eq!(fields.ret, Some(Ret::Headers));
    assert_eq!(fields.body, BodyKind::EightBitMime);
    assert!(fields.smtputf8);
    assert_eq!((fields.content_bytes, fields.arrival_us), (4096, 1_700_000_000_123_456));
    assert_eq!((fields.client_name, fields.client_address), ("mail.example.com", "2001:db8::1"));
    assert_eq!((fields.client_port, fields.helo, fields.protocol), (49152, "mail", "ESMTP"));
    assert_eq!(fields.verp, VerpDelimiters::from_bytes(*b"+="));
    assert!(envelope.success_wanted());
    let recipients: Vec<_> = envelope.recipients().collect();
    assert_eq!(recipients.len(), 2);
    assert_eq!(recipients[0].address, "a@example.org");
    assert!(recipients[0].notify.wants_failure() && !recipients[0].notify.wants_success());
    assert_eq!(recipients[1].orcpt, "rfc822;list@example.org");
    assert!(recipients[1].notify.wants_success());
}

#[test]
fn a_hundred_thousand_recipients_are_read_piece_by_piece() {
    let (head, pieces) = in_pieces(100_000, Notify::SUCCESS);
    assert!(head.len() < 500, "{} bytes", head.len());
    assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES_MAX + 3));
    let envelope = Envelope::decode(head.into()).expect("whole");
    assert!(envelope.is_in_pieces() && envelope.success_wanted());
    assert_eq!((envelope.recipient_count(), envelope.piece_count()), (100_000, pieces.len() as u32));
    let mut next = 0;
    for (number, raw) in (0..).zip(&pieces) {
        let piece = envelope.piece(number, raw.clone()).expect("whole");
        assert_eq!(envelope.indexes_in_piece(number).start, next);
        for (index, recipient) in piece.recipients() {
            assert_eq!((index, recipient.address), (next, format!("user{next}@example.com").as_str()));
            next += 1;
        }
        assert_eq!((envelope.piece_of(next - 1), envelope.piece_of(next)), (number, number + 1));
        assert!(envelope.piece(number + 1, raw.clone()).is_err(), "it is not the next piece");
        assert!(envelope.piece(number, raw.slice(1..)).is_err());
        assert!(envelope.piece(number, raw.slice(..raw.len() - 1)).is_err());
    }
    assert_eq!(next, 100_000);
    assert!(envelope.piece(pieces.len() as u32, pieces[0].clone()).is_err());
}

#[test]
fn an_envelope_is_in_pieces_when_its_recipients_are_too_many_for_one() {
    // Each takes two bytes besides the address.
    let address = "x".repeat(62);
    let fitting = PIECE_BYTES_MAX / 64;
    for (count, pieces) in [(fitting, 0), (fitting + 1, 2), (2 * fitting, 2), (2 * fitting + 1, 3)] {
        let mut writer = EnvelopeWriter::new(Vec::new(), &EnvelopeFields::default());
        let mut given = (0..count).filter(|_| writer.recipient(&plain(&address)).is_some()).count();
        let finished = writer.finish();
        given += usize::from(finished.last_piece.is_some());
        let envelope = Envelope::decode(finished.head.into()).expect("whole");
        assert_eq!((given, envelope.piece_count()), (pieces, pieces as u32), "{count}");
        assert_eq!(envelope.recipient_count(), count as u32);
    }
}

#[test]
fn a_recipient_that_is_kept_says_the_same() {
    let envelope = Envelope::decode(sample().into()).expect("whole");
    for recipient in envelope.recipients() {
        assert_eq!(KeptRecipient::of(&recipient).get(), recipient);
    }
}

#[test]
fn any_recipient_is_found_without_a_walk_from_the_first() {
    for count in [1, 31, 32, 33, 64, 2500] {
        let addresses: Vec<String> = (0..count).map(|number| format!("user{number}@example.com")).collect();
        let recipients = addresses.iter().map(|address| plain(address));
        let envelope =
            Envelope::decode(written(&EnvelopeFields::default(), recipients).into()).expect("whole");
        let address = |index: u32| format!("user{index}@example.com");
        for index in 0..count {
            assert_eq!(envelope.recipient(index).map(|found| found.address.to_owned()), Some(address(index)));
        }
        assert_eq!(envelope.recipient(count), None);
        let rest: Vec<_> = envelope.recipients_from(count / 2).map(|(index, _)| index).collect();
        assert_eq!(rest, (count / 2..count).collect::<Vec<_>>());
        let wanted = [count - 1, 0, count / 3, count / 3, count, count / 2];
        let found: Vec<_> =
            envelope.select(wanted).map(|(index, found)| (index, found.address.to_owned())).collect();
        let expected: Vec<_> =
            wanted.iter().filter(|&&index| index < count).map(|&index| (index, address(index))).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn every_cut_and_every_addition_is_noticed() {
    let whole = sample();
    for end in 0..whole.len() {
        assert!(Envelope::decode(Bytes::copy_from_slice(&whole[..end])).is_err(), "cut at {end}");
    }
    let mut longer = whole;
    longer.push(0);
    assert!(Envelope::decode(longer.into()).is_err());
    let (table, _) = in_pieces(10_000, Notify::UNSET);
    for end in 0..table.len() {
        assert!(Envelope::decode(Bytes::copy_from_slice(&table[..end])).is_err(), "cut at {end}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(envelope) = Envelope::decode(bytes.into()) && !envelope.is_in_pieces() {
            envelope.recipients().for_each(drop);
        }
    }

    #[test]
    fn flipped_bytes_never_panic(at in 0usize..200, value in any::<u8>()) {
        let mut bytes = sample();
        let at = at % bytes.len();
        bytes[at] = value;
        if let Ok(envelope) = Envelope::decode(bytes.into()) {
            let _ = envelope.fields();
            if !envelope.is_in_pieces() {
                envelope.recipients().for_each(drop);
            }
        }
    }
}
