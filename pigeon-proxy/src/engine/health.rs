//! Active health, decided: which check comes next, and what its answer means. Pure; [`crate::health`]
//! does the checking.
//!
//! An endpoint nobody has checked yet is used: its first check runs at once, and a proxy that has just
//! started must not refuse calls meanwhile.

use std::time::Duration;

use pigeon_proto::model::{Health, HealthCheck, Protocol};

use super::clock::scramble;

/// A check to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// grpc.health.v1.Health/Check of this service; empty = of the server.
    Grpc(String),
    /// GET of this path.
    Http(String),
    /// Whether it takes a connection.
    Tcp,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is up.
    Up,
    /// It is not, and why.
    Down(String),
    /// It takes connections and speaks HTTP/2, but cannot be asked how it is, and why.
    NoHealth(String),
    /// It takes connections and does not speak HTTP/2.
    NotHttp2,
    /// It takes connections and says nothing.
    Silent,
}

/// What follows for the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is healthy again.
    Healthy,
    /// It is unhealthy from now on, and why.
    Unhealthy(String),
}

/// What `auto` knows of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Speaks {
    NotKnown,
    /// It has answered grpc.health.v1.
    Grpc,
    /// It has none: a connection is all that can be asked for.
    Nothing,
}

/// The health of one endpoint, as its checks tell.
#[derive(Debug)]
pub struct Tracker {
    settings: Health,
    protocol: Protocol,
    speaks: Speaks,
    healthy: bool,
    /// Answers in a row against `healthy`.
    streak: u32,
}

impl Tracker {
    /// Of an endpoint that counts as `healthy`, or does not, until its checks say otherwise.
    pub fn new(settings: Health, protocol: Protocol, healthy: bool) -> Self {
        Self { settings, protocol, speaks: Speaks::NotKnown, healthy, streak: 0 }
    }

    /// Takes other settings over. What the endpoint is stays, until a check says otherwise.
    pub fn update(&mut self, settings: Health, protocol: Protocol) {
        if settings.check != self.settings.check || protocol != self.protocol {
            self.speaks = Speaks::NotKnown;
        }
        (self.settings, self.protocol, self.streak) = (settings, protocol, 0);
    }

    /// What to check; nothing if checks are off.
    pub fn check(&self) -> Option<Check> {
        match &self.settings.check {
            HealthCheck::None => None,
            HealthCheck::Tcp => Some(Check::Tcp),
            HealthCheck::Http { path } => Some(Check::Http(path.clone())),
            HealthCheck::Grpc { service } => Some(Check::Grpc(service.clone())),
            HealthCheck::Auto if self.protocol == Protocol::Http1 => Some(Check::Tcp),
            HealthCheck::Auto if self.speaks == Speaks::Nothing => Some(Check::Tcp),
            HealthCheck::Auto => Some(Check::Grpc(String::new())),
        }
    }

    /// How long a check may take.
    pub fn timeout(&self) -> Duration {
        self.settings.timeout.duration()
    }

    /// How long until the next check: the interval, ten percent more or less.
    pub fn pause(&self, seed: u64) -> Duration {
        let interval = self.settings.interval.duration();
        interval * 9 / 10 + interval / 5 * u32::from(scramble(seed) as u16) / u32::from(u16::MAX)
    }

    /// Takes the answer to the last check; says if that changes what the endpoint is.
    pub fn answered(&mut self, answer: Answer) -> Option<Verdict> {
        let fault = self.fault(answer);
        if fault.is_none() == self.healthy {
            self.streak = 0;
            return None;
        }
        self.streak += 1;
        let enough = if self.healthy { self.settings.down } else { self.settings.up };
        if self.streak < enough {
            return None;
        }
        self.streak = 0;
        self.healthy = fault.is_none();
        Some(fault.map_or(Verdict::Healthy, Verdict::Unhealthy))
    }

    /// What is wrong by this answer, if anything.
    fn fault(&mut self, answer: Answer) -> Option<String> {
        if self.settings.check == HealthCheck::Auto && self.protocol != Protocol::Http1 {
            return self.fault_of_auto(answer);
        }
        match answer {
            Answer::Up => None,
            Answer::Down(why) => Some(why),
            Answer::NoHealth(why) => Some(format!("{why}; set health.check to auto or tcp")),
            Answer::NotHttp2 => {
                Some("it does not speak HTTP/2; set health.check to auto, http or tcp".into())
            }
            Answer::Silent => Some(self.silence()),
        }
    }

    fn fault_of_auto(&mut self, answer: Answer) -> Option<String> {
        match (answer, self.speaks) {
            (Answer::Up, Speaks::Nothing) => None,
            (Answer::Up, _) => {
                self.speaks = Speaks::Grpc;
                None
            }
            (Answer::NoHealth(_), _) => {
                self.speaks = Speaks::Nothing;
                None
            }
            // One that has spoken gRPC before and hangs up on it is in trouble; a stranger may just be
            // something else.
            (Answer::NotHttp2, Speaks::Grpc) => {
                Some("it closed the connection without an answer".into())
            }
            (Answer::NotHttp2, _) => {
                self.speaks = Speaks::Nothing;
                None
            }
            (Answer::Silent, Speaks::Grpc) => Some(self.silence()),
            // It took the connection. Perhaps it serves one connection at a time and is busy.
            (Answer::Silent, _) => None,
            (Answer::Down(why), Speaks::Nothing) => {
                // What comes back there may be something else.
                self.speaks = Speaks::NotKnown;
                Some(why)
            }
            (Answer::Down(why), _) => Some(why),
        }
    }

    fn silence(&self) -> String {
        format!("no answer within {:?}", self.timeout())
    }
}

#[cfg(test)]
mod tests {
    use pigeon_proto::model::Millis;

    use super::*;

    fn tracker(check: HealthCheck, up: u32, down: u32) -> Tracker {
        let settings = Health { check, up, down, ..Health::default() };
        Tracker::new(settings, Protocol::Auto, true)
    }

    fn no_health() -> Answer {
        Answer::NoHealth("grpc.health.v1 answers UNIMPLEMENTED".into())
    }

    fn down() -> Answer {
        Answer::Down("refused".into())
    }

    #[test]
    fn it_takes_as_many_answers_in_a_row_as_the_thresholds_say() {
        let mut t = tracker(HealthCheck::Tcp, 2, 3);
        assert_eq!(t.answered(down()), None);
        assert_eq!(t.answered(down()), None);
        assert_eq!(t.answered(Answer::Up), None);
        assert_eq!(t.answered(down()), None);
        assert_eq!(t.answered(down()), None);
        assert_eq!(t.answered(down()), Some(Verdict::Unhealthy("refused".into())));
        assert_eq!(t.answered(down()), None, "told once");
        assert_eq!(t.answered(Answer::Up), None);
        assert_eq!(t.answered(down()), None);
        assert_eq!(t.answered(Answer::Up), None);
        assert_eq!(t.answered(Answer::Up), Some(Verdict::Healthy));
    }

    #[test]
    fn auto_finds_out_what_it_can_ask() {
        let mut t = tracker(HealthCheck::Auto, 1, 1);
        assert_eq!(t.check(), Some(Check::Grpc(String::new())));
        assert_eq!(t.answered(no_health()), None);
        assert_eq!(t.check(), Some(Check::Tcp));
        assert_eq!(t.answered(Answer::Up), None);
        assert_eq!(t.check(), Some(Check::Tcp), "a connection does not tell that it speaks gRPC");
        // It is replaced by something else meanwhile.
        assert!(matches!(t.answered(down()), Some(Verdict::Unhealthy(_))));
        assert_eq!(t.check(), Some(Check::Grpc(String::new())));
        assert_eq!(t.answered(Answer::Up), Some(Verdict::Healthy));
    }

    #[test]
    fn auto_holds_silence_only_against_those_who_have_spoken() {
        let mut t = tracker(HealthCheck::Auto, 1, 1);
        assert_eq!(t.answered(Answer::Silent), None);
        assert_eq!(t.check(), Some(Check::Grpc(String::new())));
        assert_eq!(t.answered(Answer::Up), None);
        assert_eq!(
            t.answered(Answer::Silent),
            Some(Verdict::Unhealthy("no answer within 2s".into()))
        );
        let mut t = tracker(HealthCheck::Auto, 1, 1);
        assert_eq!(t.answered(Answer::NotHttp2), None);
        assert_eq!(t.check(), Some(Check::Tcp));
    }

    #[test]
    fn a_named_check_is_not_replaced() {
        let mut t = tracker(HealthCheck::Grpc { service: "s".into() }, 1, 1);
        assert!(matches!(t.answered(no_health()), Some(Verdict::Unhealthy(_))));
        assert_eq!(t.check(), Some(Check::Grpc("s".into())));
        let http = HealthCheck::Http { path: "/up".into() };
        assert_eq!(tracker(http, 1, 1).check(), Some(Check::Http("/up".into())));
        assert_eq!(tracker(HealthCheck::None, 1, 1).check(), None);
    }

    #[test]
    fn http1_engines_are_only_connected_to() {
        let mut t = tracker(HealthCheck::Auto, 1, 1);
        t.update(Health::default(), Protocol::Http1);
        assert_eq!(t.check(), Some(Check::Tcp));
    }

    #[test]
    fn checks_are_ten_percent_apart_from_their_interval_at_most() {
        let settings = Health { interval: Millis::new(10_000), ..Health::default() };
        let t = Tracker::new(settings, Protocol::Auto, true);
        let pauses: Vec<_> = (0..1_000).map(|seed| t.pause(seed).as_millis()).collect();
        assert!(pauses.iter().all(|p| (9_000..=11_000).contains(p)));
        assert!(pauses.iter().any(|p| *p < 9_200) && pauses.iter().any(|p| *p > 10_800));
    }
}
