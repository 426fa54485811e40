//! The commands' side of the control socket: one blocking connection.

use std::fmt;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use ringpost_core::control::{
    Answer, FRAME_HEADER_BYTES, FrameHeader, PREAMBLE, PREAMBLE_BYTES, Refusal, Request, speaks_our_version,
};

use super::answering::Reply;
use super::with_short_path;

/// A connection to the engine.
pub struct Connection {
    reader: BufReader<UnixStream>,
    payload: Vec<u8>,
}

/// Why a request was not answered to its end.
#[derive(Debug)]
pub enum ControlError {
    /// No engine listens.
    Down,
    /// The socket may not be reached.
    Denied(io::Error),
    /// The engine is of another version, or does not keep to the protocol.
    Protocol,
    /// The connection broke off: the engine stopped.
    Lost(io::Error),
    /// The engine says no.
    Refused(Refusal, String),
    /// What the caller did with an answer failed.
    Output(io::Error),
    /// Nobody answers, and yet a process has the queue: it is starting or ending, or hangs.
    InUse(String),
    /// The files of the queue cannot be read or changed.
    Queue(String),
}

impl fmt::Display for ControlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ControlError::Down => f.write_str("mail system is down"),
            ControlError::Denied(error) => write!(f, "connect to the control socket: {error}"),
            ControlError::Protocol => f.write_str("malformed answer of the mail system"),
            ControlError::Lost(error) => write!(f, "the mail system broke off: {error}"),
            ControlError::Refused(_, text) => f.write_str(text),
            ControlError::Output(error) => write!(f, "output write error: {error}"),
            ControlError::InUse(text) => write!(f, "the mail system does not answer, but {text}"),
            ControlError::Queue(text) => write!(f, "cannot use the queue: {text}"),
        }
    }
}

impl std::error::Error for ControlError {}

impl Connection {
    /// Connects to the engine that has this queue directory.
    pub fn open(queue_directory: &Path) -> Result<Connection, ControlError> {
        let stream = with_short_path(queue_directory, |path| UnixStream::connect(path));
        let stream = stream.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => ControlError::Denied(error),
            _ => ControlError::Down,
        })?;
        let mut connection = Connection { reader: BufReader::new(stream), payload: Vec::new() };
        connection.write(&PREAMBLE)?;
        let mut preamble = [0; PREAMBLE_BYTES];
        connection.reader.read_exact(&mut preamble).map_err(ControlError::Lost)?;
        if speaks_our_version(&preamble) { Ok(connection) } else { Err(ControlError::Protocol) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ControlError> {
        self.reader.get_mut().write_all(bytes).map_err(ControlError::Lost)
    }

    /// Asks, calls `each` with every answer but the last, and returns the count of that.
    pub fn request(
        &mut self,
        request: &Request,
        mut each: impl FnMut(Answer<'_>) -> io::Result<()>,
    ) -> Result<u64, ControlError> {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        // An engine that has no room for us says so and closes: its refusal is read even if the writing failed.
        let written = self.write(&bytes);
        loop {
            match read_answer(&mut self.reader, &mut self.payload) {
                Ok(Answer::End(count)) => return Ok(count),
                Ok(Answer::Refused(refusal, text)) => {
                    return Err(ControlError::Refused(refusal, text.to_owned()));
                }
                Ok(answer) => each(answer).map_err(ControlError::Output)?,
                Err(error) => {
                    written?;
                    return Err(error);
                }
            }
        }
    }
}

/// Calls `each` with the answers that a reply holds, and empties it.
pub(super) fn pass_on(
    reply: &mut Reply,
    each: &mut impl FnMut(Answer<'_>) -> io::Result<()>,
) -> Result<(), ControlError> {
    let (mut rest, mut payload) = (&reply.bytes[..], Vec::new());
    while !rest.is_empty() {
        each(read_answer(&mut rest, &mut payload)?).map_err(ControlError::Output)?;
    }
    reply.bytes.clear();
    Ok(())
}

/// The next answer of a stream of them; `payload` is memory for it.
fn read_answer<'a>(reader: &mut impl Read, payload: &'a mut Vec<u8>) -> Result<Answer<'a>, ControlError> {
    let mut header = [0; FRAME_HEADER_BYTES];
    reader.read_exact(&mut header).map_err(ControlError::Lost)?;
    let header = FrameHeader::read(&header).map_err(|_| ControlError::Protocol)?;
    payload.resize(header.payload_bytes, 0);
    reader.read_exact(payload).map_err(ControlError::Lost)?;
    Answer::decode(header.kind, payload).map_err(|_| ControlError::Protocol)
}
