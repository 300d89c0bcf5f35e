//! Buffers of a shard: blocks of four sizes, kept in stacks so that the hottest is used next.
//!
//! A pending read owns its buffer, so what an idle connection waits with is the smallest block. Blocks are zeroed once,
//! when they are made.

use std::cell::RefCell;

use crate::rt::{IoBuf, IoBufMut};

/// The sizes of blocks in bytes.
const SIZES: [usize; 4] = [1_024, 16 * 1_024, 64 * 1_024, 256 * 1_024];
/// Blocks kept of each size; what is given back above that is freed.
const KEPT: [usize; 4] = [4_096, 512, 128, 32];

/// A size of block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Size {
    /// 1 KiB: what an idle connection holds.
    Idle,
    /// 16 KiB
    Small,
    /// 64 KiB
    Large,
    /// 256 KiB
    Bulk,
}

impl Size {
    fn larger(self) -> Option<Self> {
        match self {
            Self::Idle => Some(Self::Small),
            Self::Small => Some(Self::Large),
            Self::Large => Some(Self::Bulk),
            Self::Bulk => None,
        }
    }
}

thread_local! {
    static STACKS: RefCell<[Vec<Box<[u8]>>; 4]> = const { RefCell::new([const { Vec::new() }; 4]) };
}

/// A block with a filled range.
///
/// ```text
/// 0 ........ start ######## end ........ size
///            └─ what was received ┘└ free ┘
/// ```
#[derive(Debug)]
pub(crate) struct Buffer {
    block: Box<[u8]>,
    size: Size,
    start: usize,
    end: usize,
}

impl Buffer {
    /// An empty buffer.
    pub(crate) fn new(size: Size) -> Self {
        let block = STACKS.with_borrow_mut(|stacks| stacks[size as usize].pop());
        let block = block.unwrap_or_else(|| vec![0; SIZES[size as usize]].into_boxed_slice());
        Self { block, size, start: 0, end: 0 }
    }

    /// A placeholder without a block, for the time in which an operation owns the real one.
    pub(crate) fn empty() -> Self {
        Self { block: Box::default(), size: Size::Idle, start: 0, end: 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.block[self.start..self.end]
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Room behind the filled range.
    pub(crate) fn free(&self) -> usize {
        self.block.len() - self.end
    }

    /// The room behind the filled range, to be written and then [`filled`](Self::filled).
    pub(crate) fn tail(&mut self) -> &mut [u8] {
        &mut self.block[self.end..]
    }

    /// `count` bytes of the tail were written.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.block.len());
    }

    /// Forgets bytes at the front.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Makes room for a read: moves the bytes to the front, and into a larger block where that does not help.
    /// Returns whether there is room now.
    pub(crate) fn make_room(&mut self) -> bool {
        if self.free() > 0 {
            return true;
        }
        if self.start > 0 {
            self.block.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            return true;
        }
        self.widen()
    }

    /// Moves the bytes into the next larger block; false where there is none.
    pub(crate) fn widen(&mut self) -> bool {
        let Some(larger) = self.size.larger() else { return false };
        let mut grown = Self::new(larger);
        grown.tail()[..self.len()].copy_from_slice(self.bytes());
        grown.filled(self.len());
        *self = grown;
        true
    }

    /// The same bytes in the smallest block that an idle connection may hold, if they fit.
    pub(crate) fn shrink(&mut self) {
        if self.size > Size::Idle && self.len() <= SIZES[Size::Idle as usize] / 2 {
            let mut small = Self::new(Size::Idle);
            small.tail()[..self.len()].copy_from_slice(self.bytes());
            small.filled(self.len());
            *self = small;
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let block = std::mem::take(&mut self.block);
        let size = self.size as usize;
        // While the thread ends, the stacks may be gone already.
        let _ = STACKS.try_with(|stacks| {
            if let Ok(mut stacks) = stacks.try_borrow_mut()
                && stacks[size].len() < KEPT[size]
                && !block.is_empty()
            {
                stacks[size].push(block);
            }
        });
    }
}

/// Bytes on their way out: a growing text of which a part was sent.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    /// Where to append.
    pub(crate) fn text(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }
}

/// What can be sent in parts.
pub(crate) trait Send: IoBuf {
    /// What is left to send.
    fn left(&self) -> &[u8];
    /// `count` bytes were sent.
    fn sent(&mut self, count: usize);
}

impl Send for Buffer {
    fn left(&self) -> &[u8] {
        self.bytes()
    }

    fn sent(&mut self, count: usize) {
        self.consume(count);
    }
}

impl Send for Outgoing {
    fn left(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn sent(&mut self, count: usize) {
        self.sent = (self.sent + count).min(self.bytes.len());
    }
}

#[allow(unsafe_code)]
// SAFETY: the block is on the heap and stays where it is while the buffer moves; `start..end` is within it and
// initialised. Nothing touches a buffer that an operation owns.
unsafe impl IoBuf for Buffer {
    fn read_ptr(&self) -> *const u8 {
        self.bytes().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

#[allow(unsafe_code)]
// SAFETY: as above; the tail `end..size` is within the block and was zeroed when the block was made.
unsafe impl IoBufMut for Buffer {
    fn write_ptr(&mut self) -> *mut u8 {
        self.tail().as_mut_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        // A read into no room would look exactly like the end of the stream.
        assert!(self.free() > 0, "a read needs room");
        self.free()
    }

    unsafe fn set_init(&mut self, count: usize) {
        self.filled(count);
    }
}

#[allow(unsafe_code)]
// SAFETY: the vector's heap block stays where it is while the owner moves, and nobody appends while an operation owns it.
unsafe impl IoBuf for Outgoing {
    fn read_ptr(&self) -> *const u8 {
        self.left().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.left().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled_with(size: Size, bytes: &[u8]) -> Buffer {
        let mut buffer = Buffer::new(size);
        buffer.tail()[..bytes.len()].copy_from_slice(bytes);
        buffer.filled(bytes.len());
        buffer
    }

    #[test]
    fn bytes_survive_moving_growing_and_shrinking() {
        let mut buffer = filled_with(Size::Idle, &[7; 1_024]);
        assert_eq!(buffer.free(), 0);
        buffer.consume(1_000);
        assert!(buffer.make_room());
        assert_eq!((buffer.bytes(), buffer.size()), (&[7; 24][..], Size::Idle));
        buffer.clear();
        let mut buffer = filled_with(Size::Idle, &[9; 1_024]);
        assert!(buffer.make_room());
        assert_eq!((buffer.len(), buffer.size()), (1_024, Size::Small));
        buffer.consume(1_000);
        buffer.shrink();
        assert_eq!((buffer.bytes(), buffer.size()), (&[9; 24][..], Size::Idle));
    }

    #[test]
    fn the_largest_block_does_not_grow() {
        let mut buffer = filled_with(Size::Bulk, &vec![1; 256 * 1_024]);
        assert!(!buffer.make_room());
    }

    #[test]
    fn sending_in_parts_loses_nothing() {
        let mut out = Outgoing::default();
        out.text().extend_from_slice(b"hello world");
        out.sent(6);
        assert_eq!(out.left(), b"world");
        out.clear();
        assert!(out.left().is_empty());
    }
}
