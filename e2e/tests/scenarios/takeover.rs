//! A proxy is replaced by a new process while it is in use: `pigeon-proxy --takeover`.

use std::io::{BufRead, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use pigeon_e2e::{Cluster, Process, Transport, grpc, http, tools};

use crate::streams::Streams;

over_both_transports!(
    ten_take_overs_fail_no_call_and_exceed_no_slot,
    a_new_process_that_dies_or_is_no_good_changes_nothing,
    slots_of_the_old_process_bind_the_new_one,
);

/// Calls of three kinds all the while, and streams that begin under one process and end two later.
fn ten_take_overs_fail_no_call_and_exceed_no_slot(transport: Transport) {
    const SLOTS: u32 = 12;
    let name = "takeover: ten take-overs";
    let Some(python) = tools::python() else {
        return tools::skip(name, "Python with grpcio", tools::PYTHON_INSTALL);
    };
    let mut cluster = Cluster::over(transport, 1, 1);
    let slots = SLOTS.to_string();
    let pool = ["--pool", "strict", "--slots", &slots, "--queue", "1000", "--queue-timeout", "30s"];
    cluster.add_engine("demo", &pool);
    cluster.add_demo_routes("demo");
    cluster.in_sync();
    let stop = cluster.dir.path().join("stop");
    let mut command = Command::new(python);
    command.arg(tools::script("takeover_client.py"));
    command.args(["--target", &cluster.proxies[0].address().to_string()]);
    command.arg("--until").arg(&stop);
    let mut callers = Process::start("callers", command);
    callers.line("calling");

    let calls = |cluster: &Cluster| cluster.engines[0].stats().calls;
    let mut leaving: Vec<(Process, Streams)> = Vec::new();
    for round in 0..10 {
        let channel = grpc::channel(cluster.proxies[0].address());
        let mut streams = Streams::open(&[channel], 3, &[("demo-gap-ms", "20")]);
        let before = calls(&cluster);
        cluster.engines[0].until_stats("calls run", |stats| stats.calls > before + 50);
        let old = cluster.proxies[0].take_over();
        streams.progress(&format!("streams of the old process go on, round {round}"));
        leaving.push((old, streams));
        if leaving.len() > 1 {
            let (mut old, streams) = leaving.remove(0);
            streams.finish().into_iter().for_each(|end| end.unwrap());
            let ended = old.ended();
            assert_eq!(ended.code(), Some(0), "{ended}");
        }
    }
    for (mut old, streams) in leaving {
        streams.finish().into_iter().for_each(|end| end.unwrap());
        assert_eq!(old.ended().code(), Some(0));
    }
    std::fs::write(&stop, "").unwrap();
    let ended = callers.ended();
    assert!(ended.success(), "{}{}", callers.stdout(), callers.stderr());
    let most = cluster.engines[0].stats().max_concurrent_seen;
    assert!(most <= SLOTS, "{most} calls at once on an engine with {SLOTS} slots");
    // To the admin it is one proxy all the while.
    let proxies = cluster.ctl.ok(&["proxy", "list"]);
    assert_eq!(proxies.matches("edge-1").count(), 1, "{proxies}");
    cluster.until_idle();
}

fn a_new_process_that_dies_or_is_no_good_changes_nothing(transport: Transport) {
    let cluster = Cluster::over(transport, 1, 1);
    cluster.add_engine("demo", &["--pool", "strict", "--slots", "4", "--queue", "10"]);
    cluster.add_demo_routes("demo");
    cluster.in_sync();
    let address = cluster.proxies[0].address();
    let channels = [grpc::channel(address)];
    let mut streams = Streams::open(&channels, 3, &[]);
    // One that never gets as far as to serve.
    let mut bad = cluster.proxies[0].successor(&["--token-file", "/nonexistent/token"]);
    assert_eq!(bad.ended().code(), Some(1));
    // One that is killed somewhere on its way.
    let mut killed = cluster.proxies[0].successor(&[]);
    killed.kill();
    // Gone at the last moment: ready, told which slots are taken, and never serving.
    let socket = cluster.dir.path().join("edge-1/takeover.sock");
    let mut conversation = Conversation::begin(&socket);
    conversation.until("\"all\"");
    conversation.say("\"ready\"");
    let go = conversation.until("\"go\"");
    assert!(go.contains("\"slots\":3"), "the streams hold theirs: {go}");
    let waiting = std::thread::spawn(move || http::get(address, "/hello"));
    cluster
        .until_engine("demo", "no slot is left to this process", |status| status["waiting"] == 1);
    drop(conversation);
    assert_eq!(waiting.join().unwrap().unwrap().status, 200);
    streams.progress("streams go on");
    streams.finish().into_iter().for_each(|end| end.unwrap());
}

/// What a new process says, by hand.
struct Conversation(std::io::BufReader<UnixStream>);

impl Conversation {
    fn begin(socket: &Path) -> Self {
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
        let mut conversation = Self(std::io::BufReader::new(stream));
        conversation.say("{\"hello\":{\"version\":1,\"pid\":1}}");
        conversation
    }

    fn say(&mut self, message: &str) {
        writeln!(self.0.get_mut(), "{message}").unwrap();
    }

    /// The first message that contains this.
    fn until(&mut self, wanted: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).unwrap(), 0, "no {wanted}");
            if line.contains(wanted) {
                return line;
            }
        }
    }
}

/// All slots are held by streams of the old process: a call to the new one waits for one of them.
fn slots_of_the_old_process_bind_the_new_one(transport: Transport) {
    let mut cluster = Cluster::over(transport, 1, 1);
    cluster.add_engine(
        "demo",
        &["--pool", "strict", "--slots", "3", "--queue", "10", "--queue-timeout", "30s"],
    );
    cluster.add_demo_routes("demo");
    cluster.in_sync();
    let address = cluster.proxies[0].address();
    let mut streams = Streams::open(&[grpc::channel(address)], 3, &[]);
    let mut old = cluster.proxies[0].take_over();
    let waiting = std::thread::spawn(move || http::get(address, "/hello"));
    cluster.until_engine("demo", "one waits for the slots of the old process", |status| {
        status["in_use"] == 3 && status["waiting"] == 1
    });
    streams.progress("streams go on");
    assert!(!waiting.is_finished(), "there was no slot for it");
    streams.finish().into_iter().for_each(|end| end.unwrap());
    assert_eq!(waiting.join().unwrap().unwrap().status, 200);
    assert_eq!(old.ended().code(), Some(0));
    assert_eq!(cluster.engines[0].stats().max_concurrent_seen, 3);
    cluster.until_idle();
}

/// While one process takes over nobody else can, and nobody of another user at any time.
#[test]
fn only_one_and_only_the_same_user_may_take_over() {
    let mut cluster = Cluster::with_demo_routes(1, 1);
    let socket = cluster.dir.path().join("edge-1/takeover.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = Conversation::begin(&socket);
    cluster.proxies[0].process.line("asks to take over");
    let mut second = cluster.proxies[0].successor(&[]);
    assert_eq!(second.ended().code(), Some(1));
    assert!(second.stderr().contains("another process is taking over"), "{}", second.stderr());
    drop(first);
    cluster.proxies[0].process.line("a take-over failed");
    // Rubbish is no reason to fall over.
    let mut rubbish = UnixStream::connect(&socket).unwrap();
    rubbish.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let _ = rubbish.read(&mut [0; 100]);
    let mut old = cluster.proxies[0].take_over();
    assert_eq!(old.ended().code(), Some(0));
    assert_eq!(http::get(cluster.proxies[0].address(), "/hello").unwrap().status, 200);
    refused_to_others(&socket);
}

fn refused_to_others(socket: &Path) {
    let name = "takeover: another user";
    let (Some(setpriv), Some(curl)) = (tools::find("setpriv"), tools::find("curl")) else {
        return tools::skip(name, "setpriv or curl", "install util-linux and curl");
    };
    if Command::new("id").arg("-u").output().unwrap().stdout != b"0\n" {
        return tools::say(&format!("SKIPPED: {name}: only root can become another user"));
    }
    // Even where the files would let it in.
    for (path, mode) in [(socket.parent().unwrap().parent().unwrap(), 0o755)]
        .into_iter()
        .chain([(socket.parent().unwrap(), 0o755), (socket, 0o666)])
    {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = Command::new(setpriv);
    command.args(["--reuid=65534", "--clear-groups"]).arg(curl).args([
        "-s",
        "--http0.9",
        "--unix-socket",
    ]);
    let said = command.arg(socket).arg("http://x/").output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("only the same user may take over"), "{said}");
}
