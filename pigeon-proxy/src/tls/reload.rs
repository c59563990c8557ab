//! Reads the files of TLS again when they change.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Held, Inbound, Outbound};
use crate::config::Timings;
use crate::config::file::Changes;
use crate::gateway::Gateway;

/// What has files.
pub(crate) enum Side {
    /// A listener.
    In(Arc<Inbound>),
    /// An engine.
    Out(Arc<Outbound>),
}

impl Side {
    /// Its files.
    pub(crate) fn held(&self) -> &Held {
        match self {
            Self::In(side) => side.held(),
            Self::Out(side) => side.held(),
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        match self {
            Self::In(side) => side.paths().map(|path| path.as_str().into()).collect(),
            Self::Out(side) => side.paths().map(|path| path.as_str().into()).collect(),
        }
    }

    fn reload(&self) -> bool {
        match self {
            Self::In(side) => side.reload(),
            Self::Out(side) => side.reload(),
        }
    }
}

/// Follows the files of all listeners and engines until told to stop.
pub async fn run(gateway: Arc<Gateway>, timings: Timings, stop: CancellationToken) {
    let mut reload = gateway.reload().part();
    loop {
        let watched = paths(&gateway);
        let mut changes = Changes::of_all(watched.clone(), timings);
        loop {
            let mut asked = None;
            tokio::select! {
                () = stop.cancelled() => return,
                request = reload.asked() => asked = Some(request),
                () = changes.next() => {}
                () = gateway.tls().asked() => {}
            }
            let sides = gateway.tls_sides();
            // Keys are read and checked: not for a thread that others wait for.
            let read = move || {
                let bad = sides.iter().filter(|side| !side.reload());
                bad.map(|side| side.held().object().to_owned()).collect::<Vec<_>>()
            };
            for object in tokio::task::spawn_blocking(read).await.unwrap_or_default() {
                gateway.metrics().tls_reload_failed(&object);
            }
            drop(asked);
            if paths(&gateway) != watched {
                break;
            }
        }
    }
}

fn paths(gateway: &Gateway) -> Vec<PathBuf> {
    let mut paths: Vec<_> = gateway.tls_sides().iter().flat_map(Side::paths).collect();
    paths.sort();
    paths.dedup();
    paths
}
