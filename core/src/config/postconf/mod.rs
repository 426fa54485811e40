//! postconf: shows and changes `main.cf` and `master.cf` as text, and says what it finds in Postfix's words.
//!
//! Receives: the words of the command line, the text of the two files, facts of the host, a loader for the files that
//!           database tables name.
//! Sends:    what is to be printed ([`Said`]), or the new text of a file.
//! Owns:     which options go together, the layout of listings, which names count as known, used or unused.
//! Limits:   those of expansion (`expand`); time and memory grow with the files only.
//! On failure: [`Fatal`], a sentence; a file is changed wholly or not at all.
//! Standards: Postfix 3.7's postconf(1), master(5).

mod databases;
mod edit_main;
mod edit_master;
mod entry;
mod layout;
mod logical;
mod model;
mod networks;
mod options;
mod pattern;
mod said;
mod show;

pub use edit_main::edit_main;
pub use edit_master::edit_master;
pub use model::{FileText, Surroundings};
pub use options::{Action, Classes, OptionError, Options, Subject, USAGE, Values};
pub use said::{Fatal, Said, bytes_of, printable, text_of};
pub use show::{Files, show};
