//! kill -9: what was acknowledged is on disk, and what is on disk is whole.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::tempdir;

use crate::support::{catalog, engine, key, put, route, write};

const DIR: &str = "PIGEON_TEST_WRITER_DIR";

/// Not a test of its own: the process that the next one kills. It writes and says what was acknowledged.
#[tokio::test]
#[ignore = "run by killed_between_writes"]
async fn writer() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let c = catalog(&dir).await;
    for i in 0.. {
        let both = engine(&format!("e{i}"), 1) + &route(&format!("r{i}"), &format!("e{i}"));
        let o = write(&c, put(&both)).await.expect("write");
        println!("\nacknowledged {i} {}", o.revision);
        std::io::stdout().flush().expect("stdout");
    }
}

#[tokio::test]
async fn killed_between_writes() {
    let dir = tempdir().expect("dir");
    let mut last = None;
    for round in 0..3 {
        let mut child = Command::new(std::env::current_exe().expect("exe"))
            .args(["--exact", "kill::writer", "--ignored", "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("child");
        let lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let acknowledged = lines.map_while(Result::ok).filter_map(|l| {
            let mut words = l.strip_prefix("acknowledged ")?.split(' ');
            Some((words.next()?.to_owned(), words.next()?.parse::<u64>().ok()?))
        });
        // The same names again make no revisions, so count on from what was there.
        let mut seen = 0;
        for (i, revision) in acknowledged {
            let new = last.as_ref().is_none_or(|(_, r)| revision > *r);
            last = Some((i, revision));
            seen += usize::from(new);
            if seen > 5 + round {
                break;
            }
        }
        child.kill().expect("kill -9");
        child.wait().expect("wait");

        let c = catalog(dir.path()).await;
        let view = c.view();
        let (i, revision) = last.clone().expect("something was acknowledged");
        assert!(view.revision >= revision, "acknowledged {revision}, found {}", view.revision);
        assert!(view.objects.contains_key(&key(&format!("route/r{i}"))), "r{i} is lost");
        // Each write made an engine and a route: both or neither.
        assert_eq!(view.objects.len() as u64, 1 + 2 * (view.revision - 1));
        let history = c.revisions(None, 10_000).await.expect("history");
        assert_eq!(history.len() as u64, view.revision, "one entry for each revision");
        c.close().await;
        last = Some((i, view.revision));
    }
}
