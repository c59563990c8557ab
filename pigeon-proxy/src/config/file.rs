//! A configuration from a file, without an admin. A saved file is checked and then serves, or is refused with
//! every reason while the old one goes on serving.

mod restless;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use pigeon_proto::model::{
    self, Key, Kind, Listener, Object, RawObject, RawState, Snapshot, Spec, Versioned, document,
};
use pigeon_proto::v1;
use tokio::sync::watch as state;
use tokio_util::sync::CancellationToken;

use super::serve::standard_name;
use super::{Connection, Held, Received, Serving, Source, Timings, durable};
use crate::metrics::config::ConfigMetrics;
use crate::reload::Part;
pub(crate) use watch::Changes;
use watch::{Found, Judged};

/// Largest file read, in bytes.
const MAX_FILE: u64 = 32 << 20;
const NEVER_WHOLE: &str =
    "it is written to without pause and never seen whole; write another file and rename it (mv)";

/// Why a file is not used: every reason, each with its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration file {} is refused:\n  {}", .path.display(), .reasons.join("\n  "))]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reasons: Vec<String>,
}

/// Reads and checks a file. The result continues `before`: the revision grows by one, and objects that did
/// not change keep theirs; it equals `before` if nothing changed.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path, before: &RawState) -> Result<RawState, FileError> {
    read(path, before).map_err(|reasons| FileError { path: path.to_owned(), reasons })
}

fn read(path: &Path, before: &RawState) -> Result<RawState, Vec<String>> {
    let bytes = durable::read_limited(path, MAX_FILE)
        .map_err(|e| vec![format!("it cannot be read: {e}; give a readable file with --config")])?;
    understand(bytes, before)
}

/// As a received configuration.
pub fn received(raw: RawState) -> Received {
    let held = Held { raw: Arc::new(raw), ..Held::default() };
    Received { held, source: Source::File, at: SystemTime::now() }
}

/// What the content of a file says.
fn understand(bytes: Vec<u8>, before: &RawState) -> Result<RawState, Vec<String>> {
    let one = |reason: String| vec![reason];
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        one(format!("it is not UTF-8 text (at byte {at}); save it as UTF-8"))
    })?;
    let each = |e: model::Errors| e.0.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut objects = document::parse(&text).map_err(each)?;
    if objects.is_empty() {
        // Most likely half of a save, and to take everything away should be said.
        let reason = "it holds no object; to serve nothing, leave one listener in it";
        return Err(one(reason.to_owned()));
    }
    if !objects.iter().any(|o| o.key.kind == Kind::Listener) {
        objects.push(Object {
            key: Key { kind: Kind::Listener, name: standard_name() },
            labels: model::Labels::new(),
            spec: Spec::Listener(Listener::standard()),
        });
    }
    model::validate(&snapshot(&objects)).map_err(each)?;
    version(&objects, before).map_err(|e| one(e.to_string()))
}

/// Whether it could serve, and whether it could be the beginning of what serves: some of its objects, and no
/// other.
fn judge(bytes: &[u8], before: &RawState) -> Judged {
    match understand(bytes.to_vec(), before) {
        Err(_) => Judged::Bad,
        Ok(next) if next == *before => Judged::Good,
        Ok(_) if is_part(bytes, before) => Judged::Part,
        Ok(_) => Judged::Good,
    }
}

/// Without the listener that is there when a file has none.
fn is_part(bytes: &[u8], before: &RawState) -> bool {
    let text = str::from_utf8(bytes).unwrap_or_default();
    document::parse(text).unwrap_or_default().iter().all(|o| {
        let key = (o.key.kind.to_string(), o.key.name.to_string());
        before.objects().get(&key).is_some_and(|old| old.spec == o.spec.encode())
    })
}

fn snapshot(objects: &[Object]) -> Snapshot {
    let version =
        |o: &Object| (o.key.clone(), Versioned { mod_revision: 1, spec: Arc::new(o.spec.clone()) });
    Snapshot { revision: 1, objects: objects.iter().map(version).collect() }
}

/// Gives every object the revision that changed it.
fn version(objects: &[Object], before: &RawState) -> Result<RawState, model::DeltaError> {
    let revision = before.revision() + 1;
    let put = |o: &Object| {
        let spec: Bytes = o.spec.encode();
        let (kind, name) = (o.key.kind.to_string(), o.key.name.to_string());
        let same = |old: &&RawObject| old.spec == spec;
        let old = before.objects().get(&(kind.clone(), name.clone())).filter(same);
        let mod_revision = old.map_or(revision, |o| o.mod_revision);
        v1::Put { key: Some(v1::Key { kind, name }), mod_revision, spec }
    };
    let next = RawState::new(revision, objects.iter().map(put).collect())?;
    let same = before.revision() > 0 && next.objects() == before.objects();
    Ok(if same { before.clone() } else { next })
}

/// Follows a file until told to stop.
pub struct FileSource {
    /// The file.
    pub path: PathBuf,
    /// What of it serves.
    pub current: RawState,
    /// Where new states go.
    pub received: state::Sender<Option<Received>>,
    /// Where refusals are shown.
    pub connection: state::Sender<Connection>,
    /// Shows refusals, too.
    pub metrics: ConfigMetrics,
    /// How long things wait.
    pub timings: Timings,
    /// Hears when the file is to be read now.
    pub reload: Part,
    /// What came of what was received.
    pub serving: state::Receiver<Serving>,
}

impl FileSource {
    /// Reads the file whenever it was saved.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut changes = Changes::of(&self.path, self.timings);
        loop {
            let judge = |bytes: &[u8]| judge(bytes, &self.current);
            let mut asked = None;
            let found = tokio::select! {
                () = stop.cancelled() => return,
                found = changes.found(MAX_FILE, judge) => found,
                request = self.reload.asked() => {
                    asked = Some(request);
                    tracing::info!("reading the configuration file again");
                    Found::Rested
                }
            };
            self.take(match found {
                Found::Rested => read(&self.path, &self.current),
                Found::Whole(bytes) => understand(bytes, &self.current),
                Found::Never => Err(vec![NEVER_WHOLE.to_owned()]),
            });
            if asked.is_some() {
                // Who asked may look at once.
                let revision = self.current.revision();
                let applied = self.serving.wait_for(|serving| serving.received >= revision);
                let _ = stop.run_until_cancelled(applied).await;
            }
            drop(asked);
        }
    }

    fn take(&mut self, read: Result<RawState, Vec<String>>) {
        match read {
            Ok(next) => {
                self.refused(Vec::new());
                if next != self.current {
                    tracing::info!(
                        revision = next.revision(),
                        "the configuration file was changed"
                    );
                    self.current = next.clone();
                    self.received.send_replace(Some(received(next)));
                }
            }
            Err(reasons) => self.refused(reasons),
        }
    }

    fn refused(&self, reasons: Vec<String>) {
        if self.connection.borrow().refused == reasons {
            return;
        }
        for reason in &reasons {
            let path = self.path.display();
            tracing::error!(
                "the configuration file {path} is refused, the old one serves on: {reason}"
            );
        }
        if reasons.is_empty() {
            tracing::info!("the configuration file is good again");
        }
        self.metrics.file_refused(reasons.len());
        self.connection.send_modify(|c| {
            c.last_error = reasons.first().cloned();
            c.refused = reasons;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: &str = "kind: engine\nname: a\nspec: {endpoints: [{address: '127.0.0.1:1'}]}\n";

    fn load_text(text: &[u8], before: &RawState) -> Result<RawState, FileError> {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("pigeon.yaml");
        std::fs::write(&path, text).expect("written");
        load(&path, before)
    }

    #[test]
    fn a_beginning_of_what_serves_is_known() {
        let more = "---\nkind: route\nname: r\nspec: {match: {path: /r}, engine: a}\n";
        let listener = "---\nkind: listener\nname: l\nspec: {address: '127.0.0.1:9'}\n";
        let whole = format!("{ENGINE}{more}{listener}");
        let serves = load_text(whole.as_bytes(), &RawState::default()).expect("good");
        let judged = |text: &str| judge(text.as_bytes(), &serves);
        assert_eq!(judged(&whole), Judged::Good);
        assert_eq!(judged(ENGINE), Judged::Part);
        assert_eq!(judged(&format!("{ENGINE}{more}")), Judged::Part);
        assert_eq!(judged(&format!("{ENGINE}{}", more.replace("/r}", "/s}"))), Judged::Good);
        assert_eq!(judged(&format!("{ENGINE}---\nkind: rou")), Judged::Bad);
        assert_eq!(judged(""), Judged::Bad);
        // Without a listener of its own.
        let serves = load_text(ENGINE.as_bytes(), &RawState::default()).expect("good");
        assert_eq!(judge(ENGINE.as_bytes(), &serves), Judged::Good);
    }

    fn revisions(raw: &RawState) -> Vec<(String, u64)> {
        raw.objects().iter().map(|((k, n), o)| (format!("{k}/{n}"), o.mod_revision)).collect()
    }

    #[test]
    fn revisions_count_up_and_unchanged_objects_keep_theirs() {
        let first = load_text(ENGINE.as_bytes(), &RawState::default()).expect("first");
        assert_eq!(first.revision(), 1);
        let listed = [("engine/a".to_owned(), 1), ("listener/default".to_owned(), 1)];
        assert_eq!(revisions(&first), listed);
        let again =
            load_text(format!("# saved again\n{ENGINE}").as_bytes(), &first).expect("again");
        assert_eq!(again, first);
        let more =
            format!("{ENGINE}---\nkind: listener\nname: l\nspec: {{address: '127.0.0.1:2'}}\n");
        let second = load_text(more.as_bytes(), &first).expect("second");
        assert_eq!(second.revision(), 2);
        let listed = [("engine/a".to_owned(), 1), ("listener/l".to_owned(), 2)];
        assert_eq!(revisions(&second), listed);
    }

    #[test]
    fn every_reason_is_given() {
        let route = |name: &str| {
            format!(
                "---\nkind: route\nname: {name}\nspec: {{match: {{path: /{name}}}, engine: gone}}\n"
            )
        };
        let text = format!("{ENGINE}{}{}", route("x"), route("y"));
        let e = load_text(text.as_bytes(), &RawState::default()).expect_err("refused");
        assert_eq!(e.reasons.len(), 2, "{e}");
        assert!(e.reasons[0].starts_with("route/x /spec/engine"), "{e}");
        for (text, why) in [
            (&b""[..], "no object"),
            (b"# nothing\n", "no object"),
            (b"kind: engine\n\tname: a\n", "tab"),
            (b"\xff\xfe", "UTF-8"),
        ] {
            let e = load_text(text, &RawState::default()).expect_err(why);
            assert!(e.to_string().contains(why), "{e}");
        }
        let missing = load(Path::new("/nonexistent/pigeon.yaml"), &RawState::default());
        assert!(missing.expect_err("missing").to_string().contains("/nonexistent/pigeon.yaml"));
    }

    #[test]
    fn too_large_a_file_is_not_read() {
        let text = vec![b'#'; usize::try_from(MAX_FILE).expect("fits") + 1];
        let e = load_text(&text, &RawState::default()).expect_err("refused");
        assert!(e.to_string().contains("larger than 33554432"), "{e}");
    }
}
