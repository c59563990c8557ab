//! How far a revision has come: who serves it, who has not answered yet, who refused something.

use std::time::Duration;

use tokio::time::Instant;

use super::{Proxies, ProxyState, Rejection};

/// How far a revision has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// The revision in question.
    pub revision: u64,
    /// Connected proxies.
    pub proxies: usize,
    /// Of these, the ones whose effective revision has reached it.
    pub applied: usize,
    /// Every connected proxy applied it.
    pub done: bool,
    /// How long was waited.
    pub elapsed: Duration,
    /// Names of the connected proxies that have neither applied nor refused it.
    pub pending: Vec<String>,
    /// What connected proxies that received it refuse: (proxy, object).
    pub rejected: Vec<(String, Rejection)>,
}

impl Proxies {
    /// How far `revision` has come now.
    pub fn applied(&self, revision: u64) -> Applied {
        let mut result = Applied { revision, ..Applied::default() };
        let registry = self.registry();
        for proxy in registry.connected_states() {
            result.count(proxy);
        }
        drop(registry);
        result.done = result.applied == result.proxies;
        result.pending.sort();
        result.rejected.sort_by(|a, b| a.0.cmp(&b.0));
        result
    }

    /// Waits until every connected proxy has applied or refused `revision`, at most `timeout`.
    pub async fn wait_applied(&self, revision: u64, timeout: Duration) -> Applied {
        let begun = Instant::now();
        let mut changed = self.changed();
        loop {
            changed.borrow_and_update();
            let applied = Applied { elapsed: begun.elapsed(), ..self.applied(revision) };
            if applied.pending.is_empty() {
                return applied;
            }
            let change = tokio::time::timeout_at(begun + timeout, changed.changed()).await;
            if !matches!(change, Ok(Ok(()))) {
                return Applied { elapsed: begun.elapsed(), ..self.applied(revision) };
            }
        }
    }
}

impl Applied {
    fn count(&mut self, proxy: &ProxyState) {
        self.proxies += 1;
        if proxy.effective >= self.revision {
            self.applied += 1;
        } else if proxy.revision >= self.revision && !proxy.rejected.is_empty() {
            let of = |r: &Rejection| (proxy.name.clone(), r.clone());
            self.rejected.extend(proxy.rejected.iter().map(of));
        } else {
            self.pending.push(proxy.name.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Hello;
    use super::*;

    fn hello(name: &str, revision: u64) -> Hello {
        Hello { node_id: name.into(), name: name.into(), revision, ..Hello::default() }
    }

    fn refusal() -> Rejection {
        Rejection {
            kind: "listener".into(),
            name: "x".into(),
            mod_revision: 5,
            code: "PGN-P301".into(),
            message: "taken".into(),
            serving_mod_revision: 0,
        }
    }

    #[test]
    fn every_proxy_is_counted_once_and_only_while_connected() {
        let proxies = Proxies::default();
        assert!(proxies.applied(5).done, "nobody to wait for");
        let (a, b, c) = (
            proxies.connect(hello("a", 4)),
            proxies.connect(hello("b", 4)),
            proxies.connect(hello("c", 4)),
        );
        a.ack(5, 5, vec![]);
        b.ack(5, 4, vec![refusal()]);
        let now = proxies.applied(5);
        assert_eq!((now.proxies, now.applied, now.done), (3, 1, false));
        assert_eq!(now.pending, ["c"]);
        assert_eq!(now.rejected, [("b".into(), refusal())]);
        drop((b, c));
        let now = proxies.applied(5);
        assert_eq!((now.proxies, now.applied, now.done), (1, 1, true));
        assert_eq!(proxies.list().len(), 3, "those away stay listed");
        a.ack(5, 5, vec![]);
    }

    #[test]
    fn a_refusal_of_an_older_revision_does_not_answer_for_a_newer() {
        let proxies = Proxies::default();
        let a = proxies.connect(hello("a", 4));
        a.ack(5, 4, vec![refusal()]);
        assert_eq!(proxies.applied(6).pending, ["a"]);
        assert_eq!(proxies.applied(5).pending, [""; 0]);
    }

    #[test]
    fn a_replaced_session_can_say_nothing_more() {
        let proxies = Proxies::default();
        let old = proxies.connect(hello("a", 1));
        let new = proxies.connect(hello("a", 1));
        assert!(old.replaced().is_cancelled() && !new.replaced().is_cancelled());
        old.ack(9, 9, vec![]);
        drop(old);
        let state = proxies.get("a").expect("listed");
        assert!(state.connected && state.effective == 0);
        new.ack(2, 2, vec![]);
        assert_eq!(proxies.get("a").expect("listed").state(2), "in_sync");
        assert_eq!(proxies.get("a").expect("listed").state(3), "behind");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_ends_with_the_last_answer_or_the_timeout() {
        let proxies = Proxies::default();
        let (a, b) = (proxies.connect(hello("a", 1)), proxies.connect(hello("b", 1)));
        let waiting = tokio::spawn({
            let proxies = proxies.clone();
            async move { proxies.wait_applied(2, Duration::from_secs(5)).await }
        });
        tokio::task::yield_now().await;
        a.ack(2, 2, vec![]);
        drop(b);
        assert!(waiting.await.expect("task").done);
        let late = proxies.wait_applied(3, Duration::from_millis(300)).await;
        assert!(!late.done && late.elapsed >= Duration::from_millis(300));
    }
}
