//! All kinds of gRPC calls through both proxies, by a client that nobody here wrote.

use std::process::Command;

use pigeon_e2e::{Cluster, Process, Transport, checks, grpc, programs, tools};
use pigeon_proto::demo::v1::Prompt;
use tonic::Code;

over_both_transports!(
    a_service_nobody_has_heard_of_works_in_every_way,
    the_demo_services_work_with_generated_code,
    the_routes_own_limit_ends_a_call,
);

/// An engine of another making, too: grpcio's server with a service of plain bytes.
fn a_service_nobody_has_heard_of_works_in_every_way(transport: Transport) {
    let name = "kinds: grpcio with plain bytes";
    let Some(python) = tools::python() else {
        return tools::skip(name, "Python with grpcio", tools::PYTHON_INSTALL);
    };
    let mut command = Command::new(python);
    command.arg(tools::script("generic_engine.py"));
    let mut station = Process::start("generic engine", command);
    let line = station.line("listening on ");
    let address = line.rsplit(' ').next().unwrap();

    let cluster = Cluster::over(transport, 2, 0);
    cluster.ctl.ok(&["engine", "add", "weather", "--static", address]);
    let service = "acme.weather.v3.Station";
    cluster.ctl.ok(&["route", "add", "weather", "--grpc", service, "--engine", "weather"]);
    let [one, two] = [0, 1].map(|n| cluster.proxies[n].address().to_string());
    let arguments = ["--target", &one, "--target", &two, "--engine", address];
    checks::run(name, "generic_client.py", &arguments, 40);
}

fn the_demo_services_work_with_generated_code(transport: Transport) {
    let name = "kinds: grpcio with the demo protos";
    let cluster = Cluster::with_demo_routes_over(transport, 2, 2);
    let [one, two] = [0, 1].map(|n| cluster.proxies[n].address().to_string());
    let [a, b] = [0, 1].map(|n| cluster.engines[n].address().to_string());
    let protos = programs::repository().join("proto");
    let protos = protos.to_str().unwrap();
    let arguments =
        ["--target", &one, "--target", &two, "--engine", &a, "--engine", &b, "--protos", protos];
    checks::run(name, "demo_client.py", &arguments, 26);
}

/// The caller sets no deadline here, so it is the gateway that must end the call.
fn the_routes_own_limit_ends_a_call(transport: Transport) {
    let cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let ctl = &cluster.ctl;
    for route in ["echo", "chat"] {
        ctl.ok(&["route", "set", route, "--timeout", "300ms"]);
    }
    let channel = grpc::channel(cluster.proxies[0].address());

    let slow = grpc::with(grpc::ping(), &[("demo-delay-ms", "60000")]);
    let status = grpc::block_on(grpc::echo(channel.clone()).ping(slow)).unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    assert_eq!(grpc::reason(&status), "deadline", "{status:?}");

    // Also once messages have come: the stream is cut, and the engine is told.
    let prompt = Prompt { text: "a b c".into(), tokens: 1_000 };
    let request = grpc::with(prompt, &[("demo-gap-ms", "50")]);
    let (tokens, status) = grpc::block_on(async {
        let mut tokens = grpc::chat(channel).generate(request).await.unwrap().into_inner();
        let mut count = 0;
        loop {
            match tokens.message().await {
                Ok(Some(_)) => count += 1,
                Ok(None) => panic!("the stream ended well after {count} tokens"),
                Err(status) => return (count, status),
            }
        }
    });
    assert!((1..20).contains(&tokens), "{tokens} tokens");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    cluster.engines[0].until_stats("both calls were cancelled at the engine", |stats| {
        stats.cancelled == 2 && stats.concurrent_now == 0
    });
}
