//! What becomes of mail as it leaves.

use ringpost_core::cleanup::MimeSettings;
use ringpost_core::config::{View, names};
use ringpost_core::outgoing::OutgoingSettings;

/// Reads it as the SMTP client sees it.
pub fn outgoing(view: &View<'_>) -> OutgoingSettings {
    let propagates = view.list(names::PROPAGATE_UNMATCHED_EXTENSIONS);
    OutgoingSettings {
        generic: view.maps(names::SMTP_GENERIC_MAPS),
        extends_generic: propagates.iter().any(|listed| listed.eq_ignore_ascii_case("generic")),
        header_checks: view.maps(names::SMTP_HEADER_CHECKS),
        mime_header_checks: view.maps(names::SMTP_MIME_HEADER_CHECKS),
        nested_header_checks: view.maps(names::SMTP_NESTED_HEADER_CHECKS),
        body_checks: view.maps(names::SMTP_BODY_CHECKS),
        converts: !view.flag(names::DISABLE_MIME_OUTPUT_CONVERSION),
        mime: MimeSettings {
            nesting_max: view.count(names::MIME_NESTING_LIMIT),
            boundary_bytes_max: view.count(names::MIME_BOUNDARY_LENGTH_LIMIT),
            ..MimeSettings::default()
        },
        header_bytes_max: view.count(names::HEADER_SIZE_LIMIT),
        header_tokens_max: view.count(names::HEADER_ADDRESS_TOKEN_LIMIT),
        line_bytes_max: view.count(names::LINE_LENGTH_LIMIT),
    }
}
