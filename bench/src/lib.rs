//! Micro-benches live in `benches/`; comparison drivers in `src/bin/`.
