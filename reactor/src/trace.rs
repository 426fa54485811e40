//! An ordered record of what was handed to the kernel and what came back, one text line each, for tests and inquiries.
//!
//! ```text
//! 17 open file=3 path="/spool/segment-000001.log" direct=true
//! 18 submit write slot=4 file=3 offset=8192 bytes=4096
//! 19 submit fdatasync slot=4 file=3 offset=0 bytes=0
//! 20 complete write slot=4 file=3 result=4096
//! 21 complete fdatasync slot=4 file=3 result=0
//! 22 submit send slot=9 file=7 offset=0 bytes=36 text="250 2.0.0 Ok: queued as ..."
//! ```
//!
//! A line `submit` is written when the operation is put into the submission queue, so *before* the kernel sees it; a
//! line `complete` when its completion has been reaped, so *after* the kernel did it. If A's `complete` stands before
//! B's `submit`, A was done before B began. Operations that share a slot are linked: the second begins after the
//! first has succeeded. The slot's number may be used again after its last completion.
//!
//! **On failure**: a trace that cannot be written ends there; [`Figures::trace_lost`](crate::Figures) counts the lines.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
};

/// Bytes of a send that the trace shows.
const TEXT_BYTES_MAX: usize = 64;

/// What an operation does; the word in the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Accept,
    Append,
    Bell,
    Cancel,
    Close,
    Connect,
    Fdatasync,
    Read,
    Recv,
    RecvMsg,
    Send,
    SendMsg,
    SendTo,
    Shutdown,
    Write,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Accept => "accept",
            Kind::Append => "append",
            Kind::Bell => "bell",
            Kind::Cancel => "cancel",
            Kind::Close => "close",
            Kind::Connect => "connect",
            Kind::Fdatasync => "fdatasync",
            Kind::Read => "read",
            Kind::Recv => "recv",
            Kind::RecvMsg => "recvmsg",
            Kind::Send => "send",
            Kind::SendMsg => "sendmsg",
            Kind::SendTo => "sendto",
            Kind::Shutdown => "shutdown",
            Kind::Write => "write",
        }
    }
}

pub(crate) struct Trace {
    file: BufWriter<File>,
    line: String,
    sequence: u64,
    lost: u64,
}

impl Trace {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: BufWriter::new(File::create(path)?), line: String::new(), sequence: 0, lost: 0 })
    }

    /// Lines that could not be written.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    pub(crate) fn open(&mut self, file: u64, path: &Path, direct: bool) {
        self.line(format_args!("open file={file} path={path:?} direct={direct}"), None);
    }

    pub(crate) fn submit(
        &mut self,
        kind: Kind,
        slot: u64,
        file: u64,
        offset: u64,
        bytes: usize,
        text: Option<&[u8]>,
    ) {
        let name = kind.name();
        self.line(
            format_args!("submit {name} slot={slot} file={file} offset={offset} bytes={bytes}"),
            text.map(|text| &text[..text.len().min(TEXT_BYTES_MAX)]),
        );
    }

    pub(crate) fn complete(&mut self, kind: Kind, slot: u64, file: u64, result: i32, more: bool) {
        let (name, more) = (kind.name(), if more { " more" } else { "" });
        self.line(format_args!("complete {name} slot={slot} file={file} result={result}{more}"), None);
    }

    /// Hands the lines to the operating system; called once a turn.
    pub(crate) fn flush(&mut self) {
        if self.lost == 0 && self.file.flush().is_err() {
            self.lost += 1;
        }
    }

    fn line(&mut self, what: std::fmt::Arguments<'_>, text: Option<&[u8]>) {
        self.line.clear();
        let mut formatted = write!(self.line, "{} {what}", self.sequence);
        if let Some(text) = text {
            formatted = formatted.and_then(|()| write!(self.line, " text=\"{}\"", text.escape_ascii()));
        }
        self.line.push('\n');
        self.sequence += 1;
        if self.lost > 0 || formatted.is_err() || self.file.write_all(self.line.as_bytes()).is_err() {
            self.lost += 1;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_cut_at_64_bytes() {
        let path = std::env::temp_dir().join(format!("ringpost-reactor-trace-{}", std::process::id()));
        let mut trace = Trace::create(&path).unwrap();
        let mut text = b"250 2.0.0 Ok \"x\"\r\n".to_vec();
        text.resize(100, b'y');
        trace.submit(Kind::Send, 1, 2, 0, text.len(), Some(&text));
        trace.complete(Kind::Recv, 3, 4, 5, true);
        trace.flush();
        let written = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let ys = "y".repeat(64 - 18);
        assert_eq!(
            written,
            format!(
                "0 submit send slot=1 file=2 offset=0 bytes=100 text=\"250 2.0.0 Ok \\\"x\\\"\\r\\n{ys}\"\n\
                 1 complete recv slot=3 file=4 result=5 more\n"
            )
        );
        assert_eq!(trace.lost(), 0);
    }
}
