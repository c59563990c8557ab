//! JSON calls of an engine that nobody here wrote: grpcio's server with its reflection and `google.api.http`.

use std::process::{Command, Stdio};

use pigeon_e2e::{Cluster, Process, Transport, checks, tools, until};

over_both_transports!(an_engine_of_others_in_json,);

fn an_engine_of_others_in_json(transport: Transport) {
    let test = "json: grpcio with reflection";
    let describes = |python: &std::path::PathBuf| {
        let mut ran = Command::new(python);
        let ran = ran.args(["-c", "import grpc_reflection"]).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    let Some(python) = tools::python().filter(describes) else {
        return tools::skip(test, "Python with grpcio-reflection", tools::PYTHON_INSTALL);
    };
    let start = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command.arg(tools::script("json_engine.py")).args(arguments);
        Process::start("library", command)
    };
    let mut library = start(&[]);
    let address = library.line("listening on ").rsplit(' ').next().unwrap().to_owned();
    let cluster = Cluster::over(transport, 1, 0);
    let ctl = &cluster.ctl;
    ctl.ok(&["engine", "add", "library", "--static", &address]);
    ctl.ok(&["route", "add", "library", "--engine", "library", "--transcode"]);
    cluster.in_sync();
    let target = cluster.proxies[0].address().to_string();
    checks::run(test, "json_client.py", &["--target", &target], 5);

    // Without reflection callers are told so, and so is whoever reads the log.
    let mut mute = start(&["--without-reflection"]);
    let address = mute.line("listening on ").rsplit(' ').next().unwrap().to_owned();
    ctl.ok(&["engine", "add", "mute", "--static", &address]);
    ctl.ok(&["route", "add", "mute", "--path", "/mute/*", "--engine", "mute", "--transcode"]);
    cluster.in_sync();
    let answer = pigeon_e2e::http::get(cluster.proxies[0].address(), "/mute/x").unwrap();
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert!(answer.text().contains("gRPC server reflection"), "{}", answer.text());
    until("the log says so, too", || {
        let log = cluster.proxies[0].process.stderr();
        let said = log.contains("has no server reflection") && log.contains(&address);
        if said { Ok(()) } else { Err(log) }
    });
    cluster.until_idle_at("library");
}
