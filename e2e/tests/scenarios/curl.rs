//! curl, which nobody here wrote: plain HTTP in both versions, and the gateway's own answers.

use std::ffi::OsString;
use std::path::PathBuf;

use pigeon_e2e::{Cluster, tools};

const INSTALL: &str = "apt-get install curl";

/// One run of curl: the status, the header lines in lower case, the body.
struct Answer {
    version: String,
    status: String,
    headers: Vec<String>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let name = format!("{name}: ");
        self.headers.iter().find_map(|line| line.strip_prefix(&name))
    }
}

struct Curl {
    program: PathBuf,
    base: String,
    head: PathBuf,
}

impl Curl {
    fn new(test: &str, cluster: &Cluster) -> Option<Self> {
        let Some(program) = tools::find("curl") else {
            tools::skip(test, "curl", INSTALL);
            return None;
        };
        let base = format!("http://{}", cluster.proxies[0].address());
        Some(Self { program, base, head: cluster.dir.path().join("head") })
    }

    fn run(&self, path: &str, more: &[&str]) -> Answer {
        let head = self.head.to_str().unwrap();
        let format = "\n%{http_version} %{http_code}";
        let fixed = ["-sS", "--max-time", "20", "-D", head, "-w", format];
        let url = format!("{}{path}", self.base);
        let arguments = fixed.iter().chain(more).map(OsString::from);
        let arguments: Vec<OsString> = arguments.chain([OsString::from(&url)]).collect();
        let (code, stdout, stderr) = tools::run(&self.program, &arguments);
        assert_eq!(code, 0, "curl {more:?} {url}: {stderr}");
        let (body, last) = stdout.rsplit_once('\n').unwrap();
        let (version, status) = last.split_once(' ').unwrap();
        let headers = std::fs::read_to_string(&self.head).unwrap();
        Answer {
            version: version.to_owned(),
            status: status.to_owned(),
            headers: headers.lines().map(|line| line.trim().to_ascii_lowercase()).collect(),
            body: body.to_owned(),
        }
    }
}

const VERSIONS: [(&str, &str); 2] = [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")];

#[test]
fn plain_http_in_both_versions() {
    let cluster = Cluster::with_demo_routes(1, 1);
    let Some(curl) = Curl::new("curl: plain HTTP", &cluster) else { return };
    let large: PathBuf = cluster.dir.path().join("large");
    std::fs::write(&large, "0123456789abcdef".repeat(300_000)).unwrap();
    let upload = format!("@{}", large.display());
    for (flag, version) in VERSIONS {
        let hello = curl.run("/hello", &[flag]);
        assert_eq!((hello.version.as_str(), hello.status.as_str()), (version, "200"), "{flag}");
        assert_eq!(hello.body, "hello from demo-1\n");
        assert!(hello.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));

        let echo = curl.run("/echo", &[flag, "-d", "some=body", "-H", "content-type: text/x"]);
        assert_eq!((echo.status.as_str(), echo.body.as_str()), ("200", "some=body"), "{flag}");
        assert_eq!(echo.header("content-type"), Some("text/x"));

        let many = curl.run("/echo", &[flag, "--data-binary", &upload]);
        assert_eq!((many.status.as_str(), many.body.len()), ("200", 4_800_000), "{flag}");

        let head = curl.run("/hello", &[flag, "--head"]);
        assert_eq!(head.status, "200", "{flag}");
    }
    // An offer to go on in HTTP/2 is not taken, unless the listener allows it.
    let offered = curl.run("/hello", &["--http2"]);
    assert_eq!((offered.version.as_str(), offered.status.as_str()), ("1.1", "200"));
    // A body of unknown length.
    let chunked = ["--http1.1", "-H", "transfer-encoding: chunked", "--data-binary", &upload];
    let answer = curl.run("/echo", &chunked);
    assert_eq!((answer.status.as_str(), answer.body.len()), ("200", 4_800_000));
    let expect = curl.run("/echo", &["--http1.1", "-H", "expect: 100-continue", "-d", "x"]);
    assert_eq!((expect.status.as_str(), expect.body.as_str()), ("200", "x"));
}

#[test]
fn the_gateways_own_answers() {
    let cluster = Cluster::with_demo_routes(1, 1);
    let Some(curl) = Curl::new("curl: the gateway's own answers", &cluster) else { return };
    cluster.ctl.ok(&["route", "set", "hello", "--method", "GET", "--method", "HEAD"]);
    let nobody = format!("127.0.0.1:{}", pigeon_e2e::ports::free());
    cluster.ctl.ok(&["engine", "add", "away", "--static", &nobody]);
    cluster.ctl.ok(&["route", "add", "away", "--path", "/away", "--engine", "away"]);
    cluster.ctl.ok(&["engine", "add", "empty"]);
    cluster.ctl.ok(&["route", "add", "empty", "--path", "/empty", "--engine", "empty"]);
    cluster.in_sync();
    for (flag, _) in VERSIONS {
        let cases: [(&str, &[&str], &str, &[&str]); 4] = [
            ("/nothing", &[flag], "404", &["no_route"]),
            ("/hello", &[flag, "-d", "x"], "405", &["method_not_allowed"]),
            ("/empty", &[flag], "503", &["no_endpoint"]),
            // The second time the endpoint is known to refuse, so it may not be tried at all.
            ("/away", &[flag], "502 503", &["connect_failed", "no_endpoint"]),
        ];
        for (path, more, status, reasons) in cases {
            let answer = curl.run(path, more);
            assert!(status.contains(&answer.status), "{flag} {path}: {}", answer.status);
            let reason = answer.header("pigeon-reason").unwrap_or("none");
            assert!(reasons.contains(&reason), "{flag} {path}: {reason}");
            assert!(!answer.body.is_empty(), "{flag} {path}: people are told something");
            if answer.status == "405" {
                assert_eq!(answer.header("allow"), Some("get, head"), "{flag} {path}");
            }
        }
    }
}

/// An HTTP/2 stream that ended before curl had sent its body was an error of the stream to it, or a hang.
#[test]
fn an_answer_to_a_body_that_is_still_being_sent_arrives() {
    let cluster = Cluster::with_demo_routes(1, 1);
    let Some(curl) = Curl::new("curl: early answers", &cluster) else { return };
    for _ in 0..30 {
        let answer = curl.run("/nothing", &["--http2-prior-knowledge", "-d", "x"]);
        assert_eq!(answer.status, "404");
        let grpc = ["--http2-prior-knowledge", "-H", "content-type: application/grpc", "-d", "x"];
        let answer = curl.run("/no.such.Service/Method", &grpc);
        assert_eq!(answer.header("grpc-status"), Some("12"), "{:?}", answer.headers);
    }
}

/// A gRPC call by hand: what goes over the wire when the gateway itself answers.
#[test]
fn grpc_by_hand_with_a_deadline_that_nobody_but_the_gateway_keeps() {
    let cluster = Cluster::with_demo_routes(1, 1);
    let Some(curl) = Curl::new("curl: gRPC by hand", &cluster) else { return };
    let body = cluster.dir.path().join("message");
    std::fs::write(&body, [0, 0, 0, 0, 0]).unwrap();
    let data = format!("@{}", body.display());
    let grpc = |path: &str, more: &[&str]| {
        let fixed = [
            "--http2-prior-knowledge",
            "-H",
            "content-type: application/grpc",
            "-H",
            "te: trailers",
            "--data-binary",
            &data,
            "-o",
            "/dev/null",
        ];
        curl.run(path, &[&fixed, more].concat())
    };
    let slow = ["-H", "grpc-timeout: 300m", "-H", "demo-delay-ms: 60000"];
    let late = grpc("/pigeon.demo.v1.Echo/Ping", &slow);
    assert_eq!(late.status, "200", "gRPC errors are not HTTP errors");
    assert_eq!(late.header("grpc-status"), Some("4"), "{:?}", late.headers);
    assert_eq!(late.header("pigeon-reason"), Some("deadline"), "{:?}", late.headers);
    cluster.engines[0].until_stats("the engine is told", |stats| stats.cancelled == 1);

    let none = grpc("/no.such.Service/Method", &[]);
    assert_eq!(none.status, "200");
    assert_eq!(none.header("grpc-status"), Some("12"), "{:?}", none.headers);
    assert_eq!(none.header("pigeon-reason"), Some("no_route"), "{:?}", none.headers);
    assert!(none.header("content-type").is_some_and(|kind| kind.starts_with("application/grpc")));

    let fine = grpc("/pigeon.demo.v1.Echo/Ping", &["-H", "grpc-timeout: 10S"]);
    let seen = fine.header("demo-seen-timeout").unwrap();
    assert!(!seen.is_empty(), "the engine knows the deadline");
    let malformed = grpc("/pigeon.demo.v1.Echo/Ping", &["-H", "grpc-timeout: soon"]);
    assert!(malformed.header("grpc-status").is_some() || malformed.status != "200");
}

/// Nothing of a connection's own reaches the other side, and the caller's address does.
#[test]
fn hop_by_hop_fields_end_at_the_gateway() {
    let cluster = Cluster::with_demo_routes(1, 0);
    let Some(curl) = Curl::new("curl: hop-by-hop fields", &cluster) else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    // It takes one connection, which is not to be that of a check.
    cluster.ctl.ok(&["engine", "add", "raw", "--static", &at, "--health", "none"]);
    cluster.ctl.ok(&["route", "add", "raw", "--path", "/raw*", "--engine", "raw"]);
    cluster.in_sync();
    let engine = std::thread::spawn(move || answer_once(&listener));
    let path = "/raw/a%20b?x=1&y=%2F";
    let headers = [
        "-H",
        "connection: keep-alive, x-hop",
        "-H",
        "x-hop: 1",
        "-H",
        "keep-alive: 5",
        "-H",
        "proxy-connection: x",
        "-H",
        "x-end: yes",
        "-H",
        "host: example.test",
    ];
    let answer = curl.run(path, &[&["--http1.1"], headers.as_slice()].concat());
    assert_eq!((answer.status.as_str(), answer.body.as_str()), ("200", "raw"));
    let request = engine.join().unwrap().to_ascii_lowercase();
    assert!(request.starts_with(&format!("get {} http/1.1\r\n", path.to_lowercase())), "{request}");
    for gone in ["x-hop", "proxy-connection", "keep-alive: 5"] {
        assert!(!request.contains(gone), "{gone} went through: {request}");
    }
    for kept in ["x-end: yes", "host: example.test"] {
        assert!(request.contains(kept), "{kept} is lost: {request}");
    }
}

fn answer_once(listener: &std::net::TcpListener) -> String {
    use std::io::{Read, Write};

    let (mut socket, _) = listener.accept().unwrap();
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut some = [0; 1024];
        let read = socket.read(&mut some).unwrap();
        assert_ne!(read, 0, "the request is cut short");
        request.extend_from_slice(&some[..read]);
    }
    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nraw").unwrap();
    String::from_utf8(request).unwrap()
}

#[test]
fn a_burst_beyond_the_limit_is_told_when_to_come_again() {
    let cluster = Cluster::with_demo_routes(1, 1);
    let Some(curl) = Curl::new("curl: limits", &cluster) else { return };
    let limit = ["--rate", "1/h", "--burst", "3", "--rate-per", "source"];
    cluster.ctl.ok(&[&["route", "set", "hello"][..], &limit].concat());
    cluster.in_sync();
    let mut left = 3;
    for _ in 0..4 {
        for (version, number) in VERSIONS {
            let answer = curl.run("/hello", &[version]);
            assert_eq!(answer.version, number);
            if left > 0 {
                left -= 1;
                assert_eq!(answer.status, "200", "{}", answer.body);
                continue;
            }
            assert_eq!(answer.status, "429", "{}", answer.body);
            assert_eq!(answer.header("pigeon-reason"), Some("rate_limited"));
            let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=3_600).contains(&seconds), "{seconds}");
            assert!(answer.body.contains("\"reason\":\"rate_limited\""), "{}", answer.body);
        }
    }
    // A limit that is lifted holds nobody back.
    cluster.ctl.ok(&["route", "set", "hello", "--rate", ""]);
    cluster.in_sync();
    assert_eq!(curl.run("/hello", &[]).status, "200");
    let wrong = cluster.ctl.run(&["route", "set", "hello", "--rate", "5/day"]);
    assert!(wrong.stderr.contains("\"5/day\" is not a rate"), "{}", wrong.stderr);
}
