//! Serving a file, and what happens when it is saved.

use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pigeon_proxy::app::StartError;
use pigeon_proxy::config::Source;

use crate::proxy::{Running, file};

const GOOD: &str = "kind: engine\nname: e\nspec: {}\n";
const MORE: &str = "kind: engine\nname: e\nspec: {}\n---\n\
    kind: route\nname: r\nspec: {match: {path: /r}, engine: e}\n";
const BAD: &str = "kind: route\nname: r\nspec: {match: {path: /r}, engine: gone}\n---\n\
    kind: route\nname: s\nspec: {match: {path: /s}, engine: gone}\n";

fn save(path: &Path, text: &str) {
    std::fs::write(path, text).expect("written");
}

/// As editors do: another file takes the name.
fn replace(path: &Path, text: &str) {
    let other = path.with_extension("new");
    save(&other, text);
    std::fs::rename(other, path).expect("renamed");
}

#[tokio::test]
async fn good_then_bad_then_good_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pigeon.yaml");
    save(&path, GOOD);
    let proxy = Running::start(file(&path)).await;
    // Served before it runs: no wait.
    let serving = proxy.serving(|_| true).await;
    assert_eq!((serving.source, serving.received, serving.effective), (Source::File, 1, 1));
    assert_eq!(serving.listen.len(), 1, "the standard listener");
    assert_eq!(proxy.get("/readyz").await.0, 200);

    save(&path, BAD);
    let refused = proxy.connection(|c| !c.refused.is_empty()).await.refused;
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].contains("route/r") && refused[1].contains("route/s"), "{refused:?}");
    let (code, ready) = proxy.get("/readyz").await;
    assert_eq!(code, 200, "the old one serves");
    assert!(ready.contains("there is no engine"), "{ready}");
    assert!(proxy.get("/metrics").await.1.contains("\npigeon_config_rejected 2\n"));
    assert_eq!(proxy.json("/state").await["refused"].as_array().map(Vec::len), Some(2));
    assert_eq!(proxy.serving(|_| true).await.received, 1);

    replace(&path, MORE);
    let serving = proxy.serving(|s| s.received == 2).await;
    assert_eq!(serving.effective, 2);
    let connection = proxy.connection(|c| c.refused.is_empty()).await;
    assert_eq!(connection.last_error, None);
    assert!(proxy.get("/metrics").await.1.contains("\npigeon_config_rejected 0\n"));
    proxy.stop().await;
}

#[tokio::test]
async fn a_file_that_is_gone_serves_on_and_may_come_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pigeon.yaml");
    save(&path, GOOD);
    let proxy = Running::start(file(&path)).await;
    std::fs::remove_file(&path).expect("removed");
    let refused = proxy.connection(|c| !c.refused.is_empty()).await.refused;
    assert!(refused[0].contains("cannot be read"), "{refused:?}");
    save(&path, MORE);
    proxy.serving(|s| s.received == 2).await;
    proxy.stop().await;
}

#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    // As Kubernetes lays it out: the file is a link through a link, and the inner one is swapped.
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    for (version, text) in [("..v1", GOOD), ("..v2", MORE), ("..v3", GOOD)] {
        std::fs::create_dir(at(version)).expect("made");
        save(&at(version).join("pigeon.yaml"), text);
    }
    symlink("..v1", at("..data")).expect("linked");
    symlink("..data/pigeon.yaml", at("pigeon.yaml")).expect("linked");
    let mut config = file(&at("pigeon.yaml"));
    config.timings.file_poll = std::time::Duration::from_secs(600);
    let proxy = Running::start(config).await;
    assert_eq!(proxy.serving(|_| true).await.received, 1);
    // Twice: the first may be seen without any event, by the look that ends the start.
    for (version, revision) in [("..v2", 2), ("..v3", 3)] {
        symlink(version, at("..data_tmp")).expect("linked");
        std::fs::rename(at("..data_tmp"), at("..data")).expect("swapped");
        proxy.serving(|s| s.received == revision).await;
    }
    proxy.stop().await;
}

#[tokio::test]
async fn it_is_read_again_when_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pigeon.yaml");
    save(&path, GOOD);
    let mut config = file(&path);
    // So that nothing but the request can bring it about.
    config.timings.file_settle = std::time::Duration::from_secs(600);
    let proxy = Running::start(config).await;
    save(&path, MORE);
    proxy.reload.all().await;
    proxy.serving(|s| s.received == 2).await;
    proxy.stop().await;
}

#[tokio::test]
async fn a_bad_file_at_the_start_is_an_error_with_every_reason() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pigeon.yaml");
    save(&path, BAD);
    let Err(StartError::File(e)) = Running::try_start(file(&path)).await.map(|_| ()) else {
        panic!("it started");
    };
    assert_eq!(e.reasons.len(), 2, "{e}");
    assert!(e.to_string().contains("pigeon.yaml"), "{e}");
}

#[tokio::test]
async fn a_listener_that_cannot_listen_is_shown_and_tried_again() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("address").port();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pigeon.yaml");
    save(&path, &format!("kind: listener\nname: l\nspec: {{address: '127.0.0.1:{port}'}}\n"));
    let proxy = Running::start(file(&path)).await;
    let serving = proxy.serving(|_| true).await;
    let r = serving.rejected.first().expect("refused");
    assert_eq!((r.name.as_str(), r.code.as_str(), r.serving_mod_revision), ("l", "PGN-P301", 0));
    assert_eq!((serving.effective, serving.listen.len()), (0, 0));
    assert!(proxy.get("/readyz").await.1.contains("no_listener"));
    drop(taken);
    let serving = proxy.serving(|s| s.rejected.is_empty()).await;
    assert_eq!((serving.effective, serving.listen.len()), (1, 1));
    assert_eq!(proxy.get("/readyz").await.0, 200);

    // Moved to a taken address: the old one goes on.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = taken.local_addr().expect("address").port();
    save(&path, &format!("kind: listener\nname: l\nspec: {{address: '127.0.0.1:{other}'}}\n"));
    let serving = proxy.serving(|s| s.received == 2 && !s.rejected.is_empty()).await;
    let r = &serving.rejected[0];
    assert_eq!((r.mod_revision, r.serving_mod_revision, serving.effective), (2, 1, 1));
    assert_eq!(serving.listen.values().next().map(|a| a.port()), Some(port));
    proxy.stop().await;
}

#[tokio::test]
async fn listeners_led_to_one_address_are_refused_but_for_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pigeon.yaml");
    let listener = |name: &str, port: u16| {
        format!("---\nkind: listener\nname: {name}\nspec: {{address: '127.0.0.1:{port}'}}\n")
    };
    save(&path, &(listener("a", 8081) + &listener("b", 8082)));
    let mut config = file(&path);
    let one = crate::proxy::nowhere();
    config.binds = ["a", "b"].map(|n| (n.parse().expect("a name"), one)).into();
    let proxy = Running::start(config).await;
    let serving = proxy.serving(|_| true).await;
    let refused: Vec<_> = serving.rejected.iter().map(|r| (r.name.as_str(), &*r.code)).collect();
    assert_eq!(refused, [("b", "PGN-P301")], "{serving:?}");
    assert_eq!(serving.effective, 0);
    proxy.stop().await;
}

/// Writes a file over and over, until dropped.
struct Restless(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Restless {
    fn start(mut write: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let writes = move || {
            while !told.load(Ordering::Relaxed) {
                write();
            }
        };
        Self(stop, Some(std::thread::spawn(writes)))
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        if let Some(thread) = self.1.take() {
            thread.join().expect("it wrote");
        }
    }
}

/// Writes a text in two parts, with a pause between them and after: a look falls on either.
fn save_slowly(path: &Path, text: &str, pause: Duration) {
    let (begin, end) = text.split_once("---").unwrap_or((text, ""));
    save(path, begin);
    std::thread::sleep(pause);
    let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("opened");
    if !end.is_empty() {
        file.write_all(format!("---{end}").as_bytes()).expect("written");
    }
    std::thread::sleep(pause);
}

/// A proxy whose file is written over and over with one route more, of which a half is valid, too, and has none.
async fn never_rests(pause: Duration, in_place: bool) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pigeon.yaml");
    save(&path, MORE);
    let mut config = file(&path);
    // Longer than a busy machine leaves the writer in the middle.
    config.timings.file_settle = Duration::from_millis(400);
    let proxy = Running::start(config).await;
    let begun = Instant::now();
    let route = MORE.split_once("---\n").expect("two documents").1;
    let text = format!("{MORE}---\n{}", route.replace("name: r", "name: s").replace("/r}", "/s}"));
    let (at, other) = (path.clone(), path.with_extension("new"));
    let _writer = Restless::start(move || {
        if in_place {
            save_slowly(&at, &text, pause);
        } else {
            save(&other, &text);
            std::fs::rename(&other, &at).expect("renamed");
            std::thread::sleep(pause);
        }
    });
    let serving = proxy.serving(|s| s.received == 2).await;
    // To wait for rest would be twenty seconds.
    assert!(begun.elapsed() < Duration::from_secs(18), "{:?}", begun.elapsed());
    assert_eq!(serving.effective, 2);
    // It goes on, and nothing else is ever seen in it.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let now = proxy.serving(|_| true).await;
    assert_eq!(
        now.received, 2,
        "half of it was applied: {} objects, {pause:?}, {in_place}",
        now.effective
    );
    assert_eq!(proxy.connection(|_| true).await.refused, Vec::<String>::new());
    proxy.stop().await;
}

#[tokio::test]
async fn a_file_that_never_rests_is_applied_soon_and_never_by_half() {
    let pause = Duration::from_millis;
    tokio::join!(
        never_rests(pause(2), true),
        never_rests(pause(5), true),
        never_rests(pause(20), true),
        never_rests(pause(5), false)
    );
}

#[tokio::test]
async fn half_of_a_file_that_rests_is_not_reported_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pigeon.yaml");
    save(&path, GOOD);
    let mut config = file(&path);
    config.timings.file_settle = Duration::from_millis(200);
    let proxy = Running::start(config).await;
    let (begin, end) = MORE.split_at(MORE.len() - 10);
    save(&path, begin);
    // Longer than a file has to rest.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(proxy.connection(|_| true).await.refused, Vec::<String>::new());
    let mut rest = std::fs::OpenOptions::new().append(true).open(&path).expect("opened");
    rest.write_all(end.as_bytes()).expect("written");
    proxy.serving(|s| s.received == 2).await;
    assert!(proxy.get("/metrics").await.1.contains("\npigeon_config_rejected 0\n"));
    proxy.stop().await;
}

#[tokio::test]
async fn a_file_that_never_rests_and_stays_broken_is_reported() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pigeon.yaml");
    save(&path, MORE);
    let proxy = Running::start(file(&path)).await;
    let at = path.clone();
    let writer = Restless::start(move || save_slowly(&at, BAD, Duration::from_millis(2)));
    let refused = proxy.connection(|c| !c.refused.is_empty()).await.refused;
    assert!(refused.iter().any(|reason| reason.contains("there is no engine")), "{refused:?}");
    assert_eq!(proxy.serving(|_| true).await.received, 1, "the old one serves");
    drop(writer);
    replace(&path, GOOD);
    proxy.connection(|c| c.refused.is_empty()).await;
    proxy.serving(|s| s.received == 2).await;

    // One that grows and grows is never whole.
    let mut lines = 0;
    let writer = Restless::start(move || {
        lines += 1;
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("opened");
        file.write_all(format!("# {lines}\n").as_bytes()).expect("written");
        std::thread::sleep(Duration::from_millis(1));
    });
    let refused = proxy.connection(|c| !c.refused.is_empty()).await.refused;
    assert!(refused[0].contains("without pause") && refused[0].contains("(mv)"), "{refused:?}");
    drop(writer);
    proxy.connection(|c| c.refused.is_empty()).await;
    proxy.stop().await;
}
