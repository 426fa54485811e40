//! tables: what the lookup tables have to say, in the mail log; one shard says it for all.

use std::rc::Rc;
use std::sync::Arc;

use ringpost_tables::{Note, Notes};

use crate::shard::Lasting;

/// Logs what the tables say for as long as the shard lives. Postfix's word for who opens tables for all is `proxymap`.
pub async fn tell(shard: Rc<Lasting>, notes: Arc<Notes>) {
    loop {
        match notes.next().await {
            Note::Warning(text) => shard.log.warning("proxymap", std::process::id(), format_args!("{text}")),
            Note::Info(text) => shard.log.info("proxymap", std::process::id(), format_args!("{text}")),
        }
    }
}
