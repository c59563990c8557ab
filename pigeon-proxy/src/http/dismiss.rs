//! The rest of a request that nobody takes, because the gateway has answered already.

use std::time::Duration;

use http::Version;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

/// As much as is on its way when a client did not wait for the answer.
const MOST_BYTES: usize = 65_536;
/// As long as it takes to come.
const LONGEST: Duration = Duration::from_secs(1);

/// Reads a little of it, for a moment. To drop it at once would end the HTTP/2 stream while the client
/// still writes, and some (curl 7.88) take that for an error and never look at the answer. On HTTP/1.1
/// hyper itself sees to it.
pub(super) fn dismiss(version: Version, body: Option<Incoming>) {
    let Some(mut body) = body.filter(|body| version == Version::HTTP_2 && !body.is_end_stream())
    else {
        return;
    };
    tokio::spawn(async move {
        let mut left = MOST_BYTES;
        let rest = async {
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, bytes::Bytes::len));
                if left == 0 {
                    break;
                }
            }
        };
        // Out of time is as good as out of bytes: the stream is reset with NO_ERROR then.
        let _ = tokio::time::timeout(LONGEST, rest).await;
    });
}
