//! The data directory and the ports: what the first start makes, and what is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use pigeon_admin::app::{self, Config};
use tempfile::tempdir;

use crate::support::{catalog, config, start};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

async fn refusal(config: Config) -> String {
    match app::bind(config).await {
        Ok(_) => panic!("it started"),
        Err(e) => e.to_string(),
    }
}

#[tokio::test]
async fn the_first_start_makes_private_files_and_the_second_uses_them() {
    let parent = tempdir().expect("dir");
    let dir = parent.path().join("new/data");
    let first = app::bind(config(&dir)).await.expect("bind");
    assert_eq!(mode(&dir), 0o700);
    for file in ["admin.token", "proxy.token", "pigeon.db", "lock"] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
    let read = |name: &str| fs::read_to_string(dir.join(name)).expect("token");
    let (admin, proxy) = (read("admin.token"), read("proxy.token"));
    assert_ne!(admin, proxy);
    for token in [&admin, &proxy] {
        let parts: Vec<_> = token.trim().split('_').collect();
        assert_eq!((parts[0], parts[2].len()), ("pgn", 64), "256 bits");
    }
    assert!(first.state().admin_token.verify(admin.trim()));
    assert!(!first.state().admin_token.verify(proxy.trim()));
    let state = first.state();
    drop(first);
    state.catalog.close().await;
    let second = app::bind(config(&dir)).await.expect("bind");
    assert_eq!((read("admin.token"), read("proxy.token")), (admin.clone(), proxy));
    assert!(second.state().admin_token.verify(admin.trim()));
    assert!(
        fs::read_dir(&dir)
            .expect("dir")
            .all(|f| { !f.expect("entry").file_name().to_string_lossy().ends_with(".new") })
    );
}

#[tokio::test]
async fn a_token_from_elsewhere_is_used_and_a_broken_one_refused() {
    let dir = tempdir().expect("dir");
    let file = dir.path().join("admin.token");
    let own = "my-own-token-0123456789-0123456789";
    fs::write(&file, format!("{own}\n")).expect("write");
    let admin = app::bind(config(dir.path())).await.expect("bind");
    assert!(admin.state().admin_token.verify(own));
    drop(admin);
    for broken in ["", "\n", "short", "two words that are long enough but not one"] {
        fs::write(&file, broken).expect("write");
        let e = refusal(config(dir.path())).await;
        assert!(e.contains("admin.token") && e.contains("delete it"), "{e}");
    }
    fs::write(&file, [0xff, 0xfe, 0x00]).expect("write");
    assert!(refusal(config(dir.path())).await.contains("no usable token"));
}

#[tokio::test]
async fn a_second_instance_is_refused_by_name() {
    let dir = tempdir().expect("dir");
    let first = app::bind(config(dir.path())).await.expect("bind");
    let e = refusal(config(dir.path())).await;
    assert!(e.contains("another pigeon-admin") && e.contains("runs on it"), "{e}");
    assert!(e.contains(&format!("(pid {})", std::process::id())), "{e}");
    drop(first);
    app::bind(config(dir.path())).await.expect("free again");
}

#[tokio::test]
async fn directories_that_cannot_be_used() {
    let dir = tempdir().expect("dir");
    let file = dir.path().join("file");
    fs::write(&file, "x").expect("write");
    for not in [file.clone(), file.join("below")] {
        let e = refusal(config(&not)).await;
        assert!(e.contains("--data-dir") && e.contains("is not a directory"), "{e}");
    }
    // Nobody can make a directory here, not even root.
    let e = refusal(config(Path::new("/proc/pigeon"))).await;
    assert!(e.contains("--data-dir /proc/pigeon: cannot make it"), "{e}");
}

#[tokio::test]
async fn ports_that_are_taken_or_exposed() {
    let dir = tempdir().expect("dir");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let taken = taken.local_addr().map(|a| (taken, a)).expect("address").1;
    let held = std::net::TcpListener::bind(taken).expect("bind again");
    let free = config(dir.path());
    let e = refusal(Config { listen: taken, ..free.clone() }).await;
    assert!(e.starts_with(&format!("--listen {taken}: the port is in use")), "{e}");
    let e = refusal(Config { grpc_listen: taken, ..free.clone() }).await;
    assert!(e.starts_with(&format!("--grpc-listen {taken}: the port is in use")), "{e}");
    drop(held);

    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0", "[::ffff:10.0.0.1]:0"] {
        let open = open.parse().expect("address");
        for (flag, c) in [
            ("--listen", Config { listen: open, ..free.clone() }),
            ("--grpc-listen", Config { grpc_listen: open, ..free.clone() }),
        ] {
            let e = refusal(c).await;
            assert!(
                e.starts_with(&format!("{flag} {open}")) && e.contains("--insecure-bind"),
                "{e}"
            );
        }
    }
    let any = "0.0.0.0:0".parse().expect("address");
    let exposed = Config { listen: any, grpc_listen: any, insecure_bind: true, ..free.clone() };
    assert!(app::bind(exposed).await.expect("allowed").rest_addr().ip().is_unspecified());
    let foreign =
        Config { listen: "192.0.2.1:0".parse().expect("address"), insecure_bind: true, ..free };
    let e = refusal(foreign).await;
    assert!(e.starts_with("--listen 192.0.2.1:0: cannot listen"), "{e}");
}

#[tokio::test]
async fn a_clean_stop_leaves_one_whole_database() {
    let dir = tempdir().expect("dir");
    let admin = start(dir.path()).await;
    let wal = dir.path().join("pigeon.db-wal");
    assert!(wal.exists(), "while it runs there is a log");
    admin.stop().await;
    assert!(fs::metadata(&wal).map_or(0, |m| m.len()) == 0);
    assert_eq!(catalog(dir.path()).await.view().revision, 1);
}
