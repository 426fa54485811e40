//! ringpost-shards: what performs, one room per Postfix service.
