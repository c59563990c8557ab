//! Logs of a running proxy: files that are turned over under calls and moved away by others, destinations that
//! take nothing, and the lines of a call that goes on.

use std::path::{Path, PathBuf};
use std::process::Command;

use pigeon_e2e::{Engine, Proxy, grpc, http, until};
use serde_json::Value;

/// A proxy with an engine behind `/*` and gRPC, and these arguments.
fn proxy(dir: &Path, more: &[(&str, String)]) -> (Proxy, Engine) {
    let engine = Engine::start("demo-1", &[]);
    let file = dir.join("gateway.yaml");
    let text = format!(
        "kind: engine\nname: e\nspec: {{endpoints: [{{address: '{}'}}]}}\n---\n\
         kind: route\nname: all\nspec: {{match: {{path: '/*'}}, engine: e}}\n---\n\
         kind: route\nname: speech\nspec: {{match: {{grpc: pigeon.demo.v1.Speech}}, engine: e}}\n",
        engine.address()
    );
    std::fs::write(&file, text).unwrap();
    (Proxy::from_file_with("logs", &file, more), engine)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|p| p.file_name().unwrap().to_str().unwrap().starts_with("access"))
        .collect();
    files.sort();
    files
}

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn files_are_turned_over_under_calls_and_opened_anew_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("access.log");
    let (mut proxy, _engine) = proxy(
        dir.path(),
        &[
            ("--access-log", "json".to_owned()),
            ("--access-log-file", log.display().to_string()),
            ("--log-file", dir.path().join("own.log").display().to_string()),
            ("--log-max-size", "4KiB".to_owned()),
            ("--log-keep", "3".to_owned()),
        ],
    );
    let address = proxy.address();
    let call = |id: &str| {
        let reply = http::send(address, "GET", "/hello", &[("x-request-id", id)], b"").unwrap();
        assert_eq!(reply.status, 200);
    };
    (0..100).for_each(|n| call(&n.to_string()));
    until("the last call is in the log", || {
        let last = lines(&log).last().cloned().unwrap_or_default();
        if last["request_id"] == "99" { Ok(()) } else { Err(last.to_string()) }
    });
    let found = files(dir.path());
    assert_eq!(found.len(), 4, "the present one and three before: {found:?}");
    let mut calls = 0;
    for file in &found {
        let size = std::fs::metadata(file).unwrap().len();
        assert!(size <= 4_096, "{}: {size}", file.display());
        calls += lines(file).len();
    }
    assert!(calls > 25, "{calls} lines in four files");
    // As logrotate does.
    let moved = dir.path().join("access.log.1");
    std::fs::rename(&log, &moved).unwrap();
    proxy.process.signal("HUP");
    until("the file is there again", || {
        call("after");
        if log.exists() { Ok(()) } else { Err("it is not") }
    });
    proxy.process.signal("TERM");
    assert!(proxy.process.ended().success());
    assert!(lines(&log).iter().all(|line| line["request_id"] == "after"));
    let own = std::fs::read_to_string(dir.path().join("own.log")).unwrap();
    assert!(own.contains("listening") && own.contains("stopped"), "{own}");
    assert_eq!(proxy.process.stderr(), "");
}

#[test]
fn a_destination_that_takes_nothing_costs_lines_and_no_calls() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for destination in [fifo.as_path(), Path::new("/dev/full")] {
        let (mut proxy, _engine) =
            proxy(dir.path(), &[("--access-log-file", destination.display().to_string())]);
        for _ in 0..400 {
            assert_eq!(http::get(proxy.address(), "/hello").unwrap().status, 200);
        }
        if destination != fifo {
            until("lost lines are counted", || {
                let metrics = proxy.metrics();
                let name = "pigeon_access_log_dropped_total ";
                let line = metrics.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
                if line.ends_with(" 0") { Err(line) } else { Ok(()) }
            });
            let said = proxy.process.stderr();
            assert_eq!(said.matches("are lost").count(), 1, "once, not for every line: {said}");
        }
        proxy.process.signal("TERM");
        assert!(proxy.process.ended().success(), "{}", proxy.process.stderr());
    }
}

#[test]
fn a_stream_has_lines_while_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("access.log");
    let (proxy, _engine) = proxy(
        dir.path(),
        &[
            ("--access-log", "json".to_owned()),
            ("--access-log-file", log.display().to_string()),
            ("--access-log-interval", "1s".to_owned()),
        ],
    );
    let (send, chunks) = grpc::upload();
    let mut speech = grpc::speech(grpc::channel(proxy.address()));
    let answer = grpc::block_on(async {
        send.send(grpc::audio()).await.unwrap();
        let mut answer = speech.recognize(chunks).await.unwrap().into_inner();
        answer.message().await.unwrap();
        answer
    });
    until("two lines of an open call", || {
        let lines = lines(&log);
        let open = lines.iter().filter(|line| line["event"] == "open").count();
        if open >= 2 { Ok(()) } else { Err(format!("{lines:?}")) }
    });
    let line = lines(&log).remove(0);
    assert_eq!((&line["messages_in"], &line["engine"]), (&1.into(), &"e".into()), "{line}");
    drop((send, answer));
    until("the line of its end", || {
        let last = lines(&log).last().cloned().unwrap();
        if last.get("event").is_none() { Ok(()) } else { Err(last.to_string()) }
    });
}
