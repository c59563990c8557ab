//! `check`, against a running admin.

use crate::support::Admin;

fn codes(told: &serde_json::Value) -> Vec<String> {
    let items = told["items"].as_array().expect("items");
    items.iter().filter_map(|finding| Some(finding["code"].as_str()?.to_owned())).collect()
}

#[test]
fn what_is_wrong_has_a_code_that_is_explained_and_decides_the_exit() {
    let admin = Admin::start();
    let ran = admin.ctl(&["check"]).run();
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stdout.contains("ok       the store takes writes"), "{ran:?}");
    assert!(
        ran.stdout.contains("FAILED   no proxy is connected") && ran.stdout.contains("PGN-C201"),
        "{ran:?}"
    );
    assert!(ran.stdout.ends_with("1 failed, 0 warnings, 3 passed\n"), "{ran:?}");
    let one = admin.ctl(&["check", "admin"]).run();
    assert!(one.code == 0 && !one.stdout.contains("proxies"), "{one:?}");

    // An engine without endpoints is nothing as long as nothing uses it.
    admin.ok(&["apply", "-f", &admin.write("e.yaml", "kind: engine\nname: e\nspec: {}\n")]);
    assert_eq!(admin.ctl(&["check", "engines"]).run().code, 0);
    admin.ok(&["route", "add", "r", "--path", "/r", "--engine", "e"]);
    let told = admin.ctl(&["check", "engines", "-o", "json"]).run();
    assert_eq!(told.code, 1, "{told:?}");
    let told: serde_json::Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!(codes(&told), ["PGN-C301"]);
    assert_eq!(told["counts"]["failures"], 1, "{told}");
    assert!(told["items"][0]["next"][0].as_str().expect("text").contains("engine set e"), "{told}");
    let explained = admin.ok(&["explain", "PGN-C301"]);
    assert!(explained.contains("has no endpoints"), "{explained}");
    assert_eq!(admin.ctl(&["check", "weather"]).run().code, 2);
}
