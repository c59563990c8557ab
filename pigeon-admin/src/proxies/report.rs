//! What proxies carry for each engine, and the sum of it.

use std::collections::BTreeMap;

use super::{EndpointUse, EngineUse};

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
}

/// Adds up what several proxies carry. Where one knows no limit, there is none.
pub(super) fn sum<'a>(
    reports: impl Iterator<Item = &'a UsageReport>,
) -> BTreeMap<String, EngineUse> {
    let mut engines: BTreeMap<String, EngineUse> = BTreeMap::new();
    let mut endpoints: BTreeMap<(&str, &str), EndpointUse> = BTreeMap::new();
    for report in reports {
        for e in &report.engines {
            let sum = engines.entry(e.engine.clone()).or_default();
            sum.waiting = sum.waiting.saturating_add(e.waiting);
            sum.calls = sum.calls.saturating_add(e.calls);
            sum.failures = sum.failures.saturating_add(e.failures);
        }
        for e in &report.endpoints {
            let sum = endpoints.entry((&e.engine, &e.address)).or_insert_with(|| EndpointUse {
                address: e.address.clone(),
                slots: Some(0),
                in_use: 0,
            });
            sum.in_use = sum.in_use.saturating_add(e.in_use);
            sum.slots = plus(sum.slots, e.slots);
        }
    }
    for ((engine, _), endpoint) in endpoints {
        let sum = engines.entry(engine.to_owned()).or_default();
        let before = if sum.endpoints.is_empty() { Some(0) } else { sum.slots };
        sum.slots = plus(before, endpoint.slots);
        sum.in_use = sum.in_use.saturating_add(endpoint.in_use);
        sum.endpoints.push(endpoint);
    }
    engines
}

fn plus(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    Some(a?.saturating_add(b?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(engine: &str, address: &str, in_use: u64, slots: Option<u64>) -> EndpointReport {
        EndpointReport { engine: engine.into(), address: address.into(), in_use, slots }
    }

    #[test]
    fn proxies_add_up_per_engine_and_endpoint() {
        let engine =
            |waiting, calls| EngineReport { engine: "asr".into(), waiting, calls, failures: 1 };
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
        let sums = sum([&one, &two].into_iter());
        let asr = &sums["asr"];
        assert_eq!((asr.slots, asr.in_use, asr.waiting), (Some(72), 6, 3));
        assert_eq!((asr.calls, asr.failures, asr.endpoints.len()), (15, 2, 2));
        assert_eq!((asr.endpoints[0].slots, asr.endpoints[0].in_use), (Some(64), 5));
        assert_eq!((sums["off"].slots, sums["off"].in_use), (None, 4));
    }
}
