//! The wire form of engines.

use super::super::error::Errors;
use super::super::health::{check_ejection, check_health};
use super::super::{
    Balance, Ejection, Endpoint, Engine, HashKey, Health, Millis, Protocol, engine,
};
use super::{at, checked, some, tls, unknown};
use crate::v1;

impl From<&Engine> for v1::Engine {
    fn from(e: &Engine) -> Self {
        let endpoint = |p: &Endpoint| v1::Endpoint {
            address: p.address.to_string(),
            weight: p.weight,
            slots: p.slots.unwrap_or(0),
            drain: p.drain,
        };
        let balance = match e.balance {
            Balance::LeastConnections => v1::engine::Balance::LeastConnections,
            Balance::Random => v1::engine::Balance::Random,
            Balance::RoundRobin => v1::engine::Balance::RoundRobin,
            Balance::P2c => v1::engine::Balance::P2c,
            Balance::Hash => v1::engine::Balance::Hash,
        };
        let protocol = match e.protocol {
            Protocol::Auto => v1::engine::Protocol::Auto,
            Protocol::Http1 => v1::engine::Protocol::Http1,
            Protocol::H2c => v1::engine::Protocol::H2c,
            Protocol::H2 => v1::engine::Protocol::H2,
        };
        Self {
            endpoints: e.endpoints.iter().map(endpoint).collect(),
            balance: balance.into(),
            hash_key: e.hash_key.as_ref().map(ToString::to_string).unwrap_or_default(),
            protocol: protocol.into(),
            slow_start_ms: e.slow_start.as_ms(),
            pool: Some((&e.pool).into()),
            health: Some((&e.health).into()),
            ejection: Some((&e.ejection).into()),
            tls: e.tls.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<v1::Engine> for Engine {
    type Error = Errors;

    fn try_from(w: v1::Engine) -> Result<Self, Errors> {
        let mut errors = Errors::default();
        let endpoints: Vec<_> = w
            .endpoints
            .into_iter()
            .enumerate()
            .filter_map(|(i, e)| errors.keep(wire_endpoint(e, &format!("/endpoints/{i}"))))
            .collect();
        let balance = errors.keep(wire_balance(w.balance));
        let protocol = errors.keep(wire_protocol(w.protocol));
        let pool = errors.keep(w.pool.unwrap_or_default().try_into());
        let health = errors.keep(w.health.map_or(Ok(Health::none()), wire_health));
        let ejection = errors.keep(w.ejection.map_or(Ok(Ejection::default()), wire_ejection));
        let hash_key = Some(w.hash_key).filter(|k| !k.is_empty());
        let hash_key: Option<HashKey> =
            hash_key.and_then(|k| at(&mut errors, "/hash_key", k.parse()));
        let slow_start = Millis::new(w.slow_start_ms);
        let tls = errors.keep(w.tls.map(tls::wire_engine_tls).transpose());
        match (balance, protocol, pool, health, ejection, tls) {
            (
                Some(balance),
                Some(protocol),
                Some(pool),
                Some(health),
                Some(ejection),
                Some(tls),
            ) if errors.0.is_empty() => {
                let value = Self {
                    endpoints,
                    balance,
                    hash_key,
                    protocol,
                    slow_start,
                    pool,
                    health,
                    ejection,
                    tls,
                };
                checked(value, "", engine::check)
            }
            _ => Err(errors),
        }
    }
}

fn wire_balance(number: i32) -> Result<Balance, Errors> {
    match v1::engine::Balance::try_from(number) {
        Ok(v1::engine::Balance::LeastConnections) => Ok(Balance::LeastConnections),
        Ok(v1::engine::Balance::Random) => Ok(Balance::Random),
        Ok(v1::engine::Balance::RoundRobin) => Ok(Balance::RoundRobin),
        Ok(v1::engine::Balance::P2c) => Ok(Balance::P2c),
        Ok(v1::engine::Balance::Hash) => Ok(Balance::Hash),
        Err(_) => Err(unknown("/balance", number)),
    }
}

fn wire_protocol(number: i32) -> Result<Protocol, Errors> {
    match v1::engine::Protocol::try_from(number) {
        Ok(v1::engine::Protocol::Auto) => Ok(Protocol::Auto),
        Ok(v1::engine::Protocol::Http1) => Ok(Protocol::Http1),
        Ok(v1::engine::Protocol::H2c) => Ok(Protocol::H2c),
        Ok(v1::engine::Protocol::H2) => Ok(Protocol::H2),
        Err(_) => Err(unknown("/protocol", number)),
    }
}

fn wire_endpoint(w: v1::Endpoint, prefix: &str) -> Result<Endpoint, Errors> {
    let mut errors = Errors::default();
    let address = at(&mut errors, &format!("{prefix}/address"), w.address.parse());
    let Some(address) = address else { return Err(errors) };
    let value = Endpoint { address, weight: w.weight, slots: some(w.slots), drain: w.drain };
    checked(value, prefix, engine::check_endpoint)
}

impl From<&Health> for v1::Health {
    fn from(h: &Health) -> Self {
        Self {
            check: h.check.to_string(),
            interval_ms: h.interval.as_ms(),
            timeout_ms: h.timeout.as_ms(),
            up: h.up,
            down: h.down,
        }
    }
}

fn wire_health(w: v1::Health) -> Result<Health, Errors> {
    let mut errors = Errors::default();
    let check = at(&mut errors, "/health/check", w.check.parse());
    let Some(check) = check else { return Err(errors) };
    let value = Health {
        check,
        interval: Millis::new(w.interval_ms),
        timeout: Millis::new(w.timeout_ms),
        up: w.up,
        down: w.down,
    };
    checked(value, "/health", check_health)
}

impl From<&Ejection> for v1::Ejection {
    fn from(e: &Ejection) -> Self {
        Self {
            failures: e.failures,
            outliers: e.outliers,
            time_ms: e.time.as_ms(),
            max_time_ms: e.max_time.as_ms(),
            max_ejected: e.max_ejected,
        }
    }
}

fn wire_ejection(w: v1::Ejection) -> Result<Ejection, Errors> {
    let value = Ejection {
        failures: w.failures,
        outliers: w.outliers,
        time: Millis::new(w.time_ms),
        max_time: Millis::new(w.max_time_ms),
        max_ejected: w.max_ejected,
    };
    checked(value, "/ejection", check_ejection)
}
