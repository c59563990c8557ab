//! The same events to an engine and to a naive reference; after each, both must agree.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    /// A call comes.
    Arrive,
    /// A running call ends.
    End(usize),
    /// A waiting call goes away.
    Leave(usize),
    /// A running call is broken off, and its slot rests.
    BreakOff(usize),
    /// A rest ends.
    RestEnds(usize),
    /// New settings: slots, queue, which of three endpoints exist, loose or strict.
    Update { slots: u32, queue: u32, present: u8, loose: bool },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => Just(Event::Arrive),
        4 => any::<usize>().prop_map(Event::End),
        2 => any::<usize>().prop_map(Event::Leave),
        1 => any::<usize>().prop_map(Event::BreakOff),
        1 => any::<usize>().prop_map(Event::RestEnds),
        1 => (1..4_u32, 0..5_u32, 0..8_u8, any::<bool>())
            .prop_map(|(slots, queue, present, loose)| Event::Update { slots, queue, present, loose }),
    ]
}

const ADDRESSES: [&str; 3] = ["a:1", "b:1", "c:1"];

fn settings(slots: u32, queue: u32, present: u8, loose: bool) -> model::Engine {
    let here = |(i, _): &(usize, &&str)| present & (1 << i) != 0;
    let addresses: Vec<&str> = ADDRESSES.iter().enumerate().filter(here).map(|(_, a)| *a).collect();
    let mut spec = strict(&addresses, slots, queue);
    if loose {
        spec.pool.mode = PoolMode::Loose;
        spec.pool.loose_factor = 2;
    }
    spec
}

/// What should be, by the simplest means.
#[derive(Debug, Default)]
struct Reference {
    limit: u32,
    queue: usize,
    present: Vec<&'static str>,
    /// Slots taken, by address.
    taken: BTreeMap<String, u32>,
    waiting: Vec<usize>,
}

impl Reference {
    fn free(&self) -> u32 {
        let free = |a: &&str| self.limit.saturating_sub(self.taken.get(*a).copied().unwrap_or(0));
        self.present.iter().map(free).sum()
    }

    fn update(&mut self, spec: &model::Engine) {
        let factor = if spec.pool.mode == PoolMode::Loose { spec.pool.loose_factor } else { 1 };
        self.limit = spec.pool.slots.expect("set") * factor;
        self.queue = spec.pool.queue as usize;
        let here = |a: &&&str| spec.endpoints.iter().any(|e| e.address.as_str() == **a);
        self.present = ADDRESSES.iter().filter(here).copied().collect();
    }
}

/// Both sides, and the calls as they stand.
struct Both {
    rig: Rig,
    reference: Reference,
    running: BTreeMap<usize, Permit>,
    waiting: BTreeMap<usize, Waiting>,
    resting: Vec<(String, crate::admit::Rest)>,
    next: usize,
}

fn nth<K: Copy, V>(map: &BTreeMap<K, V>, n: usize) -> Option<K> {
    (!map.is_empty()).then(|| *map.keys().nth(n % map.len()).expect("in range"))
}

impl Both {
    fn new() -> Self {
        let spec = settings(2, 3, 0b011, false);
        let mut reference = Reference::default();
        reference.update(&spec);
        Self {
            rig: Rig::new(&spec),
            reference,
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            resting: Vec::new(),
            next: 0,
        }
    }

    fn take(&mut self, call: usize, permit: Permit) {
        let address = permit.endpoint().address().to_string();
        assert!(self.reference.present.contains(&address.as_str()), "a call on a gone endpoint");
        let taken = self.reference.taken.entry(address).or_default();
        assert!(*taken < self.reference.limit, "a slot too many");
        *taken += 1;
        self.running.insert(call, permit);
    }

    fn step(&mut self, event: &Event) {
        match event {
            Event::Arrive => self.arrive(),
            Event::End(n) => {
                if let Some(permit) = nth(&self.running, *n).and_then(|c| self.running.remove(&c)) {
                    self.give_back(&permit.endpoint().address().to_string());
                    drop(permit);
                }
            }
            Event::Leave(n) => {
                if let Some(call) = nth(&self.waiting, *n) {
                    self.reference.waiting.retain(|c| *c != call);
                    self.waiting.remove(&call);
                }
            }
            Event::BreakOff(n) => {
                if let Some(permit) = nth(&self.running, *n).and_then(|c| self.running.remove(&c)) {
                    let address = permit.endpoint().address().to_string();
                    self.resting.push((address, permit.rest()));
                }
            }
            Event::RestEnds(n) => {
                if !self.resting.is_empty() {
                    let (address, rest) = self.resting.remove(n % self.resting.len());
                    self.give_back(&address);
                    drop(rest);
                }
            }
            Event::Update { slots, queue, present, loose } => {
                let spec = settings(*slots, *queue, *present, *loose);
                self.reference.update(&spec);
                self.rig.engine.update(&spec);
            }
        }
        self.settle();
    }

    fn give_back(&mut self, address: &str) {
        *self.reference.taken.get_mut(address).expect("taken") -= 1;
    }

    fn arrive(&mut self) {
        let call = self.next;
        self.next += 1;
        let reference = &self.reference;
        let (free, full) = (reference.free(), reference.waiting.len() >= reference.queue);
        let empty = reference.present.is_empty();
        match self.rig.admit() {
            Admission::Granted(permit) => {
                assert!(free > 0 && self.reference.waiting.is_empty(), "barged");
                self.take(call, permit);
            }
            Admission::Waiting(waiting) => {
                assert!(free == 0 && !full && !empty, "waits without need");
                self.reference.waiting.push(call);
                self.waiting.insert(call, waiting);
            }
            Admission::Refused(Refusal::NoEndpoint) => assert!(empty),
            Admission::Refused(Refusal::QueueFull { .. }) => assert!(free == 0 && full && !empty),
            Admission::Refused(Refusal::AllTried) => panic!("nothing was tried"),
        }
    }

    /// Serves the reference's line, and compares.
    fn settle(&mut self) {
        if self.reference.present.is_empty() {
            for call in std::mem::take(&mut self.reference.waiting) {
                let mut waiting = self.waiting.remove(&call).expect("both wait");
                let told = now(&mut waiting).expect("told at once");
                assert_eq!(told.err(), Some(Refusal::NoEndpoint));
            }
        }
        while self.reference.free() > 0 && !self.reference.waiting.is_empty() {
            let call = self.reference.waiting.remove(0);
            let mut waiting = self.waiting.remove(&call).expect("both wait");
            let permit = now(&mut waiting).expect("a slot is free").expect("a permit");
            self.take(call, permit);
        }
        for waiting in self.waiting.values_mut() {
            assert!(now(waiting).is_none(), "served out of turn");
        }
        assert_eq!(self.rig.engine.waiting() as usize, self.reference.waiting.len());
        for member in &self.rig.engine.settings().members {
            let taken = self.reference.taken.get(member.endpoint.address().as_str());
            assert_eq!(member.endpoint.in_use(), taken.copied().unwrap_or(0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn an_engine_does_what_the_reference_does(events in prop::collection::vec(event(), 1..80)) {
        let mut both = Both::new();
        for event in &events {
            both.step(event);
        }
        both.running.clear();
        both.resting.clear();
        both.waiting.clear();
        prop_assert!(both.rig.in_use().iter().all(|n| *n == 0));
        prop_assert_eq!(both.rig.engine.waiting(), 0);
    }
}
