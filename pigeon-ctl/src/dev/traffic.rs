//! Demo calls through the gateway, so that there is something to see.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::HOST;
use http_body_util::Full;
use pigeon_proto::demo::v1::chat_client::ChatClient;
use pigeon_proto::demo::v1::echo_client::EchoClient;
use pigeon_proto::demo::v1::speech_client::SpeechClient;
use pigeon_proto::demo::v1::{Audio, PingRequest, Prompt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tonic::transport::{Channel, Endpoint};

use super::Running;
use crate::client::exchange;
use crate::error::Failure;

/// Calls open at once; more wait for their turn by not being made.
const MOST: usize = 256;
/// Longest time of one call.
const PATIENCE: Duration = Duration::from_secs(10);
/// The calls, one after another and over again.
const MIX: [Demo; 8] = [
    Demo::Ping,
    Demo::Generate,
    Demo::Ping,
    Demo::Recognize,
    Demo::Ping,
    Demo::Generate,
    Demo::Hello,
    Demo::Ping,
];

#[derive(Clone, Copy)]
enum Demo {
    Ping,
    Generate,
    Recognize,
    Hello,
}

/// Makes `rate` calls per second until told to stop.
///
/// # Errors
/// The gateway's address is none.
pub(super) fn start(gateway: SocketAddr, rate: u32, running: &mut Running) -> Result<(), Failure> {
    let channel = Endpoint::from_shared(format!("http://{gateway}"))
        .map_err(|e| Failure::bug(format!("the gateway's address: {e}")))?
        .timeout(PATIENCE)
        .connect_lazy();
    let stopped = running.stopped();
    running.spawn(async move {
        tokio::select! {
            () = stopped => {}
            () = calls(gateway, channel, rate) => {}
        }
        Ok(())
    });
    Ok(())
}

/// Never ends; dropping it cancels the open calls.
async fn calls(gateway: SocketAddr, channel: Channel, rate: u32) {
    let room = Arc::new(Semaphore::new(MOST));
    let mut open = JoinSet::new();
    let mut clock = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for demo in MIX.iter().copied().cycle() {
        clock.tick().await;
        while open.try_join_next().is_some() {}
        if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
            let channel = channel.clone();
            open.spawn(async move {
                // How calls end is to be seen in the metrics of the gateway, not here.
                let _ = call(demo, gateway, channel).await;
                drop(permit);
            });
        }
    }
}

async fn call(demo: Demo, gateway: SocketAddr, channel: Channel) -> Result<(), String> {
    let failed = |status: tonic::Status| status.to_string();
    match demo {
        Demo::Ping => {
            let ping = PingRequest { payload: Bytes::from_static(b"hello") };
            EchoClient::new(channel).ping(ping).await.map_err(failed)?;
        }
        Demo::Generate => {
            let text = "the quick brown pigeon carries a message over the lazy dog".to_owned();
            let answer = ChatClient::new(channel).generate(Prompt { text, tokens: 0 }).await;
            let mut tokens = answer.map_err(failed)?.into_inner();
            while tokens.message().await.map_err(failed)?.is_some() {}
        }
        Demo::Recognize => {
            let chunk = || Audio { data: vec![0; 3_200].into() };
            let audio = tokio_stream::iter((0..10).map(move |_| chunk()));
            let answer = SpeechClient::new(channel).recognize(audio).await;
            let mut transcripts = answer.map_err(failed)?.into_inner();
            while transcripts.message().await.map_err(failed)?.is_some() {}
        }
        Demo::Hello => hello(gateway).await?,
    }
    Ok(())
}

async fn hello(gateway: SocketAddr) -> Result<(), String> {
    let stream = TcpStream::connect(gateway).await.map_err(|e| e.to_string())?;
    let request = Request::get("/hello").header(HOST, gateway.to_string());
    let request = request.body(Full::new(Bytes::new())).map_err(|e| e.to_string())?;
    let exchanged = tokio::time::timeout(PATIENCE, exchange(stream, request)).await;
    exchanged.map_err(|e| e.to_string())?.map(drop)
}
