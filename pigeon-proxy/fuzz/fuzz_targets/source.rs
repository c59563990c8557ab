//! The sources under test, as part of the fuzz target: they need nothing but the standard library.

#[path = "../../src"]
mod tree {
    #[allow(dead_code, unused_imports)]
    pub mod h2;
}
pub use tree::h2;
