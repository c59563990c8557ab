//! A slot for a connection, and a connection to its endpoint.

use std::sync::Arc;

use crate::admit::Permit;
use crate::engine::Engine;
use crate::http::{Admitting, DialError, Dialled, dial, unreachable};
use crate::record::Record;
use crate::reject::Rejection;
use crate::tls::{Speaks, Stream};

/// Waits for a slot and connects to its endpoint. One that cannot be reached has seen nothing, so it goes on to
/// another.
pub(super) async fn reach(
    engine: &Arc<Engine>,
    hash: Option<u64>,
    record: &mut Record,
) -> Result<(Permit, Stream), Rejection> {
    let mut admitting = Admitting::new(Arc::clone(engine), hash, None);
    loop {
        let permit = admitting.slot(record).await?;
        let endpoint = permit.endpoint();
        record.goes_to(endpoint);
        let limit = engine.settings().pool.dial_timeout.duration();
        match dial(endpoint, limit, Speaks::Raw).await {
            Ok(Dialled { stream, .. }) => {
                engine.dial_succeeded(endpoint);
                return Ok((permit, stream));
            }
            // Ours, not the endpoint's.
            Err(DialError::Exhausted) => return Err(Rejection::Overloaded),
            Err(error) => {
                unreachable(engine, endpoint, &error);
                admitting.not_reached(endpoint.id());
                record.not_reached();
            }
        }
    }
}
