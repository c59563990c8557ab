//! Against the `h2` crate, in both roles, over a pipe that cuts bytes anywhere: what one side sends arrives at the
//! other, in order, and nothing else.

use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::{HeaderMap, Request, Response};
use pigeon_proxy::h2::{Config, Role};
use tokio::io::{DuplexStream, duplex};

use super::support::*;

#[path = "ends.rs"]
mod ends;
use ends::{Exchange, ask_ours, serve_ours};

/// One run's choices.
struct Plan {
    rng: Rng,
    exchanges: Vec<Exchange>,
    ours: Config,
    their_window: u32,
    their_connection_window: u32,
    pipe: usize,
}

fn plan(seed: u64, role: Role) -> Plan {
    let mut rng = Rng::with_seed(seed);
    let initial_window = [1, 100, 16_384, 65_535, 1 << 20][rng.usize(..5)];
    let their_window = [1, 100, 16_384, 65_535, 1 << 20][rng.usize(..5)];
    let pipe = [1, 17, 300, 4096, 1 << 16][rng.usize(..5)];
    // A byte may cost a turn where windows or pipes are tiny.
    let longest = 50 * initial_window.min(their_window).min(pipe) as usize;
    let exchanges = (0..rng.usize(1..30)).map(|_| Exchange::random(&mut rng, longest)).collect();
    Plan {
        exchanges,
        ours: Config {
            initial_window,
            stream_window: initial_window.max(rng.u32(1..1 << 21)),
            connection_window: rng.u32(65_535..1 << 20),
            connection_budget: rng.u32(0..1 << 20),
            max_concurrent_streams: if role == Role::Server { rng.u32(1..50) } else { 0 },
            ..config(role)
        },
        their_window,
        their_connection_window: rng.u32(65_535..1 << 20),
        pipe: pipe as usize,
        rng,
    }
}

/// Runs with many seeds; one of them alone with `SEED=`.
fn seeds(count: u64, mut run: impl FnMut(u64)) {
    let mut run = |seed| {
        println!("seed {seed}");
        run(seed);
    };
    match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => run(seed),
        None => (0..count).for_each(run),
    }
}

fn in_time(what: impl Future<Output = ()>, seed: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let result =
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), what).await });
    assert!(result.is_ok(), "seed {seed} stands still");
}

#[test]
fn our_server_and_their_client() {
    seeds(16, |seed| {
        let Plan { rng, exchanges, ours, their_window, their_connection_window, pipe } =
            plan(seed, Role::Server);
        let (near, far) = duplex(pipe);
        in_time(
            async {
                let count = exchanges.len();
                let client = ask_theirs(
                    far,
                    rng,
                    exchanges,
                    their_window,
                    their_connection_window,
                    ours.max_concurrent_streams,
                );
                let (left, ()) =
                    tokio::join!(serve_ours(near, &ours, Rng::with_seed(seed)), client);
                assert_eq!(left, 0, "seed {seed}: streams left of {count}");
            },
            seed,
        );
    });
}

#[test]
fn our_client_and_their_server() {
    seeds(16, |seed| {
        let Plan { rng, exchanges, ours, their_window, their_connection_window, pipe } =
            plan(seed + 1000, Role::Client);
        let (near, far) = duplex(pipe);
        in_time(
            async {
                let server = serve_theirs(far, rng, their_window, their_connection_window);
                let client = ask_ours(near, &ours, exchanges, Rng::with_seed(seed));
                let (left, ()) = tokio::join!(client, server);
                assert_eq!(left, 0, "seed {seed}");
            },
            seed,
        );
    });
}

/// The `h2` client: all exchanges at once, its initial window changed on the way.
async fn ask_theirs(
    io: DuplexStream,
    mut rng: Rng,
    exchanges: Vec<Exchange>,
    window: u32,
    connection_window: u32,
    max_streams: u32,
) {
    let (client, mut connection) = h2::client::Builder::new()
        .initial_window_size(window)
        .initial_connection_window_size(connection_window)
        // Before our SETTINGS came, a stream may be one too many.
        .initial_max_send_streams(max_streams as usize)
        .handshake::<_, Bytes>(io)
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for exchange in exchanges {
        let client = client.clone();
        tasks.spawn(ask(client, exchange));
    }
    drop(client);
    let changes = rng.bool();
    let mut asked = std::pin::pin!(async {
        while let Some(done) = tasks.join_next().await {
            done.unwrap()
        }
    });
    let mut turns = 0;
    let mut finished = false;
    std::future::poll_fn(|context| {
        turns += 1;
        if changes && turns == 20 {
            let _ = connection.set_initial_window_size(rng.u32(0..200_000) + 1);
        }
        finished = finished || asked.as_mut().poll(context).is_ready();
        match Future::poll(std::pin::Pin::new(&mut connection), context) {
            std::task::Poll::Ready(result) => {
                result.unwrap();
                assert!(finished, "the connection ended before its streams");
                std::task::Poll::Ready(())
            }
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await;
}

async fn ask(client: h2::client::SendRequest<Bytes>, exchange: Exchange) {
    let mut client = client.ready().await.unwrap();
    let mut request = Request::post("http://a/echo");
    for (name, value) in &exchange.fields {
        request = request.header(name, value);
    }
    let alone = exchange.body.is_empty() && exchange.trailers.is_empty();
    let (response, mut sender) = client.send_request(request.body(()).unwrap(), alone).unwrap();
    if exchange.reset {
        sender.send_reset(h2::Reason::CANCEL);
        assert!(response.await.is_err());
        return;
    }
    if !alone {
        for (i, piece) in exchange.pieces.iter().enumerate() {
            let last = i + 1 == exchange.pieces.len() && exchange.trailers.is_empty();
            sender.send_data(Bytes::copy_from_slice(&exchange.body[piece.clone()]), last).unwrap();
        }
        if !exchange.trailers.is_empty() {
            sender.send_trailers(header_map(&exchange.trailers)).unwrap();
        }
    }
    let response = response.await.unwrap();
    for (name, value) in &exchange.fields {
        assert_eq!(response.headers()[name], value);
    }
    assert_eq!(response.headers().len(), exchange.fields.len());
    let (body, trailers) = read(response.into_body()).await;
    assert!(body == exchange.body, "{} bytes for {}", body.len(), exchange.body.len());
    assert_eq!(trailers, header_map(&exchange.trailers));
}

fn header_map(fields: &[(String, String)]) -> HeaderMap {
    let parse = |(name, value): &(String, String)| (name.parse().unwrap(), value.parse().unwrap());
    fields
        .iter()
        .map(parse)
        .collect::<Vec<(http::HeaderName, http::HeaderValue)>>()
        .into_iter()
        .collect()
}

async fn read(mut body: h2::RecvStream) -> (Vec<u8>, HeaderMap) {
    let mut all = Vec::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes.unwrap();
        body.flow_control().release_capacity(bytes.len()).unwrap();
        all.extend_from_slice(&bytes);
    }
    (all, body.trailers().await.unwrap().unwrap_or_default())
}

/// The `h2` server: an echo, its initial window changed on the way.
async fn serve_theirs(io: DuplexStream, mut rng: Rng, window: u32, connection_window: u32) {
    let mut connection = h2::server::Builder::new()
        .initial_window_size(window)
        .initial_connection_window_size(connection_window)
        .max_concurrent_streams(rng.u32(1..20))
        .handshake::<_, Bytes>(io)
        .await
        .unwrap();
    let mut accepted = 0;
    while let Some(accept) = connection.accept().await {
        let (request, respond) = match accept {
            Ok(accepted) => accepted,
            // Our end has all it wants and is gone.
            Err(error) if error.is_io() => return,
            Err(error) => panic!("{error}"),
        };
        tokio::spawn(echo(request, respond));
        accepted += 1;
        if accepted == 5 {
            let _ = connection.set_initial_window_size(rng.u32(0..200_000) + 1);
        }
    }
}

async fn echo(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let mut response = Response::builder();
    for (name, value) in request.headers() {
        response = response.header(name, value);
    }
    let mut body = request.into_body();
    let Ok(mut sender) = respond.send_response(response.body(()).unwrap(), false) else { return };
    while let Some(Ok(bytes)) = body.data().await {
        let _ = body.flow_control().release_capacity(bytes.len());
        if sender.send_data(bytes, false).is_err() {
            return;
        }
    }
    match body.trailers().await {
        Ok(Some(trailers)) => drop(sender.send_trailers(trailers)),
        Ok(None) => drop(sender.send_data(Bytes::new(), true)),
        Err(_) => {}
    }
}
