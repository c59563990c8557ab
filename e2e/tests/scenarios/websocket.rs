//! A WebSocket of a page in a real browser, through the gateway, to an engine that is a library of its own.

use std::process::Command;

use pigeon_e2e::{Cluster, ports, programs, tools, until};

const NAME: &str = "browser: WebSocket";

#[test]
fn a_page_in_chromium_talks_with_an_engine() {
    let folder = programs::repository().join("e2e/browser");
    let Some(node) = tools::find("node") else {
        return tools::skip(NAME, "node", "apt-get install nodejs npm");
    };
    let Some(chromium) = tools::find("chromium").or_else(|| tools::find("google-chrome")) else {
        return tools::skip(NAME, "Chromium", "apt-get install chromium");
    };
    if ["playwright-core", "ws"].iter().any(|m| !folder.join("node_modules").join(m).is_dir()) {
        return tools::skip(NAME, "playwright-core, ws", "run ./test, or npm ci in e2e/browser");
    }
    let cluster = Cluster::start(1, 0);
    let port = ports::free().to_string();
    let address = format!("127.0.0.1:{port}");
    let engine = ["engine", "add", "ws", "--static", &address, "--health", "none"];
    cluster.ctl.ok(&engine);
    cluster.ctl.ok(&["route", "add", "ws", "--path", "/ws", "--engine", "ws"]);
    cluster.in_sync();
    let output = Command::new(node)
        .args(["--test", "--test-reporter=spec", "websocket.test.mjs"])
        .current_dir(&folder)
        .env("PIGEON_GATEWAY", cluster.proxies[0].address().to_string())
        .env("PIGEON_WS_PORT", port)
        .env("PIGEON_CHROMIUM", chromium)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    until("the slot is free", || {
        let metrics = cluster.proxies[0].metrics();
        let free = |line: &str| line.starts_with("pigeon_slots_in_use") && line.ends_with(" 0");
        if metrics.lines().any(free) { Ok(()) } else { Err(metrics) }
    });
}
