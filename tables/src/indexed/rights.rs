//! Root builds the table of somebody else as that user: in a directory of his, root would follow his links.

use std::io;

use ringpost_reactor::process::{act_as, effective_gid, effective_uid};

/// The rights of the owner of a source; root's come back when this goes away. For a command of one thread.
#[derive(Debug)]
pub struct OwnersRights(());

impl OwnersRights {
    /// Takes the rights of this user and group, if we are root and are not they; nothing happens otherwise.
    ///
    /// # Errors
    /// The system's refusal.
    pub fn take(uid: u32, gid: u32) -> io::Result<Option<OwnersRights>> {
        if effective_uid() != 0 || (effective_uid(), effective_gid()) == (uid, gid) {
            return Ok(None);
        }
        act_as(uid, gid)?;
        Ok(Some(OwnersRights(())))
    }
}

impl Drop for OwnersRights {
    fn drop(&mut self) {
        // What follows would run with the wrong rights.
        act_as(0, 0).expect("root's rights come back");
    }
}
