//! systemd's own tools: they accept the unit files, and start the proxy with sockets of theirs.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use pigeon_e2e::{Process, http, ports, programs, tools, until};

const INSTALL: &str = "install systemd";

#[test]
fn the_unit_files_are_sound() {
    let Some(program) = tools::find("systemd-analyze") else {
        return tools::skip("the_unit_files_are_sound", "systemd-analyze", INSTALL);
    };
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(programs::repository().join("deploy/systemd")).unwrap() {
        let from = entry.unwrap().path();
        let name = from.file_name().unwrap().to_owned();
        // It looks for the programs, too.
        let built = programs::path("pigeon-proxy").parent().unwrap().display().to_string();
        let text = std::fs::read_to_string(&from).unwrap().replace("/usr/local/bin", &built);
        std::fs::write(folder.path().join(&name), text).unwrap();
        names.push(folder.path().join(name).into_os_string());
    }
    assert_eq!(names.len(), 3, "{names:?}");
    let arguments = [vec!["verify".into(), "--man=no".into()], names].concat();
    let (code, output, errors) = tools::run(&program, &arguments);
    assert!(code == 0 && errors.is_empty(), "{code}: {output}{errors}");
}

#[test]
fn a_proxy_is_started_by_the_first_connection() {
    let Some(program) = tools::find("systemd-socket-activate") else {
        let test = "a_proxy_is_started_by_the_first_connection";
        return tools::skip(test, "systemd-socket-activate", INSTALL);
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pigeon.yaml");
    let [one, other, status] = [ports::free(), ports::free(), ports::free()]
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let documents = format!(
        "kind: listener\nname: one\nspec: {{address: '{one}'}}\n---\n\
         kind: listener\nname: other\nspec: {{address: '0.0.0.0:1'}}\n---\n\
         kind: route\nname: r\nspec: {{match: {{path: /hello}}, answer: {{status: 200, body: hello}}}}\n"
    );
    std::fs::write(&file, documents).unwrap();
    let mut command = Command::new(program);
    for address in [one, other, status] {
        command.arg("--listen").arg(address.to_string());
    }
    command.arg(programs::path("pigeon-proxy")).arg("--config").arg(&file);
    command.args(["--status-listen", &status.to_string(), "--bind", &format!("other={other}")]);
    let mut process = Process::start("socket-activate", command);
    process.line("Listening on");
    let hello = |at| {
        let reply = until("it answers", || http::get(at, "/hello"));
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    };
    hello(one);
    hello(other);
    assert_eq!(http::get(status, "/readyz").unwrap().status, 200);
    process.signal("TERM");
    assert!(process.ended().success());
    assert!(!process.stderr().contains("where the service manager has a socket"));
}
