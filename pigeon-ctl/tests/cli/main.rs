//! The real program against a real admin: what it prints, where, and how it exits.

mod audit;
mod bad_input;
mod call_path;
mod check;
mod codes;
mod contexts;
#[cfg(feature = "dev")]
mod dev;
mod edit;
mod events;
mod explain;
mod files;
mod import;
mod lint;
mod man;
mod objects;
mod output;
mod strangers;
mod support;
mod tokens;
mod watch;
