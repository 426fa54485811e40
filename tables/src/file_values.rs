//! file_values: values that stand for files: a table holds the files' content in base64, whoever asks gets it decoded.

use data_encoding::BASE64;

use crate::text::reason_of;

/// A value of keys and certificates is some KiB; what is larger was named by mistake.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The content of the files that `names` lists, in base64; between two files a line end is added.
///
/// # Errors
/// A file cannot be read; in one sentence.
pub fn encoded(names: &str) -> Result<String, String> {
    let mut content = Vec::new();
    for (index, name) in names.split([',', ' ', '\t', '\r', '\n']).filter(|name| !name.is_empty()).enumerate()
    {
        if index > 0 {
            content.push(b'\n');
        }
        let fail = |error: std::io::Error| format!("open {name}: {}", reason_of(&error));
        if std::fs::metadata(name).map_err(fail)?.len() > FILE_BYTES_MAX {
            return Err(format!("file {name}: too large"));
        }
        content.extend_from_slice(&std::fs::read(name).map_err(fail)?);
    }
    match content.is_empty() {
        true => Err("empty pathname list".to_owned()),
        false => Ok(BASE64.encode(&content)),
    }
}

/// What a value of a table of files stands for.
///
/// # Errors
/// It is no base64, in one sentence.
pub fn decoded(value: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(value.as_bytes()).map_err(|_| format!("malformed BASE64 value: {value:.30}"))
}
