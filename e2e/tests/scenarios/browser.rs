//! The first page in a real browser; the script is `e2e/browser/run`.

use std::process::Command;

use pigeon_e2e::{Cluster, programs, tools};

const NAME: &str = "browser: the first page";

#[test]
fn the_first_page_in_chromium() {
    let folder = programs::repository().join("e2e/browser");
    if tools::find("node").is_none() {
        return tools::skip(NAME, "node", "apt-get install nodejs npm");
    }
    let Some(chromium) = tools::find("chromium").or_else(|| tools::find("google-chrome")) else {
        return tools::skip(NAME, "Chromium", "apt-get install chromium");
    };
    if !folder.join("node_modules/playwright-core").is_dir() {
        return tools::skip(NAME, "playwright-core", "run ./test, or npm ci in e2e/browser");
    }
    let cluster = Cluster::with_demo_routes(2, 2);
    let output = Command::new(folder.join("run"))
        .env("PIGEON_URL", cluster.admin.url())
        .env("PIGEON_TOKEN_FILE", cluster.admin.token_file())
        .env("PIGEON_CHROMIUM", chromium)
        .env("PIGEON_SCREENSHOT", cluster.dir.path().join("page.png"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
}
