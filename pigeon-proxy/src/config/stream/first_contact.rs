//! How long a start waits for the admin before it serves what it has.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::{Connection, Received};

/// Serves last known good unless the admin has something better to say, and says it soon: as soon as a first
/// attempt has failed, and after `limit` at the latest.
pub async fn first_contact(
    saved: Received,
    limit: Duration,
    mut connection: watch::Receiver<Connection>,
    received: watch::Sender<Option<Received>>,
    stop: CancellationToken,
) {
    let failed = connection.wait_for(|c| c.last_error.is_some());
    tokio::select! {
        () = stop.cancelled() => return,
        () = sleep(limit) => {}
        _ = failed => {}
    }
    received.send_if_modified(|current| {
        let nothing = current.is_none();
        if nothing {
            tracing::warn!(
                revision = saved.held.raw.revision(),
                "serving the last known good configuration until the admin answers"
            );
            *current = Some(saved);
        }
        nothing
    });
}
