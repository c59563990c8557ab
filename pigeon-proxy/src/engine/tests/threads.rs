//! Many threads on one engine: never a slot too many, and nobody sleeps for ever.

use std::sync::atomic::AtomicU32;

use super::*;

const THREADS: u64 = 8;
const CALLS: u64 = 4_000;
const SLOTS: u32 = 3;
/// Only to end a test that would otherwise never end.
const FOR_EVER: Duration = Duration::from_secs(60);

/// What the endpoints would see.
#[derive(Default)]
struct Seen {
    now: [AtomicU32; 2],
    most: AtomicU32,
    waited: AtomicU32,
}

fn one_call(engine: &Arc<Engine>, runtime: &tokio::runtime::Runtime, seen: &Seen, seed: u64) {
    let permit = match admit(engine, &Ask::new(&Tried::default(), seed)) {
        Admission::Granted(permit) => permit,
        Admission::Waiting(mut waiting) => {
            seen.waited.fetch_add(1, Ordering::Relaxed);
            if seed.is_multiple_of(5) {
                // Goes away, perhaps just when its permit comes.
                for _ in 0..seed % 64 {
                    std::hint::spin_loop();
                }
                return;
            }
            let granted =
                runtime.block_on(async { tokio::time::timeout(FOR_EVER, &mut waiting).await });
            granted.expect("a waiter was forgotten").expect("a permit")
        }
        Admission::Refused(refusal) => panic!("{refusal:?}"),
    };
    let index = usize::from(permit.endpoint().address().as_str() != "a:1");
    let now = seen.now[index].fetch_add(1, Ordering::SeqCst) + 1;
    seen.most.fetch_max(now, Ordering::SeqCst);
    if seed.is_multiple_of(3) {
        std::thread::yield_now();
    }
    seen.now[index].fetch_sub(1, Ordering::SeqCst);
    drop(permit);
}

#[test]
fn never_a_slot_too_many_and_nobody_forgotten() {
    let rig = Rig::new(&strict(&["a:1", "b:1"], SLOTS, 1_000));
    let seen = Seen::default();
    // Slots come and go meanwhile, never above SLOTS, which is what `seen` is held against.
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (engine, seen) = (&rig.engine, &seen);
            scope.spawn(move || {
                let mut builder = tokio::runtime::Builder::new_current_thread();
                let runtime = builder.enable_time().build().expect("a runtime");
                for call in 0..CALLS {
                    let seed = crate::engine::clock::scramble(thread * CALLS + call);
                    one_call(engine, &runtime, seen, seed);
                    if thread == 0 && call % 50 == 0 {
                        engine.update(&strict(&["a:1", "b:1"], 1 + (call / 50 % 3) as u32, 1_000));
                    }
                }
            });
        }
    });
    assert!(seen.most.load(Ordering::SeqCst) <= SLOTS);
    assert!(seen.waited.load(Ordering::SeqCst) > 0, "the line was never used");
    assert_eq!((rig.in_use(), rig.engine.waiting()), (vec![0, 0], 0));
}
