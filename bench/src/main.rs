//! The command `pigeon-bench`.
fn main() {}
