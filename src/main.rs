//! The `aphelion` command.
fn main() {}
