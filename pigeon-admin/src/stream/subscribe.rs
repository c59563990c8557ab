//! What a proxy that subscribes is given: nothing, a snapshot, or only what it missed.

use pigeon_proto::digest::Digest;
use pigeon_proto::v1;

use crate::publisher::Ring;

/// How a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With the deltas after this revision.
    Resume(u64),
    /// With everything, for this reason.
    Snapshot(&'static str),
}

/// Why a proxy gets nothing from this admin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error(
        "this proxy belongs to cluster {theirs}, this admin is of cluster {ours}; point it at its own \
         admin, or give it a fresh state directory"
    )]
    OtherCluster { ours: String, theirs: String },
    #[error(
        "this proxy has seen generation {theirs}, this admin is at {ours}: its store was put back \
         without restoring it properly; restore it anew"
    )]
    NewerGeneration { ours: u64, theirs: u64 },
}

/// Decides; the order of the rules is part of the protocol.
pub(super) fn decide(
    s: &v1::Subscribe,
    cluster_id: &str,
    generation: u64,
    ring: &Ring,
) -> Result<Start, Refused> {
    if !s.cluster_id.is_empty() && s.cluster_id != cluster_id {
        let theirs = super::inbound::clean(&s.cluster_id, 64);
        return Err(Refused::OtherCluster { ours: cluster_id.into(), theirs });
    }
    if s.generation > generation {
        return Err(Refused::NewerGeneration { ours: generation, theirs: s.generation });
    }
    Ok(match ring.digest_at(s.have_revision) {
        _ if s.have_revision == 0 => Start::Snapshot("the proxy holds nothing"),
        _ if s.generation < generation => {
            Start::Snapshot("the store was restored since the proxy was here")
        }
        _ if s.have_revision > ring.newest() => Start::Snapshot("the proxy is ahead of this admin"),
        None => Start::Snapshot("the deltas since the proxy's revision are not kept any more"),
        Some(ours) if Digest::from_bytes(&s.have_digest) != Some(ours) => {
            Start::Snapshot("the proxy holds something else under the same revision")
        }
        Some(_) => Start::Resume(s.have_revision),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;
    use crate::catalog::View;

    fn ring() -> Ring {
        let view = |revision| View {
            cluster_id: "c".into(),
            generation: 2,
            revision,
            objects: BTreeMap::new(),
        };
        let ring = Ring::new(&view(5));
        ring.publish(&view(8));
        ring
    }

    #[test]
    fn the_rules_in_their_order() {
        let ring = ring();
        let nothing = Digest::default().to_bytes();
        let ask = |cluster: &str, generation, have_revision, digest: [u8; 16]| {
            let s = v1::Subscribe {
                cluster_id: cluster.into(),
                generation,
                have_revision,
                have_digest: Bytes::copy_from_slice(&digest),
                ..Default::default()
            };
            match decide(&s, "c", 2, &ring) {
                Ok(Start::Resume(r)) => format!("resume {r}"),
                Ok(Start::Snapshot(why)) => format!("snapshot: {why}"),
                Err(e) => format!("refused: {e}"),
            }
        };
        let cases = [
            (ask("x", 3, 8, nothing), "refused: this proxy belongs to cluster x"),
            (ask("c", 3, 8, nothing), "refused: this proxy has seen generation 3"),
            (ask("", 0, 0, nothing), "snapshot: the proxy holds nothing"),
            (ask("c", 1, 8, nothing), "snapshot: the store was restored"),
            (ask("c", 2, 9, nothing), "snapshot: the proxy is ahead"),
            (ask("c", 2, 8, [1; 16]), "snapshot: the proxy holds something else"),
            (ask("c", 2, 5, [1; 16]), "snapshot: the proxy holds something else"),
            (ask("c", 2, 4, nothing), "snapshot: the deltas since"),
            (ask("c", 2, 6, nothing), "snapshot: the deltas since"),
            (ask("c", 2, 8, nothing), "resume 8"),
            (ask("c", 2, 5, nothing), "resume 5"),
        ];
        for (got, want) in cases {
            assert!(got.starts_with(want), "{got} is not {want}");
        }
    }
}
