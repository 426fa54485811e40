//! `postmap`: build, query, list or change a lookup table.

mod message_keys;

use std::ffi::OsString;

use ringpost_shards::failure::Failure;
use ringpost_tables::text::{ALIAS_FILE, key_and_value};

use crate::map_command::{Entry, MapCommand, input_lines};
use crate::queue_command::{FATAL, say};

/// How it is called.
pub const USAGE: &str = "postmap [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file...";

const COMMAND: MapCommand = MapCommand {
    name: "postmap",
    usage: USAGE,
    plain: "bfFhimnNoprsuUw",
    split,
    separator: "\t",
    is_signed: false,
};

fn split(line: &[u8], remarks: &mut Vec<&'static str>) -> Result<Entry, String> {
    let (key, value) = key_and_value(line)?;
    if key.ends_with(b":") {
        remarks.push(ALIAS_FILE);
    }
    Ok((key.to_vec(), value.to_vec()))
}

/// `postmap`.
pub fn run(words: Vec<OsString>) -> Result<(), Failure> {
    let call = COMMAND.call(words)?;
    let [header, body, mime] = ['h', 'b', 'm'].map(|letter| call.options.has(letter));
    if !(header || body || mime) {
        return call.run(input_lines);
    }
    if !call.queries_input() {
        return Err(Failure::new(FATAL, "specify -b -h or -m only with \"-q -\""));
    }
    if !(header || body) {
        say("postmap", "warning: ignoring -m option without -b or -h");
        return call.run(input_lines);
    }
    call.run(|each| message_keys::walk(message_keys::Wanted { header, body, mime }, each))
}
