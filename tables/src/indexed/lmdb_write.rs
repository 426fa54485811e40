//! Writing `FILE.lmdb`: a whole B+tree at once, from sorted entries, leaves first. The bytes are drawn in `lmdb.rs`.

use std::io::{self, Write};

use super::Entries;
use super::lmdb::{
    BIG_DATA, BRANCH, LEAF, MAGIC, META, NO_PAGE, NODE_HEADER_BYTES, OVERFLOW, PAGE_HEADER_BYTES, VERSION,
};

const PAGE_BYTES: usize = 4096;
/// Keys with their NUL; liblmdb's own limit as Debian and most others build it.
const KEY_BYTES_MAX: usize = 511;
/// Nodes larger than this have their data on pages of its own, so that two fit on a page.
const NODE_BYTES_MAX: usize = (PAGE_BYTES - PAGE_HEADER_BYTES as usize) / 2 / 2 * 2 - 2;
/// `lmdb_map_size`: what liblmdb maps at least when it opens the file to write.
const MAP_BYTES_MIN: u64 = 16 << 20;
/// Keys of the tree of free pages are numbers.
const INTEGER_KEYS: u16 = 8;

/// A page while it is filled: offsets from its front, nodes from its back.
struct PageDraft {
    bytes: [u8; PAGE_BYTES],
    lower: usize,
    upper: usize,
}

impl PageDraft {
    fn new(flags: u16) -> PageDraft {
        let mut draft =
            PageDraft { bytes: [0; PAGE_BYTES], lower: PAGE_HEADER_BYTES as usize, upper: PAGE_BYTES };
        draft.put(10, &flags.to_le_bytes());
        draft
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn is_empty(&self) -> bool {
        self.lower == PAGE_HEADER_BYTES as usize
    }

    fn fits(&self, node_bytes: usize) -> bool {
        self.upper - self.lower >= node_bytes.next_multiple_of(2) + 2
    }

    /// Adds a node: the first six bytes of its header, its key, its data, each of several pieces.
    fn add(&mut self, head: [u8; 6], key: &[&[u8]], data: &[&[u8]]) {
        let key_bytes: usize = key.iter().map(|piece| piece.len()).sum();
        let data_bytes: usize = data.iter().map(|piece| piece.len()).sum();
        self.upper -= (NODE_HEADER_BYTES as usize + key_bytes + data_bytes).next_multiple_of(2);
        self.put(self.lower, &(self.upper as u16).to_le_bytes());
        self.lower += 2;
        let mut at = self.upper;
        let size = (key_bytes as u16).to_le_bytes();
        for piece in [&head[..], &size].iter().chain(key).chain(data) {
            self.put(at, piece);
            at += piece.len();
        }
    }

    fn finish(mut self, number: u64, out: &mut impl Write) -> io::Result<()> {
        self.put(0, &number.to_le_bytes());
        self.put(12, &(self.lower as u16).to_le_bytes());
        self.put(14, &(self.upper as u16).to_le_bytes());
        out.write_all(&self.bytes)
    }
}

/// Pages of one level: the first key of each with its number.
type Level<'a> = Vec<(&'a [u8], u64)>;

/// What the meta page says of the tree.
#[derive(Default)]
struct Tree {
    depth: u16,
    branch_pages: u64,
    leaf_pages: u64,
    overflow_pages: u64,
    entries: u64,
    root: u64,
    last_page: u64,
}

/// How the pages come to lie, found out before anything is written: the meta pages come first in the file.
pub(super) fn write(entries: &Entries, ending: &[u8], out: &mut impl Write) -> io::Result<()> {
    let tree = pages(entries, ending, &mut io::sink())?;
    for transaction in 0..2 {
        write_meta(&tree, transaction, out)?;
    }
    pages(entries, ending, out).map(|_| ())
}

fn pages(entries: &Entries, ending: &[u8], out: &mut impl Write) -> io::Result<Tree> {
    let mut tree = Tree { entries: entries.len() as u64, root: NO_PAGE, last_page: 1, ..Tree::default() };
    if entries.is_empty() {
        return Ok(tree);
    }
    let mut level = leaves(entries, ending, &mut tree, out)?;
    tree.depth = 1;
    while level.len() > 1 {
        level = branches(&level, ending, &mut tree, out)?;
        tree.depth += 1;
    }
    tree.root = level[0].1;
    Ok(tree)
}

impl Tree {
    fn next_page(&mut self) -> u64 {
        self.last_page += 1;
        self.last_page
    }
}

fn leaves<'a>(
    entries: &'a Entries,
    ending: &[u8],
    tree: &mut Tree,
    out: &mut impl Write,
) -> io::Result<Level<'a>> {
    let mut level = Level::new();
    let mut draft = PageDraft::new(LEAF);
    // Overflow pages of the draft's nodes: they follow it, so their numbers are known once its own is.
    let mut number = tree.next_page();
    let mut overflow: Vec<&[u8]> = Vec::new();
    let finish = |draft, number, overflow: &mut Vec<&[u8]>, out: &mut _, tree: &mut Tree| {
        tree.leaf_pages += 1;
        PageDraft::finish(draft, number, out)?;
        let mut at = number + 1;
        for data in overflow.drain(..) {
            at += write_overflow(data, ending, at, out)?;
        }
        io::Result::Ok(())
    };
    for (key, value) in entries.iter() {
        if key.len() + ending.len() > KEY_BYTES_MAX {
            let key = String::from_utf8_lossy(key);
            let text =
                format!("MDB_BAD_VALSIZE: a key of more than {} bytes: {key}", KEY_BYTES_MAX - ending.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let data_bytes = value.len() + ending.len();
        let inline_bytes = NODE_HEADER_BYTES as usize + key.len() + ending.len() + data_bytes;
        let is_big = inline_bytes > NODE_BYTES_MAX;
        let node_bytes = if is_big { inline_bytes - data_bytes + 8 } else { inline_bytes };
        if !draft.fits(node_bytes) {
            let full = std::mem::replace(&mut draft, PageDraft::new(LEAF));
            finish(full, number, &mut overflow, out, tree)?;
            number = tree.next_page();
        }
        if draft.is_empty() {
            level.push((key, number));
        }
        let size = (data_bytes as u32).to_le_bytes();
        if is_big {
            let first = tree.last_page + 1;
            let pages = overflow_pages(data_bytes);
            tree.last_page += pages;
            tree.overflow_pages += pages;
            overflow.push(value);
            let flags = BIG_DATA.to_le_bytes();
            let head = [size[0], size[1], size[2], size[3], flags[0], flags[1]];
            draft.add(head, &[key, ending], &[&first.to_le_bytes()]);
        } else {
            draft.add([size[0], size[1], size[2], size[3], 0, 0], &[key, ending], &[value, ending]);
        }
    }
    finish(draft, number, &mut overflow, out, tree)?;
    Ok(level)
}

fn overflow_pages(data_bytes: usize) -> u64 {
    (data_bytes as u64 + PAGE_HEADER_BYTES).div_ceil(PAGE_BYTES as u64)
}

fn write_overflow(value: &[u8], ending: &[u8], number: u64, out: &mut impl Write) -> io::Result<u64> {
    let pages = overflow_pages(value.len() + ending.len());
    let mut header = [0; PAGE_HEADER_BYTES as usize];
    header[..8].copy_from_slice(&number.to_le_bytes());
    header[10..12].copy_from_slice(&OVERFLOW.to_le_bytes());
    header[12..].copy_from_slice(&(pages as u32).to_le_bytes());
    out.write_all(&header)?;
    out.write_all(value)?;
    out.write_all(ending)?;
    let used = PAGE_HEADER_BYTES as usize + value.len() + ending.len();
    let rest = pages as usize * PAGE_BYTES - used;
    io::copy(&mut io::Read::take(io::repeat(0), rest as u64), out)?;
    Ok(pages)
}

fn branches<'a>(
    below: &Level<'a>,
    ending: &[u8],
    tree: &mut Tree,
    out: &mut impl Write,
) -> io::Result<Level<'a>> {
    let mut level = Level::new();
    let mut draft = PageDraft::new(BRANCH);
    let finish = |draft: PageDraft, tree: &mut Tree, out: &mut _| {
        tree.branch_pages += 1;
        draft.finish(tree.last_page, out)
    };
    for (index, &(key, child)) in below.iter().enumerate() {
        // liblmdb wants two nodes on a branch page: the last one is not left alone, its neighbour comes along.
        let wanted = NODE_HEADER_BYTES as usize + key.len() + ending.len();
        let leave_for_the_last = index + 2 == below.len() && !draft.is_empty() && {
            let last = NODE_HEADER_BYTES as usize + below[index + 1].0.len() + ending.len();
            !draft.fits(wanted.next_multiple_of(2) + 2 + last)
        };
        if !draft.is_empty() && (leave_for_the_last || !draft.fits(wanted)) {
            let full = std::mem::replace(&mut draft, PageDraft::new(BRANCH));
            finish(full, tree, out)?;
        }
        let head = child.to_le_bytes();
        let head = [head[0], head[1], head[2], head[3], head[4], head[5]];
        if draft.is_empty() {
            level.push((key, tree.next_page()));
            draft.add(head, &[], &[]);
        } else {
            draft.add(head, &[key, ending], &[]);
        }
    }
    finish(draft, tree, out)?;
    Ok(level)
}

fn write_meta(tree: &Tree, transaction: u64, out: &mut impl Write) -> io::Result<()> {
    let mut page = Vec::with_capacity(PAGE_BYTES);
    page.extend_from_slice(&transaction.to_le_bytes());
    page.extend_from_slice(&[0; 2]);
    page.extend_from_slice(&META.to_le_bytes());
    page.extend_from_slice(&[0; 4]);
    page.extend_from_slice(&MAGIC.to_le_bytes());
    page.extend_from_slice(&VERSION.to_le_bytes());
    let file_bytes = (tree.last_page + 1) * PAGE_BYTES as u64;
    for number in [0, file_bytes.next_power_of_two().max(MAP_BYTES_MIN)] {
        page.extend_from_slice(&number.to_le_bytes());
    }
    // The first transaction made the empty file, the second all of the tree.
    let empty = Tree { root: NO_PAGE, last_page: 1, ..Tree::default() };
    let (ours, free) = (if transaction == 0 { &empty } else { tree }, &empty);
    for (tree, pad, flags) in [(free, PAGE_BYTES as u32, INTEGER_KEYS), (ours, 0, 0)] {
        page.extend_from_slice(&pad.to_le_bytes());
        page.extend_from_slice(&flags.to_le_bytes());
        page.extend_from_slice(&tree.depth.to_le_bytes());
        for number in [tree.branch_pages, tree.leaf_pages, tree.overflow_pages, tree.entries, tree.root] {
            page.extend_from_slice(&number.to_le_bytes());
        }
    }
    for number in [ours.last_page, transaction] {
        page.extend_from_slice(&number.to_le_bytes());
    }
    page.resize(PAGE_BYTES, 0);
    out.write_all(&page)
}
