//! Answers that come later: delays and the timers for them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How long an answer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// No time.
    None,
    /// Always the same time.
    Fixed(Duration),
    /// Any time between the two is as likely as another.
    Uniform(Duration, Duration),
    /// Exponential, with this mean.
    Exponential(Duration),
}

impl FromStr for Delay {
    type Err = String;

    /// `none`, `10ms`, `5ms-20ms`, `exp:10ms`.
    fn from_str(text: &str) -> Result<Self, String> {
        let time = |text: &str| {
            humantime::parse_duration(text)
                .map_err(|e| format!("\"{text}\": {e}; write none, 10ms, 5ms-20ms or exp:10ms"))
        };
        if text == "none" {
            return Ok(Self::None);
        }
        if let Some(mean) = text.strip_prefix("exp:") {
            return Ok(Self::Exponential(time(mean)?));
        }
        match text.split_once('-') {
            Some((from, to)) => {
                let (from, to) = (time(from)?, time(to)?);
                if from > to {
                    return Err(format!("\"{text}\": the shorter time comes first"));
                }
                Ok(Self::Uniform(from, to))
            }
            None => Ok(Self::Fixed(time(text)?)),
        }
    }
}

impl Delay {
    /// The time of one answer; `chance` is from 0 up to but not including 1.
    fn time(self, chance: f64) -> Duration {
        match self {
            Self::None => Duration::ZERO,
            Self::Fixed(time) => time,
            Self::Uniform(from, to) => from + (to - from).mul_f64(chance),
            Self::Exponential(mean) => mean.mul_f64(-(1.0 - chance).ln()),
        }
    }
}

/// An answer, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    /// The connection.
    pub token: u64,
    /// The stream; 0 in HTTP/1.1.
    pub stream: u32,
    /// What to send.
    pub bytes: Vec<u8>,
    /// Whether the call ends with it.
    pub end: bool,
}

/// Answers in the order of their time.
pub struct Timers {
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
    answers: std::collections::HashMap<u64, Later>,
    count: u64,
    random: fastrand::Rng,
}

impl Timers {
    /// None yet.
    pub fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { heap: BinaryHeap::new(), answers: Default::default(), count: 0, random }
    }

    /// Keeps an answer for its time, which is never before `not_before`; says that time.
    pub fn keep(
        &mut self,
        delay: Delay,
        now: Instant,
        not_before: Instant,
        later: Later,
    ) -> Instant {
        let at = (now + delay.time(self.random.f64())).max(not_before);
        self.heap.push(Reverse((at, self.count)));
        self.answers.insert(self.count, later);
        self.count += 1;
        at
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next one that is due.
    pub fn pop(&mut self, now: Instant) -> Option<Later> {
        self.next().filter(|at| *at <= now)?;
        let Reverse((_, count)) = self.heap.pop()?;
        self.answers.remove(&count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_read_and_drawn() {
        let ms = Duration::from_millis;
        let cases = [
            ("none", Delay::None),
            ("10ms", Delay::Fixed(ms(10))),
            ("5ms-20ms", Delay::Uniform(ms(5), ms(20))),
            ("exp:10ms", Delay::Exponential(ms(10))),
        ];
        for (text, wanted) in cases {
            assert_eq!(text.parse(), Ok(wanted));
        }
        assert!("20ms-5ms".parse::<Delay>().is_err());
        assert!("soon".parse::<Delay>().expect_err("no time").contains("10ms"));
        assert_eq!(Delay::Uniform(ms(5), ms(20)).time(0.0), ms(5));
        let random = |n: u32| f64::from(n) / 1000.0;
        let sum: Duration = (0..1000).map(|n| Delay::Exponential(ms(10)).time(random(n))).sum();
        assert!((ms(9500)..ms(10_500)).contains(&sum), "{sum:?}");
    }

    #[test]
    fn answers_come_in_order_and_not_early() {
        let start = Instant::now();
        let mut timers = Timers::new(1);
        let later = |stream| Later { token: 1, stream, bytes: vec![], end: false };
        let delay = |ms| Delay::Fixed(Duration::from_millis(ms));
        timers.keep(delay(20), start, start, later(3));
        let at = timers.keep(delay(10), start, start, later(1));
        // Of the same stream: not before the one in front of it.
        assert_eq!(timers.keep(delay(0), start, at, later(2)), at);
        assert_eq!(timers.pop(start), None);
        let order: Vec<_> = std::iter::from_fn(|| timers.pop(start + Duration::from_secs(1)))
            .map(|later| later.stream)
            .collect();
        assert_eq!(order, [1, 2, 3]);
    }
}
