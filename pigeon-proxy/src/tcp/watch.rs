//! Whether a client that waits is still there.

use tokio::io::Interest;
use tokio::net::TcpStream;

/// Resolves when the client is gone: it has reset the connection, or closed it before it sent anything. Who has
/// sent something and closes its side may still wait for the answer.
pub(super) async fn gone(socket: &TcpStream) {
    let mut byte = [0];
    match socket.peek(&mut byte).await {
        Ok(0) | Err(_) => return,
        Ok(_) => {}
    }
    // An error of waiting says as much.
    let _ = socket.ready(Interest::ERROR).await;
}
