//! Values from outside, made fit for a log line. The one place where that is done.

/// The longest value that a line takes from outside, in bytes: enough for a maximal SMTP reply of several lines; what
/// is beyond is cut.
pub const VALUE_BYTES_MAX: usize = 4096;

/// Appends `value` with every control character, and every byte that is not UTF-8, as `?`; cut at [`VALUE_BYTES_MAX`].
pub fn append_printable(out: &mut Vec<u8>, value: &[u8]) {
    let value = &value[..value.len().min(VALUE_BYTES_MAX)];
    // Without a short cut the loop vectorises; nearly all values are plain.
    let plain = value.iter().fold(true, |plain, &byte| plain & (byte.wrapping_sub(0x20) < 0x5f));
    if plain {
        out.extend_from_slice(value);
    } else {
        append_masked(out, value);
    }
}

#[cold]
fn append_masked(out: &mut Vec<u8>, value: &[u8]) {
    for chunk in value.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || matches!(character, '\u{2028}' | '\u{2029}') {
                out.push(b'?');
            } else {
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        out.extend(chunk.invalid().iter().map(|_| b'?'));
    }
}
