//! A proxy that may have few file descriptors, or little memory, and callers that want more.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;

use pigeon_e2e::{Authority, Engine, Process, grpc, http, ports, programs, tools, until};

/// Starts a proxy with a route to `engine` and one more `listener`, with these limits of the shell before and
/// arguments behind.
fn proxy(
    dir: &std::path::Path,
    engine: &Engine,
    listener: &str,
    limit: &str,
    more: &str,
) -> (Process, [SocketAddr; 2]) {
    let [address, status] =
        [ports::free(), ports::free()].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let config = dir.join("pigeon.yaml");
    let mut documents = format!(
        "---\n{{kind: listener, name: default, spec: {{address: '{address}'}}}}\n\
         ---\n{{kind: engine, name: e, spec: {{endpoints: [{{address: '{}'}}]}}}}\n\
         ---\n{{kind: route, name: r, spec: {{match: {{grpc: pigeon.demo.v1.Echo}}, engine: e}}}}\n\
         ---\n{{kind: route, name: h, spec: {{match: {{path: /hello}}, engine: e}}}}\n",
        engine.address()
    );
    documents.push_str(listener);
    std::fs::write(&config, documents).unwrap();
    let program = programs::path("pigeon-proxy");
    let script = format!(
        "{limit} exec {} --config {} --status-listen {status} --workers 2 {more}",
        program.display(),
        config.display()
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    (Process::start("proxy", command), [address, status])
}

#[test]
fn a_proxy_without_descriptors_serves_those_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start("demo-1", &[]);
    let (mut proxy, [address, status]) = proxy(dir.path(), &engine, "", "ulimit -n 100;", "");
    proxy.line("listens on");
    proxy.line("below max_connections");
    let mut served = grpc::echo(grpc::channel(address));
    grpc::block_on(served.ping(grpc::ping())).unwrap();
    // Far more than it may have; the system takes them all.
    let crowd: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(address).unwrap()).collect();
    proxy.line("file descriptors run short");
    for _ in 0..20 {
        grpc::block_on(served.ping(grpc::ping())).unwrap();
        assert_eq!(http::get(status, "/healthz").unwrap().status, 200);
    }
    let metrics = http::get(status, "/metrics").unwrap().text();
    assert!(metrics.contains("pigeon_overload{resource=\"descriptors\"} 1"), "{metrics}");
    assert!(metrics.contains("pigeon_fds_limit 100"), "{metrics}");
    let said = proxy.stderr().matches("file descriptors run short").count();
    assert_eq!(said, 1, "said once: {}", proxy.stderr());
    drop(crowd);
    proxy.line("enough file descriptors again");
    until("new callers are served again", || match http::get(address, "/hello") {
        Ok(reply) if reply.status == 200 => Ok(()),
        other => Err(format!("{other:?}")),
    });
    grpc::block_on(served.ping(grpc::ping())).unwrap();
    proxy.signal("TERM");
    assert_eq!(proxy.ended().code(), Some(0));
}

/// They shake hands for ever, as far as they are concerned, and nobody else can come; until their time is over.
#[test]
fn descriptors_held_by_silent_handshakes_come_back() {
    let test = "shortage: tls";
    let Some(curl) = tools::find("curl") else {
        return tools::skip(test, "curl", "apt-get install curl");
    };
    let dir = tempfile::tempdir().unwrap();
    let Some(authority) = Authority::new(test, dir.path()) else { return };
    let [certificate, key] = authority.issue("gateway", "localhost");
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free()));
    let files = format!("certificates: [{{certificate: {certificate}, key: {key}}}]");
    let tls = format!("address: '{at}', header_timeout: 4s, tls: {{{files}}}");
    let listener = format!("---\n{{kind: listener, name: tls, spec: {{{tls}}}}}\n");
    let engine = Engine::start("demo-1", &[]);
    let (mut proxy, [address, _]) = proxy(dir.path(), &engine, &listener, "ulimit -n 100;", "");
    proxy.line("listens on");
    let mut served = grpc::echo(grpc::channel(address));
    grpc::block_on(served.ping(grpc::ping())).unwrap();
    let crowd: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(at).unwrap()).collect();
    proxy.line("file descriptors run short");
    for _ in 0..20 {
        grpc::block_on(served.ping(grpc::ping())).unwrap();
    }
    // Nobody of the crowd leaves.
    proxy.line("enough file descriptors again");
    let url = format!("https://localhost:{}/hello", at.port());
    until("new callers are served by TLS", || {
        let arguments = ["-sS", "--max-time", "5", "--cacert", authority.ca(), &url];
        match tools::run(&curl, &arguments.map(Into::into)) {
            (0, said, _) if said == "hello from demo-1\n" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    grpc::block_on(served.ping(grpc::ping())).unwrap();
    drop(crowd);
    proxy.signal("TERM");
    assert_eq!(proxy.ended().code(), Some(0));
}

#[test]
fn a_proxy_without_memory_says_so_and_takes_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start("demo-1", &[]);
    let (mut proxy, [address, status]) = proxy(dir.path(), &engine, "", "", "--memory-limit 1MiB");
    proxy.line("memory is very short");
    let metrics = http::get(status, "/metrics").unwrap().text();
    assert!(metrics.contains("pigeon_overload{resource=\"memory\"} 2"), "{metrics}");
    assert!(http::get(address, "/hello").is_err());
    assert_eq!(proxy.exited(), None);
}
