//! Breaking content lines that are too long for the next server.

/// Splits content in wire form so that no line is longer than a limit: over-long lines get CRLF SPACE
/// inserted, as Postfix does with `smtp_line_length_limit` (RFC 5321 section 4.5.3.1.6 allows 998 bytes
/// and the line end). Keeps its place from one piece of content to the next.
#[derive(Clone, Copy, Debug)]
pub struct LineBreaker {
    limit: usize,
    column: usize,
}

impl LineBreaker {
    /// A breaker at the beginning of a line. `limit` counts bytes without the line end; 0 means none, and
    /// a limit below 8 counts as 8, so that every break makes progress.
    pub fn new(limit: usize) -> LineBreaker {
        LineBreaker { limit: if limit == 0 { 0 } else { limit.max(8) }, column: 0 }
    }

    /// Calls `piece` with the parts of `content` in order, and with `\r\n ` where a line is broken.
    /// When nothing is too long, that is one call with all of it.
    pub fn split<'a>(&mut self, content: &'a [u8], mut piece: impl FnMut(&'a [u8])) {
        if self.limit == 0 {
            piece(content);
            return;
        }
        let mut written = 0;
        let mut at = 0;
        while at < content.len() {
            // As far as nothing can be too long, only the last line end matters.
            let reach = at.saturating_add(self.limit.saturating_sub(self.column)).min(content.len());
            if let Some(last) = memchr::memrchr(b'\n', &content[at..reach]) {
                at += last + 1;
                self.column = 0;
                continue;
            }
            let end = memchr::memchr(b'\n', &content[at..]).map_or(content.len(), |found| at + found + 1);
            // The line end does not count; a CR at the very end of a piece may belong to one.
            let mut text_end = end;
            if content[at..end].ends_with(b"\n") {
                text_end -= 1;
            }
            if content[at..text_end].ends_with(b"\r") {
                text_end -= 1;
            }
            while self.column + (text_end - at) > self.limit {
                let cut = at + self.limit.saturating_sub(self.column).min(text_end - at);
                // Never between the bytes of a UTF-8 character, unless the line is nothing else.
                let floor = (cut.saturating_sub(3).max(at)..=cut).rev();
                let cut = floor.into_iter().find(|&place| content[place] & 0xc0 != 0x80).unwrap_or(cut);
                piece(&content[written..cut]);
                piece(b"\r\n ");
                written = cut;
                at = cut;
                self.column = 1;
            }
            self.column = if content[at..end].ends_with(b"\n") { 0 } else { self.column + (text_end - at) };
            at = end;
        }
        if written < content.len() {
            piece(&content[written..]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(limit: usize, pieces: &[&[u8]]) -> Vec<u8> {
        let mut breaker = LineBreaker::new(limit);
        let mut out = Vec::new();
        for content in pieces {
            breaker.split(content, |piece| out.extend_from_slice(piece));
        }
        out
    }

    #[test]
    fn lines_within_the_limit_are_one_piece() {
        let mut count = 0;
        LineBreaker::new(10).split(b"0123456789\r\nabc\r\n", |_| count += 1);
        assert_eq!(count, 1);
    }

    #[test]
    fn long_lines_are_folded() {
        assert_eq!(broken(8, &[b"0123456789abcdefg\r\nb\r\n"]), b"01234567\r\n 89abcde\r\n fg\r\nb\r\n");
        assert_eq!(broken(0, &[b"0123456789a\r\n"]), b"0123456789a\r\n");
        assert_eq!(broken(8, &["abcdefgéh\r\n".as_bytes()]), "abcdefg\r\n éh\r\n".as_bytes());
    }

    #[test]
    fn every_limit_holds_however_the_content_is_split() {
        let content = b"0123456789012345678901234567890123456789\r\nshort\r\n\r\n01234567\r\n";
        for at in 0..content.len() {
            let out = broken(8, &[&content[..at], &content[at..]]);
            for line in out.split(|&byte| byte == b'\n') {
                assert!(line.len() <= 9, "{:?} split at {at}", String::from_utf8_lossy(line));
            }
            let joined = String::from_utf8_lossy(&out).replace("\r\n ", "");
            assert_eq!(joined.as_bytes(), content, "split at {at}");
        }
    }
}
