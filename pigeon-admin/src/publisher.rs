//! From committed revisions to what proxies are sent.
//!
//! Level-triggered: it looks at the newest configuration, not at each write, and says in one delta what
//! became different since the publication before. Subscribers are cursors into the [`Ring`].

mod delta;
mod ring;
mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use ring::{Next, Ring, State};
pub use snapshot::Packed;

use crate::catalog::Catalog;
use crate::metrics::Metrics;

/// At most one publication in this time; see docs/decisions/0001-leading-edge-publish.md.
const GAP: Duration = Duration::from_millis(20);

/// Publishes until told to stop. A change after a quiet time goes out at once; those that follow within
/// 20 ms go out together at the end of it.
pub async fn run(ring: Arc<Ring>, catalog: Catalog, metrics: Metrics, stop: CancellationToken) {
    let mut changed = catalog.changed();
    let mut earliest = Instant::now();
    loop {
        let due = async {
            // Looking before waiting finds commits since the ring was made.
            while catalog.view().revision <= ring.newest() {
                changed.changed().await?;
            }
            Ok::<_, tokio::sync::watch::error::RecvError>(Instant::now())
        };
        let seen = tokio::select! {
            () = stop.cancelled() => return,
            seen = due => match seen {
                Ok(seen) => seen,
                // The writer is gone: there will be no further revision.
                Err(_) => return,
            },
        };
        tokio::time::sleep_until(earliest).await;
        ring.publish(&catalog.view());
        metrics.publish(seen.elapsed().as_secs_f64());
        earliest = Instant::now() + GAP;
    }
}
