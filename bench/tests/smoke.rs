//! The bench works: load against the engine, directly, through the splicer, and through Pigeon if it is
//! built. Whether it is fast is no test.

// Helpers of tests may panic like the tests themselves.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pigeon_bench::compare::certificates::{Certificates, NAME};
use pigeon_bench::compare::peer::Peer;
use pigeon_bench::engine::{Delay, Stats};
use pigeon_bench::load::{Extent, Kind, Plan, Report, Tls, run};

const BENCH: &str = env!("CARGO_BIN_EXE_pigeon-bench");
const KINDS: [Kind; 6] =
    [Kind::Unary, Kind::Server, Kind::Client, Kind::Bidi, Kind::H2, Kind::Http1];

/// A process that ends with the test.
struct Running(Child, SocketAddr);

impl Running {
    /// `pigeon-bench` with these arguments; its first line says where it listens.
    fn bench(args: &[&str]) -> Self {
        let mut command = Command::new(BENCH);
        command.args(args).arg("--until-stdin-ends").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self(child, line.trim().parse().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn plan(target: SocketAddr, kind: Kind) -> Plan {
    let extent = Extent::Calls(200);
    Plan {
        connections: 3,
        streams: 5,
        in_flight: 4,
        messages: 10,
        extent,
        ..Plan::new(target, kind)
    }
}

/// Runs, and every call has to end well.
fn well(plan: &Plan) -> Report {
    let report = run(plan).unwrap();
    assert!(report.failures.is_empty(), "{plan:?}: {report:?}");
    if let Extent::Calls(calls) = plan.extent {
        assert_eq!(report.calls, calls, "{plan:?}");
    }
    report
}

/// Every kind of call, small messages and large.
fn all_kinds(target: SocketAddr) {
    for kind in KINDS {
        for size in [0, 16, 100_000] {
            let calls = if size > 1000 { 20 } else { 200 };
            let plan = Plan { size, extent: Extent::Calls(calls), ..plan(target, kind) };
            let report = well(&plan);
            if kind.counts_messages() {
                assert_eq!(report.messages, calls * 10, "{kind:?}");
            }
        }
    }
}

fn stats(engine: SocketAddr) -> Stats {
    use std::io::{Read as _, Write as _};
    let mut socket = std::net::TcpStream::connect(engine).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.write_all(b"GET /stats HTTP/1.1\r\nhost: e\r\n\r\n").unwrap();
    let mut text = String::new();
    while !text.contains('}') {
        let mut buffer = [0; 1024];
        let n = socket.read(&mut buffer).unwrap();
        assert!(n > 0, "{text}");
        text += std::str::from_utf8(&buffer[..n]).unwrap();
    }
    serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap()
}

#[test]
fn directly() {
    let engine = Running::bench(&["engine"]);
    all_kinds(engine.1);
    let seen = stats(engine.1);
    assert_eq!(seen.running, 0);
    assert!((2..=15).contains(&seen.max_concurrent_seen), "{seen:?}");
}

#[test]
fn through_the_splicer() {
    let engine = Running::bench(&["engine", "--flush-each"]);
    let splice = Running::bench(&["splice", "--engine", &engine.1.to_string()]);
    all_kinds(splice.1);
    let each = Plan { flush_each: true, timeout: true, ..plan(splice.1, Kind::Bidi) };
    well(&each);
}

#[test]
fn a_fixed_rate_and_a_fixed_time() {
    let engine = Running::bench(&["engine"]);
    let time = |ms| Duration::from_millis(ms);
    let extent = Extent::Time { warm: time(50), measured: time(300) };
    for kind in [Kind::Unary, Kind::Http1] {
        let report = well(&Plan { rate: Some(1000.0), extent, ..plan(engine.1, kind) });
        // Never more than were due, however late this machine is.
        let due = 1000.0 * (report.seconds + 10.0);
        assert!(report.calls > 0 && (report.calls as f64) < due, "{report:?}");
        assert!(report.latency.p50 > 0.0 && report.latency.p50 <= report.latency.max);
    }
    let endless = Plan { messages: 0, extent, ..plan(engine.1, Kind::Bidi) };
    let report = well(&endless);
    assert!(report.messages > 0 && report.per_second > 0.0, "{report:?}");
}

/// A rate that the engine cannot keep up with shows in the latency: it counts from when calls were due.
#[test]
fn being_late_is_not_hidden() {
    let engine = Running::bench(&["engine", "--delay", "50ms"]);
    let extent = Extent::Time { warm: Duration::ZERO, measured: Duration::from_millis(600) };
    let one = Plan {
        connections: 1,
        streams: 1,
        rate: Some(100.0),
        extent,
        ..plan(engine.1, Kind::Unary)
    };
    let report = well(&one);
    // One call at a time, 50 ms each, and one due every 10 ms: the last ones are hundreds of ms late.
    assert!(report.latency.max > 200_000.0, "{report:?}");
    assert!(report.unsent > 0, "{report:?}");
}

#[test]
fn too_many_calls_are_refused_and_counted() {
    let engine = Running::bench(&["engine", "--slots", "2", "--delay", "1ms"]);
    let report = run(&plan(engine.1, Kind::Unary)).unwrap();
    let refused = report.failures["grpc_8"];
    assert_eq!(report.calls + refused, 200, "{report:?}");
    let seen = stats(engine.1);
    assert_eq!((seen.exceeded, seen.max_concurrent_seen), (refused, 2));
    assert_eq!("1ms".parse(), Ok(Delay::Fixed(Duration::from_millis(1))));
}

#[test]
fn memory_of_what_is_idle() {
    let engine = Running::bench(&["engine"]);
    let splice = Running::bench(&["splice", "--engine", &engine.1.to_string()]);
    let watch = Some(splice.0.id());
    let idle = Plan { extent: Extent::Idle, watch, messages: 0, ..plan(splice.1, Kind::Bidi) };
    let watched = well(&idle).watched.unwrap();
    assert!(watched.resident_before > 0 && watched.resident_after >= watched.resident_before);
    // The connection that came before, and three of five streams each: they were all open at once.
    assert_eq!(stats(engine.1).max_concurrent_seen, 4 * 5);
}

#[test]
fn nobody_there_is_an_error() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = format!("{:#}", run(&plan(free, Kind::Unary)).unwrap_err());
    assert!(error.contains(&free.to_string()), "{error}");
}

/// The proxy of the same build, if there is one.
fn pigeon() -> Option<PathBuf> {
    let program = PathBuf::from(BENCH).parent().unwrap().join("pigeon-proxy");
    if !program.is_file() {
        eprintln!("SKIPPED: there is no {}; cargo build -p pigeon-proxy", program.display());
        return None;
    }
    Some(program)
}

/// `pigeon-bench` with these arguments, which must go well; its output.
fn bench(args: &[&str]) -> String {
    let output = Command::new(BENCH).args(args).stdin(Stdio::null()).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout), String::from_utf8(output.stderr));
    let (out, err) = (out.unwrap(), err.unwrap());
    assert!(output.status.success(), "{args:?}: {out}{err}");
    out
}

/// The commands of the README, a moment of each.
#[test]
fn comparing_and_scaling_end_to_end() {
    let Some(pigeon) = pigeon() else { return };
    let pigeon = pigeon.to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (json, svg) = (path("out.json"), path("plots"));
    let short = ["--pigeon", pigeon, "--seconds", "0.2", "--svg", &svg];
    let peers = ["compare", "--peers", "direct,splice,pigeon", "--rounds", "1"];
    let scenarios = ["--scenario", "8x16,stream-1k,http1"];
    let out = bench(&[&peers[..], &scenarios, &short, &["--json", &json]].concat());
    for name in ["8x16", "stream-1k", "http1"] {
        assert!(out.contains(&format!("## {name}: ")), "{out}");
    }
    let results: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let runs = results["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 9, "{results}");
    for run in runs {
        assert!(run["report"]["per_second"].as_f64() > Some(0.0), "{run}");
        assert_eq!(run["report"]["failures"], serde_json::json!({}), "{run}");
    }
    let logged = ["--scenario", "8x16", "--logs", "--against", &json];
    let out = bench(&[&peers[..], &logged, &short].concat());
    assert!(out.contains("## against ") && out.contains("splice"), "{out}");

    let curves = ["scale", "--curve", "connections,routes,endpoints", "--most", "10"];
    let scaled = path("scale.json");
    let out = bench(&[&curves[..], &short, &["--json", &scaled]].concat());
    assert!(out.contains("## endpoints: "), "{out}");
    let results: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&scaled).unwrap()).unwrap();
    for run in results["runs"].as_array().unwrap().iter().filter(|run| run["peer"] == "pigeon") {
        assert!(run["value"].as_f64() > Some(0.0) && run["at"].as_u64() <= Some(10), "{run}");
        assert_eq!(run["report"]["failures"], serde_json::json!({}), "{run}");
    }
    for name in ["8x16", "stream-1k", "http1", "connections", "routes", "endpoints"] {
        let plot = std::fs::read_to_string(folder.path().join(format!("plots/{name}.svg")));
        assert!(plot.unwrap().contains("pigeon"), "{name}");
    }
}

#[test]
fn nothing_to_measure_is_an_error() {
    for command in [&["compare", "--peers", "pigeon", "--rounds", "1"][..], &["scale"]] {
        let args = [command, &["--pigeon", "/nowhere/pigeon-proxy"]].concat();
        let output = Command::new(BENCH).args(&args).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && said.contains("cargo build"), "{args:?}: {said}");
    }
}

#[test]
fn through_pigeon() {
    let Some(program) = pigeon() else { return };
    let engine = Running::bench(&["engine"]);
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let text = include_str!("../peers/pigeon.yaml");
    let text = text.replace("@LISTEN@", &listen.to_string());
    std::fs::write(
        file.path(),
        text.replace("@PROTOCOL@", "auto")
            .replace("@TLS@", "")
            .replace("@ENGINE_TLS@", "")
            .replace("@ENDPOINTS@", &format!("{{address: \"{}\"}}", engine.1)),
    )
    .unwrap();
    let mut command = Command::new(program);
    command.args(["--workers", "1", "--access-log", "off", "--status-listen", "127.0.0.1:0"]);
    command.arg("--config").arg(file.path()).stdout(Stdio::null()).stderr(Stdio::null());
    let proxy = Running(command.spawn().unwrap(), listen);
    let deadline = Instant::now() + Duration::from_secs(20);
    while run(&Plan { extent: Extent::Calls(1), ..Plan::new(proxy.1, Kind::Unary) })
        .map_or(true, |report| report.calls == 0)
    {
        assert!(Instant::now() < deadline, "the proxy does not answer");
        std::thread::yield_now();
    }
    for kind in KINDS {
        // Not without a body: an empty message is one, but plain HTTP is answered by the fixed one.
        well(&plan(proxy.1, kind));
    }
}

/// An engine that speaks TLS, and what its clients need; the files live as long as the folder.
fn by_tls(folder: &Path) -> (Running, Tls) {
    let files = Certificates::make(folder).unwrap();
    let path = |file: &Path| file.to_str().unwrap().to_owned();
    let (certificate, key) = (path(&files.certificate), path(&files.key));
    let engine = Running::bench(&["engine", "--tls-certificate", &certificate, "--tls-key", &key]);
    (engine, Tls { ca: files.ca, name: NAME.to_owned(), resume: false })
}

#[test]
fn every_kind_of_call_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, tls) = by_tls(folder.path());
    let splice = Running::bench(&["splice", "--engine", &engine.1.to_string()]);
    for kind in KINDS {
        for (size, calls) in [(0, 200), (16, 200), (100_000, 20)] {
            let extent = Extent::Calls(calls);
            let tls = Some(tls.clone());
            well(&Plan { size, extent, tls, ..plan(splice.1, kind) });
        }
    }
    let each = Plan { flush_each: true, tls: Some(tls), ..plan(engine.1, Kind::Bidi) };
    well(&each);
}

#[test]
fn connections_of_their_own_and_sessions_that_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, tls) = by_tls(folder.path());
    for kind in [Kind::Unary, Kind::Http1] {
        let fresh = Plan { fresh: true, ..plan(engine.1, kind) };
        let full = well(&Plan { tls: Some(tls.clone()), ..fresh.clone() }).handshakes.unwrap();
        assert!(full.full >= 200 && full.resumed == 0, "{full:?}");
        let back = Some(Tls { resume: true, ..tls.clone() });
        let back = well(&Plan { tls: back, ..fresh }).handshakes.unwrap();
        // Each of three clients has to be met once.
        assert!(back.full == 3 && back.resumed >= 197, "{back:?}");
    }
    let clear = Running::bench(&["engine"]);
    well(&Plan { fresh: true, ..plan(clear.1, Kind::Unary) });
    assert!(stats(clear.1).connections >= 200);
}

#[test]
fn what_is_wrong_with_tls_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, tls) = by_tls(folder.path());
    let clear = Running::bench(&["engine"]);
    let others = tempfile::tempdir().unwrap();
    let stranger = Certificates::make(others.path()).unwrap().ca;
    let nothing = others.path().join("nothing.pem");
    for (target, tls, said) in [
        (engine.1, Tls { ca: stranger, ..tls.clone() }, "invalid peer certificate"),
        (engine.1, Tls { name: "other.example".to_owned(), ..tls.clone() }, "other.example"),
        (clear.1, tls.clone(), "does it speak TLS?"),
        (engine.1, Tls { ca: nothing, ..tls.clone() }, "nothing.pem"),
        (engine.1, Tls { name: "not a name".to_owned(), ..tls }, "cannot be in a certificate"),
    ] {
        let error = run(&Plan { tls: Some(tls), ..plan(target, Kind::Unary) }).unwrap_err();
        assert!(format!("{error:#}").contains(said), "{said}: {error:#}");
    }
    let half = Command::new(BENCH).args(["engine", "--tls-key", "k"]).output().unwrap();
    assert!(String::from_utf8(half.stderr).unwrap().contains("--tls-certificate"));
}

/// Also HAProxy and nginx, where they are installed: OpenSSL, for which rustls is a stranger.
#[test]
fn the_cost_of_tls_end_to_end() {
    let Some(pigeon) = pigeon() else { return };
    let mut peers = vec!["direct", "splice", "pigeon"];
    for (name, peer) in [("haproxy", Peer::Haproxy), ("nginx", Peer::Nginx)] {
        match peer.program(&pigeon) {
            Ok(_) => peers.push(name),
            Err(why) => eprintln!("SKIPPED: the cost of TLS beside {name}: {why}"),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    let scenarios =
        ["8x16", "8x16-tls", "8x16-tls-both", "http1-tls", "connect", "connect-resumed"];
    let out = bench(
        &[
            &["compare", "--rounds", "1", "--seconds", "0.2"][..],
            &["--pigeon", pigeon.to_str().unwrap(), "--json", json.to_str().unwrap()],
            &["--peers", &peers.join(","), "--scenario", &scenarios.join(",")],
        ]
        .concat(),
    );
    for cost in ["8x16-tls less 8x16", "8x16-tls-both less 8x16", "connect-resumed less connect"] {
        assert!(out.contains(&format!("## cost of TLS: {cost}\n")), "{out}");
    }
    let results: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    let runs = results["runs"].as_array().unwrap();
    assert_eq!(runs.len(), scenarios.len() * peers.len(), "{results}");
    for run in runs {
        assert!(run["report"]["per_second"].as_f64() > Some(0.0), "{run}");
        assert_eq!(run["report"]["failures"], serde_json::json!({}), "{run}");
        if run["scenario"] == "connect-resumed" {
            let resumed = run["report"]["handshakes"]["resumed"].as_u64();
            assert!(resumed > Some(0), "{run}");
        }
    }
}
