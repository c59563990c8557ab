//! The series of retry budgets.

use pigeon_proto::model::Name;
use prometheus::{IntCounterVec, IntGaugeVec, Registry};

use super::{counters, gauges};
use crate::retry::Spent;

/// How the retry budgets of routes stand.
pub(super) struct BudgetSeries {
    most: IntGaugeVec,
    used: IntGaugeVec,
    exhausted: IntCounterVec,
}

impl BudgetSeries {
    pub(super) fn new(r: &Registry) -> Self {
        let route = ["route"];
        Self {
            most: gauges(
                r,
                "pigeon_retry_budget",
                "Retries that a route's calls of the last ten seconds allow.",
                &route,
            ),
            used: gauges(
                r,
                "pigeon_retry_budget_used",
                "Retries of a route in the last ten seconds that count against its budget.",
                &route,
            ),
            exhausted: counters(
                r,
                "pigeon_retry_budget_exhausted_total",
                "Calls that were not tried again because the budget of their route was used up.",
                &route,
            ),
        }
    }

    /// Those of these routes, and of no others.
    pub(super) fn set<'b>(&self, budgets: impl Iterator<Item = (&'b Name, Spent)>) {
        self.most.reset();
        self.used.reset();
        self.exhausted.reset();
        let shown = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        for (route, spent) in budgets {
            let route = [route.as_str()];
            self.most.with_label_values(&route).set(shown(spent.most));
            self.used.with_label_values(&route).set(shown(spent.retries));
            self.exhausted.with_label_values(&route).inc_by(spent.denied);
        }
    }
}
