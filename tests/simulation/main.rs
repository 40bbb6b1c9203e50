//! Many seeds of the simulation. `FLOE_TEST_SEEDS` says how many (2,000 by default), `FLOE_TEST_SEED`
//! runs one alone and prints its log and what came of it.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use floe_tests::config;
use floe_tests::simulation::run::{Report, each_seed, nth_seed, run, run_embedded};

/// The first of the seeds that every change runs.
const BASE: u64 = 0x0f10_e000;

/// Seeds of a run that is not told how many.
const SEEDS: u64 = 2_000;

/// Seeds over the embedded engine, which costs more.
const EMBEDDED_SEEDS: u64 = 60;

/// Seeds that break a promise after which no more are run.
const FAILURES_MAX: usize = 3;

/// Runs a seed; a panic is a broken promise of the code to itself.
fn verdict(seed: u64) -> Report {
    catch_unwind(AssertUnwindSafe(|| run(seed))).unwrap_or_else(|_| Report {
        broken: vec!["panicked".to_owned()],
        trace: 0,
        acked: 0,
        unknown: 0,
        starts: 0,
    })
}

#[test]
fn no_seed_breaks_a_promise() {
    if let Some(seed) = config::seed() {
        let log = tracing_subscriber::fmt().without_time().with_ansi(false);
        log.with_max_level(tracing::Level::DEBUG)
            .with_test_writer()
            .init();
        let report = verdict(seed);
        println!("seed {seed}: {report:#?}");
        assert!(report.broken.is_empty(), "seed {seed} breaks promises");
        return;
    }
    let seeds = config::seeds().unwrap_or(SEEDS);
    let (failed, totals) = (Mutex::new(Vec::new()), Mutex::new((0, 0, 0)));
    each_seed(BASE, seeds, |_, seed| {
        let report = verdict(seed);
        let mut totals = totals.lock().expect("not poisoned");
        totals.0 += report.acked;
        totals.1 += report.unknown;
        totals.2 += report.starts;
        drop(totals);
        let mut failed = failed.lock().expect("not poisoned");
        if !report.broken.is_empty() {
            failed.push((seed, report));
        }
        if failed.len() < FAILURES_MAX {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    let (acked, unknown, starts) = totals.into_inner().expect("not poisoned");
    println!("{seeds} seeds: {acked} records acknowledged, {unknown} unknown, {starts} starts");
    let failed = failed.into_inner().expect("not poisoned");
    for (seed, report) in &failed {
        println!("FLOE_TEST_SEED={seed}: {report:#?}");
    }
    assert!(failed.is_empty(), "{} seeds break promises", failed.len());
    assert!(acked > 0, "the simulation did nothing");
}

#[test]
fn no_seed_breaks_a_promise_over_the_embedded_engine() {
    if let Some(seed) = config::seed() {
        let log = tracing_subscriber::fmt().without_time().with_ansi(false);
        log.with_max_level(tracing::Level::DEBUG)
            .with_test_writer()
            .init();
        let report = run_embedded(seed);
        println!("seed {seed}: {report:#?}");
        assert!(report.broken.is_empty(), "seed {seed} breaks promises");
        return;
    }
    let (broken, acked) = (Mutex::new(Vec::new()), Mutex::new(0));
    each_seed(BASE ^ 2, EMBEDDED_SEEDS, |_, seed| {
        let report = catch_unwind(AssertUnwindSafe(|| run_embedded(seed)));
        let wrong = match report {
            Ok(report) => {
                *acked.lock().expect("not poisoned") += report.acked;
                report.broken.into_iter().next()
            }
            Err(_) => Some("panicked".to_owned()),
        };
        let Some(wrong) = wrong else {
            return ControlFlow::Continue(());
        };
        let mut broken = broken.lock().expect("not poisoned");
        broken.push(format!("seed {seed}: {wrong}"));
        ControlFlow::Break(())
    });
    let acked = acked.into_inner().expect("not poisoned");
    println!("{EMBEDDED_SEEDS} seeds over the embedded engine: {acked} records acknowledged");
    let broken = broken.into_inner().expect("not poisoned");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(acked > 0, "the simulation did nothing");
}

#[test]
fn a_seed_reproduces_a_run_exactly() {
    for index in 0..50 {
        let seed = nth_seed(BASE ^ 1, index);
        assert_eq!(verdict(seed), verdict(seed), "seed {seed}");
    }
}
