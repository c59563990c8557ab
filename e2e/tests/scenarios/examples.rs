//! Every example of `deploy/examples` is good: it parses, an admin takes it, a proxy serves it.

use std::path::PathBuf;

use pigeon_e2e::{Cluster, Proxy, http, programs};

fn examples() -> Vec<PathBuf> {
    let dir = programs::repository().join("deploy/examples");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    files.sort();
    assert!(files.len() >= 4, "{files:?}");
    files
}

#[test]
fn an_admin_takes_every_example() {
    let cluster = Cluster::start(0, 0);
    for example in examples() {
        let path = example.to_str().unwrap();
        cluster.ctl.ok(&["apply", "-f", path]);
        let again = cluster.ctl.run(&["diff", "-f", path]);
        assert_eq!(again.code, 0, "{path}: applied, and yet it differs: {again:?}");
    }
}

#[test]
fn a_proxy_serves_every_example_from_the_file() {
    for example in examples() {
        let proxy = Proxy::from_file("example", &example);
        let reply = http::get(proxy.address(), "/no/such/path/in/any/example").unwrap();
        assert_eq!(reply.header("pigeon-reason"), Some("no_route"), "{}", example.display());
    }
}
