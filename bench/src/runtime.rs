//! The runtime of origin and client: one thread, io_uring with the cheapest flags the kernel takes, else epoll.

use std::io;

use anyhow::{Context, Result};
use core_affinity::CoreId;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

/// Queue entries: more than the operations that 512 connections and their origin side have in flight.
const RING_ENTRIES: u32 = 4096;

/// Runs `main` to its end on this thread.
///
/// # Errors
/// No driver could be built, or what `main` answers.
pub(crate) fn block_on<T>(main: impl AsyncFnOnce() -> Result<T>) -> Result<T> {
    for flags in [RingFlags::DeferTaskrun, RingFlags::CoopTaskrun, RingFlags::None] {
        if let Ok(mut runtime) = ring(flags).build() {
            return runtime.block_on(main());
        }
    }
    let mut runtime = epoll().build().context("neither an io_uring nor an epoll driver can be built")?;
    runtime.block_on(main())
}

/// Pins this thread, and with it every process it starts from now on.
///
/// # Errors
/// The core does not exist or is not allowed to this process.
pub(crate) fn pin(core: usize) -> Result<()> {
    if core_affinity::set_for_current(CoreId { id: core }) {
        return Ok(());
    }
    Err(io::Error::last_os_error()).with_context(|| format!("cannot pin to core {core}"))
}

#[derive(Clone, Copy)]
enum RingFlags {
    DeferTaskrun,
    CoopTaskrun,
    None,
}

fn ring(flags: RingFlags) -> RuntimeBuilder<monoio::time::TimeDriver<IoUringDriver>> {
    let mut builder = io_uring::IoUring::builder();
    builder.setup_cqsize(RING_ENTRIES * 4);
    match flags {
        RingFlags::DeferTaskrun => builder.setup_single_issuer().setup_defer_taskrun(),
        RingFlags::CoopTaskrun => builder.setup_coop_taskrun(),
        RingFlags::None => &mut builder,
    };
    RuntimeBuilder::<IoUringDriver>::new().uring_builder(builder).with_entries(RING_ENTRIES).enable_timer()
}

fn epoll() -> RuntimeBuilder<monoio::time::TimeDriver<LegacyDriver>> {
    RuntimeBuilder::<LegacyDriver>::new().enable_timer()
}
