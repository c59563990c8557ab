//! Opening a stream to the admin, and what its refusals mean.

use std::time::Duration;

use pigeon_proto::v1::{self, config_client::ConfigClient};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Streaming};

use super::backoff::Then;
use super::{End, Stream, uplink};
use crate::config::{clip, token};

/// Largest single message taken; chunks are at most 256 KiB, but one delta may carry a large apply.
const MAX_MESSAGE: usize = 32 << 20;
/// Keepalive of the connection, also while nothing is said: a half-open one is noticed.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// How an admin ends streams that wants certificates of proxies.
const WANTS_CERTIFICATE: &str =
    " (does the admin want certificates of proxies? give --admin-cert and --admin-key)";

/// Messages down, and the way up.
pub(super) type Open = (Streaming<v1::ConfigDown>, mpsc::Sender<v1::ConfigUp>);

impl Stream {
    /// Connects and subscribes.
    pub(super) async fn open(&mut self) -> Result<Open, End> {
        let slowly = |why: String| End { why, then: Then::Slowly };
        let again = |why: String| End { why, then: Then::Again };
        // Read anew each time: the file may have been replaced.
        let token = token::read(&self.token_file).map_err(|e| slowly(e.to_string()))?;
        // And so may these.
        let tls = self.tls.of(self.address()).map_err(slowly)?;
        let channel = self.connect(tls).await.map_err(|why| {
            let hint = if why.contains("CertificateRequired") { WANTS_CERTIFICATE } else { "" };
            again(why + hint)
        })?;
        let (up, messages) = mpsc::channel(1);
        let subscribe = v1::config_up::M::Subscribe(self.protocol.subscribe(self.node()));
        // The channel is new and has room for one.
        let _ = up.try_send(v1::ConfigUp { m: Some(subscribe) });
        let mut request = Request::new(ReceiverStream::new(messages));
        request.metadata_mut().insert("authorization", token);
        let mut client = ConfigClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        match timeout(self.protocol.patience(), client.watch(request)).await {
            Ok(Ok(response)) => Ok((response.into_inner(), up)),
            Ok(Err(status)) => Err(self.refused(&status)),
            Err(_) => Err(again("the admin did not answer the subscription".into())),
        }
    }

    async fn connect(&self, tls: Option<ClientTlsConfig>) -> Result<Channel, String> {
        let limit = self.around.timings.connect;
        let endpoint = Endpoint::from(self.address().uri().clone())
            .connect_timeout(limit)
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .keep_alive_while_idle(true)
            .user_agent(concat!("pigeon-proxy/", env!("CARGO_PKG_VERSION")))
            .map_err(|e| chain(&e))?;
        let endpoint = match tls {
            Some(tls) => endpoint.tls_config(tls).map_err(|e| chain(&e))?,
            None => endpoint,
        };
        // The limit of the connector covers neither name resolution nor the HTTP/2 handshake.
        match timeout(2 * limit, endpoint.connect()).await {
            Ok(result) => result.map_err(|e| format!("cannot connect: {}", chain(&e))),
            Err(_) => Err(format!("cannot connect within {:?}", 2 * limit)),
        }
    }

    fn node(&self) -> v1::NodeInfo {
        let identity = &self.around.identity;
        v1::NodeInfo {
            node_id: identity.node_id.clone(),
            incarnation: identity.incarnation,
            machine: identity.machine.clone(),
            name: identity.name.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            listen: uplink::listen(&self.around.serving.borrow()),
        }
    }

    /// What a status of the admin means, and what to do about it.
    pub(super) fn refused(&self, status: &tonic::Status) -> End {
        let said = clip(status.message());
        let file = self.token_file.display();
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => End {
                why: format!(
                    "the admin refuses the token in {file}: {said}; \
                     put the admin's proxy.token there (it is read again at each attempt)"
                ),
                then: Then::Slowly,
            },
            Code::FailedPrecondition => End {
                why: format!(
                    "the admin refuses this proxy: {said}; point --admin at the admin it belongs to, \
                     or give it a fresh --state-dir to join this one"
                ),
                then: Then::Slowly,
            },
            Code::Unimplemented => End {
                why: format!(
                    "{} is not a pigeon-admin's stream port: {said}; \
                     give the address after --grpc-listen",
                    self.address()
                ),
                then: Then::Slowly,
            },
            // Another proxy came with this one's identity: were both to return at once, they would
            // take the stream from each other without end.
            Code::Aborted => {
                End { why: format!("the admin ended the stream: {said}"), then: Then::Again }
            }
            code => {
                // What the transport or TLS says stands in the causes.
                let mut said = with_causes(said, std::error::Error::source(status));
                if self.address().is_tls() && self.tls.identity.is_none() {
                    // With TLS 1.3 it is refused only after it was let in, and may not hear why.
                    said += WANTS_CERTIFICATE;
                }
                End { why: format!("the stream ended: {code:?}: {said}"), then: Then::Back }
            }
        }
    }
}

/// An error with its causes, none of them twice.
fn chain(error: &dyn std::error::Error) -> String {
    with_causes(error.to_string(), error.source())
}

fn with_causes(mut text: String, mut cause: Option<&(dyn std::error::Error + 'static)>) -> String {
    while let Some(e) = cause {
        let said = e.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = e.source();
    }
    clip(&text)
}
