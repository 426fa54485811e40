//! Keys in lower case, without an allocation where they are so already.

use std::borrow::Cow;

/// `key` in lower case.
pub fn lower(key: &str) -> Cow<'_, str> {
    if key.is_ascii() {
        match key.bytes().any(|byte| byte.is_ascii_uppercase()) {
            true => Cow::Owned(key.to_ascii_lowercase()),
            false => Cow::Borrowed(key),
        }
    } else {
        Cow::Owned(key.to_lowercase())
    }
}
