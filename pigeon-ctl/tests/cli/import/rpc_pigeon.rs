//! import rpc-pigeon

use std::collections::BTreeSet;
use std::fs;

use pigeon_proto::model::KeyHash;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{fixtures, import, keys, objects, says, spec};
use crate::support::{Admin, Ran};

const FILES: [&str; 4] =
    ["Config.yaml", "PoolConfig.yaml", "RouteConfig.yaml", "TenantConfig.yaml"];

/// The fixtures in a folder of their own, with some texts in one file replaced.
fn changed(file: &str, replace: &[(&str, &str)]) -> TempDir {
    let home = tempfile::tempdir().expect("folder");
    for name in FILES {
        let mut text = fs::read_to_string(fixtures("rpc-pigeon").join(name)).expect("fixture");
        if name == file {
            for (old, new) in replace {
                assert!(text.contains(old), "{old}");
                text = text.replace(old, new);
            }
        }
        fs::write(home.path().join(name), text).expect("write");
    }
    home
}

fn run(home: &TempDir) -> Ran {
    import(home.path(), &["rpc-pigeon", "."])
}

#[test]
fn every_object_is_there_and_valid() {
    let home = changed("", &[]);
    let ran = run(&home);
    let found = objects(home.path(), &ran);
    let wanted = [
        "listener/asr",
        "listener/tts",
        "listener/http",
        "engine/asr",
        "engine/tts",
        "engine/http-users-example-8090",
        "engine/http-orders-example-443",
        "tenant/acme01",
        "tenant/77",
        "route/asr",
        "route/tts",
        "route/http-users",
        "route/http-orders",
        "route/http-profile",
    ];
    assert_eq!(keys(&found), wanted);
    let json = import(home.path(), &["rpc-pigeon", ".", "-o", "json"]);
    assert_eq!(objects(home.path(), &json), found);
    let lines = import(home.path(), &["rpc-pigeon", ".", "-o", "jsonl"]).stdout;
    let first: Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("JSON");
    assert_eq!((lines.lines().count(), &first["name"]), (wanted.len(), &json!("asr")));
}

#[test]
fn an_item_of_the_pool_is_an_engine_a_listener_and_a_route() {
    let home = changed("", &[]);
    let found = objects(home.path(), &run(&home));
    let asr = spec(&found, "engine/asr");
    says(
        &asr,
        &[
            ("/endpoints/0/address", json!("asr-a.example:31502")),
            ("/endpoints/1/address", json!("10.1.0.8:31502")),
            // 33 over two gateways: rounded down, never more than there are.
            ("/endpoints/0/slots", json!(16)),
            ("/endpoints/1/slots", json!(4)),
            ("/pool/mode", json!("strict")),
            ("/pool/slots", json!(16)),
            ("/pool/queue", json!(20)),
            ("/pool/queue_timeout", json!("30s")),
            ("/pool/reuse", json!("exclusive")),
            ("/pool/idle_timeout", json!("10s")),
            ("/pool/max_lifetime", json!("1m")),
            ("/pool/drain_timeout", json!("12s")),
            ("/pool/dial_timeout", json!("5s")),
            ("/pool/dial_backoff_max", json!("3s")),
            ("/pool/keepalive_time", json!("10s")),
            ("/pool/keepalive_timeout", json!("4s")),
            ("/pool/keepalive_without_calls", json!(true)),
            ("/health/check", json!("tcp")),
        ],
    );
    let tts = spec(&found, "engine/tts");
    says(
        &tts,
        &[
            ("/pool/mode", json!("loose")),
            ("/pool/loose_factor", json!(5)),
            ("/pool/reuse", json!("multiplex")),
        ],
    );
    assert_eq!((tts["pool"].get("max_lifetime"), tts["pool"].get("drain_timeout")), (None, None));
    says(&spec(&found, "listener/tts"), &[("/address", json!("0.0.0.0:8801"))]);
    says(
        &spec(&found, "route/asr"),
        &[
            ("/match", json!({"listener": "asr"})),
            ("/engine", json!("asr")),
            ("/auth/methods", json!(["api_key"])),
            ("/auth/tenants", json!(["77", "acme01"])),
        ],
    );
    says(&spec(&found, "route/tts"), &[("/auth/tenants", json!(["acme01"]))]);
}

#[test]
fn a_route_of_http_goes_where_it_went() {
    let home = changed("", &[]);
    let found = objects(home.path(), &run(&home));
    says(
        &spec(&found, "route/http-users"),
        &[
            ("/match", json!({"listener": "http", "path": "/users", "methods": ["GET"]})),
            ("/engine", json!("http-users-example-8090")),
            ("/rewrite", json!({"path": "/v2/users", "host": "users.example:8090"})),
            ("/timeout", json!("15s")),
        ],
    );
    says(
        &spec(&found, "route/http-orders"),
        &[
            ("/match/path", json!("/orders*")),
            ("/rewrite", json!({"path": "/orders", "host": "orders.example"})),
        ],
    );
    assert!(spec(&found, "route/http-profile")["rewrite"].get("path").is_none());
    let orders = spec(&found, "engine/http-orders-example-443");
    assert_eq!(
        (&orders["tls"], &orders["endpoints"][0]["address"]),
        (&json!({}), &json!("orders.example:443"))
    );
    says(&spec(&found, "listener/http"), &[("/address", json!("[::]:8088"))]);
}

#[test]
fn tokens_become_hashes_and_are_shown_nowhere() {
    let home = changed("", &[]);
    let ran = run(&home);
    let found = objects(home.path(), &ran);
    let hash = |key: &str| KeyHash::of(key.as_bytes()).to_string();
    says(
        &spec(&found, "tenant/acme01"),
        &[
            ("/keys/0/id", json!("acme01s1")),
            ("/keys/0/sha256", json!(hash("pgk_acme01s1_YWNtZTAxLWFjbWUwMXMxLTQyNDI="))),
            ("/keys/1/id", json!("acme01s2")),
        ],
    );
    // The same scene in another case: ids are unique over all tenants.
    says(
        &spec(&found, "tenant/77"),
        &[
            ("/keys/0/id", json!("acme01s1-2")),
            ("/keys/0/sha256", json!(hash("pgk_acme01s1-2_Nzctb3RoZXItMTIzNA=="))),
        ],
    );
    let title = &found.iter().find(|o| o.key.to_string() == "tenant/acme01").expect("acme").labels;
    assert_eq!(title["title"], "Acme (北京)");
    for secret in ["YWNtZTAx", "Nzctb3Ro", "never-show-this"] {
        assert!(!format!("{}{}", ran.stdout, ran.stderr).contains(secret), "{secret}");
    }
    assert!(ran.stderr.contains("send pgk_acme01s1-2_ with the token behind it"), "{}", ran.stderr);
}

#[test]
fn the_report_names_every_key_of_every_file() {
    let home = changed("", &[]);
    let said = run(&home).stderr;
    let mut count = 0;
    for file in FILES {
        let text = fs::read_to_string(home.path().join(file)).expect("fixture");
        let said = format!("\n{said}");
        let section = said.split(&format!("\n{file}\n")).nth(1).expect(file);
        let section: Vec<&str> = section.lines().take_while(|l| l.starts_with("  ")).collect();
        let value: Value = serde_saphyr::from_str(&text).expect("YAML");
        for key in leaves(&value, "") {
            // An item that is left out as a whole is named as a whole.
            let named = section.iter().any(|line| {
                let name = line.trim_start().split(": ").next().unwrap_or_default();
                name == key || (line.contains("not needed") && key.starts_with(&format!("{name}.")))
            });
            assert!(named || name_of_setting(&key, &section), "{file} {key} in {section:#?}");
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
    for line in [
        "  TRACE_SAMPLES: UNKNOWN",
        "  pool.setting.SHARD_BY: UNKNOWN",
        "  tenants[0].ENGINE_POOL_SIZE: NOT SUPPORTED: slots are not set aside for tenants yet",
        "  DB_PASSWD: not needed: Pigeon brings its own store",
        "  pool.engine[2]: not needed: this engine is switched off",
        "  pool.setting.KEEPALIVE_TIME: mapped to engine/* pool.keepalive_time: 10s",
        "  route[3]: not needed: is empty",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    let quiet = import(home.path(), &["rpc-pigeon", ".", "-q"]);
    assert!(!quiet.stderr.contains("mapped to") && quiet.stderr.contains("SHARD_BY"), "{quiet:?}");
}

/// Keys that rpc-pigeon takes in any case are named in one.
fn name_of_setting(key: &str, section: &[&str]) -> bool {
    let upper = key
        .rsplit_once('.')
        .map_or(key.to_uppercase(), |(before, last)| format!("{before}.{}", last.to_uppercase()));
    section.iter().any(|line| line.starts_with(&format!("  {upper}: ")))
}

/// The keys that have values.
fn leaves(value: &Value, at: &str) -> BTreeSet<String> {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            let dot = if at.is_empty() { "" } else { "." };
            map.iter().map(|(key, value)| (format!("{at}{dot}{key}"), value)).collect()
        }
        Value::Array(list) => {
            list.iter().enumerate().map(|(i, value)| (format!("{at}[{i}]"), value)).collect()
        }
        _ => return BTreeSet::from([at.to_owned()]),
    };
    below.into_iter().flat_map(|(key, value)| leaves(value, &key)).collect()
}

#[test]
fn what_cannot_be_used_is_an_error_and_nothing_is_printed() {
    for (file, old, new, at, why) in [
        (
            "PoolConfig.yaml",
            "POOL_MODEL: 1",
            "POOL_MODEL: 7",
            "/pool/engine/1/POOL_MODEL",
            "is 7; it must be a number from 0 to 1",
        ),
        (
            "PoolConfig.yaml",
            "8801",
            "8800",
            "/pool/engine/1/GATEWAY_PROXY_PORT",
            "engine ASR has this port",
        ),
        (
            "PoolConfig.yaml",
            "NETWORK_MODE: 2",
            "NETWORK_MODE: 3",
            "/pool/setting/NETWORK_MODE",
            "from 1 to 2",
        ),
        (
            "PoolConfig.yaml",
            "'0.0.0.0'",
            "gateway",
            "/pool/setting/GATEWAY_PROXY_ADDR",
            "is \"gateway\"; it must be an IP address",
        ),
        (
            "PoolConfig.yaml",
            "POOL_SIZE: 6",
            "POOL_SIZE: 1",
            "/pool/engine/1/ENGINE_LIST/0/ENGINE_GRPC_POOL_SIZE",
            "write at least 2",
        ),
        (
            "PoolConfig.yaml",
            "'10.1.0.8'",
            "ASR-A.example",
            "/pool/engine/0/ENGINE_LIST/1/SERVER_HOST",
            "it is there twice",
        ),
        (
            "PoolConfig.yaml",
            "ENABLED: true\n    CLUSTER",
            "ENABLED: maybe\n    CLUSTER",
            "/pool/setting/ENABLED",
            "true or false",
        ),
        (
            "PoolConfig.yaml",
            "ENGINE_NAME: TTS",
            "ENGINE_NAME: ASR",
            "/pool/engine/1/ENGINE_NAME",
            "another engine has this name",
        ),
        ("PoolConfig.yaml", "pool:", "pool: [", "", "is not YAML"),
        (
            "RouteConfig.yaml",
            "/orders/*rest",
            "/orders/:id",
            "/route/1/path",
            "write what comes before it and /*rest",
        ),
        ("RouteConfig.yaml", "\"post\"", "\"put\"", "/route/1/method", "get and post only"),
        (
            "RouteConfig.yaml",
            "https://",
            "https://joe:hidden@",
            "/route/1/to",
            "has a user or password",
        ),
        (
            "RouteConfig.yaml",
            "/profile\"\n    method",
            "profile\"\n    method",
            "/route/2/path",
            "it must begin with /",
        ),
        (
            "TenantConfig.yaml",
            "ENGINE_NAME: TTS",
            "ENGINE_NAME: OCX",
            "/tenants/1/ENGINE_NAME",
            "only: asr, tts, ocr",
        ),
        (
            "TenantConfig.yaml",
            "ENGINE_NAME: TTS",
            "ENGINE_NAME: ASR",
            "/pool/engine/1/ENGINE_NAME",
            "has no tenant of this engine",
        ),
        (
            "TenantConfig.yaml",
            "Nzctb3RoZXItMTIzNA==",
            "'hidden one'",
            "/tenants/2/TOKEN",
            "printable ASCII",
        ),
        ("Config.yaml", "'8088'", "'8800'", "/spec/address", "is taken by listener"),
        (
            "Config.yaml",
            "HTTP_TIME_DURATION: 15",
            "HTTP_TIME_DURATION: 0",
            "/HTTP_TIME_DURATION",
            "from 1",
        ),
    ] {
        let home = changed(file, &[(old, new)]);
        let ran = run(&home);
        assert_eq!((ran.code, ran.stdout.as_str()), (7, ""), "{new}: {ran:?}");
        assert!(ran.stderr.contains(at) && ran.stderr.contains(why), "{new}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("Config.yaml") && !ran.stderr.contains("hidden"),
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("mapped to"), "{}", ran.stderr);
    }
}

#[test]
fn some_files_may_be_missing_but_not_all() {
    let home = tempfile::tempdir().expect("folder");
    let ran = run(&home);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{ran:?}");
    assert!(ran.stderr.contains("there is none of Config.yaml, PoolConfig.yaml"), "{ran:?}");
    for keep in FILES {
        let home = changed("", &[]);
        for file in FILES.iter().filter(|f| **f != keep) {
            fs::remove_file(home.path().join(file)).expect("remove");
        }
        let ran = run(&home);
        if keep == "Config.yaml" {
            // It says nothing that a document says: there is nothing to apply.
            assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{ran:?}");
        } else if keep == "PoolConfig.yaml" {
            // Fail closed: whoever could call before, nobody can now.
            let found = objects(home.path(), &ran);
            says(
                &spec(&found, "route/asr"),
                &[("/auth", json!({"methods": ["api_key"], "tenants": [], "claims": {}}))],
            );
            assert!(ran.stderr.contains("nobody can call"), "{ran:?}");
        } else {
            assert!(!objects(home.path(), &ran).is_empty());
        }
        assert_eq!(
            ran.stderr.matches("all: not needed: the file is not there").count(),
            3,
            "{ran:?}"
        );
    }
}

#[test]
fn a_host_is_asked_for_where_it_was() {
    let home = changed(
        "PoolConfig.yaml",
        &[("NETWORK_MODE: 2", "NETWORK_MODE: 1"), ("0.0.0.0", "10.0.0.1")],
    );
    let found = objects(home.path(), &run(&home));
    says(&spec(&found, "route/tts"), &[("/match", json!({"listener": "tts", "host": "10.0.0.1"}))]);
}

#[test]
fn engines_of_kubernetes_are_named_as_not_supported() {
    let home = changed("PoolConfig.yaml", &[("OMP_ENABLED: false", "OMP_ENABLED: true")]);
    fs::write(home.path().join("VSConfig.yaml"), "vs: {kvs: {ENABLED: true}}\n").expect("write");
    let ran = run(&home);
    objects(home.path(), &ran);
    for line in [
        "  pool.setting.OMP_ENABLED: NOT SUPPORTED",
        "  pool.setting.ENGINE_SERVICE_SELECTOR_KEY: NOT SUPPORTED",
        "  vs.kvs.ENABLED: NOT SUPPORTED: Pigeon does not deploy engines",
    ] {
        assert!(ran.stderr.contains(line), "{line}: {}", ran.stderr);
    }
}

#[test]
fn a_server_takes_what_is_printed() {
    let admin = Admin::start();
    let folder = fixtures("rpc-pigeon").display().to_string();
    let printed = admin.ok(&["import", "rpc-pigeon", &folder]);
    let ran = admin.ctl(&["apply", "-f", "-", "--no-wait"]).stdin(&printed).run();
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(admin.json(&["engine", "list"])["items"].as_array().map(Vec::len), Some(4));
}
