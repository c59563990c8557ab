//! The program `pigeon-ctl`.

use std::process::ExitCode;

#[cfg(feature = "dev")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pigeon_ctl::run(std::env::args_os())
}
