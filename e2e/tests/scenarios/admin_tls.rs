//! TLS of the admin: proxies and people reach it over a network that is not trusted; certificates are renewed
//! while it runs.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use pigeon_e2e::{Authority, Process, http, ports, programs, tools, until};
use serde_json::Value;
use tempfile::TempDir;

struct Story {
    dir: TempDir,
    authority: Authority,
    rest: SocketAddr,
    grpc: SocketAddr,
    admin: Process,
}

impl Story {
    /// An admin with TLS whose proxies need a certificate.
    fn start(test: &str) -> Option<Self> {
        let dir = TempDir::with_prefix("pigeon-e2e-").unwrap();
        let authority = Authority::new(test, dir.path())?;
        let [certificate, key] = authority.issue("admin", "localhost");
        let [rest, grpc] = [ports::free(), ports::free()]
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut command = Command::new(programs::path("pigeon-admin"));
        command.arg("--data-dir").arg(dir.path().join("data"));
        command.args(["--listen", &rest.to_string(), "--grpc-listen", &grpc.to_string()]);
        command.args(["--tls-cert", &certificate, "--tls-key", &key]);
        command.args(["--grpc-client-ca", authority.ca()]);
        let mut admin = Process::start("pigeon-admin", command);
        admin.line("ready");
        Some(Self { dir, authority, rest, grpc, admin })
    }

    fn token(&self, name: &str) -> String {
        self.dir.path().join("data").join(name).display().to_string()
    }

    /// `pigeon-ctl` with a context file of this test alone: exit code, stdout, stderr.
    fn ctl(&self, arguments: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(programs::path("pigeon-ctl"));
        let context = self.dir.path().join("contexts.yaml");
        command.args(arguments).env_clear().env("PIGEON_CONFIG", context);
        let output = command.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.ctl(arguments);
        assert_eq!(code, 0, "{arguments:?}: {stdout}{stderr}");
        stdout
    }

    /// A proxy of this name; gives its status port too.
    fn proxy(&self, name: &str, more: &[&str]) -> (Process, SocketAddr) {
        let [listen, status] = [ports::free(), ports::free()]
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        let mut command = Command::new(programs::path("pigeon-proxy"));
        command.args(["--admin", &format!("https://localhost:{}", self.grpc.port())]);
        command.args(["--token-file", &self.token("proxy.token"), "--name", name]);
        command.arg("--state-dir").arg(self.dir.path().join(name));
        command.args(["--status-listen", &status.to_string(), "--workers", "1"]);
        command.args(["--bind", &format!("default={listen}")]).args(more);
        (Process::start(name, command), status)
    }

    fn connected(&self, name: &str) {
        until("the proxy is in sync", || {
            let list: Value =
                serde_json::from_str(&self.ok(&["proxy", "list", "-o", "json"])).unwrap();
            let items = list["items"].as_array().unwrap();
            let found = items.iter().find(|proxy| proxy["name"] == name);
            match found.map(|proxy| &proxy["state"]) {
                Some(state) if state == "in_sync" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    }

    /// The serial number of the certificate that a port shows.
    fn serial(&self, port: SocketAddr) -> String {
        let to = port.to_string();
        let (_, shown, _) = self.authority.tried(&[&["s_client", "-connect", &to, "-showcerts"]]);
        let file = self.dir.path().join("shown.pem");
        std::fs::write(&file, shown).unwrap();
        let file = file.display().to_string();
        self.authority.openssl(&[&["x509", "-noout", "-serial", "-in", &file]]).trim().to_owned()
    }
}

fn reason(status: SocketAddr) -> String {
    http::get(status, "/readyz").map(|reply| reply.text()).unwrap_or_default()
}

#[test]
fn proxies_and_people_reach_an_admin_by_tls() {
    let Some(story) = Story::start("proxies_and_people_reach_an_admin_by_tls") else { return };
    let (url, ca) = (format!("https://localhost:{}", story.rest.port()), story.authority.ca());
    let token = story.token("admin.token");

    // Whom the system trusts is not the one who signed this; in the clear there is nothing.
    let log_in = ["login", "--server", &url, "--token-file", &token];
    let (code, _, stderr) = story.ctl(&log_in);
    assert!(code == 3 || code == 2, "{code}: {stderr}");
    assert!(stderr.contains("--ca FILE"), "{stderr}");
    let clear = url.replace("https", "http");
    let (code, _, stderr) = story.ctl(&["--server", &clear, "--token-file", &token, "status"]);
    assert_eq!(code, 3, "{stderr}");
    // The context keeps it.
    story.ok(&[&log_in[..], &["--ca", ca]].concat());
    story.ok(&[
        "route",
        "add",
        "hello",
        "--path",
        "/hello",
        "--answer",
        "200",
        "--answer-body",
        "hi",
    ]);

    // Events come by it, too.
    let mut command = Command::new(programs::path("pigeon-ctl"));
    command.args(["events", "--since", "0", "-o", "jsonl"]).env_clear();
    command.env("PIGEON_CONFIG", story.dir.path().join("contexts.yaml")).stdout(Stdio::piped());
    let mut events = command.spawn().unwrap();
    let mut first = String::new();
    BufReader::new(events.stdout.take().unwrap()).read_line(&mut first).unwrap();
    events.kill().unwrap();
    events.wait().unwrap();
    assert!(first.contains("\"id\":\"1-1\""), "{first}");

    // A proxy needs a certificate beside its token, and the right authority.
    let (without, status) = story.proxy("without", &["--admin-ca", ca]);
    until("it says why", || match reason(status) {
        why if why.contains("--admin-cert") => Ok(()),
        why => Err(why),
    });
    drop(without);
    let (mut stranger, _) = story.proxy("stranger", &[]);
    stranger.line("cannot connect");
    drop(stranger);
    let [certificate, key] = story.authority.issue("edge", "edge-1");
    let mine = ["--admin-ca", ca, "--admin-cert", &certificate, "--admin-key", &key];
    let (_first, status) = story.proxy("edge-1", &mine);
    story.connected("edge-1");
    assert_eq!(http::get(status, "/readyz").unwrap().status, 200);

    if let Some(curl) = tools::find("curl") {
        let (code, body, _) = tools::run(
            &curl,
            &["-sS".into(), "--cacert".into(), ca.into(), format!("{url}/readyz").into()],
        );
        assert!(code == 0 && body.contains("ok"), "{code}: {body}");
    }
}

#[test]
fn a_certificate_is_renewed_and_a_broken_one_changes_nothing() {
    let test = "a_certificate_is_renewed_and_a_broken_one_changes_nothing";
    let Some(mut story) = Story::start(test) else { return };
    let (url, ca) =
        (format!("https://localhost:{}", story.rest.port()), story.authority.ca().to_owned());
    let token = story.token("admin.token");
    story.ok(&["login", "--server", &url, "--token-file", &token, "--ca", &ca]);
    let [certificate, key] = story.authority.issue("edge", "edge-1");
    let mine = ["--admin-ca", &ca, "--admin-cert", &certificate, "--admin-key", &key];
    let (_first, _) = story.proxy("edge-1", &mine);
    story.connected("edge-1");

    let new = story.authority.renew("admin", "localhost");
    for port in [story.rest, story.grpc] {
        until("the new certificate is shown", || match story.serial(port) {
            serial if serial == new => Ok(()),
            serial => Err(serial),
        });
    }
    story.connected("edge-1");
    let (_second, _) = story.proxy("edge-2", &mine);
    story.connected("edge-2");

    broken(&story.dir.path().join("admin.pem"));
    story.admin.line("the files of TLS are no good, the ones before serve on");
    assert_eq!(story.serial(story.rest), new);
    let (_third, _) = story.proxy("edge-3", &mine);
    story.connected("edge-3");
    story.authority.renew("admin", "localhost");
    story.admin.line("the files of TLS are good again");
}

fn broken(file: &Path) {
    std::fs::write(file, "-----BEGIN CERTIFICATE-----\nbroken\n").unwrap();
}
