//! The primitives that the hand-over of slots is built on. `tests/handover.rs` compiles the same files
//! with shuttle's in their place and walks through the interleavings.

pub(super) use std::sync::atomic::{AtomicU32, Ordering};
pub(super) use std::sync::{Mutex, MutexGuard, PoisonError};
