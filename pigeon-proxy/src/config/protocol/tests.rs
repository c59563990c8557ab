//! The protocol against scripts of messages, good and bad.

use pigeon_proto::v1::snap_begin::Codec;
use sha2::{Digest as _, Sha256};

use super::config_down::M;
use super::*;
use prost::Message as _;

const CLUSTER: &str = "c1";

fn put(name: &str, mod_revision: u64, spec: &'static [u8]) -> v1::Put {
    let key = Some(v1::Key { kind: "engine".into(), name: name.into() });
    v1::Put { key, mod_revision, spec: Bytes::from_static(spec) }
}

fn state(revision: u64, puts: &[v1::Put]) -> RawState {
    RawState::new(revision, puts.to_vec()).expect("a state")
}

fn digest(raw: &RawState) -> Bytes {
    Bytes::copy_from_slice(&raw.digest().to_bytes())
}

fn held(revision: u64, puts: &[v1::Put]) -> Held {
    Held { cluster_id: CLUSTER.into(), generation: 1, raw: Arc::new(state(revision, puts)) }
}

fn welcome(mode: welcome::Mode, generation: u64, revision: u64) -> M {
    M::Welcome(v1::Welcome {
        cluster_id: CLUSTER.into(),
        generation,
        revision,
        oldest_delta: 1,
        mode: mode.into(),
        reason: "because".into(),
        beat_ms: 1000,
    })
}

/// The messages of a snapshot, in chunks of `chunk` bytes.
fn snapshot(raw: &RawState, codec: Codec, chunk: usize) -> (v1::SnapBegin, Vec<M>, v1::SnapEnd) {
    let plain = v1::Resources { put: raw.to_puts() }.encode_to_vec();
    let packed = match codec {
        Codec::Raw => plain.clone(),
        Codec::Zstd => zstd::encode_all(plain.as_slice(), 3).expect("packed"),
    };
    let chunks: Vec<M> = packed
        .chunks(chunk)
        .enumerate()
        .map(|(i, data)| {
            let index = u32::try_from(i).expect("few");
            M::Chunk(v1::SnapChunk { index, data: Bytes::copy_from_slice(data) })
        })
        .collect();
    let begin = v1::SnapBegin {
        revision: raw.revision(),
        chunks: u32::try_from(chunks.len()).expect("few"),
        bytes: packed.len() as u64,
        unpacked_bytes: plain.len() as u64,
        codec: codec.into(),
        sha256: Bytes::copy_from_slice(&Sha256::digest(&packed)),
    };
    (begin, chunks, v1::SnapEnd { revision: raw.revision(), digest: digest(raw) })
}

fn delta(from: &RawState, to: u64, put: Vec<v1::Put>) -> v1::Delta {
    let mut all = from.to_puts();
    all.retain(|old| put.iter().all(|new| new.key != old.key));
    all.extend(put.iter().cloned());
    let digest = digest(&state(to, &all));
    v1::Delta { prev: from.revision(), revision: to, put, del: vec![], digest }
}

fn beat(raw: &RawState, revision: u64) -> M {
    M::Beat(v1::Beat { id: 1, revision, digest: digest(raw) })
}

fn send(p: &mut Protocol, m: M) -> Result<Event, ProtocolError> {
    p.receive(v1::ConfigDown { m: Some(m) })
}

fn subscribed(held: Held) -> Protocol {
    let mut p = Protocol::new(held);
    p.subscribe(v1::NodeInfo::default());
    p
}

/// A proxy that resumed with `held`.
fn live(held: Held) -> Protocol {
    let revision = held.raw.revision();
    let mut p = subscribed(held);
    assert_eq!(send(&mut p, welcome(welcome::Mode::Resume, 1, revision)), Ok(Event::Resumed));
    p
}

/// A fresh proxy that was promised a snapshot.
fn promised() -> Protocol {
    let mut p = subscribed(Held::default());
    let promise = send(&mut p, welcome(welcome::Mode::Snapshot, 1, 5)).expect("promised");
    assert_eq!(promise, Event::SnapshotPromised("because".into()));
    p
}

fn feed(
    p: &mut Protocol,
    parts: (v1::SnapBegin, Vec<M>, v1::SnapEnd),
) -> Result<Event, ProtocolError> {
    send(p, M::Begin(parts.0))?;
    for chunk in parts.1 {
        send(p, chunk)?;
    }
    send(p, M::End(parts.2))
}

#[test]
fn a_fresh_proxy_takes_a_snapshot_then_deltas_and_beats() {
    let full = state(5, &[put("a", 2, b"x"), put("b", 5, b"y")]);
    for (codec, chunk) in [(Codec::Raw, 1), (Codec::Raw, 1000), (Codec::Zstd, 7)] {
        let mut p = promised();
        assert!(!p.is_live());
        assert_eq!(feed(&mut p, snapshot(&full, codec, chunk)), Ok(Event::Snapshot));
        assert!(p.is_live());
        assert_eq!(
            *p.held(),
            Held { cluster_id: CLUSTER.into(), generation: 1, raw: Arc::new(full.clone()) }
        );
        let d = delta(&full, 8, vec![put("a", 8, b"z")]);
        assert_eq!(send(&mut p, M::Delta(d)), Ok(Event::Delta));
        let now = Arc::clone(&p.held().raw);
        assert_eq!(send(&mut p, beat(&now, 8)), Ok(Event::Alive));
        assert_eq!(send(&mut p, beat(&now, 9)), Ok(Event::Bookmark));
        assert_eq!(p.held().raw.revision(), 9);
        let s = p.subscribe(v1::NodeInfo::default());
        assert_eq!((s.have_revision, s.have_digest), (9, digest(&now)));
        assert_eq!((s.cluster_id.as_str(), s.generation), (CLUSTER, 1));
    }
}

#[test]
fn an_empty_configuration_is_one() {
    let empty = state(5, &[]);
    for codec in [Codec::Raw, Codec::Zstd] {
        let mut p = promised();
        assert_eq!(feed(&mut p, snapshot(&empty, codec, 100)), Ok(Event::Snapshot));
        assert_eq!(p.held().raw.revision(), 5);
    }
}

#[test]
fn a_delta_that_does_not_fit_leaves_everything_as_it_was() {
    let objects = [put("a", 2, b"x")];
    let before = held(5, &objects);
    let good = delta(&before.raw, 6, vec![put("b", 6, b"y")]);
    let gap = v1::Delta { prev: 4, ..good.clone() };
    let twice = v1::Delta { put: vec![put("b", 6, b"y"), put("b", 6, b"y")], ..good.clone() };
    let other = v1::Delta { digest: Bytes::from_static(&[7; 16]), ..good.clone() };
    for (bad, mismatch) in [(gap, false), (twice, false), (other, true)] {
        let mut p = live(before.clone());
        let e = send(&mut p, M::Delta(bad)).expect_err("refused");
        assert_eq!((e.is_mismatch(), e.needs_someone()), (mismatch, false), "{e}");
        assert_eq!(*p.held(), before);
        let have = p.subscribe(v1::NodeInfo::default()).have_revision;
        assert_eq!(have, if mismatch { 0 } else { 5 }, "{e}");
    }
}

#[test]
fn after_a_digest_mismatch_only_a_snapshot_helps() {
    let before = held(5, &[put("a", 2, b"x")]);
    let theirs = state(5, &[put("a", 2, b"other")]);
    let mut p = live(before.clone());
    let e = send(&mut p, beat(&theirs, 5)).expect_err("mismatch");
    assert!(e.is_mismatch(), "{e}");
    for _ in 0..2 {
        let s = p.subscribe(v1::NodeInfo::default());
        assert_eq!(
            (s.have_revision, s.have_digest, s.cluster_id.as_str()),
            (0, Bytes::new(), CLUSTER)
        );
        // What is held goes on serving, but may not be resumed.
        assert_eq!(*p.held(), before);
        send(&mut p, welcome(welcome::Mode::Resume, 1, 5)).expect_err("no resume");
    }
    p.subscribe(v1::NodeInfo::default());
    send(&mut p, welcome(welcome::Mode::Snapshot, 1, 5)).expect("promised");
    assert_eq!(feed(&mut p, snapshot(&theirs, Codec::Zstd, 100)), Ok(Event::Snapshot));
    assert_eq!(*p.held().raw, theirs);
    assert_eq!(p.subscribe(v1::NodeInfo::default()).have_revision, 5);
}

#[test]
fn bad_snapshots_are_refused_for_their_reason() {
    type Spoil = fn(&mut (v1::SnapBegin, Vec<M>, v1::SnapEnd));
    let cases: [(&str, Spoil); 14] = [
        ("SHA-256 is not the one announced", |s| s.0.sha256 = Bytes::from_static(&[1; 32])),
        ("has not 32 bytes", |s| s.0.sha256 = Bytes::from_static(&[1; 31])),
        ("more than the 67108864", |s| s.0.bytes = (64 << 20) + 1),
        ("more than the 67108864", |s| s.0.bytes = u64::MAX),
        ("more than the 536870912", |s| s.0.unpacked_bytes = (512 << 20) + 1),
        ("not known to this version", |s| s.0.codec = 9),
        ("more chunks than bytes", |s| s.0.chunks = u32::MAX),
        ("unpacked to", |s| s.0.unpacked_bytes -= 1),
        ("chunk 1 came where 0", |s| s.1.swap(0, 1)),
        ("ended after", |s| drop(s.1.pop())),
        ("more than", |s| s.0.bytes -= 1),
        ("ended at 6", |s| s.2.revision = 6),
        ("the admin says", |s| s.2.digest = Bytes::from_static(&[1; 16])),
        ("the admin says none", |s| s.2.digest = Bytes::new()),
    ];
    let full = state(5, &[put("a", 2, b"x"), put("b", 5, b"y")]);
    for (why, spoil) in cases {
        let mut p = promised();
        let mut parts = snapshot(&full, Codec::Zstd, 10);
        spoil(&mut parts);
        let e = feed(&mut p, parts).expect_err(why);
        assert!(e.to_string().contains(why), "{why}: {e}");
        assert_eq!(*p.held(), Held::default(), "{why}");
    }
}

#[test]
fn a_snapshot_never_unpacks_to_more_than_it_announced() {
    let bomb = vec![0_u8; 8 << 20];
    let packed = zstd::encode_all(bomb.as_slice(), 19).expect("packed");
    let begin = v1::SnapBegin {
        revision: 5,
        chunks: 1,
        bytes: packed.len() as u64,
        unpacked_bytes: 100,
        codec: Codec::Zstd.into(),
        sha256: Bytes::copy_from_slice(&Sha256::digest(&packed)),
    };
    let chunk = M::Chunk(v1::SnapChunk { index: 0, data: packed.into() });
    let end = v1::SnapEnd { revision: 5, digest: Bytes::new() };
    let e = feed(&mut promised(), (begin, vec![chunk], end)).expect_err("refused");
    assert!(e.to_string().contains("unpacked to 101 of 100"), "{e}");
}

#[test]
fn one_key_twice_makes_a_snapshot_malformed() {
    let double = v1::Resources { put: vec![put("a", 1, b"x"), put("a", 1, b"x")] }.encode_to_vec();
    let begin = v1::SnapBegin {
        revision: 5,
        chunks: 1,
        bytes: double.len() as u64,
        unpacked_bytes: double.len() as u64,
        codec: Codec::Raw.into(),
        sha256: Bytes::copy_from_slice(&Sha256::digest(&double)),
    };
    let chunk = M::Chunk(v1::SnapChunk { index: 0, data: double.into() });
    let end = v1::SnapEnd { revision: 5, digest: Bytes::new() };
    let e = feed(&mut promised(), (begin, vec![chunk], end)).expect_err("refused");
    assert!(e.to_string().contains("engine/a is there twice"), "{e}");
}

#[test]
fn kinds_of_a_newer_version_are_kept_as_sent() {
    let mut newer = put("t", 5, b"?");
    newer.key = Some(v1::Key { kind: "tenant".into(), name: "T 1".into() });
    let full = state(5, &[newer]);
    let mut p = promised();
    assert_eq!(feed(&mut p, snapshot(&full, Codec::Raw, 100)), Ok(Event::Snapshot));
    assert_eq!(*p.held().raw, full);
}

#[test]
fn messages_out_of_place_end_the_stream() {
    let raw = state(5, &[]);
    let (begin, _, end) = snapshot(&raw, Codec::Raw, 10);
    let chunk = || M::Chunk(v1::SnapChunk::default());
    let d = || M::Delta(v1::Delta::default());
    let refused = |p: &mut Protocol, m: M| {
        let e = send(p, m.clone()).expect_err("out of place");
        assert!(matches!(e, ProtocolError::OutOfPlace(_)), "{m:?}: {e}");
    };
    for m in [M::Begin(begin.clone()), chunk(), M::End(end.clone()), d(), beat(&raw, 5)] {
        refused(&mut subscribed(Held::default()), m);
    }
    for m in [chunk(), M::End(end.clone()), d(), welcome(welcome::Mode::Resume, 1, 5)] {
        refused(&mut promised(), m);
    }
    for m in [M::Begin(begin), chunk(), M::End(end), welcome(welcome::Mode::Snapshot, 1, 5)] {
        refused(&mut live(held(5, &[])), m);
    }
    // Nothing is held, yet there is something to resume; another generation cannot be resumed either.
    refused(&mut subscribed(Held::default()), welcome(welcome::Mode::Resume, 1, 5));
    refused(&mut subscribed(held(5, &[])), welcome(welcome::Mode::Resume, 2, 5));
    let unknown = subscribed(Held::default()).receive(v1::ConfigDown { m: None });
    assert!(matches!(unknown, Err(ProtocolError::OutOfPlace(_))));
}

#[test]
fn an_admin_with_nothing_yet_may_be_resumed() {
    let mut p = subscribed(Held::default());
    assert_eq!(send(&mut p, welcome(welcome::Mode::Resume, 1, 0)), Ok(Event::Resumed));
    let first = delta(&state(0, &[]), 1, vec![put("a", 1, b"x")]);
    assert_eq!(send(&mut p, M::Delta(first)), Ok(Event::Delta));
    assert_eq!((p.held().cluster_id.as_str(), p.held().raw.revision()), (CLUSTER, 1));
}

#[test]
fn an_older_pair_of_generation_and_revision_is_never_taken() {
    let before = held(5, &[put("a", 2, b"x")]);
    for (generation, revision) in [(0, 9), (1, 4)] {
        for mode in [welcome::Mode::Resume, welcome::Mode::Snapshot] {
            let mut p = subscribed(before.clone());
            let e = send(&mut p, welcome(mode, generation, revision)).expect_err("older");
            assert!(matches!(e, ProtocolError::Backwards { .. }) && e.needs_someone(), "{e}");
        }
    }
    let mut p = live(before.clone());
    let e = send(&mut p, beat(&before.raw, 4)).expect_err("older");
    assert!(matches!(e, ProtocolError::Backwards { .. }), "{e}");
    // The welcome promised enough, the snapshot is older all the same.
    let mut p = subscribed(before.clone());
    send(&mut p, welcome(welcome::Mode::Snapshot, 1, 5)).expect("promised");
    let e = feed(&mut p, snapshot(&state(4, &[]), Codec::Raw, 10)).expect_err("older");
    assert!(matches!(e, ProtocolError::Backwards { .. }), "{e}");
    assert_eq!(*p.held(), before);
    // A restored admin: a higher generation, and any revision of it.
    let mut p = subscribed(before);
    send(&mut p, welcome(welcome::Mode::Snapshot, 2, 3)).expect("promised");
    assert_eq!(feed(&mut p, snapshot(&state(3, &[]), Codec::Raw, 10)), Ok(Event::Snapshot));
    assert_eq!((p.held().generation, p.held().raw.revision()), (2, 3));
}

#[test]
fn another_cluster_is_refused() {
    let mut p = subscribed(held(5, &[]));
    let mut m = v1::Welcome { cluster_id: "c2".into(), revision: 9, ..Default::default() };
    let e = send(&mut p, M::Welcome(m.clone())).expect_err("other");
    assert!(e.needs_someone() && e.to_string().contains("c2"), "{e}");
    m.cluster_id.clear();
    p.subscribe(v1::NodeInfo::default());
    assert!(matches!(send(&mut p, M::Welcome(m)), Err(ProtocolError::OutOfPlace(_))));
}

#[test]
fn an_unfinished_snapshot_is_forgotten_with_its_stream() {
    let full = state(5, &[put("a", 2, b"x")]);
    let (begin, chunks, end) = snapshot(&full, Codec::Raw, 3);
    let mut p = promised();
    send(&mut p, M::Begin(begin.clone())).expect("begun");
    send(&mut p, chunks[0].clone()).expect("first");
    // Beats in between say nothing about what is on its way.
    assert_eq!(send(&mut p, beat(&state(9, &[]), 9)), Ok(Event::Alive));
    p.subscribe(v1::NodeInfo::default());
    send(&mut p, welcome(welcome::Mode::Snapshot, 1, 5)).expect("promised");
    assert_eq!(feed(&mut p, (begin, chunks, end)), Ok(Event::Snapshot));
}

#[test]
fn a_goaway_is_always_in_place_and_bounded() {
    let away = |ms| M::Goaway(v1::GoAway { after_ms: ms, reason: "restart".into() });
    let event = |ms| Event::GoAway { after: Duration::from_millis(ms), reason: "restart".into() };
    assert_eq!(send(&mut subscribed(Held::default()), away(7)), Ok(event(7)));
    assert_eq!(send(&mut promised(), away(7)), Ok(event(7)));
    assert_eq!(send(&mut live(held(5, &[])), away(u32::MAX)), Ok(event(300_000)));
}

#[test]
fn patience_follows_the_beat() {
    let mut p = subscribed(held(5, &[]));
    assert_eq!(p.patience(), GREETING);
    for (beat_ms, seconds) in [(2000, 6.0), (0, 0.3), (u32::MAX, 180.0)] {
        p.subscribe(v1::NodeInfo::default());
        let M::Welcome(w) = welcome(welcome::Mode::Resume, 1, 5) else { unreachable!() };
        send(&mut p, M::Welcome(v1::Welcome { beat_ms, ..w })).expect("resumed");
        assert_eq!(p.patience().as_secs_f64(), seconds);
    }
    assert_eq!(promised().patience(), SNAPSHOT_TURN);
}
