//! The admin is killed with SIGKILL while writers write: what it has acknowledged is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use pigeon_e2e::{Admin, Cluster, until};
use serde_json::{Value, json};

/// Acknowledged writes of a round after which the admin is killed, in the middle of the next ones.
const ROUNDS: [usize; 6] = [1, 9, 30, 3, 61, 17];
const WRITERS: usize = 4;

#[derive(Debug)]
struct Acknowledged {
    name: String,
    revision: u64,
    spec: Value,
}

#[test]
fn no_acknowledged_write_is_lost_by_kill_9() {
    let mut cluster = Cluster::with_demo_routes(2, 1);
    let mut all: BTreeMap<String, Acknowledged> = BTreeMap::new();
    let mut newest = cluster.admin.revision();
    for (round, writes) in ROUNDS.into_iter().enumerate() {
        let acknowledged = write_until_killed(&mut cluster.admin, round, writes);
        assert!(acknowledged.len() >= writes, "round {round}: {}", acknowledged.len());
        for write in &acknowledged {
            assert!(write.revision > newest, "round {round}: {write:?} is not after {newest}");
        }
        newest = acknowledged.iter().map(|write| write.revision).max().unwrap_or(newest);
        all.extend(acknowledged.into_iter().map(|write| (write.name.clone(), write)));

        cluster.admin.start_again();
        let revision = cluster.admin.revision();
        assert!(revision >= newest, "round {round}: {revision} after {newest} was acknowledged");
        newest = revision;
        check_objects(&cluster.admin, &all);
    }
    check_history(&cluster.admin, &all);
    cluster.in_sync();

    // And it still takes writes, which reach the proxies.
    cluster.ctl.ok(&["route", "add", "late", "--path", "/late*", "--engine", "demo"]);
    assert_eq!(cluster.admin.revision(), newest + 1);
    cluster.in_sync();
}

/// Lets writers write until enough is acknowledged, kills, and returns all that was acknowledged.
fn write_until_killed(admin: &mut Admin, round: usize, writes: usize) -> Vec<Acknowledged> {
    let count = AtomicUsize::new(0);
    let mut acknowledged = Vec::new();
    std::thread::scope(|scope| {
        let (reader, count) = (&*admin, &count);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| scope.spawn(move || write(reader, round, writer, count)))
            .collect();
        until("enough writes are acknowledged", || {
            let now = count.load(Ordering::Relaxed);
            if now >= writes { Ok(()) } else { Err(format!("{now} of {writes}")) }
        });
        reader.process.signal("KILL");
        for writer in writers {
            acknowledged.extend(writer.join().unwrap());
        }
    });
    assert!(!admin.process.ended().success());
    acknowledged
}

/// Writes new engines until the admin is gone.
fn write(admin: &Admin, round: usize, writer: usize, count: &AtomicUsize) -> Vec<Acknowledged> {
    let mut acknowledged = Vec::new();
    for index in 0.. {
        let name = format!("w{round}-{writer}-{index}");
        let port = 1 + index % 60_000;
        let spec = json!({ "endpoints": [{ "address": format!("127.0.0.1:{port}") }] });
        let body = json!({ "spec": spec, "labels": { "round": round.to_string() } }).to_string();
        let path = format!("/v1/engines/{name}");
        let Ok(reply) = admin.send("PUT", &path, &[], body.as_bytes()) else { break };
        // An answer cut off in its middle is none.
        let Ok(object) = serde_json::from_slice::<Value>(&reply.body) else { break };
        assert_eq!(reply.status, 201, "{object}");
        let revision = object["revision"].as_u64().unwrap();
        acknowledged.push(Acknowledged { name, revision, spec: object["spec"].clone() });
        count.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

fn check_objects(admin: &Admin, all: &BTreeMap<String, Acknowledged>) {
    let listed = admin.list("/v1/engines");
    let listed: BTreeMap<&str, &Value> =
        listed.iter().map(|object| (object["name"].as_str().unwrap(), object)).collect();
    for (name, write) in all {
        let object = listed.get(name.as_str()).unwrap_or_else(|| panic!("{write:?} is lost"));
        assert_eq!(object["revision"], write.revision, "{name}");
        assert_eq!(object["spec"], write.spec, "{name}");
    }
}

/// The history has no gap, and says of every acknowledged write what the writer was told.
fn check_history(admin: &Admin, all: &BTreeMap<String, Acknowledged>) {
    let revisions = admin.list("/v1/revisions");
    let numbers: Vec<u64> = revisions.iter().map(|r| r["revision"].as_u64().unwrap()).collect();
    for pair in numbers.windows(2) {
        assert_eq!(pair[0], pair[1] + 1, "newest first, without a gap");
    }
    let by_number: BTreeMap<u64, &Value> = numbers.into_iter().zip(&revisions).collect();
    let mut seen = BTreeMap::new();
    for write in all.values() {
        let revision = by_number.get(&write.revision).unwrap_or_else(|| panic!("{write:?}"));
        let changes = revision["changes"].as_array().unwrap();
        assert!(changes.iter().any(|change| change["name"] == write.name), "{write:?}: {revision}");
        let twice = seen.insert(write.revision, &write.name);
        assert_eq!(twice, None, "one revision, two writes: {write:?}");
    }
}
