//! Copies of the store: taken at any moment, put back as a new generation, and looked through.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use pigeon_admin::store::{self, Contents, Fault, Place, Restored, StoreError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};
use tempfile::tempdir;

use crate::proxy::Proxy;
use crate::support::{catalog, engine, key, put, route, soon, start, write};

async fn backup(from: &Path, to: &Path) -> Result<Contents, StoreError> {
    store::backup(&from.into(), to).await
}

async fn restore(from: &Path, to: &Path) -> Result<Restored, StoreError> {
    store::restore(from, &to.into(), to.parent().expect("a folder")).await
}

async fn check(path: &Path) -> Result<Vec<Fault>, StoreError> {
    store::check(&Place::from(path)).await
}

/// A database with one engine of this name beside the first listener, and what it says of itself.
async fn store_with(dir: &Path, name: &str) -> PathBuf {
    let catalog = catalog(dir).await;
    write(&catalog, put(&engine(name, 1))).await.expect("write");
    catalog.close().await;
    dir.join("pigeon.db")
}

#[tokio::test]
async fn a_backup_is_what_the_store_was_at_one_moment_of_writes() {
    let dir = tempdir().expect("dir");
    let catalog = catalog(dir.path()).await;
    let database = dir.path().join("pigeon.db");
    let writes = async {
        for i in 0..40 {
            write(&catalog, put(&engine(&format!("e{i}"), 1))).await.expect("write");
        }
    };
    let backups = async {
        let mut copies = Vec::new();
        for i in 0..4 {
            let file = dir.path().join(format!("copy{i}"));
            copies.push((backup(&database, &file).await.expect("backup"), file));
        }
        copies
    };
    let ((), copies) = tokio::join!(writes, backups);
    for (contents, file) in copies {
        // The seed is revision 1 with one object, and each write adds one.
        assert_eq!(contents.objects as u64, contents.revision);
        assert_eq!(check(&file).await.expect("check"), []);
        assert_eq!(fs::metadata(&file).expect("there").permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(catalog.view().revision, 41);
    let left = fs::read_dir(dir.path()).expect("dir");
    assert!(left.into_iter().all(|f| !f.expect("entry").path().ends_with(".partial")));
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_needs_a_store() {
    let dir = tempdir().expect("dir");
    let database = store_with(dir.path(), "e").await;
    let taken = dir.path().join("taken");
    fs::write(&taken, "precious").expect("write");
    let error = backup(&database, &taken).await.expect_err("taken");
    assert!(matches!(error, StoreError::Exists(_)), "{error}");
    assert_eq!(fs::read_to_string(&taken).expect("still there"), "precious");
    let error = backup(&dir.path().join("nothing"), &dir.path().join("copy")).await;
    assert!(matches!(error, Err(StoreError::Missing(_))), "{error:?}");
    assert!(!dir.path().join("copy").exists());
}

#[tokio::test]
async fn a_restored_store_is_a_later_generation_and_keeps_what_was_there() {
    let (old, new) = (tempdir().expect("dir"), tempdir().expect("dir"));
    let copy = old.path().join("copy");
    backup(&store_with(old.path(), "from-backup").await, &copy).await.expect("backup");
    let database = store_with(new.path(), "replaced").await;
    for generation in 2..4 {
        let restored = restore(&copy, &database).await.expect("restore");
        assert_eq!(restored.contents.generation, generation);
        assert!(restored.contents.revision > u64::from(generation > 2) * 1_000_000 + 1_000_000);
        assert_eq!(check(&database).await.expect("check"), []);
        let replaced = restored.replaced.expect("kept");
        assert_eq!(check(&replaced).await.expect("check"), []);
        let view = catalog(new.path()).await.view();
        assert!(view.objects.contains_key(&key("engine/from-backup")));
        assert!(!view.objects.contains_key(&key("engine/replaced")));
    }
    // Where nothing was, nothing is kept.
    let empty = tempdir().expect("dir");
    let restored = restore(&copy, &empty.path().join("pigeon.db")).await.expect("restore");
    assert_eq!((restored.contents.generation, restored.replaced), (2, None));
}

#[tokio::test]
async fn what_is_no_sound_backup_changes_nothing() {
    let dir = tempdir().expect("dir");
    let database = store_with(dir.path(), "e").await;
    let before = fs::read(&database).expect("read");
    let text = dir.path().join("text");
    fs::write(&text, "not a database at all, but long enough to be read as one: ".repeat(40))
        .expect("write");
    let cut = dir.path().join("cut");
    fs::write(&cut, &before[..before.len() / 2]).expect("write");
    let empty = dir.path().join("empty");
    fs::write(&empty, "").expect("write");
    for file in [&text, &cut, &empty] {
        let error = restore(file, &database).await.expect_err("refused");
        assert!(!error.to_string().is_empty());
        assert_eq!(fs::read(&database).expect("read"), before, "{}", file.display());
    }
    assert_eq!(catalog(dir.path()).await.view().revision, 2);
    assert!(!dir.path().join("pigeon.db.restoring").exists());
}

/// An admin whose store was put back from an old backup: the proxy that has seen more takes what there is now.
#[tokio::test]
async fn proxies_follow_a_restored_store() {
    let dir = tempdir().expect("dir");
    let copy = dir.path().join("copy");
    let admin = start(dir.path()).await;
    write(&admin.state.catalog, put(&engine("kept", 1))).await.expect("write");
    backup(&dir.path().join("pigeon.db"), &copy).await.expect("backup");
    write(&admin.state.catalog, put(&engine("lost", 1))).await.expect("write");
    let mut proxy =
        Proxy::connect(&admin.grpc, &admin.proxy_token, Proxy::hello("p")).await.expect("connect");
    soon("everything", proxy.follow(3)).await;
    let held = proxy.again("p");
    admin.stop().await;

    let restored = restore(&copy, &dir.path().join("pigeon.db")).await.expect("restore");
    let admin = start(dir.path()).await;
    let mut proxy =
        Proxy::connect(&admin.grpc, &admin.proxy_token, held).await.expect("connect again");
    soon("the restored state", proxy.follow(restored.contents.revision)).await;
    assert_eq!((proxy.snapshots, proxy.welcome.generation), (1, 2));
    let names: Vec<&str> = proxy.raw.objects().keys().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["kept", "default"]);
    admin.stop().await;
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let program = env!("CARGO_BIN_EXE_pigeon-admin");
    let output = Command::new(program).args(args).output().expect("run");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn the_program_backs_up_restores_and_checks() {
    let dir = tempdir().expect("dir");
    let data = dir.path().join("data");
    let (data, copy) = (data.to_str().expect("path"), dir.path().join("copy"));
    let copy = copy.to_str().expect("path");
    let admin = start(Path::new(data)).await;
    let (code, out, err) = run(&["--data-dir", data, "backup", copy]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("1 objects, revision 1, generation 1"), "{out}");
    let (code, _, err) = run(&["restore", copy, "--data-dir", data]);
    assert_eq!(code, Some(1));
    assert!(err.contains("another pigeon-admin"), "{err}");
    admin.stop().await;
    let (code, out, _) = run(&["restore", copy, "--data-dir", data]);
    assert_eq!(code, Some(0));
    assert!(out.contains("generation 2") && out.contains(".replaced-"), "{out}");
    assert_eq!(run(&["check", "--data-dir", data]).0, Some(0));
    assert_eq!(run(&["check", copy]).0, Some(0));
    let (code, _, err) = run(&["backup", copy]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("--data-dir"), "{err}");
}

/// What a person with sqlite3 can do to it.
#[tokio::test]
async fn check_names_what_is_wrong() {
    let dir = tempdir().expect("dir");
    let catalog = catalog(dir.path()).await;
    let both = engine("e", 1) + &route("r", "e");
    write(&catalog, put(&both)).await.expect("write");
    catalog.close().await;
    for (sql, code, words) in [
        ("UPDATE meta SET revision = 1", "revision", "the newest is 1"),
        ("UPDATE resource SET spec = '{}' WHERE kind = 'route'", "unreadable", "route/r"),
        ("DELETE FROM resource WHERE kind = 'engine'", "rules", "engine \"e\""),
    ] {
        let broken = dir.path().join(code);
        fs::copy(dir.path().join("pigeon.db"), &broken).expect("copy");
        let options = SqliteConnectOptions::new().filename(&broken);
        let mut conn = SqliteConnection::connect_with(&options).await.expect("open");
        conn.execute(sql).await.expect("tamper");
        conn.close().await.expect("close");
        let faults = check(&broken).await.expect("check");
        assert!(faults.iter().any(|f| f.code == code && f.message.contains(words)), "{faults:?}");
        let (exit, out, err) = run(&["check", broken.to_str().expect("path")]);
        assert_eq!(exit, Some(1), "{err}");
        assert!(out.starts_with(code), "{out}");
        let error = restore(&broken, &dir.path().join("pigeon.db")).await;
        assert!(error.is_err(), "{code}: {error:?}");
    }
}
