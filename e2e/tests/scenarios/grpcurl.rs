//! grpcurl, a client that learns the services from the engine's reflection, through the gateway.

use std::process::{Command, Stdio};

use pigeon_e2e::{Cluster, Transport, tools};
use serde_json::Value;

over_both_transports!(services_are_found_by_reflection_and_called);

fn services_are_found_by_reflection_and_called(transport: Transport) {
    let Some(program) = tools::go("grpcurl") else {
        return tools::skip("grpcurl", "grpcurl", tools::GO_INSTALL);
    };
    let cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    for (name, service) in [
        ("reflection", "grpc.reflection.v1.ServerReflection"),
        ("old-reflection", "grpc.reflection.v1alpha.ServerReflection"),
    ] {
        cluster.ctl.ok(&["route", "add", name, "--grpc", service, "--engine", "demo"]);
    }
    cluster.in_sync();
    let to = cluster.proxies[0].address().to_string();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(["-plaintext", "-max-time", "30"]).args(arguments).stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };

    let (ok, listed, errors) = run(&[&to, "list"]);
    assert!(ok && listed.contains("pigeon.demo.v1.Echo"), "{listed}{errors}");
    let (ok, described, errors) = run(&[&to, "describe", "pigeon.demo.v1.Chat"]);
    assert!(ok && described.contains("rpc Generate"), "{described}{errors}");
    let payload = "{\"payload\": \"cGlnZW9u\"}";
    let (ok, answer, errors) = run(&["-d", payload, &to, "pigeon.demo.v1.Echo/Ping"]);
    assert!(ok, "{errors}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["payload"], "cGlnZW9u", "{answer}");
    let prompt = "{\"text\": \"a b c\"}";
    let (ok, answers, errors) = run(&["-d", prompt, &to, "pigeon.demo.v1.Chat/Generate"]);
    assert!(ok && answers.matches("\"text\"").count() == 3, "{answers}{errors}");

    // The gateway's own answer, with its details.
    let (ok, answer, errors) = run(&["-d", "{}", &to, "grpc.health.v1.Health/Check"]);
    assert!(!ok && errors.contains("Unimplemented"), "{answer}{errors}");

    cluster.ctl.ok(&["route", "set", "echo", "--rate", "1/h", "--burst", "1"]);
    cluster.in_sync();
    let (ok, _, errors) = run(&["-d", payload, &to, "pigeon.demo.v1.Echo/Ping"]);
    assert!(ok, "{errors}");
    let (ok, _, errors) = run(&["-d", payload, &to, "pigeon.demo.v1.Echo/Ping"]);
    assert!(!ok && errors.contains("ResourceExhausted"), "{errors}");
    assert!(errors.contains("too many calls") && errors.contains("RetryInfo"), "{errors}");
}
