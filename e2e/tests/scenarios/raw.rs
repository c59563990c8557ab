//! Raw connections to a server nobody here wrote (Python's own web server), with slots before it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use pigeon_e2e::{Authority, Cluster, Process, ports, tools, until};

/// It answers one request per connection and closes; until then it waits.
struct Server {
    port: u16,
    dir: std::path::PathBuf,
    process: Process,
}

impl Server {
    fn start(port: u16, dir: &std::path::Path) -> Self {
        let mut command = Command::new("python3");
        command.args(["-u", "-m", "http.server", "--bind", "127.0.0.1", &port.to_string()]);
        command.current_dir(dir);
        let mut process = Process::start("http.server", command);
        process.line("Serving HTTP");
        Self { port, dir: dir.to_owned(), process }
    }

    fn start_again(&mut self) {
        *self = Self::start(self.port, &self.dir.clone());
    }
}

/// A proxy with a tcp listener before the server, which has two slots.
fn begin(test: &str) -> Option<(Cluster, Server, SocketAddr)> {
    if tools::find("python3").is_none() {
        tools::skip(test, "python3", "apt-get install python3");
        return None;
    }
    let cluster = Cluster::start(1, 0);
    let dir = cluster.dir.path().join("www");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("pigeon.txt"), "coo".repeat(1 << 20)).unwrap();
    let server = Server::start(ports::free(), &dir);
    let address: SocketAddr = ([127, 0, 0, 1], ports::free()).into();
    let to = format!("127.0.0.1:{}", server.port);
    let pool = ["--pool", "strict", "--slots", "2", "--queue", "4", "--queue-timeout", "60s"];
    let engine = ["engine", "add", "www", "--static", &to, "--cancel-cooldown", "0s"];
    cluster.ctl.ok(&[&engine[..], &pool].concat());
    let at = address.to_string();
    cluster.ctl.ok(&["listener", "add", "raw", "--address", &at, "--protocol", "tcp"]);
    cluster.ctl.ok(&["route", "add", "raw", "--listener", "raw", "--engine", "www"]);
    cluster.in_sync();
    Some((cluster, server, address))
}

fn connect(address: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    socket
}

const REQUEST: &[u8] = b"GET /pigeon.txt HTTP/1.0\r\n\r\n";

/// The whole answer.
fn get(mut socket: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.0 200 "), "{}", String::from_utf8_lossy(&answer));
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    answer.split_off(head + 4)
}

fn in_use(cluster: &Cluster, in_use: u64, waiting: u64) {
    let what = format!("{in_use} slots are taken and {waiting} wait");
    cluster.until_engine("www", &what, |s| s["in_use"] == in_use && s["waiting"] == waiting);
}

#[test]
fn a_connection_more_than_there_are_slots_waits() {
    let Some((cluster, _server, address)) = begin("raw: slots") else { return };
    let idle = [connect(address), connect(address)];
    in_use(&cluster, 2, 0);
    let mut waiting = connect(address);
    waiting.write_all(REQUEST).unwrap();
    // It has said all there is to say, and listens.
    waiting.shutdown(Shutdown::Write).unwrap();
    in_use(&cluster, 2, 1);
    drop(idle);
    assert_eq!(get(waiting).len(), 3 << 20);
    in_use(&cluster, 0, 0);
    let metrics = cluster.proxies[0].metrics();
    let closed = r#"pigeon_calls_total{code="closed",engine="www",route="raw"} 3"#;
    assert!(metrics.contains(closed), "{metrics}");
    // Its access log says what it was.
    let log = cluster.proxies[0].process.stdout();
    assert!(log.contains(" protocol=tcp route=raw engine=www endpoint="), "{log}");

    if let Some(curl) = tools::find("curl") {
        let url = format!("http://{address}/pigeon.txt").into();
        let (code, body, errors) = tools::run(&curl, &["-sS".into(), url]);
        assert_eq!((code, body.len()), (0, 3 << 20), "{errors}");
    } else {
        tools::skip("raw: curl", "curl", "apt-get install curl");
    }
}

#[test]
fn an_engine_that_is_killed_ends_its_connections_and_takes_new_ones_again() {
    let Some((cluster, mut server, address)) = begin("raw: killed") else { return };
    let mut open = [connect(address), connect(address)];
    in_use(&cluster, 2, 0);
    server.process.kill();
    for socket in &mut open {
        let mut byte = [0];
        match socket.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("{other:?}"),
        }
    }
    // The clients look and stay all the same: their slots are not theirs for long.
    in_use(&cluster, 0, 0);
    server.start_again();
    until("it is reachable again", || {
        let mut socket = connect(address);
        if let Err(error) = socket.write_all(REQUEST) {
            return Err(error.to_string());
        }
        let mut byte = [0];
        match socket.read(&mut byte) {
            Ok(1) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn a_proxy_that_stops_lets_connections_end() {
    let Some((mut cluster, _server, address)) = begin("raw: drain") else { return };
    let mut open = connect(address);
    in_use(&cluster, 1, 0);
    cluster.proxies[0].process.signal("TERM");
    until("it takes no more", || match TcpStream::connect(address) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        other => Err(format!("{other:?}")),
    });
    open.write_all(REQUEST).unwrap();
    assert_eq!(get(open).len(), 3 << 20);
    assert!(cluster.proxies[0].process.ended().success());
}

#[test]
fn what_cannot_be_is_said() {
    let cluster = Cluster::start(1, 0);
    let refused = |arguments: &[&str], words: &str| {
        let ran = cluster.ctl.run(arguments);
        assert_ne!(ran.code, 0, "{arguments:?}");
        assert!(ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
    };
    cluster.ctl.ok(&["engine", "add", "e", "--static", "127.0.0.1:1"]);
    let add = ["listener", "add", "raw", "--address", "127.0.0.1:1"];
    refused(&[&add[..], &["--protocol", "udp"]].concat(), "use one of: auto, tcp");
    refused(&[&add[..], &["--idle-timeout", "5m"]].concat(), "set protocol: tcp");
    let at = format!("127.0.0.1:{}", ports::free());
    cluster.ctl.ok(&["listener", "add", "raw", "--address", &at, "--protocol", "tcp"]);
    let route = ["route", "add", "r", "--listener", "raw", "--engine", "e"];
    refused(&[&route[..], &["--host", "x"]].concat(), "takes raw connections (protocol: tcp)");
    cluster.ctl.ok(&route);
    refused(&["route", "set", "r", "--timeout", "3s"], "set max_lifetime of the listener");
    // Back and forth: the times of raw connections go with their protocol.
    cluster.ctl.ok(&["listener", "set", "raw", "--protocol", "auto"]);
    cluster.ctl.ok(&["route", "set", "r", "--host", "x"]);
    refused(&["listener", "set", "raw", "--protocol", "tcp"], "/spec/match/host");
    cluster.in_sync();
}

/// TLS on both sides, each by somebody else's program: what curl and openssl ask, `openssl s_server` answers.
#[test]
fn both_sides_may_speak_tls() {
    let test = "raw: tls";
    let Some(curl) = tools::find("curl") else {
        return tools::skip(test, "curl", "apt-get install curl");
    };
    let cluster = Cluster::start(1, 0);
    let Some(authority) = Authority::new(test, cluster.dir.path()) else { return };
    let dir = cluster.dir.path().join("www");
    std::fs::create_dir(&dir).unwrap();
    let file = "coo".repeat(1 << 20);
    std::fs::write(dir.join("pigeon.txt"), &file).unwrap();
    let [certificate, key] = authority.issue("engine", "engine.example");
    let to = format!("127.0.0.1:{}", ports::free());
    let mut server = Command::new("openssl");
    server.args(["s_server", "-WWW", "-accept", &to, "-cert", &certificate, "-key", &key]);
    // It knows who connects, too.
    server.args(["-Verify", "2", "-verify_return_error", "-CAfile", authority.ca()]);
    server.current_dir(&dir);
    let mut server = Process::start("s_server", server);
    server.line("ACCEPT");

    let [own, own_key] = authority.issue("proxy", "proxy.example");
    let engine = ["engine", "add", "www", "--static", &to, "--pool", "strict", "--slots", "1"];
    let queue = ["--queue", "4", "--queue-timeout", "60s", "--health", "none"];
    let tls = ["--tls-ca", authority.ca(), "--tls-server-name", "engine.example"];
    let shown = ["--tls-cert", &own, "--tls-key", &own_key];
    cluster.ctl.ok(&[&engine[..], &queue, &tls, &shown].concat());
    let [certificate, key] = authority.issue("gateway", "localhost");
    let at = format!("127.0.0.1:{}", ports::free());
    let listener = ["listener", "add", "raw", "--address", &at, "--protocol", "tcp"];
    let asks = ["--client-ca", authority.ca(), "--client-certificates", "required"];
    let files = ["--tls-cert", &certificate, "--tls-key", &key, "--header-timeout", "2s"];
    cluster.ctl.ok(&[&listener[..], &files, &asks].concat());
    cluster.ctl.ok(&["route", "add", "raw", "--listener", "raw", "--engine", "www"]);
    cluster.in_sync();

    // It has no slot, whatever it does, and is gone after two seconds.
    let mut silent = connect(at.parse().unwrap());
    let [client, client_key] = authority.issue("client", "client.example");
    let url = format!("https://localhost:{}/pigeon.txt", at.rsplit_once(':').unwrap().1);
    let fixed = ["-sS", "--max-time", "20", "--cacert", authority.ca(), &url];
    let get = |more: &[&str]| {
        let arguments = [&fixed[..], more].concat();
        tools::run(&curl, &arguments.iter().map(Into::into).collect::<Vec<_>>())
    };
    let (code, body, errors) = get(&["--cert", &client, "--key", &client_key]);
    assert!(code == 0 && body == file, "{code} {} {errors}", body.len());
    in_use(&cluster, 0, 0);
    let metrics = cluster.proxies[0].metrics();
    let closed = r#"pigeon_calls_total{code="closed",engine="www",route="raw"} 1"#;
    assert!(metrics.contains(closed), "{metrics}");
    let (code, body, _) = get(&[]);
    assert!(code != 0 && body.is_empty(), "{code}");
    let s_client = [
        &["s_client", "-connect", &at, "-CAfile", authority.ca(), "-verify_return_error"][..],
        &["-servername", "localhost", "-cert", &client, "-key", &client_key, "-alpn", "h2"],
    ];
    let (code, said, errors) = authority.tried(&s_client);
    assert!(code == 0 && said.contains("No ALPN negotiated"), "{said}{errors}");
    assert_eq!(silent.read(&mut [0; 64]).unwrap_or(0), 0);
    in_use(&cluster, 0, 0);
    let metrics = cluster.proxies[0].metrics();
    let failed = r#"pigeon_tls_handshakes_total{listener="raw",result="failed"} 2"#;
    assert!(metrics.contains(failed), "{metrics}");
}
