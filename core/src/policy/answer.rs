//! The answer of a policy server: attributes, a line each, and an empty line; `action` is the one that counts.

/// Bytes of a whole answer. A refusal has at most 512; this leaves room for attributes that nobody asked for.
pub const ANSWER_BYTES_MAX: usize = 16 << 10;

/// How an answer is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It has no end within [`ANSWER_BYTES_MAX`].
    TooLong,
    /// A line is no `name=value`.
    NoAttribute,
    /// It does not name an action.
    NoAction,
    /// The action is no text.
    NoText,
}

/// What has come so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// More must come.
    NeedMore,
    /// The answer is whole.
    Whole {
        /// What is to be done, without control characters.
        action: String,
        /// Nothing came behind it: the connection may carry another request.
        is_last: bool,
    },
    /// It is none.
    Wrong(Wrong),
}

/// Gathers one answer.
#[derive(Debug, Default)]
pub struct AnswerReader {
    bytes: Vec<u8>,
    /// Where the line begins whose end has not come.
    line_at: usize,
    action: Option<Vec<u8>>,
}

impl AnswerReader {
    /// Whether nothing has come.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Takes what came.
    pub fn input(&mut self, input: &[u8]) -> Reading {
        let room = ANSWER_BYTES_MAX.saturating_sub(self.bytes.len());
        let mut from = self.bytes.len();
        self.bytes.extend_from_slice(&input[..input.len().min(room)]);
        while let Some(end) = memchr::memchr(b'\n', &self.bytes[from..]) {
            let end = from + end;
            let line = &self.bytes[self.line_at..end];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            (self.line_at, from) = (end + 1, end + 1);
            if line.is_empty() {
                return self.whole(input.len() <= room);
            }
            match memchr::memchr(b'=', line) {
                Some(at) if at > 0 => {
                    if &line[..at] == b"action" && self.action.is_none() {
                        self.action = Some(line[at + 1..].to_vec());
                    }
                }
                _ => return Reading::Wrong(Wrong::NoAttribute),
            }
        }
        if input.len() > room { Reading::Wrong(Wrong::TooLong) } else { Reading::NeedMore }
    }

    fn whole(&mut self, all_read: bool) -> Reading {
        let Some(action) = self.action.take() else { return Reading::Wrong(Wrong::NoAction) };
        let Ok(action) = String::from_utf8(action) else { return Reading::Wrong(Wrong::NoText) };
        let blot = |c: char| if c.is_control() { '?' } else { c };
        let action = action.trim_ascii().chars().map(blot).collect();
        Reading::Whole { action, is_last: all_read && self.line_at == self.bytes.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Reading {
        AnswerReader::default().input(bytes)
    }

    fn whole(action: &str, is_last: bool) -> Reading {
        Reading::Whole { action: action.into(), is_last }
    }

    #[test]
    fn the_action_is_taken_and_the_rest_passed_by() {
        assert_eq!(read(b"action=DUNNO\n\n"), whole("DUNNO", true));
        assert_eq!(
            read(b"reason=x\naction=451 4.7.1 a=b later\r\nother=\n\n"),
            whole("451 4.7.1 a=b later", true)
        );
        assert_eq!(read(b"action=OK\naction=REJECT\n\n"), whole("OK", true));
        assert_eq!(read(b"action=OK\n\naction=REJECT\n"), whole("OK", false));
        assert_eq!(read(b"action=554 a\tb\rc\x7f\n\n"), whole("554 a?b?c?", true));
        assert_eq!(read(b"action=\n\n"), whole("", true));
    }

    #[test]
    fn what_is_no_answer_is_told() {
        for (bytes, wrong) in [
            (&b"\n"[..], Wrong::NoAction),
            (b"reason=x\n\n", Wrong::NoAction),
            (b"HTTP/1.1 400 Bad Request\n", Wrong::NoAttribute),
            (b"=x\n", Wrong::NoAttribute),
            (b"action=\xff\n\n", Wrong::NoText),
            (&vec![b'x'; ANSWER_BYTES_MAX + 1], Wrong::TooLong),
        ] {
            assert_eq!(read(bytes), Reading::Wrong(wrong));
        }
        let mut endless = AnswerReader::default();
        let line = b"name=value\n".repeat(100);
        let pieces = (0..).take_while(|_| endless.input(&line) == Reading::NeedMore).count();
        assert!(pieces < ANSWER_BYTES_MAX / line.len() + 1);
    }

    proptest! {
        #[test]
        fn pieces_say_what_the_whole_says(bytes in "[a-c=\n\r]{0,40}", cut in 0usize..40) {
            let bytes = format!("action={bytes}\n\n").into_bytes();
            let cut = cut.min(bytes.len());
            let mut reader = AnswerReader::default();
            let first = reader.input(&bytes[..cut]);
            let told = if first == Reading::NeedMore { reader.input(&bytes[cut..]) } else { first };
            let once = read(&bytes);
            let action = |reading: &Reading| match reading {
                Reading::Whole { action, .. } => Ok(action.clone()),
                Reading::Wrong(wrong) => Err(Some(*wrong)),
                Reading::NeedMore => Err(None),
            };
            prop_assert_eq!(action(&told), action(&once));
        }
    }
}
