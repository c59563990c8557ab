//! import: documents of another gateway's configuration, and what became of every key of it.

mod gateway_api;
mod rpc_pigeon;

use std::path::{Path, PathBuf};

use pigeon_proto::model::{Object, document};
use serde_json::Value;

use crate::support::{Ctl, Ran};

/// Files of these tests.
fn fixtures(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/import").join(name)
}

/// Runs it with nothing that could lead to a server.
fn import(home: &Path, args: &[&str]) -> Ran {
    Ctl::new(home, &[&["import"], args].concat()).env("PIGEON_SERVER", "http://127.0.0.1:1").run()
}

/// The objects that it printed, and that lint has nothing to say of them.
fn objects(home: &Path, ran: &Ran) -> Vec<Object> {
    assert_eq!(ran.code, 0, "{ran:?}");
    let objects = document::parse(&ran.stdout).expect("documents");
    let lint = Ctl::new(home, &["lint", "-f", "-"]).stdin(&ran.stdout).run();
    let wanted = format!("nothing found: {} objects in 1 file\n", objects.len());
    assert_eq!((lint.code, lint.stdout), (0, wanted));
    objects
}

/// The spec of one of them.
fn spec(objects: &[Object], key: &str) -> Value {
    let object = objects.iter().find(|o| o.key.to_string() == key);
    object.unwrap_or_else(|| panic!("{key} in {objects:#?}")).spec.to_json()
}

fn keys(objects: &[Object]) -> Vec<String> {
    objects.iter().map(|o| o.key.to_string()).collect()
}

/// Asserts that each of `fields` has its value.
fn says(spec: &Value, fields: &[(&str, Value)]) {
    for (pointer, value) in fields {
        assert_eq!(spec.pointer(pointer), Some(value), "{pointer} of {spec:#}");
    }
}
