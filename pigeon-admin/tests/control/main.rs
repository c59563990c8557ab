//! The admin without REST: the catalog on real files, the data directory, the config stream over real sockets.

mod backup;
mod catalog;
mod database;
mod failures;
mod files;
mod history;
mod kill;
mod program;
mod proxy;
mod several;
mod stream;
mod subscribers;
mod support;
mod tokens;
