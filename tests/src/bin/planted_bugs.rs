//! Lets the simulation look for every planted bug, and fails if it misses one.
//!
//! ```text
//! FLOE_PLANTED_BUGS=1 cargo run -p floe-tests --bin planted-bugs            all of them
//! FLOE_PLANTED_BUGS=1 cargo run -p floe-tests --bin planted-bugs NoFence    one
//! ```
//!
//! `FLOE_TEST_SEEDS` bounds the seeds per bug, 10,000 by default. A hunt that goes on for more than
//! [`LIMIT`] ends the program: a bug that stops the simulated time would hold it for ever.

#![allow(
    clippy::print_stdout,
    reason = "a command-line tool speaks on standard output"
)]

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use floe_planted::Bug;
use floe_tests::config;
use floe_tests::simulation::run::{each_seed, run};

/// The first of the seeds; others than those of the ordinary run.
const BASE: u64 = 0x91a4_7ed0;

/// Seeds in which a bug must be found.
const SEEDS: u64 = 10_000;

/// Seeds in which nothing may be found while no bug is awake.
const SEEDS_WITHOUT: u64 = 100;

/// The time that one hunt may take, many times what the longest takes.
const LIMIT: Duration = Duration::from_secs(1200);

/// The first seed that breaks a promise.
struct Found {
    /// Which one it was, counted from 1.
    number: u64,
    seed: u64,
    /// What it broke first.
    broken: String,
}

/// What a seed breaks first.
fn broken(seed: u64) -> Option<String> {
    match catch_unwind(AssertUnwindSafe(|| run(seed))) {
        Ok(report) => report.broken.into_iter().next(),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Some(format!("panicked: {}", text.unwrap_or("without words")))
        }
    }
}

/// What [`search`] finds with `bug` awake, within [`LIMIT`]; ends the program when that has passed.
#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "a thread whose time stands still cannot be joined"
)]
fn hunt(bug: Option<Bug>, seeds: u64) -> Option<Found> {
    floe_planted::plant(bug);
    let (done, finds) = mpsc::channel();
    std::thread::spawn(move || done.send(search(seeds)));
    finds.recv_timeout(LIMIT).unwrap_or_else(|_| {
        println!("FAILED: {bug:?}: no end within {LIMIT:?}");
        std::process::exit(1)
    })
}

/// Looks through `seeds` seeds, up to one that breaks a promise.
fn search(seeds: u64) -> Option<Found> {
    let first = Mutex::new(None::<Found>);
    each_seed(BASE, seeds, |index, seed| {
        let Some(broken) = broken(seed) else {
            return ControlFlow::Continue(());
        };
        let number = index + 1;
        let mut first = first.lock().expect("not poisoned");
        if first.as_ref().is_none_or(|found| number < found.number) {
            *first = Some(Found {
                number,
                seed,
                broken,
            });
        }
        ControlFlow::Break(())
    });
    first.into_inner().expect("not poisoned")
}

fn main() -> ExitCode {
    if !floe_planted::ARE_BUILT {
        eprintln!("planted-bugs: this build has none: set FLOE_PLANTED_BUGS=1 and build again");
        return ExitCode::FAILURE;
    }
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted =
        |bug: &Bug| wanted.is_empty() || wanted.iter().any(|name| *name == format!("{bug:?}"));
    let seeds = config::seeds().unwrap_or(SEEDS);
    // A bug may well make the code panic; what it said is told with what was found.
    std::panic::set_hook(Box::new(|_| {}));
    if let Some(Found { seed, broken, .. }) = hunt(None, SEEDS_WITHOUT) {
        println!("FAILED: without a bug, seed {seed}: {broken}");
        return ExitCode::FAILURE;
    }
    let (mut numbers, mut missed) = (Vec::new(), 0);
    for bug in Bug::ALL.iter().copied().filter(is_wanted) {
        match hunt(Some(bug), seeds) {
            Some(Found {
                number,
                seed,
                broken,
            }) => {
                numbers.push(number);
                let line = broken.lines().next().unwrap_or_default();
                println!("{bug:?}: seed {number} ({seed}): {line}");
            }
            None => {
                missed += 1;
                println!("{bug:?}: NOT FOUND in {seeds} seeds");
            }
        }
    }
    numbers.sort_unstable();
    let median = numbers.get(numbers.len() / 2).copied().unwrap_or(0);
    let found = numbers.len();
    println!("{found} found, median {median} seeds; {missed} not found");
    if missed == 0 && found > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
