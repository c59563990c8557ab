//! Success-rate outliers: endpoints that fail clearly more calls than the others of their engine. Pure.

use super::stats::Recent;

/// So many calls of the last ten seconds make an endpoint comparable.
const LEAST_CALLS: u32 = 20;
/// So many comparable endpoints make a comparison.
const LEAST_ENDPOINTS: usize = 5;
/// So many standard deviations below the mean lies an outlier.
const DEVIATIONS: f64 = 1.9;
/// And at least so far below it: among endpoints that hardly fail, one failure is no sign.
const LEAST_GAP: f64 = 0.1;

/// The outliers, the worst first, by index.
pub(crate) fn outliers(recent: &[Recent]) -> Vec<usize> {
    let rate = |r: &Recent| 1.0 - f64::from(r.failures) / f64::from(r.calls);
    let comparable = recent.iter().enumerate().filter(|(_, r)| r.calls >= LEAST_CALLS);
    let rates: Vec<_> = comparable.map(|(i, r)| (i, rate(r))).collect();
    if rates.len() < LEAST_ENDPOINTS {
        return Vec::new();
    }
    let n = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / n;
    let variance = rates.iter().map(|(_, rate)| (rate - mean).powi(2)).sum::<f64>() / n;
    let bound = (mean - DEVIATIONS * variance.sqrt()).min(mean - LEAST_GAP);
    let mut found: Vec<_> = rates.into_iter().filter(|(_, rate)| *rate < bound).collect();
    found.sort_by(|a, b| a.1.total_cmp(&b.1));
    found.into_iter().map(|(i, _)| i).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rates: &[(u32, u32)]) -> Vec<usize> {
        let recent = rates.iter().map(|&(calls, failures)| Recent { calls, failures });
        outliers(&recent.collect::<Vec<_>>())
    }

    #[test]
    fn one_that_fails_among_many_is_found() {
        assert_eq!(of(&[(50, 0), (50, 1), (50, 25), (50, 0), (50, 0)]), [2]);
        assert_eq!(of(&[(50, 0); 5]), [0; 0]);
    }

    #[test]
    fn too_few_calls_or_endpoints_say_nothing() {
        assert_eq!(of(&[(50, 0), (50, 0), (50, 50), (50, 0)]), [0; 0]);
        assert_eq!(of(&[(50, 0), (50, 0), (19, 19), (50, 0), (50, 0)]), [0; 0]);
    }

    #[test]
    fn a_small_difference_is_none() {
        assert_eq!(of(&[(100, 0), (100, 0), (100, 9), (100, 0), (100, 0)]), [0; 0]);
    }

    #[test]
    fn when_all_fail_alike_none_is_an_outlier() {
        assert_eq!(of(&[(50, 25), (50, 26), (50, 24), (50, 25), (50, 30)]), [0; 0]);
    }

    #[test]
    fn the_worst_comes_first() {
        let mut rates = vec![(50, 0); 20];
        (rates[3], rates[7]) = ((50, 40), (50, 50));
        assert_eq!(of(&rates), [7, 3]);
    }
}
