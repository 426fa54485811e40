//! What a command asks of the engine.

use super::Malformed;
use super::frame::put_frame;
use super::queue::Queues;
use crate::envelope::codec::{Cursor, put_number, put_text};
use crate::queue_id::QueueId;

/// Queue ids in one request: they fit into a frame, and one turn of a shard is not lengthened by them.
pub const IDS_MAX: usize = 1000;

/// What `postsuper` does to messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `-d`: delete.
    Delete,
    /// `-h`: put on hold.
    Hold,
    /// `-H`: release from hold.
    Release,
    /// `-r`: take in again under a new queue id.
    Requeue,
    /// `-e`: give up at the next attempt.
    Expire,
    /// `-f`: as `-e`, and release from hold.
    ForceExpire,
}

impl Operation {
    const ALL: [Operation; 6] = [
        Operation::Delete,
        Operation::Hold,
        Operation::Release,
        Operation::Requeue,
        Operation::Expire,
        Operation::ForceExpire,
    ];

    /// As the log says of one message: `removed`, `requeued`, ….
    pub const fn past(self) -> &'static str {
        match self {
            Operation::Delete => "removed",
            Operation::Hold => "placed on hold",
            Operation::Release => "released from hold",
            Operation::Requeue => "requeued",
            Operation::Expire | Operation::ForceExpire => "expired",
        }
    }

    /// As the log says at the end, before the count: `Deleted`, ….
    pub const fn total(self) -> &'static str {
        match self {
            Operation::Delete => "Deleted",
            Operation::Hold => "Placed on hold",
            Operation::Release => "Released from hold",
            Operation::Requeue => "Requeued",
            Operation::Expire | Operation::ForceExpire => "Force-expired",
        }
    }

    fn from_code(code: u8) -> Option<Operation> {
        Operation::ALL.into_iter().find(|operation| *operation as u8 == code)
    }
}

/// Which messages an operation is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// All in the named queues.
    All,
    /// These, where they are in the named queues; at most [`IDS_MAX`].
    Ids(Vec<QueueId>),
}

/// What `postkick` asks of the queue manager.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kick {
    /// `D`: look at the deferred queue.
    pub scan_deferred: bool,
    /// `A`: whatever its due times.
    pub ignore_times: bool,
    /// `F`: forget dead sites.
    pub forget_dead: bool,
    /// `I`: look at the incoming queue.
    pub scan_incoming: bool,
}

impl Kick {
    /// The letters of Postfix's request; others ask for nothing.
    pub fn of_letters(letters: &[u8]) -> Kick {
        Kick {
            scan_deferred: letters.contains(&b'D'),
            ignore_times: letters.contains(&b'A'),
            forget_dead: letters.contains(&b'F'),
            scan_incoming: letters.contains(&b'I'),
        }
    }

    fn bits(self) -> u8 {
        u8::from(self.scan_deferred)
            | u8::from(self.ignore_times) << 1
            | u8::from(self.forget_dead) << 2
            | u8::from(self.scan_incoming) << 3
    }

    fn from_bits(bits: u8) -> Option<Kick> {
        (bits < 16).then_some(Kick {
            scan_deferred: bits & 1 != 0,
            ignore_times: bits & 2 != 0,
            forget_dead: bits & 4 != 0,
            scan_incoming: bits & 8 != 0,
        })
    }
}

/// One request. The answers to each end with `End`, which counts what was done, or with `Refused`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `postqueue -p`, `-j`, `qshape`: the messages of these queues, each followed by its recipients. For
    /// `authorized_mailq_users`.
    List {
        /// Which queues.
        queues: Queues,
    },
    /// `postsuper`. For the superuser. Each message that was changed is answered.
    Operate {
        /// What to do.
        operation: Operation,
        /// In which queues.
        queues: Queues,
        /// To which messages.
        which: Which,
    },
    /// `postsuper` has asked for all that it was told to do: the counts of this session are logged, and then answered.
    /// For the superuser.
    LogTotals,
    /// `postqueue -f`: everything deferred is due now. For `authorized_flush_users`, like the next two.
    Flush,
    /// `postqueue -i`: this message is due now.
    FlushMessage(QueueId),
    /// `postqueue -s`: what is deferred for this site is due now.
    FlushSite(String),
    /// `postkick public qmgr`. For the superuser.
    Kick(Kick),
    /// `postcat -q`: envelope and content of a message. For the superuser.
    Read(QueueId),
    /// `ringpost why`: what a message waits for. For `authorized_mailq_users`, like the next.
    WhyMessage(QueueId),
    /// `ringpost why`: what the mail for an address or a domain waits for.
    WhyAddress(String),
    /// `ringpost reload`: read the configuration again. For the superuser. A warning for each thing that waits for a
    /// restart, or a line for each error before the refusal.
    Reload,
}

const LIST: u8 = 1;
const OPERATE: u8 = 2;
const FLUSH: u8 = 3;
const FLUSH_MESSAGE: u8 = 4;
const FLUSH_SITE: u8 = 5;
const KICK: u8 = 6;
const READ: u8 = 7;
const WHY_MESSAGE: u8 = 8;
const WHY_ADDRESS: u8 = 9;
const LOG_TOTALS: u8 = 10;
const RELOAD: u8 = 11;

impl Request {
    /// Appends the request as a frame. Texts longer than the protocol allows are cut.
    ///
    /// # Panics
    /// Above [`IDS_MAX`] ids.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Request::List { queues } => put_frame(out, LIST, |out| out.push(queues.bits())),
            Request::Operate { operation, queues, which } => put_frame(out, OPERATE, |out| {
                out.extend_from_slice(&[*operation as u8, queues.bits()]);
                match which {
                    Which::All => out.push(0),
                    Which::Ids(ids) => {
                        assert!(ids.len() <= IDS_MAX, "whoever gathers ids sends them in parts");
                        out.push(1);
                        put_number(out, ids.len() as u64);
                        ids.iter().for_each(|id| put_text(out, id.as_str()));
                    }
                }
            }),
            Request::LogTotals => put_frame(out, LOG_TOTALS, |_| ()),
            Request::Reload => put_frame(out, RELOAD, |_| ()),
            Request::Flush => put_frame(out, FLUSH, |_| ()),
            Request::FlushMessage(id) => put_frame(out, FLUSH_MESSAGE, |out| put_text(out, id.as_str())),
            Request::FlushSite(site) => put_frame(out, FLUSH_SITE, |out| put_text(out, site)),
            Request::Kick(kick) => put_frame(out, KICK, |out| out.push(kick.bits())),
            Request::Read(id) => put_frame(out, READ, |out| put_text(out, id.as_str())),
            Request::WhyMessage(id) => put_frame(out, WHY_MESSAGE, |out| put_text(out, id.as_str())),
            Request::WhyAddress(address) => put_frame(out, WHY_ADDRESS, |out| put_text(out, address)),
        }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`Malformed`] for what [`Request::encode`] would not have written.
    pub fn decode(kind: u8, payload: &[u8]) -> Result<Request, Malformed> {
        let mut cursor = Cursor::new(payload, 0);
        let request = match kind {
            LIST => Request::List { queues: queues(&mut cursor)? },
            OPERATE => Request::Operate {
                operation: Operation::from_code(cursor.byte()?).ok_or(Malformed)?,
                queues: queues(&mut cursor)?,
                which: which(&mut cursor)?,
            },
            LOG_TOTALS => Request::LogTotals,
            RELOAD => Request::Reload,
            FLUSH => Request::Flush,
            FLUSH_MESSAGE => Request::FlushMessage(queue_id(&mut cursor)?),
            FLUSH_SITE => Request::FlushSite(cursor.text()?.to_owned()),
            KICK => Request::Kick(Kick::from_bits(cursor.byte()?).ok_or(Malformed)?),
            READ => Request::Read(queue_id(&mut cursor)?),
            WHY_MESSAGE => Request::WhyMessage(queue_id(&mut cursor)?),
            WHY_ADDRESS => Request::WhyAddress(cursor.text()?.to_owned()),
            _ => return Err(Malformed),
        };
        if cursor.left() == 0 { Ok(request) } else { Err(Malformed) }
    }
}

fn queues(cursor: &mut Cursor<'_>) -> Result<Queues, Malformed> {
    Queues::from_bits(cursor.byte()?).ok_or(Malformed)
}

fn which(cursor: &mut Cursor<'_>) -> Result<Which, Malformed> {
    match cursor.byte()? {
        0 => Ok(Which::All),
        1 => {
            let count = cursor.number_up_to(IDS_MAX as u64)?;
            (0..count).map(|_| queue_id(cursor)).collect::<Result<Vec<_>, _>>().map(Which::Ids)
        }
        _ => Err(Malformed),
    }
}

pub(super) fn queue_id(cursor: &mut Cursor<'_>) -> Result<QueueId, Malformed> {
    QueueId::parse(cursor.text()?.as_bytes()).map(|(id, _)| id).ok_or(Malformed)
}
