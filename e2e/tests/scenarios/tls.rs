//! TLS as others see it: curl, openssl, and callers that go on while certificates are replaced.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pigeon_e2e::{Authority, Cluster, Process, Transport, tools, until};

over_both_transports!(
    curl_speaks_tls,
    a_certificate_says_who_calls,
    certificates_are_replaced_under_load,
    who_is_slow_is_cut,
);

/// A cluster whose listener speaks TLS with `gateway.pem` of the authority.
fn cluster(transport: Transport, test: &str, more: &[&str]) -> Option<(Cluster, Authority)> {
    let cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    let authority = Authority::new(test, cluster.dir.path())?;
    let [certificate, key] = authority.issue("gateway", "localhost");
    let set = ["listener", "set", "default", "--tls-cert", &certificate, "--tls-key", &key];
    cluster.ctl.ok(&[&set[..], more].concat());
    cluster.in_sync();
    Some((cluster, authority))
}

fn curl_speaks_tls(transport: Transport) {
    let Some(curl) = tools::find("curl") else {
        return tools::skip("tls: curl", "curl", "apt-get install curl");
    };
    let Some((cluster, authority)) = cluster(transport, "tls: curl", &[]) else { return };
    let url = format!("https://localhost:{}/hello", cluster.proxies[0].address().port());
    let run = |more: &[&str]| {
        let fixed = ["-sS", "--max-time", "20", "-w", "%{http_version} %{http_code}", &url];
        let arguments = [&fixed[..], more].concat();
        tools::run(&curl, &arguments.iter().map(Into::into).collect::<Vec<_>>())
    };
    for (version, wanted) in [("--http1.1", "1.1 200"), ("--http2", "2 200")] {
        let (code, out, error) = run(&["--cacert", authority.ca(), version]);
        assert_eq!(code, 0, "{error}");
        assert_eq!(out, format!("hello from demo-1\n{wanted}"));
    }
    // Who is not told whom to believe does not believe; and nobody is answered in the clear.
    assert_eq!(run(&[]).0, 60);
    let clear = url.replace("https", "http");
    let (code, out, _) = tools::run(&curl, &["-sS", "--max-time", "20", &clear].map(Into::into));
    assert!(code != 0 && out.is_empty(), "{code} {out}");
    cluster.until_idle();
}

/// Who calls is known by the certificate that the connection was opened with.
fn a_certificate_says_who_calls(transport: Transport) {
    let test = "tls: client certificates";
    let Some(curl) = tools::find("curl") else {
        return tools::skip(test, "curl", "apt-get install curl");
    };
    let Some((cluster, authority)) = cluster(transport, test, &[]) else { return };
    let optional = ["--client-ca", authority.ca(), "--client-certificates", "optional"];
    cluster.ctl.ok(&[&["listener", "set", "default"], &optional[..]].concat());
    cluster.ctl.ok(&["tenant", "add", "acme", "--certificate", "CN=client.example"]);
    let asks = ["route", "set", "hello", "--auth", "certificate", "--tenant", "acme"];
    cluster.ctl.ok(&asks);
    cluster.in_sync();
    let url = format!("https://localhost:{}/hello", cluster.proxies[0].address().port());
    let status = |more: &[&str]| {
        let fixed = ["-sS", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", &url];
        let arguments = [&fixed[..], &["--cacert", authority.ca()], more].concat();
        tools::run(&curl, &arguments.iter().map(Into::into).collect::<Vec<_>>()).1
    };
    let [ours, our_key] = authority.issue("ours", "client.example");
    let [others, other_key] = authority.issue("others", "stranger.example");
    for version in ["--http1.1", "--http2"] {
        assert_eq!(status(&[version]), "401");
        assert_eq!(status(&[version, "-H", "pigeon-tenant: acme"]), "401");
        assert_eq!(status(&[version, "--cert", &others, "--key", &other_key]), "403");
        assert_eq!(status(&[version, "--cert", &ours, "--key", &our_key]), "200");
    }
    cluster.until_idle();
}

/// A byte now and then, of the handshake or of a head after it: each has its time as a whole (slowloris).
fn who_is_slow_is_cut(transport: Transport) {
    let test = "tls: slow callers";
    let more = ["--header-timeout", "2s"];
    let Some((cluster, authority)) = cluster(transport, test, &more) else { return };
    let address = cluster.proxies[0].address();
    let pause = Duration::from_millis(100);
    let begun = Instant::now();
    let mut hello = TcpStream::connect(address).unwrap();
    hello.set_read_timeout(Some(pause)).unwrap();
    // A ClientHello of 16 KiB that would take half an hour.
    let mut bytes =
        b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc\x03\x03".iter().chain(std::iter::repeat(&7));
    let cut = || begun.elapsed() < Duration::from_secs(30);
    while cut() && hello.write_all(&[*bytes.next().unwrap()]).is_ok() {
        match hello.read(&mut [0]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => break,
        }
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(1900) && took < Duration::from_secs(20), "{took:?}");

    let mut client = Command::new("openssl");
    client.args(["s_client", "-quiet", "-connect", &address.to_string(), "-alpn", "http/1.1"]);
    client.args(["-CAfile", authority.ca(), "-servername", "localhost"]);
    client.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = client.spawn().unwrap();
    let mut input = client.stdin.take().unwrap();
    let mut head = "GET /hello HTTP/1.1\r\nhost: a\r\n".bytes().chain(std::iter::repeat(b'x'));
    let begun = Instant::now();
    let mut ended = None;
    while ended.is_none() && begun.elapsed() < Duration::from_secs(30) {
        let _ = input.write_all(&[head.next().unwrap()]);
        std::thread::sleep(pause);
        ended = client.try_wait().unwrap();
    }
    let took = begun.elapsed();
    let _ = client.kill();
    let _ = client.wait();
    assert!(ended.is_some() && took >= Duration::from_millis(1900), "{ended:?} {took:?}");
    let metrics = cluster.proxies[0].metrics();
    let failed = r#"pigeon_tls_handshakes_total{listener="default",result="failed"} 1"#;
    assert!(metrics.contains(failed), "{metrics}");
    assert_eq!(cluster.engines[0].stats().calls, 0);
}

/// What openssl's client finds out, each question with its own connection.
struct Questions<'a> {
    authority: &'a Authority,
    address: String,
}

impl Questions<'_> {
    /// Whether the handshake works, and all that was said.
    fn ask(&self, more: &[&str]) -> (bool, String) {
        let fixed = ["s_client", "-connect", &self.address, "-CAfile", self.authority.ca()];
        let (code, out, error) = self.authority.tried(&[
            &fixed,
            &["-verify_return_error", "-servername", "localhost"],
            more,
        ]);
        (code == 0, out + &error)
    }
}

#[test]
fn openssl_finds_nothing_weak() {
    let test = "tls: openssl";
    let Some((cluster, authority)) = cluster(Transport::Relay, test, &[]) else { return };
    let address = cluster.proxies[0].address().to_string();
    let questions = Questions { authority: &authority, address };
    let said = |more: &[&str], wanted: &str| {
        let (works, said) = questions.ask(more);
        assert!(works && said.contains(wanted), "{more:?}: {said}");
    };
    let refused = |more: &[&str]| {
        let (works, said) = questions.ask(more);
        assert!(!works, "{more:?}: {said}");
    };
    said(&["-tls1_3"], "TLSv1.3");
    said(&["-tls1_2"], "TLSv1.2");
    said(&["-tls1_2"], "Compression: NONE");
    said(&["-tls1_2"], "Secure Renegotiation IS supported");
    refused(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]);
    refused(&["-tls1", "-cipher", "ALL:@SECLEVEL=0"]);
    for weak in ["AES128-SHA", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "NULL", "RC4", "3DES"]
    {
        refused(&["-tls1_2", "-cipher", &format!("{weak}:@SECLEVEL=0")]);
    }
    said(&["-alpn", "h2"], "ALPN protocol: h2");
    said(&["-alpn", "http/1.1"], "ALPN protocol: http/1.1");
    let session = cluster.dir.path().join("session");
    let session = session.to_str().unwrap();
    said(&["-tls1_2", "-sess_out", session], "New, ");
    said(&["-tls1_2", "-sess_in", session], "Reused, ");

    cluster.ctl.ok(&["listener", "set", "default", "--tls-min-version", "1.3"]);
    cluster.in_sync();
    refused(&["-tls1_2"]);
    said(&["-tls1_3"], "TLSv1.3");

    let ca = authority.ca();
    let required = ["--client-ca", ca, "--client-certificates", "required"];
    cluster
        .ctl
        .ok(&[&["listener", "set", "default", "--tls-min-version", "1.2"], &required[..]].concat());
    cluster.in_sync();
    // With TLS 1.2 the refusal is part of the handshake.
    refused(&["-tls1_2"]);
    let [certificate, key] = authority.issue("client", "client.example");
    said(&["-tls1_2", "-cert", &certificate, "-key", &key], "TLSv1.2");
}

/// Ten times another certificate, while calls of five kinds and long streams go on.
fn certificates_are_replaced_under_load(transport: Transport) {
    let test = "tls: certificates are replaced";
    let Some(python) = tools::python() else {
        return tools::skip(test, "Python with grpcio", tools::PYTHON_INSTALL);
    };
    let Some((cluster, authority)) = cluster(transport, test, &[]) else { return };
    let address = cluster.proxies[0].address();
    let stop = cluster.dir.path().join("stop");
    let mut command = Command::new(python);
    command.arg(tools::script("takeover_client.py"));
    command.args(["--target", &format!("localhost:{}", address.port()), "--ca", authority.ca()]);
    command.arg("--until").arg(&stop);
    let mut callers = Process::start("callers", command);
    callers.line("calling");
    let questions = Questions { authority: &authority, address: address.to_string() };
    for round in 0..10 {
        let before = cluster.engines[0].stats().calls;
        let serial = authority.renew("gateway", "localhost");
        until(&format!("certificate {round} is shown"), || {
            let (_, said) = questions.ask(&["-showcerts"]);
            let shown = cluster.dir.path().join("shown.pem");
            std::fs::write(&shown, said).map_err(|error| error.to_string())?;
            let shown = shown.to_str().unwrap_or_default();
            let (_, shown, _) = authority.tried(&[&["x509", "-noout", "-serial", "-in", shown]]);
            if shown.trim() == serial { Ok(()) } else { Err(shown) }
        });
        cluster.engines[0].until_stats("calls go on", |stats| stats.calls > before + 30);
    }
    std::fs::write(&stop, "").unwrap();
    let ended = callers.ended();
    assert!(ended.success(), "{}{}", callers.stdout(), callers.stderr());
    let metrics = cluster.proxies[0].metrics();
    assert!(!metrics.contains("pigeon_tls_reload_errors_total{object=\"listener/default\"} 1"));
    cluster.until_idle();
}
