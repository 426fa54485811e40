//! A message's content as people read it: from wire form (CRLF, dot-stuffed) to lines that end in LF.

/// Turns content into text piece by piece, wherever the pieces are cut, and tells headers from body.
#[derive(Debug)]
pub struct PrintedContent {
    headers: bool,
    body: bool,
    in_headers: bool,
    at_line_start: bool,
    /// A CR has come, and what follows decides whether it ends the line.
    cr: bool,
}

impl PrintedContent {
    /// Prints the header block, the body, or both. The empty line between them belongs to the body, as with Postfix.
    pub fn new(headers: bool, body: bool) -> PrintedContent {
        PrintedContent { headers, body, in_headers: true, at_line_start: true, cr: false }
    }

    /// Appends what the next piece of content says.
    pub fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            match byte {
                b'\n' => self.end_line(out),
                b'\r' if !self.cr => self.cr = true,
                byte => {
                    self.settle_cr(out);
                    if byte == b'\r' {
                        self.cr = true;
                    } else if !(self.at_line_start && byte == b'.') {
                        // A dot at a line's beginning was put there for the way.
                        self.put(byte, out);
                    }
                    self.at_line_start = false;
                }
            }
        }
    }

    /// Ends the last line, if it has no end.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.settle_cr(out);
        if !self.at_line_start {
            self.end_line(out);
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.cr = false;
        if self.at_line_start {
            self.in_headers = false;
        }
        self.put(b'\n', out);
        self.at_line_start = true;
    }

    fn settle_cr(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.cr) {
            self.put(b'\r', out);
            self.at_line_start = false;
        }
    }

    fn put(&self, byte: u8, out: &mut Vec<u8>) {
        if if self.in_headers { self.headers } else { self.body } {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &[u8] = b"Subject: x\r\nTo: y\r\n\r\n..dot\r\n.\r\nlone\rcr\r\n\r\nend";

    fn printed(headers: bool, body: bool, cut: usize) -> String {
        let mut content = PrintedContent::new(headers, body);
        let mut out = Vec::new();
        content.push(&WIRE[..cut], &mut out);
        content.push(&WIRE[cut..], &mut out);
        content.end(&mut out);
        String::from_utf8(out).expect("the sample is ASCII")
    }

    #[test]
    fn lines_lose_their_wire_form_wherever_the_pieces_are_cut() {
        for cut in 0..WIRE.len() {
            assert_eq!(printed(true, false, cut), "Subject: x\nTo: y\n", "cut at {cut}");
            assert_eq!(printed(false, true, cut), "\n.dot\n\nlone\rcr\n\nend\n", "cut at {cut}");
            let both = "Subject: x\nTo: y\n\n.dot\n\nlone\rcr\n\nend\n";
            assert_eq!(printed(true, true, cut), both, "cut at {cut}");
        }
    }

    #[test]
    fn content_without_a_body_is_all_headers() {
        let mut out = Vec::new();
        let mut content = PrintedContent::new(true, true);
        content.push(b"Subject: x\r\n", &mut out);
        content.end(&mut out);
        assert_eq!(out, b"Subject: x\n");
    }
}
