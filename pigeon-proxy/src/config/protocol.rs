//! The proxy's end of the config stream, without any I/O: messages in, what they mean out.
//!
//! It holds the raw state, exactly what the admin has sent, and lets only messages of the stream move it.
//! The state outlives a stream; each stream begins with [`Protocol::subscribe`].

mod incoming;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pigeon_proto::digest::Digest;
use pigeon_proto::model::{DeltaError, RawState};
use pigeon_proto::v1::{self, config_down, welcome};

use incoming::Incoming;
pub use incoming::SnapshotError;

/// Largest chunk asked for, in bytes.
const MAX_CHUNK: u32 = 256 * 1024;
/// How long the admin may take to answer the subscription.
const GREETING: Duration = Duration::from_secs(15);
/// How long a promised snapshot may take to begin: admins send only so many at once.
const SNAPSHOT_TURN: Duration = Duration::from_secs(120);
/// The longest delay a GoAway may ask for.
const MAX_AWAY: Duration = Duration::from_secs(300);

/// Everything held of an admin's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Which admin's it is; empty = never had one.
    pub cluster_id: String,
    /// Grows when the admin's store is restored from a backup.
    pub generation: u64,
    /// The objects, as sent.
    pub raw: Arc<RawState>,
}

/// What a message meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The admin is alive, nothing else.
    Alive,
    /// The subscription was taken; what is held is current up to deltas that follow.
    Resumed,
    /// The subscription was taken and a snapshot will follow, for this reason.
    SnapshotPromised(String),
    /// What is held was replaced by a snapshot.
    Snapshot,
    /// What is held was changed by a delta.
    Delta,
    /// What is held is also the state of a later revision.
    Bookmark,
    /// The admin will end the stream; come back after the delay.
    GoAway {
        /// When to come back.
        after: Duration,
        /// Why it ends.
        reason: String,
    },
}

/// Why a stream cannot go on. What is held is unchanged by the message at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A message that has no place here.
    #[error("the admin sent {0}")]
    OutOfPlace(&'static str),
    /// A delta that does not fit.
    #[error("{0}")]
    Delta(DeltaError),
    /// Both ends hold different objects under one revision.
    #[error("the digest at revision {revision} is {ours}, the admin says {theirs}")]
    Digest {
        /// The revision both mean.
        revision: u64,
        /// Computed here.
        ours: String,
        /// Sent along.
        theirs: String,
    },
    /// A snapshot that cannot be used.
    #[error("the snapshot is refused: {0}")]
    Snapshot(SnapshotError),
    /// Another admin than the one this proxy belongs to.
    #[error(
        "the admin is of cluster {theirs}, but this proxy belongs to cluster {ours}; point --admin at \
         its own admin, or give it a fresh --state-dir"
    )]
    OtherCluster {
        /// The cluster this proxy belongs to.
        ours: String,
        /// The admin's.
        theirs: String,
    },
    /// The admin holds less than it had sent before.
    #[error(
        "the admin offers generation {generation} revision {revision}, older than what is held \
         (generation {held_generation} revision {held_revision}): was its store put back without \
         restoring it properly? Restore it anew, or remove last-known-good from this proxy's \
         state directory and restart it to accept the older configuration"
    )]
    Backwards {
        /// Offered.
        generation: u64,
        /// Offered.
        revision: u64,
        /// Held.
        held_generation: u64,
        /// Held.
        held_revision: u64,
    },
}

impl ProtocolError {
    /// Whether the two ends were found to hold different things, which a snapshot will cure.
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Digest { .. } | Self::Delta(DeltaError::Digest { .. }))
    }

    /// Whether only a person can cure it.
    pub fn needs_someone(&self) -> bool {
        matches!(self, Self::OtherCluster { .. } | Self::Backwards { .. })
    }
}

#[derive(Debug)]
enum Phase {
    /// Subscribed, no answer yet.
    Greeting,
    /// A snapshot of this cluster and generation is promised, nothing of it has come.
    Promised(String, u64),
    /// It is coming.
    Receiving(String, u64, Incoming),
    /// Deltas and beats.
    Live,
}

/// The proxy's end of the stream.
#[derive(Debug)]
pub struct Protocol {
    held: Held,
    /// What is held is known to be wrong: ask for a snapshot.
    afresh: bool,
    phase: Phase,
    beat: Duration,
}

impl Protocol {
    /// Begins with what was kept from earlier, or with nothing.
    pub fn new(held: Held) -> Self {
        Self { held, afresh: false, phase: Phase::Greeting, beat: GREETING }
    }

    /// What is held now.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Whether what is held is what the admin holds, up to messages under way.
    pub fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// The first message of a new stream; whatever an earlier stream left unfinished is forgotten.
    pub fn subscribe(&mut self, node: v1::NodeInfo) -> v1::Subscribe {
        self.phase = Phase::Greeting;
        let raw = &self.held.raw;
        let holds = !self.afresh && raw.revision() > 0;
        let digest = Bytes::copy_from_slice(&raw.digest().to_bytes());
        v1::Subscribe {
            node: Some(node),
            cluster_id: self.held.cluster_id.clone(),
            generation: self.held.generation,
            have_revision: if holds { raw.revision() } else { 0 },
            have_digest: if holds { digest } else { Bytes::new() },
            max_chunk: MAX_CHUNK,
        }
    }

    /// How long the next message may take before the admin counts as dead.
    pub fn patience(&self) -> Duration {
        match self.phase {
            Phase::Greeting => GREETING,
            Phase::Promised(..) => SNAPSHOT_TURN.max(3 * self.beat),
            Phase::Receiving(..) | Phase::Live => 3 * self.beat,
        }
    }

    /// Takes one message.
    ///
    /// # Errors
    /// The stream cannot go on; subscribe again on a new one.
    pub fn receive(&mut self, message: v1::ConfigDown) -> Result<Event, ProtocolError> {
        use config_down::M;
        let message = message.m.ok_or(ProtocolError::OutOfPlace("a message it must not know"))?;
        let result = match message {
            M::Goaway(m) => {
                let after = Duration::from_millis(m.after_ms.into()).min(MAX_AWAY);
                Ok(Event::GoAway { after, reason: clip(m.reason) })
            }
            M::Welcome(m) => self.welcome(m),
            M::Begin(m) => self.begin(&m),
            M::Chunk(m) => self.chunk(&m),
            M::End(m) => self.end(&m),
            M::Delta(m) => self.delta(m),
            M::Beat(m) => self.beat(&m),
        };
        if let Err(e) = &result {
            self.afresh |= e.is_mismatch();
        }
        result
    }

    fn welcome(&mut self, m: v1::Welcome) -> Result<Event, ProtocolError> {
        if !matches!(self.phase, Phase::Greeting) {
            return Err(ProtocolError::OutOfPlace("a second welcome"));
        }
        let ours = &self.held.cluster_id;
        if m.cluster_id.is_empty() {
            return Err(ProtocolError::OutOfPlace("a welcome without a cluster id"));
        }
        if !ours.is_empty() && *ours != m.cluster_id {
            let (ours, theirs) = (ours.clone(), clip(m.cluster_id));
            return Err(ProtocolError::OtherCluster { ours, theirs });
        }
        self.not_backwards(m.generation, m.revision)?;
        // 0 would make every admin look dead at once.
        self.beat = Duration::from_millis(u64::from(m.beat_ms).clamp(100, 60_000));
        match m.mode() {
            welcome::Mode::Snapshot => {
                self.phase = Phase::Promised(m.cluster_id, m.generation);
                Ok(Event::SnapshotPromised(clip(m.reason)))
            }
            welcome::Mode::Resume => {
                let nothing = self.held.raw.revision() == 0 && m.revision > 0;
                let other = self.held.raw.revision() > 0 && m.generation != self.held.generation;
                if self.afresh || nothing || other {
                    return Err(ProtocolError::OutOfPlace("a resume where a snapshot is needed"));
                }
                self.held.cluster_id = m.cluster_id;
                self.held.generation = m.generation;
                self.phase = Phase::Live;
                Ok(Event::Resumed)
            }
        }
    }

    fn begin(&mut self, m: &v1::SnapBegin) -> Result<Event, ProtocolError> {
        let Phase::Promised(cluster_id, generation) = &mut self.phase else {
            return Err(ProtocolError::OutOfPlace("a snapshot that it did not promise"));
        };
        let (cluster_id, generation) = (std::mem::take(cluster_id), *generation);
        self.not_backwards(generation, m.revision)?;
        let incoming = Incoming::new(m).map_err(ProtocolError::Snapshot)?;
        self.phase = Phase::Receiving(cluster_id, generation, incoming);
        Ok(Event::Alive)
    }

    fn chunk(&mut self, m: &v1::SnapChunk) -> Result<Event, ProtocolError> {
        let Phase::Receiving(_, _, incoming) = &mut self.phase else {
            return Err(ProtocolError::OutOfPlace("a chunk of no snapshot"));
        };
        incoming.chunk(m).map_err(ProtocolError::Snapshot)?;
        Ok(Event::Alive)
    }

    fn end(&mut self, m: &v1::SnapEnd) -> Result<Event, ProtocolError> {
        let Phase::Receiving(cluster_id, generation, incoming) =
            std::mem::replace(&mut self.phase, Phase::Live)
        else {
            return Err(ProtocolError::OutOfPlace("the end of no snapshot"));
        };
        let raw = incoming.finish(m).map_err(ProtocolError::Snapshot)?;
        self.held = Held { cluster_id, generation, raw: Arc::new(raw) };
        self.afresh = false;
        Ok(Event::Snapshot)
    }

    fn delta(&mut self, m: v1::Delta) -> Result<Event, ProtocolError> {
        if !matches!(self.phase, Phase::Live) {
            return Err(ProtocolError::OutOfPlace("a delta before there is a state to change"));
        }
        Arc::make_mut(&mut self.held.raw).apply(m).map_err(ProtocolError::Delta)?;
        Ok(Event::Delta)
    }

    fn beat(&mut self, m: &v1::Beat) -> Result<Event, ProtocolError> {
        match self.phase {
            Phase::Live => {}
            Phase::Greeting => {
                return Err(ProtocolError::OutOfPlace("a beat before its welcome"));
            }
            // A snapshot waits its turn, or is under way: the beat speaks of what follows it.
            Phase::Promised(..) | Phase::Receiving(..) => return Ok(Event::Alive),
        }
        let (raw, revision) = (&self.held.raw, m.revision);
        self.not_backwards(self.held.generation, revision)?;
        if Digest::from_bytes(&m.digest) != Some(raw.digest()) {
            let theirs = Digest::from_bytes(&m.digest).map_or("none".into(), |d| d.to_string());
            return Err(ProtocolError::Digest { revision, ours: raw.digest().to_string(), theirs });
        }
        if revision == raw.revision() {
            return Ok(Event::Alive);
        }
        Arc::make_mut(&mut self.held.raw).bookmark(revision);
        Ok(Event::Bookmark)
    }

    /// A pair lower than the one held is never taken.
    fn not_backwards(&self, generation: u64, revision: u64) -> Result<(), ProtocolError> {
        let (held_generation, held_revision) = (self.held.generation, self.held.raw.revision());
        if (generation, revision) >= (held_generation, held_revision) {
            return Ok(());
        }
        Err(ProtocolError::Backwards { generation, revision, held_generation, held_revision })
    }
}

/// The beginning of a text from the admin, for logs.
fn clip(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(300));
    text
}
