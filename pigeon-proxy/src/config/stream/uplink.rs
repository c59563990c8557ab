//! What a proxy tells the admin: acknowledgements, where it listens, what is in use. The newest of each wins.

use std::collections::HashMap;
use std::time::SystemTime;

use pigeon_proto::v1::{self, config_up::M};
use prost::Message;

use crate::config::{Rejected, Serving, Source};
use crate::engine::State;
use crate::gateway;

/// Most bytes of the lists told: an admin takes messages of 1 MiB.
const REJECTED: usize = 768 << 10;
const ENGINES: usize = 256 << 10;
const ENDPOINTS: usize = 512 << 10;

/// What was told on this stream, so that nothing is told twice.
#[derive(Debug, Default)]
pub(super) struct Uplink {
    ack: Option<v1::Ack>,
    /// Without its age, which changes by itself.
    status: Option<v1::Status>,
    usage: Option<v1::Usage>,
    /// Sampled last.
    usage_now: Option<v1::Usage>,
}

impl Uplink {
    /// What is to be told next, if anything.
    pub(super) fn next(&self, serving: &Serving) -> Option<v1::ConfigUp> {
        let ack = (serving.received > 0).then(|| ack(serving));
        let message = if ack.is_some() && ack != self.ack {
            ack.map(M::Ack)
        } else if self.status.as_ref() != Some(&status(serving)) {
            let age = serving.at.and_then(|at| SystemTime::now().duration_since(at).ok());
            let config_age_ms = u64::try_from(age.unwrap_or_default().as_millis()).unwrap_or(0);
            Some(M::Status(v1::Status { config_age_ms, ..status(serving) }))
        } else if self.usage_now.is_some() && self.usage_now != self.usage {
            self.usage_now.clone().map(M::Usage)
        } else {
            None
        };
        message.map(|m| v1::ConfigUp { m: Some(m) })
    }

    /// Takes note of a message that goes out now.
    pub(super) fn sent(&mut self, message: v1::ConfigUp) -> v1::ConfigUp {
        match &message.m {
            Some(M::Ack(m)) => self.ack = Some(m.clone()),
            Some(M::Status(m)) => self.status = Some(v1::Status { config_age_ms: 0, ..m.clone() }),
            Some(M::Usage(m)) => self.usage = Some(m.clone()),
            Some(M::Subscribe(_)) | None => {}
        }
        message
    }

    /// Takes a sample of what is in use.
    pub(super) fn usage(&mut self, engines: &[gateway::EngineUsage]) {
        self.usage_now = Some(usage(engines));
    }
}

/// Where listeners really listen, on the wire.
pub(super) fn listen(serving: &Serving) -> HashMap<String, String> {
    serving.listen.iter().map(|(name, at)| (name.to_string(), at.to_string())).collect()
}

fn ack(serving: &Serving) -> v1::Ack {
    let rejected = |r: &Rejected| v1::Rejected {
        kind: r.kind.clone(),
        name: r.name.clone(),
        mod_revision: r.mod_revision,
        code: r.code.clone(),
        message: r.message.clone(),
        serving_mod_revision: r.serving_mod_revision,
    };
    v1::Ack {
        received: serving.received,
        effective: serving.effective,
        rejected: within(REJECTED, serving.rejected.iter().map(rejected)),
    }
}

fn status(serving: &Serving) -> v1::Status {
    let source = match serving.source {
        Source::Stream => v1::status::Source::Stream,
        Source::Lkg => v1::status::Source::Lkg,
        // A proxy with a file has no stream.
        Source::None | Source::File => v1::status::Source::None,
    };
    v1::Status { source: source.into(), config_age_ms: 0, listen: listen(serving) }
}

fn usage(engines: &[gateway::EngineUsage]) -> v1::Usage {
    let engine = |e: &gateway::EngineUsage| v1::EngineUsage {
        engine: e.engine.to_string(),
        waiting: e.waiting,
        calls: e.calls,
        failures: e.failures,
        first_message: without_trailing_zeros(&e.first_message),
    };
    let endpoint = |e: &gateway::EngineUsage, p: &gateway::EndpointUsage| v1::EndpointUsage {
        engine: e.engine.to_string(),
        address: p.address.to_string(),
        in_use: p.in_use,
        slots: p.slots.unwrap_or(0),
        state: state(p.state).into(),
        reason: crate::config::clip(&p.reason),
        calls: p.calls,
        failures: p.failures,
        first_message: without_trailing_zeros(&p.first_message),
    };
    let endpoints = engines.iter().flat_map(|e| e.endpoints.iter().map(move |p| endpoint(e, p)));
    v1::Usage {
        endpoints: within(ENDPOINTS, endpoints),
        engines: within(ENGINES, engines.iter().map(engine)),
    }
}

fn state(state: State) -> v1::endpoint_usage::State {
    match state {
        State::Healthy => v1::endpoint_usage::State::Healthy,
        State::Starting => v1::endpoint_usage::State::Starting,
        State::Draining => v1::endpoint_usage::State::Draining,
        State::Ejected => v1::endpoint_usage::State::Ejected,
        State::Unhealthy => v1::endpoint_usage::State::Unhealthy,
    }
}

fn without_trailing_zeros(counts: &[u32]) -> Vec<u32> {
    let used = counts.iter().rposition(|n| *n > 0).map_or(0, |last| last + 1);
    counts[..used].to_vec()
}

/// As many from the beginning as fit into so many bytes; the admin does without the rest.
fn within<M: Message>(bytes: usize, all: impl Iterator<Item = M>) -> Vec<M> {
    let mut left = bytes;
    all.take_while(|m| {
        // 8: the tag and the length before each.
        let size = m.encoded_len() + 8;
        let fits = size <= left;
        left = left.saturating_sub(size);
        fits
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{CLASSES, Cause};

    #[test]
    fn zeros_at_the_end_are_left_out() {
        assert_eq!(without_trailing_zeros(&[0, 3, 0, 1, 0, 0]), [0, 3, 0, 1]);
        assert_eq!(without_trailing_zeros(&[0; CLASSES]), [0; 0]);
    }

    fn tell(uplink: &mut Uplink, serving: &Serving) -> Vec<&'static str> {
        let mut told = Vec::new();
        while let Some(m) = uplink.next(serving) {
            told.push(match uplink.sent(m).m {
                Some(M::Ack(_)) => "ack",
                Some(M::Status(_)) => "status",
                Some(M::Usage(_)) => "usage",
                _ => "?",
            });
        }
        told
    }

    #[test]
    fn everything_is_told_once_and_again_when_it_changes() {
        let mut uplink = Uplink::default();
        let mut serving = Serving::default();
        assert_eq!(tell(&mut uplink, &serving), ["status"]);
        serving.received = 4;
        serving.at = Some(SystemTime::UNIX_EPOCH);
        assert_eq!(tell(&mut uplink, &serving), ["ack"]);
        serving.source = Source::Lkg;
        serving.effective = 4;
        assert_eq!(tell(&mut uplink, &serving), ["ack", "status"]);
        uplink.usage(&[]);
        assert_eq!(tell(&mut uplink, &serving), ["usage"]);
        uplink.usage(&[]);
        assert_eq!(tell(&mut uplink, &serving), Vec::<&str>::new());
        serving.listen.insert("default".parse().expect("name"), ([127, 0, 0, 1], 1).into());
        assert_eq!(tell(&mut uplink, &serving), ["status"]);
    }

    #[test]
    fn what_is_told_fits_into_what_an_admin_takes() {
        let rejected = Rejected {
            kind: "engine".into(),
            name: "n".repeat(63),
            mod_revision: 1,
            code: "PGN-P302".into(),
            message: "m".repeat(500),
            serving_mod_revision: 0,
        };
        let serving = Serving { rejected: vec![rejected; 5_000], ..Serving::default() };
        let told = ack(&serving);
        assert!((500..5_000).contains(&told.rejected.len()), "{}", told.rejected.len());
        assert!(told.encoded_len() < 1 << 20);
        let endpoint = gateway::EndpointUsage {
            address: "engine.example.com:50051".parse().expect("an address"),
            in_use: 1,
            slots: Some(2),
            state: State::Unhealthy,
            cause: Cause::Check,
            reason: "grpc.health.v1 says NOT_SERVING".into(),
            calls: 7,
            failures: 1,
            first_message: [0; CLASSES],
        };
        let engine = gateway::EngineUsage {
            engine: "engine".parse().expect("a name"),
            waiting: 0,
            calls: 1,
            failures: 0,
            first_message: [0; CLASSES],
            endpoints: vec![endpoint; 4],
        };
        let told = usage(&vec![engine; 50_000]);
        assert!(told.encoded_len() < 1 << 20);
        assert!(told.engines.len() > 5_000 && told.endpoints.len() > 4_000);
    }
}
