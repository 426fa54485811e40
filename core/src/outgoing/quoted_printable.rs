//! Quoted-printable (RFC 2045 §6.7), a line or a part of one at a time.
//!
//! Limits: encoded lines have 76 bytes at most, as the standard has it.

/// The word of `Content-Transfer-Encoding`.
pub(super) const WORD: &str = "quoted-printable";

/// A line that is longer is broken before its next byte: that needs three bytes at most, and the soft break one.
const SOFT_BREAK_BYTES: usize = 72;

/// The beginning of an encoded line that is not yet whole.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    line: Vec<u8>,
}

impl Encoder {
    /// Appends the encoded lines to `out`, each with LF; `ends` says that the text ends its line.
    pub(super) fn encode(&mut self, text: &[u8], ends: bool, out: &mut Vec<u8>) {
        for &byte in text {
            if self.line.len() > SOFT_BREAK_BYTES {
                self.line.push(b'=');
                self.flush(out);
            }
            match byte {
                b'=' => self.escaped(byte),
                b'\t' | b' '..=b'~' => self.line.push(byte),
                _ => self.escaped(byte),
            }
        }
        if !ends {
            return;
        }
        if let Some(&space @ (b' ' | b'\t')) = self.line.last() {
            self.line.pop();
            self.escaped(space);
        }
        self.flush(out);
    }

    fn escaped(&mut self, byte: u8) {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let digit = |nibble: u8| DIGITS[usize::from(nibble)];
        self.line.extend_from_slice(&[b'=', digit(byte >> 4), digit(byte & 15)]);
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.line.push(b'\n');
        out.append(&mut self.line);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        Encoder::default().encode(text, true, &mut out);
        out
    }

    fn decoded(lines: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\n").expect("every line is whole");
            let (line, soft) = match line.strip_suffix(b"=") {
                Some(line) => (line, true),
                None => (line, false),
            };
            let mut at = 0;
            while at < line.len() {
                if line[at] == b'=' {
                    let digits = std::str::from_utf8(&line[at + 1..at + 3]).expect("digits");
                    out.push(u8::from_str_radix(digits, 16).expect("hexadecimal"));
                    at += 3;
                } else {
                    out.push(line[at]);
                    at += 1;
                }
            }
            if !soft {
                out.push(b'\n');
            }
        }
        out
    }

    #[test]
    fn what_is_not_printable_is_escaped() {
        assert_eq!(encoded("caf\u{e9} = 1\t".as_bytes()), b"caf=C3=A9 =3D 1=09\n");
        assert_eq!(encoded(b""), b"\n");
        assert_eq!(encoded(b"a "), b"a=20\n");
        assert_eq!(encoded(&[0, 0x7f, b'\r']), b"=00=7F=0D\n");
    }

    proptest! {
        #[test]
        fn it_comes_back_and_no_line_is_too_long(text in proptest::collection::vec(any::<u8>(), 0..400), cut in 0usize..400) {
            let text: Vec<u8> = text.into_iter().filter(|byte| *byte != b'\n').collect();
            let cut = cut.min(text.len());
            let mut encoder = Encoder::default();
            let mut out = Vec::new();
            encoder.encode(&text[..cut], false, &mut out);
            encoder.encode(&text[cut..], true, &mut out);
            prop_assert!(out.split(|byte| *byte == b'\n').all(|line| line.len() <= 76));
            prop_assert!(!out.windows(2).any(|pair| pair == b" \n" || pair == b"\t\n"));
            prop_assert!(out.is_ascii());
            let mut line = text.clone();
            line.push(b'\n');
            prop_assert_eq!(decoded(&out), line);
        }
    }
}
