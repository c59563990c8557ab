//! Replacing a running proxy by a new process without losing a call: the listening sockets, the lock of the
//! state directory and the use of slots move over a unix socket.
//!
//! The new process ([`successor`]) reads its configuration and is ready on the very sockets of the old one
//! ([`predecessor`]), so no queue of connections is ever closed. Then the old one takes its free slots out of
//! use and tells which are taken; the new one counts those as taken and begins to accept; the old one stops
//! accepting and drains. Until the new one has said that it serves, its end changes nothing for the old one.
//! While the old one drains, [`slots`] move between the two, so no endpoint ever has a call too many.

pub mod predecessor;
pub mod slots;
pub mod successor;
pub mod wire;

use std::io;
use std::time::Duration;

/// How long each step may take that depends on the other process alone.
const STEP: Duration = Duration::from_secs(10);
/// How long a new process may take to load its configuration.
const READY: Duration = Duration::from_secs(60);

/// Waits for a step.
async fn within<T>(
    limit: Duration,
    what: &str,
    step: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    match tokio::time::timeout(limit, step).await {
        Ok(result) => result,
        Err(_) => Err(io::Error::other(format!("{what} took longer than {limit:?}"))),
    }
}

/// Whether the process at the other end runs as the same user (or as root).
fn same_user(stream: &tokio::net::UnixStream) -> io::Result<bool> {
    let uid = stream.peer_cred()?.uid();
    Ok(uid == 0 || uid == rustix::process::geteuid().as_raw())
}
