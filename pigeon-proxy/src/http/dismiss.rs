//! The body of a request that the gateway answers itself.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use super::caller::CallerBody;

/// Up to this announced length a body is read first.
const SHORT: u64 = 65_536;
/// As long as a short body may take to come.
const LONGEST: Duration = Duration::from_secs(1);

/// Reads a body that is short by its own `content-length`, before it is answered, unless the client `waits` to be
/// told to send it (`Expect: 100-continue`). An answer that ends an HTTP/2 stream while the client still writes is
/// legal (RFC 9113, section 8.1), but curl 7.88 fails or hangs on it; and hyper closes an HTTP/1.1 connection on
/// which the body has not come yet, which a client that is about to send it takes for a failure. gRPC clients
/// announce no length and are answered at once.
pub(super) async fn dismiss(waits: bool, body: Option<CallerBody>) {
    let short = |body: &CallerBody| body.size_hint().exact().is_some_and(|length| length <= SHORT);
    let Some(mut body) = body.filter(|body| !waits && short(body)) else {
        return;
    };
    let rest = async { while let Some(Ok(_)) = body.frame().await {} };
    // Out of time: the stream is reset with NO_ERROR, or the connection closed, once it is answered.
    let _ = tokio::time::timeout(LONGEST, rest).await;
}
