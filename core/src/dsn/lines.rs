//! Lines of a notice in wire form.

/// Lines of prose and folded fields are kept within this many columns (RFC 5322 section 2.1.1: SHOULD).
const COLUMNS: usize = 78;

/// A word longer than this is cut, so that no line comes near the 998 of RFC 5322 section 2.1.1.
const WORD_BYTES_MAX: usize = 500;

/// Writes lines that can neither be broken by what is put into them nor end the content.
pub(super) struct Lines {
    pub out: Vec<u8>,
    /// Write `?` for what is not ASCII.
    pub ascii_only: bool,
}

impl Lines {
    pub fn with_capacity(bytes: usize) -> Lines {
        Lines { out: Vec::with_capacity(bytes), ascii_only: false }
    }

    pub fn line(&mut self, pieces: &[&str]) {
        let start = self.out.len();
        pieces.iter().for_each(|piece| self.put(piece));
        if self.out.get(start) == Some(&b'.') {
            self.out.insert(start, b'.');
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// One logical line, broken between words; what is continued is indented, which folds a field and
    /// is easy to read in prose.
    pub fn folded(&mut self, pieces: &[&str]) {
        let text = pieces.concat();
        let mut column = 0;
        for word in text.split_ascii_whitespace().flat_map(cut_word) {
            let width = word.chars().count();
            if column > 0 && column + 1 + width > COLUMNS {
                self.out.extend_from_slice(b"\r\n    ");
                column = 4;
            } else if column > 0 {
                self.out.push(b' ');
                column += 1;
            }
            self.put(word);
            column += width;
        }
        self.out.extend_from_slice(b"\r\n");
    }

    /// A line of a dialogue, quoted: one blank before each of its pieces, and four more before those that continue it.
    /// Blanks inside stay as they are.
    pub fn wrapped(&mut self, label: &str, text: &str) {
        let (mut label, mut rest, mut room) = (label, text, COLUMNS - 1 - label.len());
        loop {
            let piece = piece_within(rest, room);
            self.line(&[" ", label, piece]);
            rest = rest[piece.len()..].trim_start_matches(' ');
            if rest.is_empty() {
                return;
            }
            (label, room) = ("    ", COLUMNS - 5);
        }
    }

    fn put(&mut self, text: &str) {
        let mut place = [0; 4];
        for character in text.chars() {
            let bad =
                (character.is_control() && character != '\t') || (self.ascii_only && !character.is_ascii());
            let character = if bad { '?' } else { character };
            self.out.extend_from_slice(character.encode_utf8(&mut place).as_bytes());
        }
    }
}

/// The beginning of `text` up to the last blank within `room` bytes, or else up to the first blank at all.
fn piece_within(text: &str, room: usize) -> &str {
    if text.len() <= room {
        return text;
    }
    let fits = &text.as_bytes()[..=room];
    let blank = memchr::memrchr(b' ', fits).filter(|&place| place > 0);
    let end = blank.or_else(|| memchr::memchr(b' ', &text.as_bytes()[room..]).map(|place| room + place));
    let piece = end.map_or(text, |end| text.split_at(end).0);
    piece.split_at(crate::envelope::floor_char_boundary(piece, WORD_BYTES_MAX)).0
}

/// Cuts a word that no line could hold.
fn cut_word(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (first, after) = rest.split_at(crate::envelope::floor_char_boundary(rest, WORD_BYTES_MAX));
        rest = after;
        Some(first)
    })
}
