//! Prints the page of parameters: `cargo run -p ringpost-core --example parameters > docs/parameters.md`.

fn main() {
    print!("{}", ringpost_core::config::document());
}
