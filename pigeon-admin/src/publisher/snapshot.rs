//! A whole state, packed to be sent: encoded, compressed, with its checksum.

use bytes::Bytes;
use pigeon_proto::digest::Digest;
use pigeon_proto::model::RawState;
use pigeon_proto::v1::{self, config_down::M, snap_begin::Codec};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

/// Largest chunk in bytes: far below the 4 MiB that gRPC libraries take by default.
pub const MAX_CHUNK: usize = 256 << 10;

/// A little more than nothing: specs of one kind resemble each other, so even this halves them and more.
const ZSTD_LEVEL: i32 = 3;

/// A packed state.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The revision it is the state of.
    pub revision: u64,
    digest: Digest,
    bytes: Bytes,
    unpacked: u64,
    sha256: Bytes,
}

/// Packs a state.
pub(super) fn pack(raw: &RawState) -> std::io::Result<Packed> {
    let resources = v1::Resources { put: raw.to_puts() }.encode_to_vec();
    let bytes = zstd::bulk::compress(&resources, ZSTD_LEVEL)?;
    Ok(Packed {
        revision: raw.revision(),
        digest: raw.digest(),
        sha256: Bytes::copy_from_slice(&Sha256::digest(&bytes)),
        unpacked: resources.len() as u64,
        bytes: bytes.into(),
    })
}

impl Packed {
    /// The messages that carry it, in order; `max_chunk` 0 means 256 KiB, the most there is. The bytes are shared.
    pub fn messages(&self, max_chunk: u32) -> impl Iterator<Item = M> {
        let size = match usize::try_from(max_chunk) {
            Ok(0) | Err(_) => MAX_CHUNK,
            Ok(n) => n.min(MAX_CHUNK),
        };
        let count = self.bytes.len().div_ceil(size);
        let begin = v1::SnapBegin {
            revision: self.revision,
            chunks: u32::try_from(count).unwrap_or(u32::MAX),
            bytes: self.bytes.len() as u64,
            unpacked_bytes: self.unpacked,
            codec: Codec::Zstd.into(),
            sha256: self.sha256.clone(),
        };
        let digest = Bytes::copy_from_slice(&self.digest.to_bytes());
        let end = v1::SnapEnd { revision: self.revision, digest };
        let bytes = self.bytes.clone();
        let chunks = (0_u32..).zip((0..bytes.len()).step_by(size)).map(move |(index, from)| {
            let data = bytes.slice(from..bytes.len().min(from + size));
            M::Chunk(v1::SnapChunk { index, data })
        });
        std::iter::once(M::Begin(begin)).chain(chunks).chain(std::iter::once(M::End(end)))
    }
}
