//! The last known good configuration: what the admin sent, kept in the state directory, so that a proxy that
//! starts while the admin is away serves at once.
//!
//! The file: a line with the format and the SHA-256 of all that follows, a line of JSON (`Header`), then the
//! objects, then the older versions that stand in for objects this proxy could not use; both are encoded
//! `Resources`, packed with zstd. A file that does not add up is never trusted.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pigeon_proto::model::{RawKey, RawObject, RawState};
use pigeon_proto::v1;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Held, durable};

const FORMAT: &str = "pigeon-lkg 1";
/// Largest file read back, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// Most bytes its objects may unpack to.
const MAX_UNPACKED: u64 = 512 << 20;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The raw state and whose it is.
    pub held: Held,
    /// The newest revision that served with nothing refused.
    pub effective: u64,
    /// Older versions that served in place of objects of the raw state.
    pub stand_ins: Vec<(RawKey, RawObject)>,
    /// When it was saved, to the millisecond.
    pub at: SystemTime,
}

/// The line of JSON in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    cluster_id: String,
    generation: u64,
    revision: u64,
    effective: u64,
    digest: String,
    saved_at_ms: u64,
    packed_bytes: u64,
}

/// What the state directory holds.
#[derive(Debug)]
pub enum Found {
    /// No last known good.
    Nothing,
    /// This one.
    Saved(Saved),
    /// One that cannot be trusted: why, and where it was put aside, if that worked.
    Corrupt {
        /// What does not add up.
        why: String,
        /// The new name of the file.
        aside: Option<PathBuf>,
    },
}

/// The file in a state directory.
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("last-known-good")
}

/// Replaces the file by `saved`: whole after a crash, readable by the owner only.
///
/// # Errors
/// Whatever the file system says; the file is as before then.
pub fn save(path: &Path, saved: &Saved) -> io::Result<()> {
    let objects = pack(saved.held.raw.to_puts())?;
    let stand_ins = pack(saved.stand_ins.iter().map(put).collect())?;
    let since = saved.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let header = Header {
        cluster_id: saved.held.cluster_id.clone(),
        generation: saved.held.generation,
        revision: saved.held.raw.revision(),
        effective: saved.effective,
        digest: saved.held.raw.digest().to_string(),
        saved_at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        packed_bytes: objects.len() as u64,
    };
    let mut header = serde_json::to_vec(&header).map_err(io::Error::other)?;
    header.push(b'\n');
    let parts: [&[u8]; 3] = [&header, &objects, &stand_ins];
    let mut sum = Sha256::new();
    parts.iter().for_each(|part| sum.update(part));
    let first = format!("{FORMAT} {}\n", hex(&sum.finalize()));
    durable::replace(path, &[first.as_bytes(), parts[0], parts[1], parts[2]])
}

/// Reads the file. One that does not add up is renamed to `last-known-good.corrupt`.
///
/// # Errors
/// The file is there and cannot be read.
pub fn load(path: &Path) -> io::Result<Found> {
    let bytes = match durable::read_limited(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(e) => return Err(e),
    };
    Ok(match parse(&bytes) {
        Ok(saved) => Found::Saved(saved),
        Err(why) => {
            let aside = path.with_added_extension("corrupt");
            let renamed = std::fs::rename(path, &aside).and_then(|()| durable::sync_parent(path));
            Found::Corrupt { why, aside: renamed.is_ok().then_some(aside) }
        }
    })
}

fn parse(bytes: &[u8]) -> Result<Saved, String> {
    let (first, rest) = line(bytes).ok_or("it has no first line")?;
    let sum = std::str::from_utf8(first)
        .ok()
        .and_then(|l| l.strip_prefix(FORMAT)?.strip_prefix(' '))
        .ok_or("its first line is not that of this format")?;
    if hex(&Sha256::digest(rest)) != sum {
        return Err("its checksum does not match".into());
    }
    let (header, packed) = line(rest).ok_or("it has no header")?;
    let header: Header = serde_json::from_slice(header).map_err(|e| format!("its header: {e}"))?;
    let at = usize::try_from(header.packed_bytes).unwrap_or(usize::MAX);
    let (objects, stand_ins) = packed.split_at_checked(at).ok_or("it is cut short")?;
    let raw = RawState::new(header.revision, unpack(objects)?).map_err(|e| e.to_string())?;
    if raw.digest().to_string() != header.digest {
        return Err("the digest of its objects does not match".into());
    }
    let stand_ins = unpack(stand_ins)?.into_iter().filter_map(object).collect();
    let held =
        Held { cluster_id: header.cluster_id, generation: header.generation, raw: Arc::new(raw) };
    // A clock that was far off must not panic: at the latest now.
    let at = SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_millis(header.saved_at_ms))
        .unwrap_or_else(SystemTime::now);
    Ok(Saved { held, effective: header.effective, stand_ins, at })
}

fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

fn pack(put: Vec<v1::Put>) -> io::Result<Vec<u8>> {
    zstd::encode_all(v1::Resources { put }.encode_to_vec().as_slice(), 3)
}

fn unpack(packed: &[u8]) -> Result<Vec<v1::Put>, String> {
    let bad = |e: io::Error| format!("its objects do not unpack: {e}");
    let mut bytes = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(bad)?;
    decoder.take(MAX_UNPACKED + 1).read_to_end(&mut bytes).map_err(bad)?;
    if bytes.len() as u64 > MAX_UNPACKED {
        return Err("its objects unpack to more than this proxy takes".into());
    }
    v1::Resources::decode(bytes::Bytes::from(bytes))
        .map(|r| r.put)
        .map_err(|e| format!("its objects do not decode: {e}"))
}

fn put(((kind, name), object): &(RawKey, RawObject)) -> v1::Put {
    v1::Put {
        key: Some(v1::Key { kind: kind.clone(), name: name.clone() }),
        mod_revision: object.mod_revision,
        spec: object.spec.clone(),
    }
}

fn object(put: v1::Put) -> Option<(RawKey, RawObject)> {
    let key = put.key?;
    Some(((key.kind, key.name), RawObject { mod_revision: put.mod_revision, spec: put.spec }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn object(name: &str, mod_revision: u64, spec: &'static [u8]) -> (RawKey, RawObject) {
        let spec = bytes::Bytes::from_static(spec);
        (("engine".into(), name.into()), RawObject { mod_revision, spec })
    }

    fn saved() -> Saved {
        let objects = [object("a", 3, b"one"), object("b", 7, b"two")];
        let raw = RawState::new(7, objects.iter().map(put).collect()).expect("state");
        let held = Held { cluster_id: "c".into(), generation: 2, raw: Arc::new(raw) };
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
        Saved { held, effective: 6, stand_ins: vec![object("b", 5, b"old")], at }
    }

    #[test]
    fn what_is_saved_comes_back_and_is_private() {
        let folder = tempfile::tempdir().expect("folder");
        let path = path(folder.path());
        assert!(matches!(load(&path), Ok(Found::Nothing)));
        save(&path, &saved()).expect("saved");
        save(&path, &saved()).expect("saved over it");
        let Ok(Found::Saved(back)) = load(&path) else { panic!("not found") };
        assert_eq!(back, saved());
        let mode = std::fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn any_damage_is_noticed_and_put_aside() {
        let folder = tempfile::tempdir().expect("folder");
        let path = path(folder.path());
        save(&path, &saved()).expect("saved");
        let good = std::fs::read(&path).expect("bytes");
        let mut damaged: Vec<Vec<u8>> = vec![vec![], b"pigeon-lkg 1\n".to_vec()];
        for cut in (0..good.len()).step_by(7) {
            damaged.push(good[..cut].to_vec());
        }
        for at in 0..good.len() {
            let mut one = good.clone();
            one[at] ^= 1;
            damaged.push(one);
        }
        let aside = folder.path().join("last-known-good.corrupt");
        for bytes in damaged {
            std::fs::write(&path, &bytes).expect("written");
            match load(&path).expect("readable") {
                Found::Corrupt { why, aside: Some(to) } => assert!(!why.is_empty() && to == aside),
                other => panic!("{other:?} of {} bytes", bytes.len()),
            }
            assert!(!path.exists());
            assert_eq!(std::fs::read(&aside).expect("kept for a look"), bytes);
        }
    }

    #[test]
    fn a_right_checksum_over_wrong_objects_is_not_enough() {
        let mut other = saved();
        other.held.raw = Arc::new(RawState::new(7, vec![]).expect("state"));
        let folder = tempfile::tempdir().expect("folder");
        let path = path(folder.path());
        save(&path, &saved()).expect("saved");
        let text = std::fs::read(&path).expect("bytes");
        let (_, rest) = line(&text).expect("line");
        let digest = saved().held.raw.digest().to_string();
        let forged = String::from_utf8_lossy(line(rest).expect("header").0)
            .replace(&digest, &other.held.raw.digest().to_string());
        let body = [forged.as_bytes(), b"\n", line(rest).expect("header").1].concat();
        let first = format!("{FORMAT} {}\n", hex(&Sha256::digest(&body)));
        std::fs::write(&path, [first.as_bytes(), &body].concat()).expect("written");
        let Ok(Found::Corrupt { why, .. }) = load(&path) else { panic!("trusted") };
        assert!(why.contains("digest"), "{why}");
    }
}
