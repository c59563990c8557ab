//! Several admins on one Postgres: each takes writes and serves proxies, and none misses what another has written.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use pigeon_admin::catalog::{Catalog, Change, Expect, StoreError, StoreHealth, WriteError};
use pigeon_admin::metrics::Metrics;
use pigeon_admin::store::{self, Place, Store};
use sqlx::{Connection as _, Executor as _, Row as _};

use crate::database::{Database, Home, home, server};
use crate::proxy::Proxy;
use crate::support::{
    catalog, delete, engine, key, objects, put, put_if, route, soon, start, write,
};

/// Two admins' catalogs on one database.
async fn two() -> Option<(Home, Catalog, Catalog)> {
    let one = home(Database::Postgres).await?;
    let (a, b) = tokio::join!(catalog(&one), catalog(&one));
    Some((one, a, b))
}

fn place(home: &Home) -> Place {
    Place::Postgres(home.url().expect("Postgres"))
}

async fn reaches(catalog: &Catalog, revision: u64) {
    let mut changed = catalog.changed();
    soon("the other's revision", changed.wait_for(|now| *now >= revision)).await.expect("open");
}

#[tokio::test]
async fn admins_that_start_together_make_one_configuration() {
    let Some(one) = home(Database::Postgres).await else { return };
    let all = futures_util::future::join_all((0..6).map(|_| catalog(&one))).await;
    let clusters: BTreeSet<String> = all.iter().map(|c| c.view().cluster_id.clone()).collect();
    assert_eq!(clusters.len(), 1);
    assert!(all.iter().all(|c| (c.view().revision, c.view().objects.len()) == (1, 1)));
}

#[tokio::test]
async fn what_one_writes_the_other_serves() {
    let Some(one) = home(Database::Postgres).await else { return };
    let two = one.beside();
    let (a, b) = tokio::join!(start(&one), start(&two));
    let mut proxy =
        Proxy::connect(&b.grpc, &b.proxy_token, Proxy::hello("p")).await.expect("connect");
    soon("a snapshot", proxy.follow(1)).await;
    let text = engine("a", 1) + &route("r", "a");
    write(&a.state.catalog, put(&text)).await.expect("write");
    soon("the other's write", proxy.follow(2)).await;
    write(&b.state.catalog, delete(&["route/r"])).await.expect("write");
    soon("its own", proxy.follow(3)).await;
    reaches(&a.state.catalog, 3).await;
    let (a_view, b_view) = (a.state.catalog.view(), b.state.catalog.view());
    assert_eq!(a_view.objects, b_view.objects);
    assert!(!a_view.objects.contains_key(&key("route/r")));
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn writes_of_both_at_once_are_all_made_once_and_in_order() {
    let Some((_one, a, b)) = two().await else { return };
    let writes = |c: Catalog, who: &'static str| async move {
        let mut made = Vec::new();
        for n in 0..25 {
            let o = write(&c, put(&engine(&format!("{who}{n}"), 1))).await.expect("write");
            made.push(o.revision);
        }
        made
    };
    let (by_a, by_b) = tokio::join!(writes(a.clone(), "a"), writes(b.clone(), "b"));
    assert!(by_a.is_sorted() && by_b.is_sorted());
    let all: BTreeSet<u64> = by_a.into_iter().chain(by_b).collect();
    assert_eq!(all, (2..=51).collect());
    reaches(&a, 51).await;
    reaches(&b, 51).await;
    assert_eq!(a.view().objects, b.view().objects);
    assert_eq!(a.view().objects.len(), 51);
}

#[tokio::test]
async fn expectations_hold_across_admins() {
    let Some((_one, a, b)) = two().await else { return };
    write(&a, put(&engine("e", 1))).await.expect("write");
    // Not yet told of it, perhaps; and bound by it all the same.
    let again = write(&b, put_if(&engine("e", 2), Expect::Absent)).await;
    assert!(matches!(again, Err(WriteError::Exists(_))), "{again:?}");
    write(&b, put(&engine("e", 2))).await.expect("write");
    let stale = write(&a, put_if(&engine("e", 3), Expect::Revision(2))).await;
    assert!(matches!(stale, Err(WriteError::Stale { current: 3, .. })), "{stale:?}");
    // Of two that expect the same, one wins.
    let object = objects(&engine("e", 9)).remove(0);
    let claim = |c: Catalog| {
        let change = Change::Put { object: Box::new(object.clone()), expect: Expect::Revision(3) };
        async move { write(&c, vec![change]).await }
    };
    let (one, other) = tokio::join!(claim(a.clone()), claim(b.clone()));
    let won = [&one, &other].iter().filter(|r| r.is_ok()).count();
    // The loser wanted what is there: the same spec again would make no revision, but it expected another.
    assert_eq!(won, 1, "{one:?} {other:?}");
}

#[tokio::test]
async fn a_lost_notice_is_made_good_by_looking() {
    let Some((one, a, _b)) = two().await else { return };
    let mut hand = one.by_hand().await;
    // As a program does it that tells nobody.
    hand.execute("UPDATE resource SET updated_by = 'hand', mod_revision = 2").await.expect("sql");
    hand.execute("UPDATE meta SET revision = 2").await.expect("sql");
    reaches(&a, 2).await;
    assert!(a.view().objects.values().all(|s| s.updated_by == "hand"));
}

#[tokio::test]
async fn a_server_that_goes_and_comes_is_lived_with() {
    let Some((server, url)) = server().await else { return };
    let place = Place::Postgres(url.parse().expect("a URL"));
    let store = Store::open(place.clone()).await.expect("store");
    let c = Catalog::open(store, Metrics::new().expect("metrics")).await.expect("catalog");
    write(&c, put(&engine("e", 1))).await.expect("write");
    // Every connection is cut, as by a fail-over: the next write finds another.
    let mut hand = sqlx::postgres::PgConnection::connect(&url).await.expect("connect");
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
               WHERE application_name = 'pigeon-admin'";
    assert!(hand.fetch_one(cut).await.expect("cut").get::<i64, _>(0) >= 1);
    let mut made = write(&c, put(&engine("f", 1))).await;
    if made.is_err() {
        // Its connection was found dead in the middle; nothing was written, and that is known.
        assert_eq!(c.view().objects.len(), 2);
        made = write(&c, put(&engine("f", 1))).await;
    }
    assert_eq!(made.expect("write").revision, 3);
    drop(hand);
    server.stop();
    let failed = write(&c, put(&engine("g", 1))).await;
    assert!(matches!(failed, Err(WriteError::Store(StoreError::Away(_)))), "{failed:?}");
    let StoreHealth::CannotWrite { reason } = c.health() else { panic!("seems well") };
    assert!(reason.contains("cannot be reached"), "{reason}");
    assert_eq!((c.view().revision, c.view().objects.len()), (3, 3), "what is known is served");
    let gone = Store::open(place).await.err().expect("nobody is there").to_string();
    assert!(gone.contains("cannot be reached"), "{gone}");
}

#[tokio::test]
async fn backups_go_from_one_database_to_the_other() {
    let Some(one) = home(Database::Postgres).await else { return };
    let c = catalog(&one).await;
    write(&c, put(&(engine("a", 1) + &route("r", "a")))).await.expect("write");
    write(&c, delete(&["route/r"])).await.expect("write");
    let copy = one.path().join("copy");
    let contents = store::backup(&place(&one), &copy).await.expect("backup");
    assert_eq!((contents.revision, contents.objects), (3, 2));
    assert_eq!(store::check(&Place::File(copy.clone())).await.expect("check"), []);
    assert_eq!(store::check(&place(&one)).await.expect("check"), []);
    // Into an SQLite file, with its history.
    let dir = tempfile::tempdir().expect("dir");
    let file = Place::File(dir.path().join("pigeon.db"));
    let restored = store::restore(&copy, &file, dir.path()).await.expect("restore");
    assert_eq!((restored.contents.generation, restored.replaced), (2, None));
    let there = catalog(dir.path()).await;
    assert_eq!(there.view().objects, c.view().objects);
    assert_eq!(
        there.revisions(None, 9).await.expect("history"),
        c.revisions(None, 9).await.expect("history")
    );
    there.close().await;
    // Back into Postgres: not under a running admin.
    let refused = store::restore(&copy, &place(&one), one.path()).await;
    assert!(matches!(refused, Err(StoreError::InUse(_))), "{refused:?}");
    let before = c.view();
    c.close().await;
    let restored = store::restore(&copy, &place(&one), one.path()).await.expect("restore");
    assert_eq!(restored.contents.generation, 2);
    assert!(restored.contents.revision > 1_000_000);
    let replaced = restored.replaced.expect("kept");
    assert_eq!(store::check(&Place::File(replaced)).await.expect("check"), []);
    let c = catalog(&one).await;
    assert_eq!(c.view().objects, before.objects);
    let o = write(&c, put(&engine("z", 1))).await.expect("write");
    assert_eq!(o.revision, restored.contents.revision + 1);
}

#[tokio::test]
async fn the_views_for_people_can_be_read() {
    let Some(one) = home(Database::Postgres).await else { return };
    let c = catalog(&one).await;
    let text = "kind: engine\nname: asr\nspec: {endpoints: [{address: 'h:1'}, {address: 'h:2'}], \
                pool: {mode: strict, slots: 3}}\n---\nkind: route\nname: r\nspec: {match: {grpc: \
                a.B}, engine: asr}\n";
    write(&c, put(text)).await.expect("write");
    let mut hand = one.by_hand().await;
    let row = hand.fetch_one("SELECT endpoints, mode, slots FROM engines").await.expect("engines");
    assert_eq!((row.get::<String, _>(0).as_str(), row.get::<i64, _>(2)), ("h:1 h:2", 3));
    for query in [
        "SELECT count(*) FROM listeners WHERE address = '127.0.0.1:8080'",
        "SELECT count(*) FROM pools WHERE engine = 'asr' AND queue_timeout = '2s'",
        "SELECT count(*) FROM routes WHERE engine = 'asr' AND grpc = 'a.B'",
    ] {
        let count: i64 = hand.fetch_one(query).await.expect(query).get(0);
        assert_eq!(count, 1, "{query}");
    }
}

const URL: &str = "PIGEON_TEST_WRITER_URL";

/// Not a test of its own: the admin that the next one kills. It writes and says what was acknowledged.
#[tokio::test]
#[ignore = "run by an_admin_that_is_killed_loses_nothing"]
async fn writer() {
    let Ok(url) = std::env::var(URL) else { return };
    let store = Store::open(Place::Postgres(url.parse().expect("a URL"))).await.expect("store");
    let c = Catalog::open(store, Metrics::new().expect("metrics")).await.expect("catalog");
    for i in 0.. {
        let o = write(&c, put(&engine(&format!("k{i}"), 1))).await.expect("write");
        println!("\nacknowledged {i} {}", o.revision);
        std::io::stdout().flush().expect("stdout");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_that_is_killed_loses_nothing() {
    let Some((server, url)) = server().await else { return };
    let store = Store::open(Place::Postgres(url.parse().expect("a URL"))).await.expect("store");
    let c = Catalog::open(store, Metrics::new().expect("metrics")).await.expect("catalog");
    let mut child = Command::new(std::env::current_exe().expect("exe"))
        .args(["--exact", "several::writer", "--ignored", "--nocapture"])
        .env(URL, &url)
        .stdout(Stdio::piped())
        .spawn()
        .expect("child");
    let lines = BufReader::new(child.stdout.take().expect("stdout")).lines().map_while(Result::ok);
    let mut acknowledged = Vec::new();
    let mut lines = lines.filter_map(|l| {
        let mut words = l.strip_prefix("acknowledged ")?.split(' ');
        Some((words.next()?.to_owned(), words.next()?.parse::<u64>().ok()?))
    });
    // This admin writes, too, so that the other is killed amid a race.
    for n in 0..15 {
        acknowledged.push(lines.next().expect("the other goes on"));
        write(&c, put(&engine(&format!("own{n}"), 1))).await.expect("write");
    }
    child.kill().expect("kill -9");
    child.wait().expect("wait");
    acknowledged.extend(lines);
    let own = write(&c, put(&engine("last", 1))).await.expect("the lock of the dead is gone");
    let view = c.view();
    for (name, _) in &acknowledged {
        assert!(view.objects.contains_key(&key(&format!("engine/k{name}"))), "k{name} is lost");
    }
    let history = c.revisions(None, 10_000).await.expect("history");
    assert_eq!(history.len() as u64, own.revision, "one entry for each revision");
    server.stop();
}

#[tokio::test]
async fn a_proxy_that_comes_from_another_admin_waits_for_what_it_has_already() {
    let Some(one) = home(Database::Postgres).await else { return };
    let two = one.beside();
    let (a, b) = tokio::join!(start(&one), start(&two));
    let mut proxy =
        Proxy::connect(&a.grpc, &a.proxy_token, Proxy::hello("p")).await.expect("connect");
    soon("a snapshot", proxy.follow(1)).await;
    for n in 0..20 {
        let o = write(&a.state.catalog, put(&engine("e", n + 1))).await.expect("write");
        soon("a delta", proxy.follow(o.revision)).await;
        // The other may not have heard of it yet, and is no step back.
        let subscribe = proxy.again("p");
        let back = Proxy::connect(&b.grpc, &b.proxy_token, subscribe).await.expect("connect");
        let reason = &back.welcome.reason;
        assert!(
            back.welcome.revision >= o.revision,
            "{} after {}: {reason}",
            back.welcome.revision,
            o.revision
        );
    }
    a.stop().await;
    b.stop().await;
}
