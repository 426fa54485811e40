//! packet: one question as bytes, and the answer out of a response; the format itself is `hickory-proto`'s.

use std::io;
use std::net::IpAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType as WireType};
use ringpost_core::dns::{Answer, RecordType};

use super::{ANSWER_RECORDS_MAX, NEGATIVE_SECONDS};

/// The payload size that we announce (RFC 6891); 1,232 bytes fit every path without fragments.
const UDP_PAYLOAD_BYTES: u16 = 1232;

/// A question ready to be sent.
pub struct QueryPacket {
    id: u16,
    query: Query,
    kind: RecordType,
    bytes: Vec<u8>,
}

/// A response that belongs to the question.
pub struct Response<'a> {
    question: &'a QueryPacket,
    message: Message,
}

/// An answer and how long it may be believed.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What the server said.
    pub answer: Answer,
    /// The smallest TTL of the records, or the negative TTL of RFC 2308.
    pub ttl_seconds: u32,
}

impl QueryPacket {
    /// The packet for `name`; an error when the name is not one that the DNS can carry.
    pub fn new(id: u16, name: &str, kind: RecordType) -> io::Result<QueryPacket> {
        // Only a name with other letters goes through IDNA, which has no underscores; hosts in the wild do.
        let name = if name.is_ascii() { Name::from_ascii(name) } else { Name::from_utf8(name) };
        let mut name = name.map_err(io::Error::other)?;
        name.set_fqdn(true);
        let record_type = match kind {
            RecordType::Mx => WireType::MX,
            RecordType::A => WireType::A,
            RecordType::Aaaa => WireType::AAAA,
            RecordType::Ptr => WireType::PTR,
            RecordType::Ns => WireType::NS,
            RecordType::Txt => WireType::TXT,
        };
        let query = Query::query(name, record_type);
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.metadata.recursion_desired = true;
        message.add_query(query.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD_BYTES);
        message.set_edns(edns);
        let bytes = message.to_vec().map_err(io::Error::other)?;
        Ok(QueryPacket { id, query, kind, bytes })
    }

    /// The bytes to send.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The response in `bytes`, if it is one to this question: id, direction and question must agree (RFC 5452 §9.1).
    pub fn response(&self, bytes: &[u8]) -> Option<Response<'_>> {
        let message = Message::from_vec(bytes).ok()?;
        let ours = message.metadata.id == self.id
            && message.metadata.message_type == MessageType::Response
            && message.queries.len() == 1
            && message.queries[0].name() == self.query.name()
            && message.queries[0].query_type() == self.query.query_type();
        ours.then_some(Response { question: self, message })
    }
}

impl Response<'_> {
    /// Whether it has to be asked again over TCP.
    pub fn truncated(&self) -> bool {
        self.message.metadata.truncation
    }

    /// The answer: records of the asked type, whatever aliases lead to them.
    pub fn decode(&self) -> io::Result<Decoded> {
        match self.message.metadata.response_code {
            ResponseCode::NoError => Ok(self.records()),
            ResponseCode::NXDomain => Ok(self.negative(Answer::NotFound)),
            code => Err(io::Error::other(format!("the name server says {code}"))),
        }
    }

    fn records(&self) -> Decoded {
        let wanted: Vec<&Record> = self
            .message
            .answers
            .iter()
            .filter(|record| record.record_type() == self.question.query.query_type())
            .take(ANSWER_RECORDS_MAX)
            .collect();
        let Some(ttl_seconds) = self.message.answers.iter().map(|record| record.ttl).min() else {
            return self.negative(Answer::NoData);
        };
        let answer = match self.question.kind {
            RecordType::Mx => Answer::Exchangers {
                records: wanted.iter().filter_map(|record| exchanger(&record.data)).collect(),
                ttl: ttl_seconds,
            },
            RecordType::A | RecordType::Aaaa => Answer::Addresses {
                addresses: wanted.iter().filter_map(|record| address(&record.data)).collect(),
                ttl: ttl_seconds,
            },
            RecordType::Ptr | RecordType::Ns => Answer::Names {
                names: wanted.iter().filter_map(|record| host_name(&record.data)).collect(),
                ttl: ttl_seconds,
            },
            RecordType::Txt => Answer::Texts {
                texts: wanted.iter().filter_map(|record| text(&record.data)).collect(),
                ttl: ttl_seconds,
            },
        };
        if wanted.is_empty() { self.negative(Answer::NoData) } else { Decoded { answer, ttl_seconds } }
    }

    /// RFC 2308 section 5: the smaller of the SOA record's TTL and its minimum field.
    fn negative(&self, answer: Answer) -> Decoded {
        let soa = self.message.authorities.iter().find_map(|record| match &record.data {
            RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        });
        Decoded { answer, ttl_seconds: soa.unwrap_or(NEGATIVE_SECONDS) }
    }
}

fn exchanger(data: &RData) -> Option<(u16, String)> {
    match data {
        RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii().trim_end_matches('.').to_owned())),
        _ => None,
    }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(a) => Some(a.0.into()),
        RData::AAAA(aaaa) => Some(aaaa.0.into()),
        _ => None,
    }
}

fn host_name(data: &RData) -> Option<String> {
    let name = match data {
        RData::PTR(ptr) => &ptr.0,
        RData::NS(ns) => &ns.0,
        _ => return None,
    };
    Some(name.to_ascii().trim_end_matches('.').to_owned())
}

fn text(data: &RData) -> Option<String> {
    match data {
        RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::rr::rdata::{A, MX};

    fn response_to(packet: &QueryPacket, change: impl FnOnce(&mut Message)) -> Vec<u8> {
        let mut message = Message::from_vec(packet.bytes()).unwrap();
        message.metadata.message_type = MessageType::Response;
        change(&mut message);
        message.to_vec().unwrap()
    }

    fn name(text: &str) -> Name {
        Name::from_ascii(text).unwrap()
    }

    #[test]
    fn exchangers_come_with_their_preference_and_the_null_one_is_empty() {
        let packet = QueryPacket::new(7, "example.com", RecordType::Mx).unwrap();
        let bytes = response_to(&packet, |message| {
            let mx = RData::MX(MX::new(10, name("mx.example.com.")));
            message.add_answer(Record::from_rdata(name("example.com."), 300, mx));
            message.add_answer(Record::from_rdata(
                name("example.com."),
                200,
                RData::MX(MX::new(0, Name::root())),
            ));
        });
        let decoded = packet.response(&bytes).unwrap().decode().unwrap();
        let records = vec![(10, "mx.example.com".to_owned()), (0, String::new())];
        assert_eq!(decoded, Decoded { answer: Answer::Exchangers { records, ttl: 200 }, ttl_seconds: 200 });
    }

    #[test]
    fn names_that_people_use_can_be_asked_about() {
        for name in [
            "under_score.example.com",
            "_dmarc.example.com",
            "ab--cd.example",
            "xn--mller-kva.example",
            "m\u{fc}ller.example",
            "r3---sn.example",
            "1.2.3.4.example",
            "a.b",
        ] {
            assert!(QueryPacket::new(1, name, RecordType::Mx).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_response_to_another_question_is_not_ours() {
        let packet = QueryPacket::new(7, "example.com", RecordType::A).unwrap();
        let other = QueryPacket::new(8, "example.com", RecordType::A).unwrap();
        let elsewhere = QueryPacket::new(7, "example.org", RecordType::A).unwrap();
        assert!(packet.response(&response_to(&other, |_| ())).is_none());
        assert!(packet.response(&response_to(&elsewhere, |_| ())).is_none());
        assert!(packet.response(packet.bytes()).is_none(), "a query is not a response");
        assert!(packet.response(b"\0\x07junk").is_none());
    }

    #[test]
    fn absence_and_failure_are_told_apart() {
        let packet = QueryPacket::new(7, "example.com", RecordType::A).unwrap();
        let decode = |bytes: Vec<u8>| packet.response(&bytes).unwrap().decode().unwrap().answer;
        assert_eq!(decode(response_to(&packet, |_| ())), Answer::NoData);
        let no_name = |message: &mut Message| message.metadata.response_code = ResponseCode::NXDomain;
        assert_eq!(decode(response_to(&packet, no_name)), Answer::NotFound);
        let failed = |message: &mut Message| message.metadata.response_code = ResponseCode::ServFail;
        let refused = response_to(&packet, failed);
        assert!(packet.response(&refused).unwrap().decode().is_err());
        let address = |message: &mut Message| {
            let a = RData::A(A::new(192, 0, 2, 1));
            message.add_answer(Record::from_rdata(name("example.com."), 60, a));
        };
        let addresses = vec!["192.0.2.1".parse().unwrap()];
        assert_eq!(decode(response_to(&packet, address)), Answer::Addresses { addresses, ttl: 60 });
    }
}
