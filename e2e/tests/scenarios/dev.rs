//! `pigeon-ctl dev`: a whole gateway in one process.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use pigeon_e2e::{Process, grpc, http, ports, programs, tools, until};

struct Ports {
    gateway: u16,
    admin: u16,
    stream: u16,
    status: u16,
}

impl Ports {
    fn free() -> Self {
        let [gateway, admin, stream, status] = [(); 4].map(|()| ports::free());
        Self { gateway, admin, stream, status }
    }
}

/// `home` is where contexts and data go, so that nothing of the real user's is touched.
fn dev(home: &Path, ports: &Ports, more: &[&str]) -> Process {
    let mut command = Command::new(programs::path("pigeon-ctl"));
    command.arg("dev").args(more);
    for (flag, port) in [
        ("--port", ports.gateway),
        ("--admin-port", ports.admin),
        ("--grpc-port", ports.stream),
        ("--status-port", ports.status),
    ] {
        command.args([flag, &port.to_string()]);
    }
    let config = home.join("config.yaml");
    command.env("HOME", home).env("PIGEON_CONFIG", config).env_remove("XDG_DATA_HOME");
    Process::start("pigeon-ctl dev", command)
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Waits for the end of what it says when all is there: a command to try, and how to stop it.
fn ready(dev: &mut Process) {
    dev.line("curl ");
    dev.line("Ctrl-C");
}

fn until_hello(process: &mut Process, port: u16) -> String {
    until("dev answers /hello", || {
        assert!(process.exited().is_none(), "dev ended: {}{}", process.stdout(), process.stderr());
        match http::get(at(port), "/hello") {
            Ok(reply) if reply.status == 200 => Ok(reply.text()),
            other => Err(format!("{other:?}")),
        }
    })
}

#[test]
fn one_command_gives_a_gateway_that_answers() {
    let home = tempfile::tempdir().unwrap();
    let ports = Ports::free();
    let mut dev = dev(home.path(), &ports, &["--ephemeral"]);
    let hello = until_hello(&mut dev, ports.gateway);
    assert!(hello.starts_with("hello from "), "{hello}");

    // What it prints works as printed.
    ready(&mut dev);
    let said = dev.stdout() + &dev.stderr();
    assert!(said.contains(&format!("127.0.0.1:{}", ports.gateway)), "{said}");
    assert!(said.contains(&format!("127.0.0.1:{}/ui/", ports.admin)), "{said}");
    let line =
        said.lines().find(|line| line.trim_start().starts_with("curl ") && line.contains("/hello"));
    let line = line.unwrap_or_else(|| panic!("no curl command to try: {said}")).trim();
    match tools::find("curl") {
        None => tools::skip("dev: the printed command", "curl", "apt-get install curl"),
        Some(_) => {
            let ran = Command::new("sh").args(["-c", line]).output().unwrap();
            assert!(
                String::from_utf8_lossy(&ran.stdout).contains("hello from "),
                "{line}: {ran:?}"
            );
        }
    }

    let channel = grpc::channel(at(ports.gateway));
    let reply = grpc::block_on(grpc::echo(channel).ping(grpc::ping())).unwrap().into_inner();
    assert_eq!(reply.payload, "ping");

    // A second terminal just works, by the context that dev selected.
    let mut list = Command::new(programs::path("pigeon-ctl"));
    list.args(["route", "list"]).env("HOME", home.path());
    let list = list.env("PIGEON_CONFIG", home.path().join("config.yaml")).output().unwrap();
    assert!(list.status.success(), "{list:?}");

    dev.signal("INT");
    let ended = dev.ended();
    assert_eq!(ended.code(), Some(0), "{ended}\n{}", dev.stderr());
    for port in [ports.gateway, ports.admin, ports.stream, ports.status] {
        std::net::TcpListener::bind(at(port)).unwrap_or_else(|error| panic!("{port}: {error}"));
    }
}

#[test]
fn what_was_configured_is_there_at_the_next_start() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let data = data.to_str().unwrap();
    let ports = Ports::free();
    let mut first = dev(home.path(), &ports, &["--data-dir", data]);
    ready(&mut first);
    let ctl = |arguments: &[&str]| {
        let mut command = Command::new(programs::path("pigeon-ctl"));
        command.args(arguments).env("HOME", home.path());
        let output =
            command.env("PIGEON_CONFIG", home.path().join("config.yaml")).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    ctl(&["engine", "add", "mine", "--static", "127.0.0.1:1"]);
    first.signal("INT");
    assert_eq!(first.ended().code(), Some(0), "{}", first.stderr());

    let mut second = dev(home.path(), &ports, &["--data-dir", data]);
    ready(&mut second);
    assert!(ctl(&["engine", "list"]).contains("mine"));

    // A second instance on the same directory, on other ports.
    let mut third = dev(home.path(), &Ports::free(), &["--data-dir", data]);
    let ended = third.ended();
    assert!(ended.code().is_some_and(|code| code != 0), "{ended}");
    let said = third.stderr();
    assert!(said.contains(data) && said.starts_with("error: "), "{said}");
    until_hello(&mut second, ports.gateway);
}

#[test]
fn ports_in_use_and_unwritable_directories_are_said_clearly() {
    let home = tempfile::tempdir().unwrap();
    let ports = Ports::free();
    let taken = [ports.gateway, ports.admin, ports.stream, ports.status];
    for port in taken {
        let _held = std::net::TcpListener::bind(at(port)).unwrap();
        let mut dev = dev(home.path(), &ports, &["--ephemeral"]);
        let ended = dev.ended();
        assert!(ended.code().is_some_and(|code| code != 0), "{port}: {ended}");
        let said = dev.stderr();
        assert!(said.contains(&port.to_string()) && said.contains("error: "), "{port}: {said}");
    }
    // A file where the directory should be: also an administrator cannot write there.
    let file = home.path().join("file");
    std::fs::write(&file, "").unwrap();
    let inside = file.join("data");
    let mut dev = dev(home.path(), &ports, &["--data-dir", inside.to_str().unwrap()]);
    assert!(dev.ended().code().is_some_and(|code| code != 0));
    let said = dev.stderr();
    assert!(said.contains(inside.to_str().unwrap()), "{said}");
}

#[test]
fn dev_with_traffic_and_without_demo() {
    let home = tempfile::tempdir().unwrap();
    let ports = Ports::free();
    let mut busy = dev(home.path(), &ports, &["--ephemeral", "--traffic", "50"]);
    until_hello(&mut busy, ports.gateway);
    until("demo traffic flows", || {
        let metrics =
            http::get(at(ports.status), "/metrics").map_err(|error| error.to_string())?.text();
        let calls = metrics.lines().filter(|line| line.contains("grpc") || line.contains("calls"));
        let many = calls.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        if many.fold(0.0, f64::max) > 20.0 { Ok(()) } else { Err("few calls".to_owned()) }
    });
    busy.signal("INT");
    assert_eq!(busy.ended().code(), Some(0), "{}", busy.stderr());

    let ports = Ports::free();
    let mut bare = dev(home.path(), &ports, &["--ephemeral", "--no-demo"]);
    until("the gateway answers", || match http::get(at(ports.gateway), "/hello") {
        Ok(reply) if reply.header("pigeon-reason") == Some("no_route") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    bare.signal("TERM");
    assert_eq!(bare.ended().code(), Some(0), "{}", bare.stderr());
}
