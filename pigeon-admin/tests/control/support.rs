//! What the tests share: an admin in this process, documents as changes, and waiting with a deadline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pigeon_admin::access::Rights;
use pigeon_admin::app::{self, AppState, Config};
use pigeon_admin::catalog::{Actor, Catalog, Change, Expect, Outcome, Write, WriteError};
use pigeon_admin::metrics::Metrics;
use pigeon_admin::store::{Place, PostgresUrl, Store};
use pigeon_proto::model::{Key, Object, document};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::database::Home;

/// Longest any condition may take.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for a future, with the deadline.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// A folder, and the database if it is not there.
pub struct Spot(PathBuf, Option<PostgresUrl>);

impl From<&Path> for Spot {
    fn from(path: &Path) -> Self {
        Self(path.to_owned(), None)
    }
}

impl From<&PathBuf> for Spot {
    fn from(path: &PathBuf) -> Self {
        Self(path.to_owned(), None)
    }
}

impl From<&Home> for Spot {
    fn from(home: &Home) -> Self {
        Self(home.path().to_owned(), home.url())
    }
}

/// A configuration for `spot` on free ports.
pub fn config(spot: impl Into<Spot>) -> Config {
    let any = ([127, 0, 0, 1], 0).into();
    let Spot(data_dir, database_url) = spot.into();
    Config {
        data_dir,
        database_url,
        listen: any,
        grpc_listen: any,
        tls: None,
        insecure_bind: false,
    }
}

/// A catalog alone on `spot`.
pub async fn catalog(spot: impl Into<Spot>) -> Catalog {
    let place = match spot.into() {
        Spot(_, Some(url)) => Place::Postgres(url),
        Spot(dir, None) => Place::File(dir.join("pigeon.db")),
    };
    let store = Store::open(place).await.expect("store");
    Catalog::open(store, Metrics::new().expect("metrics")).await.expect("catalog")
}

/// A running admin.
pub struct Running {
    pub state: AppState,
    pub grpc: String,
    pub proxy_token: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// Starts an admin on `spot`.
pub async fn start(spot: impl Into<Spot>) -> Running {
    let admin = app::bind(config(spot)).await.expect("bind");
    let token = std::fs::read_to_string(admin.proxy_token_file()).expect("token");
    let (stop, stopped) = oneshot::channel::<()>();
    let (state, grpc) = (admin.state(), format!("http://{}", admin.grpc_addr()));
    let task = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        admin.run(stopped).await.expect("run");
    });
    let proxy_token = token.trim().to_owned();
    Running { state, grpc, proxy_token, stop: Some(stop), task }
}

impl Running {
    /// Stops it cleanly.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        soon("the admin stops", self.task).await.expect("task");
    }
}

/// The objects of a YAML text.
pub fn objects(yaml: &str) -> Vec<Object> {
    document::parse(yaml).unwrap_or_else(|e| panic!("{}", e.0[0]))
}

/// `kind/name`.
pub fn key(text: &str) -> Key {
    let (kind, name) = text.split_once('/').expect("kind/name");
    Key { kind: kind.parse().expect("kind"), name: name.parse().expect("name") }
}

/// Puts every object of a YAML text.
pub fn put(yaml: &str) -> Vec<Change> {
    put_if(yaml, Expect::Any)
}

/// Puts every object of a YAML text if `expect` holds of it.
pub fn put_if(yaml: &str, expect: Expect) -> Vec<Change> {
    objects(yaml)
        .into_iter()
        .map(|object| Change::Put { object: Box::new(object), expect })
        .collect()
}

/// Patches one object.
pub fn patch(name: &str, patch: serde_json::Value) -> Vec<Change> {
    vec![Change::Patch { key: key(name), patch, expect: Expect::Any }]
}

/// Deletes objects.
pub fn delete(names: &[&str]) -> Vec<Change> {
    let one = |n: &&str| Change::Delete { key: key(n), expect: Expect::Any };
    names.iter().map(one).collect()
}

/// Writes as "tester".
pub async fn write(catalog: &Catalog, changes: Vec<Change>) -> Result<Outcome, WriteError> {
    catalog.write(as_tester(changes)).await
}

/// A write of "tester".
pub fn as_tester(changes: Vec<Change>) -> Write {
    let (name, source) = ("tester".into(), "127.0.0.1".into());
    Write {
        actor: Actor { name, source, request_id: "r-1".into(), rights: Rights::ALL },
        changes,
        dry_run: false,
        base: None,
        set: None,
    }
}

/// An engine with one endpoint.
pub fn engine(name: &str, port: usize) -> String {
    format!("---\nkind: engine\nname: {name}\nspec: {{endpoints: [{{address: 'h:{port}'}}]}}\n")
}

/// A route of a path of its own.
pub fn route(name: &str, engine: &str) -> String {
    format!(
        "---\nkind: route\nname: {name}\nspec: {{match: {{path: /{name}}}, engine: {engine}}}\n"
    )
}
