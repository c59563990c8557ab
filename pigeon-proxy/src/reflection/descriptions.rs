//! What engines have told of themselves, kept: one asks for all who wait, and what is known serves while it is
//! asked for again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use pigeon_proto::model::Name;
use prost_reflect::DescriptorPool;
use tokio::sync::watch;

use super::{Fault, ask};
use crate::engine::Engine;
use crate::reject::Rejection;
use crate::transcode::rules::Rules;

/// What is older is asked for again, once somebody needs it.
const OLD: Duration = Duration::from_secs(300);
/// At most so often, when a call wants a method that is not known.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a failure answers for the engine.
const PAUSE: Duration = Duration::from_secs(1);
/// Endpoints that are asked before it is given up.
const MOST_ASKED: usize = 3;

/// The methods and messages of an engine.
#[derive(Debug)]
pub(crate) struct Described {
    /// Its messages, and those of the details that statuses usually have.
    pub(crate) pool: DescriptorPool,
    /// How its methods are called.
    pub(crate) rules: Rules,
}

/// Why they are not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// The engine has no endpoint in use.
    NoEndpoint,
    /// None of those that were asked could be reached.
    Unreachable,
    /// It does not tell, or nothing that makes sense.
    NotTold,
}

impl From<Unknown> for Rejection {
    fn from(unknown: Unknown) -> Self {
        match unknown {
            Unknown::NoEndpoint => Self::NoEndpoint,
            Unknown::Unreachable => Self::ConnectFailed,
            Unknown::NotTold => Self::NotDescribed,
        }
    }
}

type Told = Result<Arc<Described>, Unknown>;

/// Those of all engines that JSON calls were made to.
#[derive(Default)]
pub(crate) struct Descriptions {
    engines: Mutex<HashMap<Name, Entry>>,
}

struct Entry {
    engine: Weak<Engine>,
    told: Option<Told>,
    /// When it was last asked.
    asked: Instant,
    /// Closed once it has answered.
    asking: watch::Receiver<()>,
}

impl Entry {
    fn is_asking(&self) -> bool {
        self.asking.has_changed().is_ok()
    }
}

/// What to do for one who wants to know.
enum Next {
    Use(Told),
    Wait(watch::Receiver<()>),
}

impl Descriptions {
    /// What is known of an engine; asks it if nothing is.
    pub(crate) async fn of(self: &Arc<Self>, engine: &Arc<Engine>) -> Told {
        match self.look(engine, Instant::now()) {
            Next::Use(told) => return told,
            Next::Wait(mut answered) => while answered.changed().await.is_ok() {},
        }
        // If whoever asked is gone without an answer, so is its worker.
        self.told(engine).unwrap_or(Err(Unknown::Unreachable))
    }

    /// What the engine says by now, for a call that `known` has no method for; none if that is nothing new.
    pub(crate) async fn newer(
        self: &Arc<Self>,
        engine: &Arc<Engine>,
        known: &Arc<Described>,
    ) -> Option<Arc<Described>> {
        let now = Instant::now();
        let answered = {
            let mut engines = self.lock();
            let entry = engines.get_mut(engine.name())?;
            if !entry.is_asking() && now.saturating_duration_since(entry.asked) >= AGAIN {
                self.begin(entry, engine, now);
            }
            entry.is_asking().then(|| entry.asking.clone())
        };
        if let Some(mut answered) = answered {
            while answered.changed().await.is_ok() {}
        }
        let told = self.told(engine)?.ok()?;
        (!Arc::ptr_eq(&told, known)).then_some(told)
    }

    fn look(self: &Arc<Self>, engine: &Arc<Engine>, now: Instant) -> Next {
        let mut engines = self.lock();
        let same = |entry: &Entry| std::ptr::eq(entry.engine.as_ptr(), Arc::as_ptr(engine));
        if !engines.get(engine.name()).is_some_and(same) {
            engines.retain(|_, entry| entry.engine.strong_count() > 0);
            let (_, asking) = watch::channel(());
            let entry = Entry { engine: Arc::downgrade(engine), told: None, asked: now, asking };
            engines.insert(engine.name().clone(), entry);
        }
        let Some(entry) = engines.get_mut(engine.name()) else {
            return Next::Use(Err(Unknown::Unreachable));
        };
        let age = now.saturating_duration_since(entry.asked);
        let wanted = match &entry.told {
            None => true,
            Some(Ok(_)) => age >= OLD,
            Some(Err(_)) => age >= PAUSE,
        };
        if wanted && !entry.is_asking() {
            self.begin(entry, engine, now);
        }
        match &entry.told {
            Some(Ok(described)) => Next::Use(Ok(Arc::clone(described))),
            Some(Err(unknown)) if !entry.is_asking() => Next::Use(Err(*unknown)),
            Some(Err(_)) | None => Next::Wait(entry.asking.clone()),
        }
    }

    /// Asks; on its own, because whoever wants to know may go away.
    fn begin(self: &Arc<Self>, entry: &mut Entry, engine: &Arc<Engine>, now: Instant) {
        let (sender, receiver) = watch::channel(());
        (entry.asked, entry.asking) = (now, receiver);
        let (me, engine) = (Arc::clone(self), Arc::clone(engine));
        tokio::spawn(async move {
            let told = ask_any(&engine).await;
            me.learned(&engine, told);
            drop(sender);
        });
    }

    fn learned(&self, engine: &Engine, told: Told) {
        let mut engines = self.lock();
        let Some(entry) = engines.get_mut(engine.name()) else { return };
        // What was known goes on serving.
        if told.is_ok() || !matches!(entry.told, Some(Ok(_))) {
            entry.told = Some(told);
        }
    }

    fn told(&self, engine: &Engine) -> Option<Told> {
        self.lock().get(engine.name())?.told.clone()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Entry>> {
        self.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks one endpoint after another until one tells.
async fn ask_any(engine: &Engine) -> Told {
    let mut endpoints: Vec<_> = {
        let settings = engine.settings();
        let used = settings.members.iter().filter(|m| !m.drain && !m.endpoint.is_unhealthy());
        used.map(|member| Arc::clone(&member.endpoint)).collect()
    };
    fastrand::shuffle(&mut endpoints);
    let mut unknown = Unknown::NoEndpoint;
    for endpoint in endpoints.iter().take(MOST_ASKED) {
        match ask(endpoint).await {
            Ok(pool) => return Ok(Arc::new(describe(engine.name(), pool))),
            Err(fault) => {
                tracing::warn!(
                    engine = %engine.name(), endpoint = endpoint.address().as_str(), %fault,
                    "JSON calls cannot be translated by what this endpoint says"
                );
                unknown = match fault {
                    Fault::Unreachable(_) | Fault::Late => Unknown::Unreachable,
                    Fault::Call(_) | Fault::TooMuch(_) | Fault::Senseless(_) => Unknown::NotTold,
                };
            }
        }
    }
    Err(unknown)
}

fn describe(engine: &Name, mut pool: DescriptorPool) -> Described {
    let rules = Rules::of(&pool, |method, why| {
        tracing::warn!(%engine, method = method.full_name(), why, "a google.api.http rule is left out");
    });
    let (services, methods) = (pool.services().len(), rules.len());
    tracing::info!(%engine, services, rules = methods, "the engine has described its methods");
    // Details of statuses that the engine does not describe itself.
    if let Err(error) = pool.decode_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET) {
        tracing::debug!(%engine, %error, "its descriptors leave no room for those of google.rpc");
    }
    Described { pool, rules }
}

#[cfg(test)]
mod tests {
    use pigeon_demo_engine::Config;
    use pigeon_proto::model::{Spec, document};

    use super::*;
    use crate::engine::Clock;

    fn engine(address: &str) -> Arc<Engine> {
        let text =
            format!("kind: engine\nname: e\nspec: {{endpoints: [{{address: \"{address}\"}}]}}");
        let objects = document::parse(&text).expect("a document");
        let engine = Arc::new(Engine::new("e".parse().expect("a name"), Clock::monotonic()));
        for object in objects {
            if let Spec::Engine(spec) = object.spec {
                engine.update(&spec);
            }
        }
        engine
    }

    async fn demo() -> (String, tokio::task::JoinHandle<()>) {
        let listen = ([127, 0, 0, 1], 0).into();
        let config = Config { name: "demo".to_owned(), listen, delay: Duration::ZERO, slots: None };
        let demo = pigeon_demo_engine::bind(config).await.expect("bound");
        let address = demo.local_addr().to_string();
        (address, tokio::spawn(async move { drop(demo.run(std::future::pending()).await) }))
    }

    #[tokio::test]
    async fn an_engine_tells_what_it_serves_and_is_asked_once() {
        let (address, running) = demo().await;
        let (known, engine) = (Arc::new(Descriptions::default()), engine(&address));
        let both = tokio::join!(known.of(&engine), known.of(&engine));
        let (first, second) = (both.0.expect("told"), both.1.expect("told"));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(first.pool.get_service_by_name("pigeon.demo.v1.Echo").is_some());
        assert!(first.pool.get_message_by_name("google.rpc.ErrorInfo").is_some());
        // Asked a moment ago: nothing newer is to be had yet, and the same serves without its engine.
        assert!(known.newer(&engine, &first).await.is_none());
        running.abort();
        let again = known.of(&engine).await.expect("known");
        assert!(Arc::ptr_eq(&first, &again));
    }

    #[tokio::test]
    async fn who_cannot_be_asked_is_unknown() {
        let known = Arc::new(Descriptions::default());
        let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = nobody.local_addr().expect("an address").to_string();
        drop(nobody);
        assert_eq!(known.of(&engine(&address)).await.err(), Some(Unknown::Unreachable));
    }
}
