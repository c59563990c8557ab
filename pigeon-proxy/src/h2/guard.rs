//! Limits of what a peer may cost: token buckets for frames that are cheap to send and not cheap to serve.
