//! gRPC's interoperability tests: every client with every server through the gateway, over both
//! transports. The libraries are grpcio (C core), grpc-js and grpc-go, which nobody here wrote.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use pigeon_e2e::{Authority, Cluster, Process, Transport, checks, tools};

over_both_transports!(grpcio_serves, grpc_js_serves, grpc_go_serves, tls_on_both_sides);

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

/// The clients that are told whom to believe speak TLS, and so does the server.
fn tls_on_both_sides(transport: Transport) {
    let Some(python) = tools::python() else {
        return tools::skip("interop", "Python with grpcio", tools::PYTHON_INSTALL);
    };
    let cluster = Cluster::over(transport, 1, 0);
    let Some(authority) = Authority::new("interop: TLS", cluster.dir.path()) else { return };
    let [certificate, key] = authority.issue("server", "localhost");
    let mut command = Command::new(python);
    command.arg(tools::script("interop_server.py"));
    command.args(["--certificate", &certificate, "--key", &key]);
    let mut server = Process::start("grpcio server", command);
    let line = server.line("listening on ");
    let address = line.rsplit(' ').next().unwrap();
    let add =
        ["engine", "add", "interop", "--static", address, "--pool", "strict", "--slots", "100"];
    let tls = ["--tls", "--tls-ca", authority.ca(), "--tls-server-name", "localhost"];
    cluster.ctl.ok(&[&add[..], &tls].concat());
    let [certificate, key] = authority.issue("gateway", "localhost");
    cluster.ctl.ok(&["listener", "set", "default", "--tls-cert", &certificate, "--tls-key", &key]);
    routes(&cluster);
    let to = cluster.proxies[0].address();
    let target = format!("localhost:{}", to.port());
    let arguments = ["--target", &target, "--ca", authority.ca()];
    let name = format!("grpcio to grpcio by TLS over {transport}");
    checks::run(&name, "interop_client.py", &arguments, CASES);
    let name = format!("grpc-go to grpcio by TLS over {transport}");
    match tools::go("grpc-go-client") {
        Some(client) => {
            let tls = [
                "--use_tls",
                "--use_test_ca",
                "--ca_file",
                authority.ca(),
                "--server_host_override",
                "localhost",
            ];
            grpc_go_calls(&name, &client, to.port(), &tls);
        }
        None => tools::skip(&name, "grpc-go's client", tools::GO_INSTALL),
    }
    cluster.until_engine("interop", "no slot is held", |status| {
        status["in_use"] == 0 && status["waiting"] == 0 && status["calls"].as_u64() > Some(100)
    });
}

fn routes(cluster: &Cluster) {
    for (name, service) in
        [("tests", "grpc.testing.TestService"), ("unknown", "grpc.testing.UnimplementedService")]
    {
        cluster.ctl.ok(&["route", "add", name, "--grpc", service, "--engine", "interop"]);
    }
    cluster.in_sync();
}

/// Every client that there is calls the server through a gateway of its own; afterwards no slot is held.
fn every_client(transport: Transport, server: &str, address: &str) {
    let cluster = Cluster::over(transport, 1, 0);
    let strict = ["--pool", "strict", "--slots", "100", "--queue", "10"];
    let add = ["engine", "add", "interop", "--static", address];
    cluster.ctl.ok(&[&add[..], &strict].concat());
    routes(&cluster);
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
    let mut clients = 1;
    match tools::node() {
        Some(node) => {
            let mut command = Command::new(node);
            command.arg(tools::node_script("interop_client.mjs")).args(&arguments);
            checks::run_command(&name("grpc-js"), command, cases);
            clients += 1;
        }
        None => tools::skip(&name("grpc-js"), "node with grpc-js", tools::NODE_INSTALL),
    }
    match tools::go("grpc-go-client") {
        Some(client) => {
            grpc_go_calls(&name("grpc-go"), &client, to.port(), &[]);
            clients += 1;
        }
        None => tools::skip(&name("grpc-go"), "grpc-go's client", tools::GO_INSTALL),
    }
    // Every case is a call at least, but for those that may end before they begin.
    cluster.until_engine("interop", "no slot is held", |status| {
        let idle = status["in_use"] == 0 && status["waiting"] == 0;
        idle && status["calls"].as_u64() > Some(100 * clients)
    });
}

/// grpc-go's own client: one process per case, which fails with what was wrong.
fn grpc_go_calls(name: &str, client: &PathBuf, port: u16, more: &[&str]) {
    for case in GO_CASES {
        let mut command = Command::new(client);
        command.args(["--server_host", "127.0.0.1", "--server_port", &port.to_string()]);
        command.args(["--test_case", case, "--soak_iterations", "50"]);
        command.args(["--soak_per_iteration_max_acceptable_latency_ms", "10000"]);
        command.args(["--soak_overall_timeout_seconds", "60"]).args(more);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {case}: {}\n{said}", output.status);
    }
}
