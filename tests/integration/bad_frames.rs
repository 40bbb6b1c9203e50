//! 10,000 bad frames against a live broker under load: it neither falls, nor grows, nor lets a good
//! client feel it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use floe_tests::checker;
use floe_tests::client::{self, Recorder, RecordingProducer};
use floe_tests::frames::BadFrames;
use floe_tests::sandbox::Setup;
use floe_tests::say::say;
use floe_tests::wait;

use crate::target::BINARY;

const FRAMES: usize = 10_000;
const ATTACKERS: u64 = 4;
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const LIMIT: Duration = Duration::from_secs(60);

/// Longer than a good client ever waits here; a broker that is busy with rubbish would take longer.
const ACK_LIMIT: Duration = Duration::from_secs(5);

#[test]
fn ten_thousand_bad_frames() {
    // The least memory, so that caches are full before the attack and growth is the attack's.
    let mut broker = Setup::on_folder(BINARY)
        .arg("--memory-limit")
        .arg("64MiB")
        .start();
    let bootstrap = broker.bootstrap();
    client::create_topic(&bootstrap, "good", 2);
    client::create_topic(&bootstrap, "bad", 1);
    let recorder = Recorder::default();
    let config = client::producer_config(&bootstrap);
    let mut producer = RecordingProducer::new(&config, "good", 0, &recorder);
    (0..3_000).for_each(|_| (0..2).for_each(|partition| producer.send(partition, 20_000)));
    producer.flush(LIMIT).unwrap();
    recorder.read_back(&bootstrap, "good");
    let before_bytes = broker.process().resident_bytes();

    let (over, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut slowest = Duration::ZERO;
    std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..ATTACKERS)
            .map(|seed| {
                let (address, sent) = (broker.address(), &sent);
                scope.spawn(move || attack(address, seed, sent))
            })
            .collect();
        let (over, good) = (&over, &mut slowest);
        scope.spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let start = wait::now();
                (0..20).for_each(|_| (0..2).for_each(|partition| producer.send(partition, 1_000)));
                producer
                    .flush(ACK_LIMIT)
                    .expect("a good client is served in time");
                *good = start.elapsed().max(*good);
            }
            assert_eq!(producer.fatal_error(), None);
        });
        for attacker in attackers {
            attacker.join().unwrap();
        }
        over.store(true, Ordering::SeqCst);
    });

    assert_eq!(broker.process().try_wait(), None, "the broker lives");
    assert!(sent.load(Ordering::SeqCst) >= FRAMES);
    let grown = wait::until("memory at rest", LIMIT, || {
        let grown = broker
            .process()
            .resident_bytes()
            .saturating_sub(before_bytes);
        (grown <= GROWTH_BYTES_MAX).then_some(grown)
    });
    let panics = broker
        .process()
        .lines()
        .iter()
        .filter(|line| line.contains("panicked"))
        .count();
    assert_eq!(panics, 0, "a handler panicked");
    recorder.read_back(&bootstrap, "good");
    let acked: usize = recorder
        .lock()
        .values()
        .map(|history| {
            let verdict = checker::check(history).expect_clean("good client");
            assert_eq!(verdict.acked, history.sent.len());
            verdict.acked
        })
        .sum();
    say(&format!(
        "{FRAMES} bad frames: memory +{} KiB, good client {acked} records, slowest round {slowest:?}",
        grown / 1024
    ));
}

/// Sends its share of the frames, each on a connection of its own, every other one behind a good
/// request that must still be answered.
fn attack(address: SocketAddr, seed: u64, sent: &AtomicUsize) {
    let mut frames = BadFrames::new(seed, "bad");
    while sent.fetch_add(1, Ordering::SeqCst) < FRAMES {
        let frame = frames.next_frame();
        let polite = frame.len().is_multiple_of(2);
        let mut connection = TcpStream::connect(address).expect("the broker accepts");
        connection
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        if polite {
            connection.write_all(&API_VERSIONS).unwrap();
            let mut answer = [0; 8];
            connection.set_read_timeout(Some(ACK_LIMIT)).unwrap();
            connection
                .read_exact(&mut answer)
                .expect("a good request is answered");
            assert_eq!(answer[4..], API_VERSIONS[8..12], "correlation id");
            connection
                .set_read_timeout(Some(Duration::from_millis(200)))
                .unwrap();
        }
        // From here on the broker may close at any byte.
        if connection.write_all(&frame).is_ok() {
            connection.shutdown(Shutdown::Write).ok();
            let mut rest = Vec::new();
            connection.read_to_end(&mut rest).ok();
        }
    }
}

/// ApiVersions version 0, correlation id 77, client id null.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 77, 0xff, 0xff];
