//! The only module that names monoio, with what its release 0.2.4 needs of care.
//!
//! - A future with an operation in flight is never dropped, unless its connection dies with it: a dropped read loses
//!   bytes, a dropped accept leaks a descriptor. To cancel, the socket is shut down and the operation awaited.
//!   [`Stream::readable`](TcpListener::readable) and connecting may be dropped.
//! - Nothing yields by waking itself: that starves timers and sockets. See [`yield_now`].
//! - Sockets are blocking under io_uring and non-blocking under epoll: [`prepare`].
//! - The ring is built with a completion queue that in-flight operations cannot overflow, and in its own thread.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::task::Poll;

use monoio::io::{OwnedReadHalf, OwnedWriteHalf, Splitable};
use monoio::time::TimeDriver;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use ringress_shared::command::{DriverReport, IoDriver};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::SendFlags;

pub(crate) use monoio::buf::{IoBuf, IoBufMut};
pub(crate) use monoio::io::{AsyncReadRent, AsyncWriteRent};
pub(crate) use monoio::net::UnixStream;
pub(crate) use monoio::time::{Sleep, sleep, timeout};

use crate::kernel::Kernel;

/// The half of a connection that reads.
pub(crate) type ReadHalf = OwnedReadHalf<monoio::net::TcpStream>;
/// The half of a connection that writes.
pub(crate) type WriteHalf = OwnedWriteHalf<monoio::net::TcpStream>;

/// What the operator asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DriverChoice {
    /// io_uring where the kernel is known to be good at it and lets us, else epoll.
    #[default]
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// epoll.
    Epoll,
}

/// A runtime on one of the rungs.
pub(crate) enum Runtime {
    Ring(Box<monoio::Runtime<TimeDriver<IoUringDriver>>>),
    Epoll(Box<monoio::Runtime<TimeDriver<LegacyDriver>>>),
}

/// One rung of the ladder: queue sizes and flags.
#[derive(Debug, Clone, Copy)]
struct Rung {
    submissions: u32,
    completions: u32,
    flags: Flags,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flags {
    /// ≥ 6.1: completions are run when we ask, by the only thread that submits.
    Defer,
    /// ≥ 5.19: no interrupts into our thread.
    Coop,
    None,
}

/// From the best to the smallest. Whether a kernel or a memory limit takes a rung is tried, never assumed.
const LADDER: [Rung; 5] = [
    Rung { submissions: 4096, completions: 65_536, flags: Flags::Defer },
    Rung { submissions: 4096, completions: 65_536, flags: Flags::Coop },
    Rung { submissions: 4096, completions: 65_536, flags: Flags::None },
    Rung { submissions: 1024, completions: 8192, flags: Flags::None },
    Rung { submissions: 256, completions: 2048, flags: Flags::None },
];

/// What one client's connection can have in flight: reading and writing, here and towards its endpoint. A completion queue
/// that overflows makes monoio spin.
const OPERATIONS_PER_CONNECTION: u32 = 4;

/// Builds the runtime of the calling thread.
///
/// # Errors
/// Where io_uring is asked for and refused, and where not even epoll can be had.
pub(crate) fn build(choice: DriverChoice) -> io::Result<(Runtime, DriverReport)> {
    match choice {
        DriverChoice::Epoll => build_epoll("asked for".to_owned()),
        DriverChoice::IoUring => climb_down().map_err(|reason| {
            io::Error::other(format!("io_uring is refused: {reason}; use --io-driver auto or epoll"))
        }),
        DriverChoice::Auto => match Kernel::running().may_have_a_ring().and_then(|()| climb_down()) {
            Ok(built) => Ok(built),
            Err(reason) => build_epoll(reason),
        },
    }
}

fn climb_down() -> Result<(Runtime, DriverReport), String> {
    let mut refusals = Vec::new();
    for rung in LADDER {
        match rung.build() {
            Ok(runtime) => {
                let report = DriverReport {
                    driver: IoDriver::IoUring,
                    rung: rung.describe(),
                    reason: refusals.join("; "),
                    connections_max: u64::from(rung.completions / OPERATIONS_PER_CONNECTION),
                };
                return Ok((Runtime::Ring(Box::new(runtime)), report));
            }
            // Refused as a call, not as a size or a flag: no rung below is taken either.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS)) => {
                return Err(error.to_string());
            }
            Err(error) => refusals.push(format!("{}: {error}", rung.describe())),
        }
    }
    Err(refusals.join("; "))
}

fn build_epoll(reason: String) -> io::Result<(Runtime, DriverReport)> {
    let runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
    let report =
        DriverReport { driver: IoDriver::Epoll, rung: "epoll".to_owned(), reason, connections_max: u64::MAX };
    Ok((Runtime::Epoll(Box::new(runtime)), report))
}

impl Rung {
    fn build(self) -> io::Result<monoio::Runtime<TimeDriver<IoUringDriver>>> {
        let mut ring = io_uring::IoUring::builder();
        ring.setup_cqsize(self.completions);
        match self.flags {
            Flags::Defer => drop(ring.setup_single_issuer().setup_defer_taskrun()),
            Flags::Coop => drop(ring.setup_coop_taskrun()),
            Flags::None => {}
        }
        RuntimeBuilder::<IoUringDriver>::new()
            .with_entries(self.submissions)
            .uring_builder(ring)
            .enable_timer()
            .build()
    }

    fn describe(self) -> String {
        let flags = match self.flags {
            Flags::Defer => "single_issuer+defer_taskrun",
            Flags::Coop => "coop_taskrun",
            Flags::None => "no flags",
        };
        format!("sq {} cq {} {flags}", self.submissions, self.completions)
    }
}

impl Runtime {
    /// Runs a future to its end on this thread.
    pub(crate) fn block_on<F: Future>(&mut self, future: F) -> F::Output {
        match self {
            Self::Ring(runtime) => runtime.block_on(future),
            Self::Epoll(runtime) => runtime.block_on(future),
        }
    }
}

/// Runs a task of its own on this shard; a panic in it reaches `on_panic` and nobody else.
pub(crate) fn spawn_guarded(
    task: impl Future<Output = ()> + 'static,
    on_panic: impl FnOnce(String) + 'static,
) {
    // Dropping the handle detaches the task.
    drop(monoio::spawn(async move {
        if let Err(message) = catch_panic(task).await {
            on_panic(message);
        }
    }));
}

async fn catch_panic<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    std::future::poll_fn(move |context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic_message(panic.as_ref()))),
        }
    })
    .await
}

/// The text of a panic.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}

thread_local! {
    /// A socket that is always readable. Never closed: its thread ends with the process.
    static READY: std::cell::OnceCell<&'static UnixStream> = const { std::cell::OnceCell::new() };
}

/// Lets other tasks, sockets and timers have their turn.
///
/// Under io_uring that takes a real wait: completions are reaped when the loop parks, and a run queue that never empties
/// keeps it from parking. A poll of a socket that is always ready is the shortest wait there is. Under epoll the same
/// poll would not wait at all; there an empty task at the back of the queue does, since the queue's turn looks at sockets.
pub(crate) async fn yield_now() {
    if monoio::utils::is_legacy() {
        monoio::spawn(async {}).await;
    } else if let Ok(ready) = always_ready() {
        // It cannot fail in a way that matters: the wait is over.
        let _ = ready.readable(false).await;
    }
}

/// Makes what [`yield_now`] waits with, so that a shard's descriptors are all there when it starts.
///
/// # Errors
/// Where no socket pair can be had.
pub(crate) fn prepare_yielding() -> io::Result<()> {
    if monoio::utils::is_legacy() { Ok(()) } else { always_ready().map(drop) }
}

fn always_ready() -> io::Result<&'static UnixStream> {
    READY.with(|cell| {
        if let Some(ready) = cell.get() {
            return Ok(*ready);
        }
        let (ready, mut writer) = std::os::unix::net::UnixStream::pair()?;
        io::Write::write_all(&mut writer, &[1])?;
        let ready: &'static UnixStream = Box::leak(Box::new(UnixStream::from_std(ready)?));
        // The byte stays readable after its writer is gone.
        Ok(*cell.get_or_init(|| ready))
    })
}

/// Polls two futures to their ends, in one task: neither is ever dropped half-way.
pub(crate) async fn join<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut done_a, mut done_b) = (None, None);
    std::future::poll_fn(|context| {
        poll_into(a.as_mut(), &mut done_a, context);
        poll_into(b.as_mut(), &mut done_b, context);
        match (done_a.take(), done_b.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (done_a, done_b) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

fn poll_into<F: Future>(
    future: Pin<&mut F>,
    done: &mut Option<F::Output>,
    context: &mut std::task::Context<'_>,
) {
    if done.is_none()
        && let Poll::Ready(output) = future.poll(context)
    {
        *done = Some(output);
    }
}

/// Sets the blocking mode that the driver of this thread wants.
pub(crate) fn prepare(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_nonblocking(monoio::utils::is_legacy())
}

/// Takes over a connected socket that was accepted, which leaves it blocking: the ring is spared a call.
pub(crate) fn adopt(socket: socket2::Socket) -> io::Result<Halves> {
    if monoio::utils::is_legacy() {
        socket.set_nonblocking(true)?;
    }
    let descriptor = socket.as_raw_fd();
    let stream = monoio::net::TcpStream::from_std(socket.into())?;
    let (reader, writer) = stream.into_split();
    Ok(Halves { descriptor, reader, writer })
}

/// A connection as two halves that one task owns together.
pub(crate) struct Halves {
    pub(crate) descriptor: RawFd,
    pub(crate) reader: ReadHalf,
    pub(crate) writer: WriteHalf,
}

/// Opens a connection. May be dropped.
///
/// # Errors
/// Those of `connect(2)`.
pub(crate) async fn connect(address: SocketAddr) -> io::Result<Halves> {
    let stream = monoio::net::TcpStream::connect_addr(address).await?;
    // Small writes must not wait for acknowledgements; a socket without the option still works.
    let _ = stream.set_nodelay(true);
    let descriptor = stream.as_raw_fd();
    let (reader, writer) = stream.into_split();
    Ok(Halves { descriptor, reader, writer })
}

/// A listening socket. Waiting for it may be dropped; taking connections never waits.
pub(crate) struct TcpListener {
    waits: monoio::net::TcpListener,
    takes: socket2::Socket,
}

impl TcpListener {
    /// Takes a bound, listening socket over.
    pub(crate) fn adopt(socket: socket2::Socket) -> io::Result<Self> {
        // Accepted sockets inherit the option.
        socket.set_tcp_nodelay(true)?;
        let takes = socket.try_clone()?;
        // Taking never waits, on either driver; waiting goes through poll, which does not mind.
        takes.set_nonblocking(true)?;
        Ok(Self { waits: monoio::net::TcpListener::from_std(socket.into())?, takes })
    }

    /// Waits until there may be a connection.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.waits.readable(false).await
    }

    /// Takes a queued connection, or `None` where the queue is empty.
    pub(crate) fn take(&self) -> io::Result<Option<(socket2::Socket, SocketAddr)>> {
        match self.takes.accept() {
            Ok((socket, address)) => Ok(address.as_socket().map(|address| (socket, address))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Borrows a descriptor for an inline system call.
///
/// The caller holds the connection that owns it: halves and descriptor travel together, and a [`Watch`](crate::deadline)
/// forgets the number before its connection is dropped.
#[allow(unsafe_code)]
pub(crate) fn borrow<'c>(descriptor: RawFd) -> BorrowedFd<'c> {
    // SAFETY: the descriptor is open while its connection is alive, see above; no borrow outlives a system call.
    unsafe { BorrowedFd::borrow_raw(descriptor) }
}

/// Shuts a connection down: pending operations end, and are then awaited by whoever started them.
pub(crate) fn shutdown(descriptor: RawFd, how: std::net::Shutdown) {
    // A connection that is gone already needs no shutting down.
    let _ = socket2::SockRef::from(&borrow(descriptor)).shutdown(how);
}

/// Resets a connection: the peer must not take what it got for everything. A close would not do, since monoio's writing
/// half ends the sending direction in order when it is dropped.
pub(crate) fn reset(descriptor: RawFd) {
    // A connection that is gone already needs no resetting.
    let _ = rustix::net::connect_unspec(borrow(descriptor));
}

/// Whether nothing came that nobody asked for: neither bytes nor an end. Takes nothing from the receive queue, and is the
/// cheapest call that sees both.
pub(crate) fn is_quiet(descriptor: RawFd) -> bool {
    events(descriptor, PollFlags::IN | PollFlags::RDHUP).is_ok_and(|events| events.is_empty())
}

/// Sends what there is room for; `None` where there is none. `more` lets the kernel wait a moment for the rest of a packet.
pub(crate) fn send_at_once(descriptor: RawFd, bytes: &[u8], more: bool) -> Option<io::Result<usize>> {
    let mut flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    flags.set(SendFlags::MORE, more);
    match rustix::net::send(borrow(descriptor), bytes, flags) {
        Err(rustix::io::Errno::AGAIN) => None,
        result => Some(result.map_err(io::Error::from)),
    }
}

/// Whether the peer has reset the connection. A peer that only finished sending has not.
pub(crate) fn is_reset(descriptor: RawFd) -> bool {
    events(descriptor, PollFlags::empty())
        .is_ok_and(|events| events.intersects(PollFlags::ERR | PollFlags::HUP))
}

/// What of `wanted` is the case now, and errors.
fn events(descriptor: RawFd, wanted: PollFlags) -> io::Result<PollFlags> {
    let descriptor = borrow(descriptor);
    let mut polled = [PollFd::from_borrowed_fd(descriptor, wanted)];
    poll(&mut polled, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(polled[0].revents())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::clock::Clock;

    /// Every rung that this machine offers.
    fn runtimes() -> Vec<(Runtime, String)> {
        let rungs = LADDER.iter().filter_map(|rung| {
            let runtime = rung.build().ok()?;
            Some((Runtime::Ring(Box::new(runtime)), rung.describe()))
        });
        let (epoll, report) = build(DriverChoice::Epoll).unwrap();
        rungs.chain([(epoll, report.rung)]).collect()
    }

    /// A task that always has something to do, and a hundred turns of a ping-pong beside it.
    fn ping_pong_beside_a_busy_task(runtime: &mut Runtime) -> u32 {
        runtime.block_on(async {
            let busy = Rc::new(Cell::new(true));
            let flag = Rc::clone(&busy);
            spawn_guarded(
                async move {
                    while flag.get() {
                        yield_now().await;
                    }
                },
                |message| panic!("{message}"),
            );
            let (mut ours, mut theirs) = UnixStream::pair().unwrap();
            let echo = monoio::spawn(async move {
                loop {
                    let (read, buffer) = theirs.read(vec![0_u8; 1]).await;
                    if read.unwrap_or(0) == 0 || theirs.write(buffer).await.0.is_err() {
                        return;
                    }
                }
            });
            let until = Clock::now() + Duration::from_secs(5);
            let mut turns = 0;
            while turns < 100 && Clock::now() < until {
                ours.write(vec![1_u8]).await.0.unwrap();
                ours.read(vec![0_u8; 1]).await.0.unwrap();
                turns += 1;
            }
            busy.set(false);
            drop(ours);
            echo.await;
            turns
        })
    }

    #[test]
    fn sockets_advance_beside_a_task_that_always_yields() {
        for (mut runtime, rung) in runtimes() {
            assert_eq!(ping_pong_beside_a_busy_task(&mut runtime), 100, "{rung}");
        }
    }

    #[test]
    fn a_panic_stays_in_its_task() {
        for (mut runtime, rung) in runtimes() {
            let message = runtime.block_on(async {
                let (sender, receiver) = std::sync::mpsc::channel();
                spawn_guarded(async { panic!("on purpose") }, move |message| drop(sender.send(message)));
                sleep(Duration::from_millis(5)).await;
                receiver.try_recv()
            });
            assert_eq!(message.as_deref(), Ok("on purpose"), "{rung}");
        }
    }

    #[test]
    fn connecting_to_nobody_is_refused() {
        let (mut runtime, _) = build(DriverChoice::Auto).unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = runtime.block_on(connect(closed));
        assert_eq!(refused.err().map(|error| error.kind()), Some(io::ErrorKind::ConnectionRefused));
    }
}
