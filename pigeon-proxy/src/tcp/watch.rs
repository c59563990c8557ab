//! Whether a client that waits is still there.

use tokio::io::Interest;

use crate::tls::Stream;

/// Resolves when the client is gone: it has reset the connection, or closed it before it sent anything. Who has
/// sent something and closes its side may still wait for the answer.
pub(super) async fn gone(client: &mut Stream) {
    if let Ok(true) = client.speaks().await {
        // An error of waiting says as much.
        let _ = client.socket().ready(Interest::ERROR).await;
    }
}
