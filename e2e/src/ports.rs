//! Ports that nobody else takes, also not another run of these tests on the same machine.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the range from which the kernel takes ports for outgoing connections (32768 on), so that none
/// of these can be lost while a program that should come back on its port is down.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// One abstract unix socket per port given out: gone with this process, seen by every other.
static HELD: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A free TCP port of 127.0.0.1, given out once as long as this process lives.
///
/// # Panics
/// If there is none.
pub fn free() -> u16 {
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    for _ in 0..COUNT {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from((start + step) % u32::from(COUNT)).expect("below COUNT");
        let Some(held) = hold(port) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            HELD.lock().expect("no test panics here").push(held);
            return port;
        }
    }
    panic!("no free port from {FIRST} to {}", FIRST + COUNT);
}

fn hold(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("pigeon-e2e-port-{port}")).ok()?;
    UnixListener::bind_addr(&name).ok()
}
