//! How a proxy gets its configuration: from an admin played by a script, from a file, from last known good.

mod drain;
mod fake_admin;
mod file;
mod held_engine;
mod last_known_good;
mod proxy;
mod status;
mod stream;
