//! tables: what the lookup tables have to say, in the mail log; one shard says it for all.

use std::rc::Rc;

use ringpost_tables::Note;

use crate::shard::Shard;

/// Logs what the tables say for as long as the shard lives. Postfix's word for who opens tables for all is `proxymap`.
pub async fn tell(shard: Rc<Shard>) {
    loop {
        match shard.tables.catalogue().notes().next().await {
            Note::Warning(text) => shard.log.warning("proxymap", std::process::id(), format_args!("{text}")),
            Note::Info(text) => shard.log.info("proxymap", std::process::id(), format_args!("{text}")),
        }
    }
}
