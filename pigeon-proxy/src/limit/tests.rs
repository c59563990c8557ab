//! Buckets against a list of everything that ever passed.

use proptest::prelude::*;

use super::*;

fn rule(rate: &str, burst: u32) -> Rule {
    Rule::new(rate.parse().expect("a rate"), burst)
}

proptest! {
    /// In every window no more than the burst and what comes in that time; what is refused passes exactly when
    /// it was told, and not a nanosecond before.
    #[test]
    fn never_more_than_burst_and_rate_and_the_wait_is_exact(
        calls in 1..1_000_u32,
        burst in 1..20_u32,
        steps in prop::collection::vec(0..3_000_000_000_u64, 1..200),
    ) {
        let rule = rule(&format!("{calls}/m"), burst);
        let bucket = Bucket::default();
        let mut now = 1;
        let mut passed: Vec<u64> = Vec::new();
        for step in steps {
            now += step / u64::from(calls);
            match bucket.take(&rule, now) {
                Ok(()) => passed.push(now),
                Err(wait) => {
                    let wait = u64::try_from(wait.as_nanos()).expect("short");
                    prop_assert!(wait > 0 && wait <= rule.interval);
                    prop_assert_eq!(bucket.take(&rule, now + wait - 1), Err(Duration::from_nanos(1)));
                    prop_assert_eq!(bucket.wait(&rule, now + wait), Duration::ZERO);
                }
            }
        }
        for (first, start) in passed.iter().enumerate() {
            for (last, end) in passed.iter().enumerate().skip(first) {
                let count = (last - first + 1) as u64;
                let most = u64::from(burst) + (end - start) * u64::from(calls) / (60 * SECOND);
                prop_assert!(count <= most, "{count} in {} ns", end - start);
            }
        }
    }

    /// A bucket of another rule has as many tokens, as far as it holds them.
    #[test]
    fn another_rule_keeps_the_tokens(
        taken in 0..10_u32, before in 1..1_000_u32, after in 1..1_000_u32, burst in 1..10_u32,
    ) {
        let (from, to) = (rule(&format!("{before}/m"), 10), rule(&format!("{after}/m"), burst));
        let bucket = Bucket::default();
        for _ in 0..taken {
            prop_assert_eq!(bucket.take(&from, 1), Ok(()));
        }
        let bucket = bucket.converted(&from, &to, 1);
        let left = (0..20).filter(|_| bucket.take(&to, 1).is_ok()).count() as u32;
        prop_assert_eq!(left, burst.saturating_sub(taken));
    }
}

#[test]
fn threads_together_take_no_more_than_there_is() {
    let (bucket, rule) = (Bucket::default(), rule("1/h", 1_000));
    let take = || (0..1_000).filter(|_| bucket.take(&rule, 1).is_ok()).count();
    let taken = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|t| t.join().expect("counted")).sum::<usize>()
    });
    assert_eq!(taken, 1_000);
}

#[test]
fn sources_are_addresses_or_half_of_them() {
    let of = |text: &str| source(text.parse().expect("an address"));
    assert_eq!(of("10.0.0.1"), of("::ffff:10.0.0.1"));
    assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
    assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
}
