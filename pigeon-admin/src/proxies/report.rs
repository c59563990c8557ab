//! What proxies carry for each engine, and the sum of it.

use std::collections::BTreeMap;

use super::{EndpointState, EndpointUse, EndpointView, EngineUse, Histogram};

/// What one proxy carries.
#[derive(Clone, Debug, Default)]
pub struct UsageReport {
    /// For each engine.
    pub engines: Vec<EngineReport>,
    /// For each endpoint.
    pub endpoints: Vec<EndpointReport>,
}

/// What one proxy carries for an engine.
#[derive(Clone, Debug, Default)]
pub struct EngineReport {
    /// Its name.
    pub engine: String,
    /// Calls waiting for a slot.
    pub waiting: u64,
    /// Calls ended.
    pub calls: u64,
    /// Of these, failed.
    pub failures: u64,
    /// Calls of the last 10 s by time to the first response message.
    pub first_message: Histogram,
}

/// What one proxy carries for an endpoint.
#[derive(Clone, Debug, Default)]
pub struct EndpointReport {
    /// The engine it belongs to.
    pub engine: String,
    /// host:port
    pub address: String,
    /// Slots held by calls.
    pub in_use: u64,
    /// Slots this proxy may use; `None` without a limit.
    pub slots: Option<u64>,
    /// Whether this proxy sends calls there; `None` where it does not say.
    pub state: Option<EndpointState>,
    /// Why it is not healthy; empty when it is.
    pub reason: String,
    /// Calls ended.
    pub calls: u64,
    /// Of these, failed.
    pub failures: u64,
    /// Calls of the last 10 s by time to the first response message.
    pub first_message: Histogram,
}

/// Adds up what several proxies, given with their names, carry. Where one knows no limit, there is none.
pub(super) fn sum<'a>(
    reports: impl Iterator<Item = (&'a str, &'a UsageReport)>,
) -> BTreeMap<String, EngineUse> {
    let mut engines: BTreeMap<String, EngineUse> = BTreeMap::new();
    let mut endpoints: BTreeMap<(&str, &str), EndpointUse> = BTreeMap::new();
    for (proxy, report) in reports {
        for e in &report.engines {
            let sum = engines.entry(e.engine.clone()).or_default();
            sum.waiting = sum.waiting.saturating_add(e.waiting);
            sum.calls = sum.calls.saturating_add(e.calls);
            sum.failures = sum.failures.saturating_add(e.failures);
            sum.first_message.add(&e.first_message);
        }
        for e in &report.endpoints {
            let sum = endpoints.entry((&e.engine, &e.address)).or_insert_with(|| EndpointUse {
                address: e.address.clone(),
                slots: Some(0),
                ..EndpointUse::default()
            });
            add(sum, proxy, e);
        }
    }
    for ((engine, _), mut endpoint) in endpoints {
        endpoint.views.sort_by(|a, b| b.state.cmp(&a.state).then_with(|| a.proxy.cmp(&b.proxy)));
        let sum = engines.entry(engine.to_owned()).or_default();
        let before = if sum.endpoints.is_empty() { Some(0) } else { sum.slots };
        sum.slots = plus(before, endpoint.slots);
        sum.in_use = sum.in_use.saturating_add(endpoint.in_use);
        sum.endpoints.push(endpoint);
    }
    engines
}

fn add(sum: &mut EndpointUse, proxy: &str, e: &EndpointReport) {
    sum.in_use = sum.in_use.saturating_add(e.in_use);
    sum.slots = plus(sum.slots, e.slots);
    sum.calls = sum.calls.saturating_add(e.calls);
    sum.failures = sum.failures.saturating_add(e.failures);
    sum.first_message.add(&e.first_message);
    if let Some(state) = e.state {
        let (proxy, reason) = (proxy.to_owned(), e.reason.clone());
        sum.views.push(EndpointView { proxy, state, reason });
    }
}

fn plus(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a?.saturating_add(b?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(engine: &str, address: &str, in_use: u64, slots: Option<u64>) -> EndpointReport {
        let (engine, address) = (engine.into(), address.into());
        EndpointReport {
            engine,
            address,
            in_use,
            slots,
            calls: 7,
            failures: 1,
            ..Default::default()
        }
    }

    fn engine(waiting: u64, calls: u64) -> EngineReport {
        let first_message = Histogram::of(&[1]);
        EngineReport { engine: "asr".into(), waiting, calls, failures: 1, first_message }
    }

    #[test]
    fn proxies_add_up_per_engine_and_endpoint() {
        let one = UsageReport {
            engines: vec![engine(1, 10)],
            endpoints: vec![
                endpoint("asr", "a:1", 3, Some(32)),
                endpoint("asr", "b:1", 1, Some(8)),
            ],
        };
        let two = UsageReport {
            engines: vec![engine(2, 5)],
            endpoints: vec![endpoint("asr", "a:1", 2, Some(32)), endpoint("off", "c:1", 4, None)],
        };
        let sums = sum([("p1", &one), ("p2", &two)].into_iter());
        let asr = &sums["asr"];
        assert_eq!((asr.slots, asr.in_use, asr.waiting), (Some(72), 6, 3));
        assert_eq!((asr.calls, asr.failures, asr.endpoints.len()), (15, 2, 2));
        assert_eq!(asr.first_message, Histogram::of(&[2]));
        let a = &asr.endpoints[0];
        assert_eq!((a.slots, a.in_use, a.calls, a.failures), (Some(64), 5, 14, 2));
        assert_eq!((a.worst(), a.is_disputed()), (None, false), "nobody says how it is");
        assert_eq!((sums["off"].slots, sums["off"].in_use), (None, 4));
    }

    #[test]
    fn the_worst_state_goes_first_and_a_dispute_is_told() {
        let says = |state, reason: &str| UsageReport {
            endpoints: vec![EndpointReport {
                state,
                reason: reason.into(),
                ..endpoint("asr", "a:1", 0, None)
            }],
            ..UsageReport::default()
        };
        use EndpointState::{Ejected, Healthy, Starting};
        let (well, away) = (says(Some(Healthy), ""), says(Some(Ejected), "5 calls failed"));
        let (mute, begins) = (says(None, ""), says(Some(Starting), "slow start"));
        let all = [("p1", &well), ("p4", &away), ("p2", &away), ("p0", &mute), ("p3", &begins)];
        let sums = sum(all.into_iter());
        let endpoint = &sums["asr"].endpoints[0];
        let order: Vec<_> = endpoint.views.iter().map(|v| v.proxy.as_str()).collect();
        assert_eq!(order, ["p2", "p4", "p3", "p1"]);
        assert!(endpoint.is_disputed());
        assert_eq!(endpoint.worst().map(|w| w.reason.as_str()), Some("5 calls failed"));
        let agreed =
            sum([("p1", &away), ("p0", &mute), ("p2", &says(Some(Ejected), "x"))].into_iter());
        assert!(!agreed["asr"].endpoints[0].is_disputed());
    }
}
