//! A snapshot on its way in: chunks are gathered under limits, then checked, unpacked and checked again.

use std::io::Read as _;

use bytes::Bytes;
use pigeon_proto::digest::Digest;
use pigeon_proto::model::{DeltaError, RawState};
use pigeon_proto::v1::{self, snap_begin::Codec};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

/// Most bytes of all chunks together.
const MAX_PACKED: u64 = 64 << 20;
/// Most bytes they may unpack to.
const MAX_UNPACKED: u64 = 512 << 20;

/// Why a snapshot is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Larger than this proxy takes.
    #[error("{what} is {bytes} bytes, more than the {limit} this proxy takes")]
    TooLarge {
        /// Which size.
        what: &'static str,
        /// What the admin announced.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// It is not what was announced.
    #[error("{0}")]
    Malformed(String),
    /// Its bytes are not those the admin packed.
    #[error("its SHA-256 is not the one announced")]
    Checksum,
    /// The objects are not those the admin holds.
    #[error("its digest is {ours}, the admin says {theirs}")]
    Digest {
        /// Computed here.
        ours: String,
        /// Sent along.
        theirs: String,
    },
}

/// The chunks so far.
#[derive(Debug)]
pub struct Incoming {
    revision: u64,
    chunks: u32,
    bytes: usize,
    unpacked: usize,
    codec: Codec,
    sha256: Bytes,
    next: u32,
    packed: Vec<u8>,
}

impl Incoming {
    /// Checks what is announced before any memory is spent on it.
    pub fn new(begin: &v1::SnapBegin) -> Result<Self, SnapshotError> {
        let malformed = |why: &str| Err(SnapshotError::Malformed(why.into()));
        let codec = match Codec::try_from(begin.codec) {
            Ok(codec) => codec,
            Err(_) => return malformed("its compression is not known to this version"),
        };
        if begin.sha256.len() != 32 {
            return malformed("its SHA-256 has not 32 bytes");
        }
        if u64::from(begin.chunks) > begin.bytes {
            return malformed("it announces more chunks than bytes");
        }
        let size = |what, bytes: u64, limit| match usize::try_from(bytes) {
            Ok(fits) if bytes <= limit => Ok(fits),
            _ => Err(SnapshotError::TooLarge { what, bytes, limit }),
        };
        Ok(Self {
            revision: begin.revision,
            chunks: begin.chunks,
            bytes: size("packed it", begin.bytes, MAX_PACKED)?,
            unpacked: size("unpacked it", begin.unpacked_bytes, MAX_UNPACKED)?,
            codec,
            sha256: begin.sha256.clone(),
            next: 0,
            packed: Vec::new(),
        })
    }

    /// Takes the next chunk.
    pub fn chunk(&mut self, chunk: &v1::SnapChunk) -> Result<(), SnapshotError> {
        let malformed = |why: String| Err(SnapshotError::Malformed(why));
        if chunk.index != self.next || chunk.index >= self.chunks {
            let (index, next, all) = (chunk.index, self.next, self.chunks);
            return malformed(format!("chunk {index} came where {next} of {all} was due"));
        }
        if chunk.data.is_empty() {
            return malformed(format!("chunk {} is empty", chunk.index));
        }
        if self.packed.len() + chunk.data.len() > self.bytes {
            return malformed(format!("its chunks hold more than {} bytes", self.bytes));
        }
        self.packed.extend_from_slice(&chunk.data);
        self.next += 1;
        Ok(())
    }

    /// Makes the state of it.
    pub fn finish(self, end: &v1::SnapEnd) -> Result<RawState, SnapshotError> {
        let malformed = |why: String| SnapshotError::Malformed(why);
        if end.revision != self.revision {
            let (begun, ended) = (self.revision, end.revision);
            return Err(malformed(format!("it began at revision {begun} and ended at {ended}")));
        }
        if self.next != self.chunks || self.packed.len() != self.bytes {
            let (have, bytes) = (self.packed.len(), self.bytes);
            return Err(malformed(format!("it ended after {have} of {bytes} bytes")));
        }
        if Sha256::digest(&self.packed).as_slice() != self.sha256.as_ref() {
            return Err(SnapshotError::Checksum);
        }
        let unpacked = match self.codec {
            Codec::Raw => self.packed,
            Codec::Zstd => unpack(&self.packed, self.unpacked)?,
        };
        if unpacked.len() != self.unpacked {
            let why = format!("it unpacked to {} of {} bytes", unpacked.len(), self.unpacked);
            return Err(malformed(why));
        }
        let resources = v1::Resources::decode(Bytes::from(unpacked))
            .map_err(|e| malformed(format!("it does not decode: {e}")))?;
        let raw = RawState::new(self.revision, resources.put)
            .map_err(|e: DeltaError| malformed(e.to_string()))?;
        if Digest::from_bytes(&end.digest) == Some(raw.digest()) {
            return Ok(raw);
        }
        let theirs = Digest::from_bytes(&end.digest).map_or("none".into(), |d| d.to_string());
        Err(SnapshotError::Digest { ours: raw.digest().to_string(), theirs })
    }
}

/// Unpacks at most one byte more than `limit`, whatever the bytes claim.
fn unpack(packed: &[u8], limit: usize) -> Result<Vec<u8>, SnapshotError> {
    let bad = |e: std::io::Error| SnapshotError::Malformed(format!("it does not unpack: {e}"));
    let mut unpacked = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(bad)?;
    decoder.take(limit as u64 + 1).read_to_end(&mut unpacked).map_err(bad)?;
    Ok(unpacked)
}
