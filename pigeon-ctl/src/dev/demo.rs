//! The demo: engines in this process, and the objects that send calls to them.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::Running;
use crate::client::{Call, Client};
use crate::error::{Exit, Failure};
use crate::output::table::cell;

/// Marks the objects that are the demo's: those of other people are left alone.
const LABEL: &str = "pigeon-demo";
/// In the data directory: the demo's objects were made once, and what is missing was removed on purpose.
const MADE: &str = "demo-made";

/// An engine of the demo.
struct DemoEngine {
    name: &'static str,
    endpoints: usize,
    /// Slots per endpoint; none without a limit.
    slots: Option<u32>,
}

const ENGINES: [DemoEngine; 3] = [
    DemoEngine { name: "demo-speech", endpoints: 2, slots: Some(4) },
    DemoEngine { name: "demo-chat", endpoints: 2, slots: Some(4) },
    DemoEngine { name: "demo-http", endpoints: 1, slots: None },
];

/// Name, match and engine of each route.
fn routes() -> [(&'static str, Value, &'static str); 7] {
    let grpc = |service: &str| json!({ "grpc": service });
    [
        ("demo-speech", grpc("pigeon.demo.v1.Speech"), "demo-speech"),
        ("demo-chat", grpc("pigeon.demo.v1.Chat"), "demo-chat"),
        ("demo-echo", grpc("pigeon.demo.v1.Echo"), "demo-speech"),
        ("demo-hello", json!({ "path": "/hello" }), "demo-http"),
        ("demo-health", grpc("grpc.health.v1.Health"), "demo-http"),
        ("demo-reflection", grpc("grpc.reflection.v1.ServerReflection"), "demo-http"),
        ("demo-reflection-alpha", grpc("grpc.reflection.v1alpha.ServerReflection"), "demo-http"),
    ]
}

/// Starts the engines and makes the configuration send calls to them.
///
/// # Errors
/// A port cannot be had, or the admin refuses.
pub(super) async fn start(
    client: &Client,
    home: &Path,
    running: &mut Running,
) -> Result<(), Failure> {
    let made = home.join(MADE);
    let first = !made.exists();
    let mut objects = Vec::new();
    for engine in &ENGINES {
        let before = lookup(client, "engines", engine.name).await?;
        let ours = before.as_ref().filter(|e| e["labels"].get(LABEL).is_some());
        if !first && ours.is_none() {
            continue;
        }
        let addresses = run(engine, &addresses(ours), running).await?;
        match (&before, ours) {
            (None, _) => objects.push(engine.document(&addresses)),
            (_, Some(ours)) => move_engine(client, engine.name, ours, &addresses).await?,
            // Someone else's engine of the same name.
            _ => {}
        }
    }
    if first {
        for (name, matches, engine) in routes() {
            if lookup(client, "routes", name).await?.is_none() {
                let labels = json!({ LABEL: "true" });
                let spec = json!({ "match": matches, "engine": engine });
                objects
                    .push(json!({"kind": "route", "name": name, "labels": labels, "spec": spec}));
            }
        }
        let call = Call::new(Method::POST, "/v1/apply").json(&json!({ "objects": objects }));
        client.send(call).await?;
        std::fs::write(&made, "")
            .map_err(|e| Failure::system(format!("cannot write {}: {e}", made.display())))?;
    }
    Ok(())
}

async fn lookup(client: &Client, kind: &str, name: &str) -> Result<Option<Value>, Failure> {
    match client.send(Call::get(format!("/v1/{kind}/{name}"))).await {
        Ok(answer) => Ok(Some(answer.body)),
        Err(failure) if failure.exit == Exit::NotFound => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The addresses of an engine's endpoints.
fn addresses(engine: Option<&Value>) -> Vec<SocketAddr> {
    let endpoints = engine.and_then(|e| e.pointer("/spec/endpoints")).and_then(Value::as_array);
    let address = |e: &Value| cell(e, "/address").parse().ok();
    endpoints.into_iter().flatten().filter_map(address).collect()
}

/// Starts an engine's processes; says where they are. Those of last time are taken again if they are free,
/// so that a restart need not change the configuration.
async fn run(
    engine: &DemoEngine,
    last_time: &[SocketAddr],
    running: &mut Running,
) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses = Vec::new();
    for number in 0..engine.endpoints {
        let name = format!("{}-{}", engine.name, number + 1);
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let config = |listen| pigeon_demo_engine::Config {
            name: name.clone(),
            listen,
            delay: Duration::ZERO,
            slots: None,
        };
        let wanted = last_time.get(number).filter(|a| a.ip().is_loopback());
        let bound = match pigeon_demo_engine::bind(config(*wanted.unwrap_or(&any))).await {
            Err(_) if wanted.is_some() => pigeon_demo_engine::bind(config(any)).await,
            bound => bound,
        };
        let process = bound.map_err(|e| Failure::system(format!("demo engine {name}: {e}")))?;
        addresses.push(process.local_addr());
        let stopped = running.stopped();
        running.spawn(async move {
            let failed = |e| Failure::system(format!("demo engine {name} failed: {e}"));
            process.run(stopped).await.map_err(failed)
        });
    }
    Ok(addresses)
}

impl DemoEngine {
    fn document(&self, addresses: &[SocketAddr]) -> Value {
        let pool = match self.slots {
            None => json!({}),
            Some(slots) => {
                json!({"mode": "strict", "slots": slots, "queue": 16, "queue_timeout": "5s"})
            }
        };
        let spec = json!({ "endpoints": endpoints(addresses), "pool": pool });
        let labels = json!({ LABEL: "true" });
        json!({"kind": "engine", "name": self.name, "labels": labels, "spec": spec})
    }
}

fn endpoints(addresses: &[SocketAddr]) -> Vec<Value> {
    addresses.iter().map(|a| json!({ "address": a.to_string() })).collect()
}

/// Tells the configuration where the endpoints are now, and nothing else of what it says about the engine.
async fn move_engine(
    client: &Client,
    name: &str,
    before: &Value,
    now: &[SocketAddr],
) -> Result<(), Failure> {
    if addresses(Some(before)) == now {
        return Ok(());
    }
    let patch = json!({ "spec": { "endpoints": endpoints(now) } });
    let call = Call::new(Method::PATCH, format!("/v1/engines/{name}"));
    client.send(call.body("application/merge-patch+json", &patch)).await.map(drop)
}
