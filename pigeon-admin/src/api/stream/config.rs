//! The topic `config`: every object that a revision changed, in order, from the store's history.
//!
//! A reader is a place in that history and the changes of one revision: however slow it is, no more is held for it.

use std::time::Duration;
use std::vec::IntoIter;

use axum::response::sse::Event;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::place::Place;
use crate::catalog::{Catalog, Difference, StoreError};

/// How long nothing happens until the place is told again.
const BOOKMARK: Duration = Duration::from_secs(30);

/// What one reader was told of the configuration.
pub struct Changes {
    catalog: Catalog,
    newest: watch::Receiver<u64>,
    generation: u64,
    /// The changes of every revision up to this one were told, or are pending.
    read: u64,
    pending: IntoIter<Change>,
    /// The reader has to hear first that something is missing.
    lost: bool,
    /// The reader has heard that it knows all there was.
    level: bool,
    /// When the place is told next if nothing else is.
    bookmark: Instant,
}

/// Data of the event `config`.
#[derive(Serialize)]
struct Change {
    op: &'static str,
    kind: String,
    name: String,
    revision: u64,
    object: Option<Value>,
}

impl Changes {
    /// After the revision `from`; from now on if there is none.
    pub fn after(catalog: &Catalog, from: Option<u64>) -> Self {
        let view = catalog.view();
        Self {
            catalog: catalog.clone(),
            newest: catalog.changed(),
            generation: view.generation,
            read: from.unwrap_or(view.revision),
            pending: Vec::new().into_iter(),
            lost: false,
            level: false,
            bookmark: Instant::now(),
        }
    }

    /// From now on, for a reader that does not know all that came before.
    pub fn after_a_gap(catalog: &Catalog) -> Self {
        Self { lost: true, ..Self::after(catalog, None) }
    }

    /// The next event, if there is something to say now.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn event(&mut self) -> Result<Option<Event>, StoreError> {
        if std::mem::take(&mut self.lost) {
            return Ok(Some(self.place("resync")));
        }
        while self.pending.len() == 0 && self.read < *self.newest.borrow_and_update() {
            let next = self.read + 1;
            let found = self.catalog.difference(self.read, next).await?;
            let changes: Vec<_> = found.into_iter().map(|d| Change::of(d, next)).collect();
            (self.read, self.pending) = (next, changes.into_iter());
        }
        let now = Instant::now();
        match self.pending.next() {
            Some(change) => Ok(Some(self.change(&change))),
            None if !self.level || now >= self.bookmark => Ok(Some(self.place("bookmark"))),
            None => Ok(None),
        }
    }

    /// Waits until there may be something to say; `None` if there never will be.
    pub async fn wait(&mut self) -> Option<()> {
        tokio::select! {
            changed = self.newest.changed() => changed.ok(),
            () = sleep_until(self.bookmark) => Some(()),
        }
    }

    fn change(&mut self, change: &Change) -> Event {
        // Only maps with keys that are not text fail to be written; there are none.
        let text = serde_json::to_string(change).unwrap_or_default();
        let event = Event::default().event("config").data(text);
        // Who comes back with an id knows all of that revision.
        if self.pending.len() == 0 { event.id(self.id()) } else { event }
    }

    fn place(&mut self, event: &str) -> Event {
        self.level = true;
        let data = json!({ "revision": self.read }).to_string();
        Event::default().event(event).id(self.id()).data(data)
    }

    /// The place of the reader, which it need not be told again for a while.
    fn id(&mut self) -> String {
        self.bookmark = Instant::now() + BOOKMARK;
        Place { generation: Some(self.generation), revision: self.read }.to_string()
    }
}

impl Change {
    fn of(Difference { key, after, .. }: Difference, revision: u64) -> Self {
        let op = if after.is_some() { "put" } else { "del" };
        let (kind, name) = (key.kind.to_string(), key.name.to_string());
        Self { op, kind, name, revision, object: after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use crate::store::{Place as Where, Store};

    #[tokio::test]
    async fn the_place_is_told_again_while_nothing_happens() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(Where::File(dir.path().join("pigeon.db"))).await.expect("a store");
        let metrics = Metrics::new().expect("metrics");
        let catalog = Catalog::open(store, metrics).await.expect("a catalog");
        let mut changes = Changes::after(&catalog, None);
        tokio::time::pause();
        for n in 0..3 {
            let begun = Instant::now();
            assert!(changes.event().await.expect("no failure").is_some(), "{n}");
            assert!(changes.event().await.expect("no failure").is_none(), "once is enough: {n}");
            changes.wait().await.expect("more to come");
            assert!(begun.elapsed() >= BOOKMARK, "{n}: {:?}", begun.elapsed());
        }
        tokio::time::resume();
        catalog.close().await;
    }
}
