//! What only the allocator can do about the memory of the process.

/// Gives what the calling thread has freed back to the system. mimalloc does so while memory is being asked
/// for, so a worker that has nothing to do after a burst would hold the burst's memory for ever. It may take
/// milliseconds.
///
/// Without effect in a program whose allocator is another one.
#[allow(unsafe_code)]
pub(crate) fn give_back() {
    // SAFETY: it may be called at any time; it takes no pointers and touches free memory only.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
