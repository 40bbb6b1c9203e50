//! The broker that a client test talks to.

use std::sync::atomic::{AtomicU64, Ordering};

use floe_tests::components::s3::S3;
use floe_tests::config;
use floe_tests::sandbox::{Sandbox, Setup};

/// The program that cargo built with these tests.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_floe-under-test");

/// A broker, ours and started for the test, or one that runs anyway.
pub(crate) struct Target {
    bootstrap: String,
    // Ends the broker on drop, and lets go of its store.
    _sandbox: Option<Sandbox>,
}

impl Target {
    /// A broker on a new folder.
    pub(crate) fn folder() -> Target {
        Target::running().unwrap_or_else(|| Target::started(Setup::on_folder(BINARY)))
    }

    /// A broker on a new bucket.
    pub(crate) fn s3() -> Target {
        Target::running().unwrap_or_else(|| {
            let bucket = S3::shared().create_bucket();
            Target::started(Setup::on_bucket(BINARY, &bucket))
        })
    }

    fn running() -> Option<Target> {
        let bootstrap = config::bootstrap()?;
        Some(Target {
            bootstrap,
            _sandbox: None,
        })
    }

    fn started(setup: Setup) -> Target {
        let sandbox = setup.start();
        Target {
            bootstrap: sandbox.bootstrap(),
            _sandbox: Some(sandbox),
        }
    }

    /// What clients take as `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// A topic name that no other test uses, also on a broker that outlives the tests.
    pub(crate) fn topic(&self, name: &str) -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        format!(
            "{name}-{number}-{}-{}",
            std::process::id(),
            floe_tests::wait::wall_ms()
        )
    }
}
