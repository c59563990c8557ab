//! gRPC's interoperability tests: every client with every server through the gateway, over both
//! transports. The libraries are grpcio (C core), grpc-js and grpc-go, which nobody here wrote.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use pigeon_e2e::{Cluster, Process, Transport, checks, tools};

over_both_transports!(grpcio_serves, grpc_js_serves, grpc_go_serves);

/// The cases that our scripts run.
const CASES: usize = 21;

/// Those in which the client compresses, which grpc-go's interop server cannot read.
const COMPRESSED: usize = 2;

/// The cases that grpc-go's own client has, but for those with TLS or credentials.
const GO_CASES: [&str; 15] = [
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
    "cancel_after_begin",
    "cancel_after_first_response",
    "timeout_on_sleeping_server",
    "rpc_soak",
];

fn grpcio_serves(transport: Transport) {
    let Some(python) = tools::python() else {
        return tools::skip("interop", "Python with grpcio", tools::PYTHON_INSTALL);
    };
    let mut command = Command::new(python);
    command.arg(tools::script("interop_server.py"));
    let mut server = Process::start("grpcio server", command);
    let line = server.line("listening on ");
    every_client(transport, "grpcio", line.rsplit(' ').next().unwrap());
}

fn grpc_js_serves(transport: Transport) {
    let Some(node) = tools::node() else {
        return tools::skip("interop", "node with grpc-js", tools::NODE_INSTALL);
    };
    let mut command = Command::new(node);
    command.arg(tools::node_script("interop_server.mjs"));
    let mut server = Process::start("grpc-js server", command);
    let line = server.line("listening on ");
    every_client(transport, "grpc-js", line.rsplit(' ').next().unwrap());
}

fn grpc_go_serves(transport: Transport) {
    let Some(program) = tools::go("grpc-go-server") else {
        return tools::skip("interop", "grpc-go's server", tools::GO_INSTALL);
    };
    let port = pigeon_e2e::ports::free().to_string();
    let mut command = Command::new(program);
    command.args(["--port", &port]).env("GRPC_GO_LOG_SEVERITY_LEVEL", "warning");
    let _server = Process::start("grpc-go server", command);
    let address = format!("127.0.0.1:{port}");
    pigeon_e2e::until("grpc-go's server listens", || {
        std::net::TcpStream::connect(&address).map(drop)
    });
    every_client(transport, "grpc-go", &address);
}

/// Every client that there is calls the server through a gateway of its own; afterwards no slot is held.
fn every_client(transport: Transport, server: &str, address: &str) {
    let cluster = Cluster::over(transport, 1, 0);
    let strict = ["--pool", "strict", "--slots", "100", "--queue", "10"];
    let add = ["engine", "add", "interop", "--static", address];
    cluster.ctl.ok(&[&add[..], &strict].concat());
    for (name, service) in
        [("tests", "grpc.testing.TestService"), ("unknown", "grpc.testing.UnimplementedService")]
    {
        cluster.ctl.ok(&["route", "add", name, "--grpc", service, "--engine", "interop"]);
    }
    cluster.in_sync();
    let to = cluster.proxies[0].address();
    let target = to.to_string();
    let name = |client: &str| format!("{client} to {server} over {transport}");
    let mut arguments = vec!["--target", &target];
    let mut cases = CASES;
    if server == "grpc-go" {
        arguments.push("--plain-server");
        cases -= COMPRESSED;
    }
    checks::run(&name("grpcio"), "interop_client.py", &arguments, cases);
    match tools::node() {
        Some(node) => {
            let mut command = Command::new(node);
            command.arg(tools::node_script("interop_client.mjs")).args(&arguments);
            checks::run_command(&name("grpc-js"), command, cases);
        }
        None => tools::skip(&name("grpc-js"), "node with grpc-js", tools::NODE_INSTALL),
    }
    match tools::go("grpc-go-client") {
        Some(client) => grpc_go_calls(&name("grpc-go"), &client, to.port()),
        None => tools::skip(&name("grpc-go"), "grpc-go's client", tools::GO_INSTALL),
    }
    // Every case is a call at least, but for those that may end before they begin.
    cluster.until_engine("interop", "no slot is held", |status| {
        let idle = status["in_use"] == 0 && status["waiting"] == 0;
        idle && status["calls"].as_u64() > Some(300)
    });
}

/// grpc-go's own client: one process per case, which fails with what was wrong.
fn grpc_go_calls(name: &str, client: &PathBuf, port: u16) {
    for case in GO_CASES {
        let mut command = Command::new(client);
        command.args(["--server_host", "127.0.0.1", "--server_port", &port.to_string()]);
        command.args(["--test_case", case, "--soak_iterations", "50"]);
        command.args(["--soak_per_iteration_max_acceptable_latency_ms", "10000"]);
        command.args(["--soak_overall_timeout_seconds", "60"]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {case}: {}\n{said}", output.status);
    }
}
