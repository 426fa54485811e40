//! `ringpost`: the multi-call binary. Dispatches on `argv[0]` or the first word.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {}
