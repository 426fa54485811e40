//! Drivers that measure a relay from outside: they start it, send it mail with a load generator, and read what it
//! used from the kernel. `src/bin/` has one program per question; micro-benches live in `benches/`.

pub mod destinations;
pub mod load;
pub mod machine;
pub mod names;
pub mod ports;
pub mod process_tree;
pub mod queue;
pub mod relay;
pub mod reopening;
pub mod running;
pub mod series;
pub mod statistics;
pub mod table;
pub mod tables;
