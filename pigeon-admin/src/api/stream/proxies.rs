//! The topic `proxies`: each proxy as it is at first, and again whenever that changes.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::vec::IntoIter;

use axum::response::sse::Event;

use super::pace::Pace;
use crate::api::types::Proxy;
use crate::app::AppState;
use crate::proxies::ProxyState;

/// What one reader was told of the proxies.
pub struct ProxyChanges {
    pace: Pace,
    /// By node id, a hash of what was told: of thousands of proxies the whole would be much for every reader.
    told: HashMap<String, u64>,
    /// The events that the last look gave and that were not taken yet.
    pending: IntoIter<String>,
}

impl ProxyChanges {
    /// Nothing was told yet.
    pub fn new(app: &AppState) -> Self {
        Self { pace: Pace::new(app), told: HashMap::new(), pending: Vec::new().into_iter() }
    }

    /// The next event, if there is something to say now.
    pub fn event(&mut self, app: &AppState) -> Option<Event> {
        if self.pending.len() == 0 && self.pace.is_due() {
            self.pending = self.look(app).into_iter();
        }
        let text = self.pending.next()?;
        Some(Event::default().event("proxy").data(text))
    }

    /// Waits until there may be something to say; `None` if there never will be.
    pub async fn wait(&mut self) -> Option<()> {
        self.pace.wait().await
    }

    /// The proxies that are not as they were told, and from now on they are.
    fn look(&mut self, app: &AppState) -> Vec<String> {
        let current = app.catalog.view().revision;
        let mut before = std::mem::take(&mut self.told);
        let mut changed = Vec::new();
        for proxy in app.proxies.list() {
            let (id, hash) = (proxy.node_id.clone(), ageless(&proxy, current));
            if before.remove(&id) != Some(hash) {
                changed.push(text(proxy, current));
            }
            self.told.insert(id, hash);
        }
        changed
    }
}

/// What is told of a proxy, but for how long ago it was heard of: that changes all the time.
fn ageless(proxy: &ProxyState, current: u64) -> u64 {
    let proxy = ProxyState { last_ack_age: None, ..proxy.clone() };
    let mut hasher = DefaultHasher::new();
    text(proxy, current).hash(&mut hasher);
    hasher.finish()
}

fn text(proxy: ProxyState, current: u64) -> String {
    // Only maps with keys that are not text fail to be written; there are none.
    serde_json::to_string(&Proxy::of(proxy, current)).unwrap_or_default()
}
