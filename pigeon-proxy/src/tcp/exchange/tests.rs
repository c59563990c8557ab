//! Both ends played by hand, with a clock that moves by itself.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;

type Counts = (usize, usize);

/// An exchange between two ends, and what it says in the end.
struct Pair {
    client: DuplexStream,
    engine: DuplexStream,
    exchange: JoinHandle<(End, Counts)>,
}

/// Each socket holds `room` bytes.
fn pair(limits: Limits, room: usize) -> Pair {
    let (client, mut ours) = duplex(room);
    let (engine, mut theirs) = duplex(room);
    let exchange = tokio::spawn(async move {
        let mut counts = (0, 0);
        let count = |side, n| match side {
            Side::Client => counts.0 += n,
            Side::Engine => counts.1 += n,
        };
        let end = Exchange::new(limits).run(&mut ours, &mut theirs, count).await;
        (end, counts)
    });
    Pair { client, engine, exchange }
}

fn idle(seconds: u64) -> Limits {
    Limits { idle: Some(Duration::from_secs(seconds)), until: None }
}

async fn sleep(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn everything_passes_in_order_however_small_the_room() {
    for room in [1, 7, CHUNK, 4 * CHUNK] {
        let Pair { client, engine, exchange } = pair(idle(60), room);
        let sent: Vec<u8> = (0..100_000_u32).map(|i| i as u8).collect();
        // Both send at once, and each reads all the other sent.
        let play = |socket: DuplexStream, sent: Vec<u8>| async move {
            let (mut read, mut write) = tokio::io::split(socket);
            let writing = async move {
                write.write_all(&sent).await.expect("taken");
                write.shutdown().await.expect("told");
            };
            let mut got = Vec::new();
            let (_, read) = tokio::join!(writing, read.read_to_end(&mut got));
            read.expect("an end");
            got
        };
        let (up, down) = (sent.clone(), sent[..77_777].to_vec());
        let (at_client, at_engine) = tokio::join!(play(client, up), play(engine, down));
        assert!(at_engine == sent && at_client == sent[..77_777], "room {room}");
        let (end, counts) = exchange.await.expect("ended");
        assert!(matches!(end, End::Closed));
        assert_eq!(counts, (100_000, 77_777));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_said_all_still_gets_the_answer() {
    let Pair { mut client, mut engine, exchange } = pair(idle(60), 64);
    client.write_all(b"question").await.expect("taken");
    client.shutdown().await.expect("told");
    let mut asked = String::new();
    engine.read_to_string(&mut asked).await.expect("an end");
    assert_eq!(asked, "question");
    // Longer than clients are given that the engine has left.
    sleep(50).await;
    engine.write_all(b"answer").await.expect("taken");
    drop(engine);
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("an end");
    assert_eq!(answer, "answer");
    assert!(matches!(exchange.await.expect("ended").0, End::Closed));
}

#[tokio::test(start_paused = true)]
async fn silence_ends_it_and_a_byte_either_way_does_not() {
    let Pair { mut client, mut engine, exchange } = pair(idle(10), 64);
    for turn in 0..6 {
        sleep(9).await;
        let (from, to) =
            if turn % 2 == 0 { (&mut client, &mut engine) } else { (&mut engine, &mut client) };
        from.write_all(b"x").await.expect("taken");
        assert_eq!(to.read_u8().await.expect("passed"), b'x');
    }
    let before = Instant::now();
    let (end, _) = exchange.await.expect("ended");
    assert!(matches!(end, End::Rejected(Rejection::Deadline)));
    assert_eq!(before.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn nothing_lives_longer_than_it_may_and_without_limits_for_ever() {
    let until = Some(Instant::now() + Duration::from_secs(100));
    let Pair { mut client, mut engine, exchange } = pair(Limits { idle: None, until }, 64);
    let Pair { client: _one, engine: _two, exchange: endless } = pair(Limits::default(), 64);
    let begun = Instant::now();
    let talk = async {
        while client.write_all(b"x").await.is_ok() && engine.read_u8().await.is_ok() {
            sleep(1).await;
        }
    };
    talk.await;
    assert!(matches!(exchange.await.expect("ended").0, End::Rejected(Rejection::Deadline)));
    assert!((99..=101).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    sleep(1_000_000).await;
    assert!(!endless.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_see_the_engine_leave_is_not_waited_for() {
    let Pair { mut client, engine, exchange } = pair(idle(3_600), 64);
    drop(engine);
    let begun = Instant::now();
    let (end, _) = exchange.await.expect("ended");
    assert!(matches!(end, End::Closed));
    assert_eq!(begun.elapsed(), AFTER_THE_ENGINE);
    assert_eq!(client.read(&mut [0]).await.expect("an end"), 0);
}

#[tokio::test(start_paused = true)]
async fn who_broke_it_off_is_known() {
    let Pair { client, mut engine, exchange } = pair(idle(60), 4);
    drop(client);
    // What the client asked for is over; the engine does not know that its answer finds nobody.
    let _ = engine.write_all(b"a long answer").await;
    assert!(matches!(exchange.await.expect("ended").0, End::ClientGone(_)));
}
