//! Slots while two processes carry calls for the same engines.
//!
//! The old process takes all its free slots out of use ([`Lender::freeze`]), and the new one counts those
//! that are still held as taken ([`Borrowed`]). Whatever becomes free in the old one goes to its own waiting
//! calls first, then to the new one. A call that still comes to the old one waits there until the new one
//! grants it a slot, which the new one takes as for a call of its own.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use pigeon_proto::model::{Address, Name};

use super::wire::{Held, Message};
use crate::admit::{Admission, Ask, Permit, Tried, Waiting, admit};
use crate::engine::{Endpoint, Engine};
use crate::gateway::Gateway;

/// The old process's side.
#[derive(Debug, Default)]
pub struct Lender {
    endpoints: HashMap<(Name, Address), Lent>,
    /// Asked for and neither granted nor refused yet.
    wanted: HashMap<Name, (Arc<Engine>, u32)>,
}

#[derive(Debug)]
struct Lent {
    endpoint: Arc<Endpoint>,
    /// How many calls it may have; none where nothing limits them.
    limit: Option<u32>,
    /// Taken here so that no call takes them: the new process's.
    given: u32,
    /// What the new process counts for this one.
    told: i64,
}

impl Lent {
    /// Takes what has become free; says how many slots more are held than was told.
    fn change(&mut self) -> i64 {
        if let Some(limit) = self.limit {
            self.given += self.endpoint.take_free(limit);
        }
        let held = i64::from(self.endpoint.in_use()) - i64::from(self.given);
        held - std::mem::replace(&mut self.told, held)
    }
}

impl Lender {
    /// Takes every free slot out of use. From here on calls wait for what the new process grants.
    pub fn freeze(gateway: &Gateway) -> Self {
        let mut lender = Self::default();
        for engine in gateway.all_engines() {
            engine.set_handed_over(true);
            for (endpoint, limit) in engine.counted_endpoints() {
                let key = (engine.name().clone(), endpoint.address().clone());
                let limit = limit.filter(|limit| *limit != u32::MAX);
                lender.endpoints.insert(key, Lent { endpoint, limit, given: 0, told: 0 });
            }
            lender.wanted.insert(engine.name().clone(), (engine, 0));
        }
        lender
    }

    /// What changed since it was last told; after [`Lender::freeze`] all that is held.
    pub fn changes(&mut self) -> Vec<Held> {
        let mut changes = Vec::new();
        for ((engine, endpoint), lent) in &mut self.endpoints {
            let slots = lent.change();
            if slots != 0 {
                let (engine, endpoint) = (engine.clone(), endpoint.clone());
                changes.push(Held { engine, endpoint, slots });
            }
        }
        changes
    }

    /// The calls that wait and were not asked for yet.
    pub fn wants(&mut self) -> Vec<Message> {
        let mut wants = Vec::new();
        for (name, (engine, asked)) in &mut self.wanted {
            let calls = engine.waiting().saturating_sub(*asked);
            if calls > 0 {
                *asked += calls;
                wants.push(Message::Want { engine: name.clone(), calls });
            }
        }
        wants
    }

    /// The new process has given one slot for a call of this engine. What nobody here can use goes back with
    /// the next [`Lender::changes`].
    pub fn granted(&mut self, engine: Name, endpoint: Address) -> Option<Held> {
        self.answered(&engine);
        let key = (engine, endpoint);
        match self.endpoints.get_mut(&key) {
            Some(lent) if lent.given > 0 => {
                lent.given -= 1;
                lent.told += 1;
                lent.endpoint.engine().release(&lent.endpoint);
                None
            }
            _ => Some(Held { engine: key.0, endpoint: key.1, slots: -1 }),
        }
    }

    /// A call that was asked for is not waited for any more by the new process.
    pub fn answered(&mut self, engine: &Name) {
        if let Some((_, asked)) = self.wanted.get_mut(engine) {
            *asked = asked.saturating_sub(1);
        }
    }
}

impl Drop for Lender {
    /// Everything is as before.
    fn drop(&mut self) {
        for (engine, _) in self.wanted.values() {
            engine.set_handed_over(false);
        }
        for lent in self.endpoints.values() {
            for _ in 0..lent.given {
                lent.endpoint.engine().release(&lent.endpoint);
            }
        }
    }
}

/// The new process's side: what the calls of the old one hold. Dropping it frees all of it.
#[derive(Default)]
pub struct Borrowed {
    held: HashMap<(Name, Address), Vec<Permit>>,
    waiting: FuturesUnordered<Lined>,
}

/// A call of the old process that waits in line here.
struct Lined {
    engine: Name,
    waiting: Waiting,
}

impl Future for Lined {
    type Output = (Name, Option<Permit>);

    fn poll(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Self::Output> {
        let polled = std::pin::Pin::new(&mut self.waiting).poll(cx);
        polled.map(|grant| (self.engine.clone(), grant.ok()))
    }
}

impl Borrowed {
    /// Whether the old process holds anything.
    pub fn count(&self) -> usize {
        self.held.values().map(Vec::len).sum()
    }

    /// The old process holds more, or fewer.
    pub fn change(&mut self, gateway: &Gateway, changes: Vec<Held>) {
        let engines = gateway.all_engines();
        for Held { engine, endpoint, slots } in changes {
            let known = || {
                let engine = engines.iter().find(|e| *e.name() == engine)?;
                let all = engine.counted_endpoints().into_iter().map(|(e, _)| e);
                all.into_iter().find(|e| *e.address() == endpoint)
            };
            if slots > 0 {
                // An endpoint that is not configured here gets no calls from here.
                let Some(endpoint) = known() else { continue };
                let key = (engine, endpoint.address().clone());
                let held = self.held.entry(key).or_default();
                held.extend((0..slots).map(|_| endpoint.inherit()));
            } else if let Some(held) = self.held.get_mut(&(engine, endpoint)) {
                let left = usize::try_from(slots.unsigned_abs()).unwrap_or(usize::MAX);
                held.truncate(held.len().saturating_sub(left));
            }
        }
    }

    /// Calls of the old process wait: takes slots for them, or a place in line.
    pub fn want(&mut self, gateway: &Gateway, name: &Name, calls: u32) -> Vec<Message> {
        let engine = gateway.engines().into_iter().find(|e| e.name() == name);
        let mut answers = Vec::new();
        for _ in 0..calls {
            let asked = engine
                .as_ref()
                .map(|engine| admit(engine, &Ask::new(&Tried::default(), fastrand::u64(..))));
            match asked {
                Some(Admission::Granted(permit)) => answers.push(self.grant(name, Some(permit))),
                Some(Admission::Waiting(waiting)) => {
                    self.waiting.push(Lined { engine: name.clone(), waiting });
                }
                Some(Admission::Refused(_)) | None => answers.push(self.grant(name, None)),
            }
        }
        answers
    }

    /// A call of the old process that waited here has its slot, or gets none. Waits for ever if none waits.
    pub async fn served(&mut self) -> Message {
        match self.waiting.next().await {
            Some((engine, permit)) => self.grant(&engine, permit),
            None => std::future::pending().await,
        }
    }

    fn grant(&mut self, engine: &Name, permit: Option<Permit>) -> Message {
        let engine = engine.clone();
        let Some(permit) = permit else { return Message::None { engine } };
        let endpoint = permit.endpoint().address().clone();
        self.held.entry((engine.clone(), endpoint.clone())).or_default().push(permit);
        Message::Grant { engine, endpoint }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use pigeon_proto::model::{Snapshot, Versioned, document};

    use super::*;
    use crate::metrics::Metrics;
    use crate::record::AccessLog;

    const SLOTS: u32 = 3;

    fn gateway(queue: u32) -> Arc<Gateway> {
        let text = format!(
            "---\n{{kind: engine, name: e, spec: {{endpoints: [{{address: 'a:1'}}, {{address: 'b:1'}}], \
             pool: {{mode: strict, slots: {SLOTS}, queue: {queue}}}}}}}\n"
        );
        let version = |o: pigeon_proto::model::Object| {
            (o.key, Versioned { mod_revision: 1, spec: Arc::new(o.spec) })
        };
        let objects = document::parse(&text).expect("valid").into_iter().map(version).collect();
        let gateway = Gateway::new(Metrics::new(), AccessLog::off());
        gateway.install(&Snapshot { revision: 1, objects });
        gateway
    }

    fn ask(gateway: &Gateway) -> Admission {
        admit(&gateway.engines()[0], &Ask::new(&Tried::default(), fastrand::u64(..)))
    }

    fn in_use(gateway: &Gateway) -> u32 {
        gateway.usage()[0].endpoints.iter().map(|e| e.in_use).sum()
    }

    /// Carries the messages of both until nothing is left to say.
    fn talk(old: &mut Lender, new: &mut Borrowed, gateway: &Gateway) {
        loop {
            let changes = old.changes();
            let wants = old.wants();
            let quiet = changes.is_empty() && wants.is_empty();
            new.change(gateway, changes);
            let mut answers = Vec::new();
            for want in wants {
                let Message::Want { engine, calls } = want else { panic!("{want:?}") };
                answers.extend(new.want(gateway, &engine, calls));
            }
            answers.extend(std::iter::from_fn(|| new.served().now_or_never()));
            let none = answers.is_empty();
            for answer in answers {
                match answer {
                    Message::Grant { engine, endpoint } => {
                        let back = old.granted(engine, endpoint);
                        new.change(gateway, back.into_iter().collect());
                    }
                    Message::None { engine } => old.answered(&engine),
                    other => panic!("{other:?}"),
                }
            }
            if quiet && none {
                return;
            }
        }
    }

    /// Those that have got their slots run.
    fn served(waiting: &mut Vec<(bool, Waiting)>, running: &mut Vec<(bool, Permit)>) {
        waiting.retain_mut(|(second, call)| match call.now_or_never() {
            Some(permit) => {
                running.push((*second, permit.expect("granted")));
                false
            }
            None => true,
        });
    }

    /// Calls come to both and end on both, in any order: together they never hold more slots than there are,
    /// and in the end each slot is free.
    #[test]
    fn both_together_never_hold_more_than_there_are() {
        for seed in 0..200 {
            fastrand::seed(seed);
            let (one, two) = (gateway(100), gateway(100));
            let mut running: Vec<(bool, Permit)> = Vec::new();
            let mut waiting: Vec<(bool, Waiting)> = Vec::new();
            for _ in 0..fastrand::usize(..8) {
                match ask(&one) {
                    Admission::Granted(permit) => running.push((false, permit)),
                    Admission::Waiting(call) => waiting.push((false, call)),
                    Admission::Refused(refusal) => panic!("{refusal:?}"),
                }
            }
            let (mut old, mut new) = (Lender::freeze(&one), Borrowed::default());
            // Before the new process takes its first call.
            new.change(&two, old.changes());
            for _ in 0..60 {
                if fastrand::bool() {
                    talk(&mut old, &mut new, &two);
                }
                let second = fastrand::bool();
                match fastrand::usize(..running.len() + 4) {
                    n if n < running.len() => drop(running.swap_remove(n)),
                    _ => match ask(if second { &two } else { &one }) {
                        Admission::Granted(permit) => running.push((second, permit)),
                        Admission::Waiting(call) => waiting.push((second, call)),
                        Admission::Refused(refusal) => panic!("{refusal:?}"),
                    },
                }
                served(&mut waiting, &mut running);
                for endpoint in ["a:1", "b:1"] {
                    let on = |p: &&(bool, Permit)| p.1.endpoint().address().as_str() == endpoint;
                    let held = running.iter().filter(on).count();
                    assert!(held <= SLOTS as usize, "{held} calls on {endpoint}");
                }
            }
            // Nobody waits while a slot is free.
            talk(&mut old, &mut new, &two);
            served(&mut waiting, &mut running);
            assert!(waiting.is_empty() || running.len() == 2 * SLOTS as usize, "{}", running.len());
            drop((waiting, running));
            talk(&mut old, &mut new, &two);
            assert_eq!((new.count(), in_use(&two)), (0, 0), "seed {seed}");
            drop(old);
            assert_eq!(in_use(&one), 0);
        }
    }

    #[test]
    fn one_that_is_given_up_changes_nothing() {
        let one = gateway(0);
        let Admission::Granted(permit) = ask(&one) else { panic!("a slot is free") };
        let mut old = Lender::freeze(&one);
        assert_eq!(old.changes().iter().map(|h| h.slots).sum::<i64>(), 1);
        assert_eq!(in_use(&one), 2 * SLOTS);
        // Even without a queue: the new process may have one.
        let Admission::Waiting(call) = ask(&one) else { panic!("it waits") };
        drop(old);
        drop(call.now_or_never().expect("granted"));
        drop(permit);
        assert_eq!(in_use(&one), 0);
    }
}
