//! Limits of the system that a scenario needs raised.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Lets this process and those it starts have as many open files as the system allows at most; how many
/// that is.
pub fn raise_open_files() -> usize {
    let Rlimit { maximum, current } = getrlimit(Resource::Nofile);
    // Refused only where even that is forbidden; then the old limit holds.
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let holds = if raised.is_ok() { maximum } else { current };
    holds.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}
