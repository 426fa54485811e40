//! The public face ahead of its filling.
use crate::*;
use bytes::Bytes;
use std::{
    future::Future,
    io,
    marker::PhantomData,
    net::SocketAddr,
    ops::Deref,
    path::{Path, PathBuf},
    rc::Rc,
    time::Duration,
};

type NotSend = PhantomData<Rc<()>>;

pub(crate) fn unfilled() -> ! {
    panic!("this part of the reactor has not landed yet")
}

/// How a reactor is set up.
#[derive(Clone, Debug)]
pub struct ReactorOptions {
    /// Entries of the submission queue; rounded up to a power of two.
    pub ring_entries: u32,
    /// Receive buffers shared by all streams; a power of two, at most 32,768.
    pub buffer_count: u16,
    /// Bytes of each receive buffer.
    pub buffer_bytes: u32,
    /// The core to pin the thread to.
    pub core: Option<usize>,
    /// Write every submission and completion to this file.
    pub trace: Option<PathBuf>,
}
impl Default for ReactorOptions {
    fn default() -> Self {
        Self { ring_entries: 1024, buffer_count: 512, buffer_bytes: 8192, core: None, trace: None }
    }
}
/// Why a reactor cannot start.
#[derive(Debug)]
pub struct StartError;
impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reactor cannot start")
    }
}
impl std::error::Error for StartError {}
/// The reactor of this thread.
pub struct Reactor(NotSend);
impl Reactor {
    /// Sets up the ring on this thread.
    pub fn start(_: ReactorOptions) -> Result<Reactor, StartError> {
        unfilled()
    }
    /// A handle for tasks.
    pub fn handle(&self) -> Handle {
        unfilled()
    }
    /// A handle for other threads.
    pub fn remote(&self) -> Remote {
        unfilled()
    }
    /// Runs until `root` ends, then cancels and reaps everything.
    pub fn run<F: Future>(self, _root: F) -> F::Output {
        unfilled()
    }
}
/// Wakes a reactor from other threads.
#[derive(Clone, Debug)]
pub struct Remote(());
impl Remote {
    /// Makes the reactor take a turn and resolves its tasks' [`Handle::woken`].
    pub fn wake(&self) {
        unfilled()
    }
}
/// Counts since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Turns of the loop.
    pub turns: u64,
    /// Operations submitted.
    pub submissions: u64,
    /// Completions reaped.
    pub completions: u64,
    /// Receives that found no buffer.
    pub enobufs: u64,
    /// Operations now in flight whose future was dropped.
    pub orphans: u64,
}
/// What tasks use.
#[derive(Clone)]
pub struct Handle(NotSend);
#[allow(missing_docs)]
impl Handle {
    pub fn spawn(&self, _future: impl Future<Output = ()> + 'static) {
        unfilled()
    }
    pub fn now(&self) -> Moment {
        unfilled()
    }
    pub fn wall(&self) -> WallTime {
        unfilled()
    }
    pub async fn sleep(&self, _wait: Duration) {
        unfilled()
    }
    pub async fn sleep_until(&self, _moment: Moment) {
        unfilled()
    }
    pub async fn timeout<F: Future>(&self, _wait: Duration, _future: F) -> Result<F::Output, Elapsed> {
        unfilled()
    }
    pub async fn yield_now(&self) {
        unfilled()
    }
    pub async fn end_of_turn(&self) {
        unfilled()
    }
    pub async fn woken(&self) {
        unfilled()
    }
    pub fn figures(&self) -> Figures {
        unfilled()
    }
    pub fn remote(&self) -> Remote {
        unfilled()
    }
    pub fn listen(&self, _endpoint: &Endpoint, _options: &ListenOptions) -> io::Result<Listener> {
        unfilled()
    }
    pub async fn connect(&self, _endpoint: &Endpoint, _options: &ConnectOptions) -> io::Result<Stream> {
        unfilled()
    }
    pub fn adopt(&self, _passed: PassedStream) -> Stream {
        unfilled()
    }
    pub fn udp(&self, _bind: SocketAddr) -> io::Result<UdpSocket> {
        unfilled()
    }
    pub fn open_log(&self, _path: &Path, _mode: LogMode) -> io::Result<LogFile> {
        unfilled()
    }
    pub fn open_append(&self, _path: &Path) -> io::Result<AppendFile> {
        unfilled()
    }
}
/// Accepts connections.
pub struct Listener(NotSend);
#[allow(missing_docs)]
impl Listener {
    pub async fn accept(&self) -> io::Result<Stream> {
        unfilled()
    }
    pub fn pause(&self) {
        unfilled()
    }
    pub fn resume(&self) {
        unfilled()
    }
    pub fn local_endpoint(&self) -> &Endpoint {
        unfilled()
    }
}
/// A connected stream socket.
pub struct Stream(NotSend);
#[allow(missing_docs)]
impl Stream {
    pub async fn recv(&self) -> io::Result<Chunk> {
        unfilled()
    }
    pub fn try_recv(&self) -> Option<io::Result<Chunk>> {
        unfilled()
    }
    pub async fn send(&self, _bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        unfilled()
    }
    pub async fn send_vectored(&self, _pieces: Vec<Bytes>) -> io::Result<()> {
        unfilled()
    }
    pub fn peer(&self) -> &Endpoint {
        unfilled()
    }
    pub fn local(&self) -> io::Result<Endpoint> {
        unfilled()
    }
    pub fn pass(self) -> PassedStream {
        unfilled()
    }
}
/// Received bytes, on loan from the reactor's buffers; empty at the end of the stream.
pub struct Chunk(NotSend);
impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        unfilled()
    }
}
/// A connection on its way to another shard.
#[derive(Debug)]
pub struct PassedStream(());
/// A UDP socket.
pub struct UdpSocket(NotSend);
#[allow(missing_docs)]
impl UdpSocket {
    pub async fn send_to(&self, _bytes: Vec<u8>, _to: SocketAddr) -> (io::Result<()>, Vec<u8>) {
        unfilled()
    }
    pub async fn recv_from(&self) -> io::Result<(Vec<u8>, SocketAddr)> {
        unfilled()
    }
    pub fn local(&self) -> io::Result<SocketAddr> {
        unfilled()
    }
}
/// How a log file is opened.
#[derive(Clone, Copy, Debug)]
pub struct LogMode {
    /// Create the file; it must not exist.
    pub create: bool,
    /// Go around the page cache where the file system allows it.
    pub direct: bool,
}
/// A file of aligned blocks.
pub struct LogFile(NotSend);
#[allow(missing_docs)]
impl LogFile {
    pub fn is_direct(&self) -> bool {
        unfilled()
    }
    pub async fn write_durable(
        &self,
        _offset: u64,
        _buffer: AlignedBuffer,
    ) -> (io::Result<()>, AlignedBuffer) {
        unfilled()
    }
    pub async fn write_at(&self, _offset: u64, _buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer) {
        unfilled()
    }
    /// Fills the buffer's capacity, less at the end of the file; the buffer's length says how much.
    pub async fn read_at(&self, _offset: u64, _buffer: AlignedBuffer) -> (io::Result<()>, AlignedBuffer) {
        unfilled()
    }
    pub async fn sync_data(&self) -> io::Result<()> {
        unfilled()
    }
    pub async fn zero_fill(&self, _total_bytes: u64) -> io::Result<()> {
        unfilled()
    }
    pub fn len(&self) -> io::Result<u64> {
        unfilled()
    }
}
/// A file that lines are appended to.
pub struct AppendFile(NotSend);
#[allow(missing_docs)]
impl AppendFile {
    pub async fn write(&self, _bytes: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
        unfilled()
    }
    pub async fn sync_data(&self) -> io::Result<()> {
        unfilled()
    }
}
