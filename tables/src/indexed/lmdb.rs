//! `FILE.lmdb`: reading LMDB's B+tree (data version 1, 64-bit little-endian), as Postfix and liblmdb 0.9 write it.
//!
//! ```text
//! page   number u64, pad u16, flags u16 (branch 1, leaf 2, overflow 4, meta 8), lower u16, upper u16 | pages u32
//!        then from byte 16 the offsets of its nodes, u16 each, up to `lower`
//! node   lo u16, hi u16, flags u16, key bytes u16, key, then in a leaf the data (lo | hi << 16 bytes, or with flag 1
//!        the number of its first overflow page, u64); in a branch lo | hi << 16 | flags << 32 is the child's page
//! meta   (pages 0 and 1, byte 16 on) magic u32, version u32, address u64, map size u64, then two trees of 48 bytes (free
//!        pages; ours): pad u32 (the first tree's: page size), flags u16, depth u16, three counts u64, entries u64,
//!        root u64; then last page u64, transaction u64
//! ```
//!
//! Each lookup takes the newer meta page as it is then, so what liblmdb writes into the same file is seen; pages of that
//! state are not written again before two more transactions, and what is read is checked anyway.

use std::cmp::Ordering;
use std::hint::select_unpredictable;

use ringpost_reactor::MappedFile;

use super::{Damaged, EachEntry, EachError, slice, u16_at, u32_at, u64_at};

pub(super) const MAGIC: u32 = 0xBEEF_C0DE;
pub(super) const VERSION: u32 = 1;
pub(super) const PAGE_HEADER_BYTES: u64 = 16;
pub(super) const NODE_HEADER_BYTES: u64 = 8;
pub(super) const BRANCH: u16 = 1;
pub(super) const LEAF: u16 = 2;
pub(super) const OVERFLOW: u16 = 4;
pub(super) const META: u16 = 8;
pub(super) const BIG_DATA: u16 = 1;
/// Duplicates and sub-databases, which no lookup table has.
const STRANGE: u16 = 2 | 4;
pub(super) const NO_PAGE: u64 = u64::MAX;
/// A tree of 4 KiB pages with two keys on each is not deeper than this below 16 TiB.
const DEPTH_MAX: usize = 32;

/// An open file.
#[derive(Debug)]
pub(super) struct Reader {
    file: MappedFile,
    page_bytes: u64,
    /// What follows each key: a NUL, or nothing.
    ending: &'static [u8],
}

/// What of a meta page a lookup needs.
struct Meta {
    transaction: u64,
    root: u64,
}

/// A page that was checked to lie in the file.
#[derive(Clone, Copy)]
struct Page<'a> {
    bytes: &'a [u8],
    is_leaf: bool,
    nodes: u64,
}

impl Reader {
    pub(super) fn of(file: MappedFile) -> Result<Reader, Damaged> {
        let page_bytes = u64::from(u32_at(file.bytes(), PAGE_HEADER_BYTES + 24)?);
        if !page_bytes.is_power_of_two() || !(512..=65_536).contains(&page_bytes) {
            return Err(Damaged("it is no LMDB file"));
        }
        let mut reader = Reader { file, page_bytes, ending: b"\0" };
        if reader.first_key()?.is_some_and(|key| key.last() != Some(&0)) {
            reader.ending = b"";
        }
        Ok(reader)
    }

    /// The smallest key, as it is stored.
    fn first_key(&self) -> Result<Option<&[u8]>, Damaged> {
        let mut number = self.meta()?.root;
        if number == NO_PAGE {
            return Ok(None);
        }
        for _ in 0..DEPTH_MAX {
            let page = self.page(number)?;
            if page.is_leaf {
                return page.key(0).map(Some);
            }
            number = page.child(0)?;
        }
        Err(Damaged("its tree is too deep"))
    }

    pub(super) fn file(&self) -> &MappedFile {
        &self.file
    }

    fn meta(&self) -> Result<Meta, Damaged> {
        let read = |page: u64| {
            let bytes = slice(self.file.bytes(), page * self.page_bytes + PAGE_HEADER_BYTES, 136)?;
            if u32_at(bytes, 0)? != MAGIC {
                return Err(Damaged("it is no LMDB file"));
            }
            if u32_at(bytes, 4)? != VERSION {
                return Err(Damaged("it is of another version of LMDB"));
            }
            Ok(Meta { root: u64_at(bytes, 72 + 40)?, transaction: u64_at(bytes, 128)? })
        };
        let (first, second) = (read(0)?, read(1)?);
        Ok(if first.transaction > second.transaction { first } else { second })
    }

    /// The last transaction: what it left behind stays so until the next one.
    pub(super) fn version(&self) -> Option<u64> {
        self.meta().ok().map(|meta| meta.transaction)
    }

    fn page(&self, number: u64) -> Result<Page<'_>, Damaged> {
        let at = number.checked_mul(self.page_bytes).ok_or(Damaged("a page lies outside"))?;
        let bytes = slice(self.file.bytes(), at, self.page_bytes)?;
        let flags = u16_at(bytes, 10)?;
        let lower = u64::from(u16_at(bytes, 12)?);
        let is_leaf = match flags & (BRANCH | LEAF | OVERFLOW | META) {
            LEAF => true,
            BRANCH => false,
            _ => return Err(Damaged("a page is of another kind than its place")),
        };
        if lower < PAGE_HEADER_BYTES || lower > self.page_bytes {
            return Err(Damaged("a page's bounds are wrong"));
        }
        Ok(Page { bytes, is_leaf, nodes: (lower - PAGE_HEADER_BYTES) / 2 })
    }

    pub(super) fn find(&self, key: &[u8]) -> Result<Option<Box<[u8]>>, Damaged> {
        let mut number = self.meta()?.root;
        if number == NO_PAGE {
            return Ok(None);
        }
        for _ in 0..DEPTH_MAX {
            let page = self.page(number)?;
            // The last node whose key is not after ours. The first one of a branch has no key and is never looked at: it
            // stands for all keys before the second's. Which half it is cannot be foreseen, so nothing branches on it.
            let (mut node, mut nodes) = (0, page.nodes);
            while nodes > 1 {
                let middle = node + nodes / 2;
                let is_after = compare(page.key(middle)?, key, self.ending) == Ordering::Greater;
                node = select_unpredictable(is_after, node, middle);
                nodes -= nodes / 2;
            }
            match (page.is_leaf, nodes) {
                (true, 0) => return Ok(None),
                (true, _) => {
                    let is_it = compare(page.key(node)?, key, self.ending) == Ordering::Equal;
                    return if is_it { self.value(page, node).map(Some) } else { Ok(None) };
                }
                (false, 0) => return Err(Damaged("a branch is empty")),
                (false, _) => number = page.child(node)?,
            }
        }
        Err(Damaged("its tree is too deep"))
    }

    fn value(&self, page: Page<'_>, node: u64) -> Result<Box<[u8]>, Damaged> {
        let at = page.node(node)?;
        let bytes = u64::from(u16_at(page.bytes, at)?) | u64::from(u16_at(page.bytes, at + 2)?) << 16;
        let flags = u16_at(page.bytes, at + 4)?;
        let data_at = at + NODE_HEADER_BYTES + u64::from(u16_at(page.bytes, at + 6)?);
        let data = match flags {
            0 => slice(page.bytes, data_at, bytes)?,
            BIG_DATA => {
                let first = u64_at(page.bytes, data_at)?;
                let start = first.checked_mul(self.page_bytes).ok_or(Damaged("a page lies outside"))?;
                slice(self.file.bytes(), start.saturating_add(PAGE_HEADER_BYTES), bytes)?
            }
            _ if flags & STRANGE != 0 => return Err(Damaged("it is no lookup table")),
            _ => return Err(Damaged("a node is of no known kind")),
        };
        Ok(data.strip_suffix(b"\0").unwrap_or(data).into())
    }

    pub(super) fn each(&self, each: EachEntry<'_>) -> Result<(), EachError> {
        match self.meta()?.root {
            NO_PAGE => Ok(()),
            root => self.each_below(root, DEPTH_MAX, each),
        }
    }

    fn each_below(&self, number: u64, depth_left: usize, each: EachEntry<'_>) -> Result<(), EachError> {
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return Err(Damaged("its tree is too deep").into());
        };
        let page = self.page(number)?;
        for node in 0..page.nodes {
            if page.is_leaf {
                let key = page.key(node)?;
                each(key.strip_suffix(b"\0").unwrap_or(key), &self.value(page, node)?)?;
            } else {
                self.each_below(page.child(node)?, depth_left, each)?;
            }
        }
        Ok(())
    }
}

impl<'a> Page<'a> {
    fn node(&self, node: u64) -> Result<u64, Damaged> {
        u16_at(self.bytes, PAGE_HEADER_BYTES + 2 * node).map(u64::from)
    }

    fn key(&self, node: u64) -> Result<&'a [u8], Damaged> {
        let at = self.node(node)?;
        slice(self.bytes, at + NODE_HEADER_BYTES, u64::from(u16_at(self.bytes, at + 6)?))
    }

    fn child(&self, node: u64) -> Result<u64, Damaged> {
        let at = self.node(node)?;
        let part = |offset| u16_at(self.bytes, at + offset).map(u64::from);
        Ok(part(0)? | part(2)? << 16 | part(4)? << 32)
    }
}

/// Compares a stored key with `key` followed by `ending`, as LMDB does: by bytes, the shorter first.
fn compare(stored: &[u8], key: &[u8], ending: &[u8]) -> Ordering {
    match stored.split_at_checked(key.len()) {
        Some((head, tail)) => head.cmp(key).then_with(|| tail.cmp(ending)),
        None => stored.cmp(key),
    }
}
