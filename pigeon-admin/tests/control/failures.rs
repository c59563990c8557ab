//! A store that does not do what it should: what was committed goes on being served, and it recovers.

use pigeon_admin::catalog::{StoreError, StoreHealth, WriteError};
use pigeon_admin::store::Store;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, Row as _};
use tempfile::{TempDir, tempdir};

use crate::support::{catalog, engine, key, put, soon, write};

/// Somebody at the database with their own tool.
async fn by_hand(dir: &TempDir) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(dir.path().join("pigeon.db"));
    SqliteConnection::connect_with(&options).await.expect("connect")
}

async fn sql(hand: &mut SqliteConnection, statement: &str) {
    hand.execute(AssertSqlSafe(statement.to_owned())).await.expect("statement");
}

async fn number(hand: &mut SqliteConnection, query: &str) -> i64 {
    hand.fetch_one(AssertSqlSafe(query.to_owned())).await.expect("query").get(0)
}

#[tokio::test]
async fn a_write_that_cannot_be_stored_changes_nothing_and_the_next_one_works() {
    let dir = tempdir().expect("dir");
    let c = catalog(dir.path()).await;
    let mut hand = by_hand(&dir).await;
    // The last statement of the transaction fails, after all others have worked.
    sql(&mut hand, "ALTER TABLE audit RENAME TO elsewhere").await;
    let failed = write(&c, put(&engine("a", 1))).await;
    assert!(matches!(failed, Err(WriteError::Store(StoreError::Other(_)))), "{failed:?}");
    assert_eq!((c.view().revision, c.view().objects.len()), (1, 1), "reads go on");
    let StoreHealth::CannotWrite { reason } = c.health() else { panic!("seems well") };
    assert!(reason.contains("audit"), "{reason}");
    assert_eq!(number(&mut hand, "SELECT revision FROM meta").await, 1);
    assert_eq!(number(&mut hand, "SELECT count(*) FROM change").await, 1);

    sql(&mut hand, "ALTER TABLE elsewhere RENAME TO audit").await;
    let o = write(&c, put(&engine("a", 1))).await.expect("works again");
    assert_eq!((o.revision, c.view().revision), (2, 2));
    assert!(c.health().is_ok());
}

#[tokio::test]
async fn what_another_program_wrote_is_noticed_and_read() {
    let dir = tempdir().expect("dir");
    let c = catalog(dir.path()).await;
    let mut hand = by_hand(&dir).await;
    sql(&mut hand, "UPDATE meta SET revision = 7").await;
    sql(&mut hand, "UPDATE resource SET updated_by = 'hand', mod_revision = 7").await;
    assert_eq!(write(&c, put(&engine("a", 1))).await.expect("write").revision, 8);
    assert!(c.health().is_ok(), "writing as such works");
    assert_eq!(c.view().objects[&key("listener/default")].updated_by, "hand");
    // Rows that are not what its revision says are nobody's: they are not written over.
    write(&c, put(&engine("b", 1))).await.expect("write");
    sql(&mut hand, "UPDATE resource SET mod_revision = 5 WHERE name = 'b'").await;
    let refused = write(&c, put(&engine("b", 2))).await;
    assert!(matches!(refused, Err(WriteError::Store(StoreError::ChangedElsewhere))), "{refused:?}");
}

#[tokio::test]
async fn a_store_that_works_again_is_found_out_without_a_write() {
    let dir = tempdir().expect("dir");
    let c = catalog(dir.path()).await;
    let mut hand = by_hand(&dir).await;
    sql(&mut hand, "ALTER TABLE meta RENAME TO elsewhere").await;
    assert!(write(&c, put(&engine("a", 1))).await.is_err());
    assert!(!c.health().is_ok());
    // Not even what is there can be read now; writes stay refused, the view stays.
    assert!(matches!(write(&c, put(&engine("a", 1))).await, Err(WriteError::Store(_))));
    assert_eq!(c.view().objects.len(), 1);
    sql(&mut hand, "ALTER TABLE elsewhere RENAME TO meta").await;
    let mut poll = tokio::time::interval(std::time::Duration::from_millis(20));
    soon("health comes back", async {
        while !c.health().is_ok() {
            poll.tick().await;
        }
    })
    .await;
    assert_eq!(write(&c, put(&engine("a", 1))).await.expect("write").revision, 2);
}

#[tokio::test]
async fn databases_that_cannot_be_used_say_why() {
    let dir = tempdir().expect("dir");
    catalog(dir.path()).await.close().await;
    let path = dir.path().join("pigeon.db");
    let refusal = async || match Store::open(path.as_path()).await {
        Ok(mut store) => store.load().await.err().map(|e| e.to_string()).unwrap_or_default(),
        Err(e) => e.to_string(),
    };
    let mut hand = by_hand(&dir).await;
    sql(&mut hand, "UPDATE resource SET spec = '{\"address\": \"nowhere\"}'").await;
    let e = refusal().await;
    assert!(e.contains("listener/default") && e.contains("/spec/address"), "{e}");
    let newer = "INSERT INTO _sqlx_migrations SELECT 9001, description, installed_on, success, \
                 checksum, execution_time FROM _sqlx_migrations WHERE version = 1";
    sql(&mut hand, newer).await;
    hand.close().await.expect("close");
    let e = refusal().await;
    assert!(e.contains("newer pigeon-admin (migration 9001)"), "{e}");
    std::fs::write(&path, "this is a text, and quite a long one, but it is no database at all")
        .expect("write");
    let e = refusal().await;
    assert!(e.contains("damaged or not a database"), "{e}");
}

#[tokio::test]
async fn the_views_for_people_can_be_read() {
    let dir = tempdir().expect("dir");
    let c = catalog(dir.path()).await;
    let text = "kind: engine\nname: asr\nspec: {endpoints: [{address: 'h:1'}, {address: 'h:2'}], \
                pool: {mode: strict, slots: 3}}\n---\nkind: route\nname: r\nspec: {match: {grpc: \
                a.B}, engine: asr}\n";
    write(&c, put(text)).await.expect("write");
    let mut hand = by_hand(&dir).await;
    sql(&mut hand, "PRAGMA trusted_schema = OFF").await;
    let row = hand.fetch_one("SELECT endpoints, mode, slots FROM engines").await.expect("engines");
    assert_eq!((row.get::<String, _>(0).as_str(), row.get::<i64, _>(2)), ("h:1 h:2", 3));
    for (query, want) in [
        ("SELECT count(*) FROM listeners WHERE address = '127.0.0.1:8080'", 1),
        ("SELECT count(*) FROM pools WHERE engine = 'asr' AND queue_timeout = '2s'", 1),
        ("SELECT count(*) FROM routes WHERE engine = 'asr' AND grpc = 'a.B'", 1),
        ("SELECT count(*) FROM audit WHERE request_id = 'r-1' AND before IS NULL", 2),
        ("SELECT count(*) FROM change WHERE revision = 2 AND spec IS NOT NULL", 2),
    ] {
        assert_eq!(number(&mut hand, query).await, want, "{query}");
    }
}
