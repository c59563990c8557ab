//! gRPC-Web from a page in a real browser, with the client of the gRPC project: `e2e/browser/web.test.mjs`.

use std::path::PathBuf;
use std::process::Command;

use pigeon_e2e::{Cluster, Transport, programs, tools};

over_both_transports!(a_page_in_chromium_calls_engines);

/// Node, Chromium and the folder with their packages.
fn browser(name: &str) -> Option<(PathBuf, PathBuf, PathBuf)> {
    let folder = programs::repository().join("e2e/browser");
    let skip = |missing, install| {
        tools::skip(name, missing, install);
        None
    };
    let Some(node) = tools::find("node") else {
        return skip("node", "apt-get install nodejs npm");
    };
    let Some(chromium) = tools::find("chromium").or_else(|| tools::find("google-chrome")) else {
        return skip("Chromium", "apt-get install chromium");
    };
    if !["playwright-core", "grpc-web", "protobufjs"]
        .iter()
        .all(|package| folder.join("node_modules").join(package).is_dir())
    {
        return skip("grpc-web", "run ./test, or npm ci in e2e/browser");
    }
    Some((node, chromium, folder))
}

fn a_page_in_chromium_calls_engines(transport: Transport) {
    let Some((node, chromium, folder)) = browser("web: gRPC-Web in a browser") else { return };
    let cluster = Cluster::with_demo_routes_over(transport, 1, 1);
    for route in ["echo", "chat"] {
        cluster.ctl.ok(&["route", "set", route, "--cors", "*"]);
    }
    cluster.in_sync();
    let output = Command::new(node)
        .args(["--test", "--test-reporter=spec", "web.test.mjs"])
        .current_dir(folder)
        .env("PIGEON_GATEWAY", format!("http://{}", cluster.proxies[0].address()))
        .env("PIGEON_PROTO", programs::repository().join("proto/pigeon/demo/v1/demo.proto"))
        .env("PIGEON_CHROMIUM", chromium)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    // What pages gave up is given up everywhere.
    cluster.until_idle();
}
