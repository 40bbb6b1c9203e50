//! Stock clients and tools of other languages against a real broker, unmodified and with their
//! defaults. A missing toolchain skips its tests aloud, or fails them if `FLOE_TEST_REQUIRE` names it.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, and says where"
)]

mod go;
mod groups;
mod java;
mod java_admin;
mod kcat;
mod node;
mod python;
mod suites;
mod verifiable;

use std::path::{Path, PathBuf};

use floe_tests::components::s3::S3;
use floe_tests::config;
use floe_tests::sandbox::{Sandbox, Setup};

const BINARY: &str = env!("CARGO_BIN_EXE_floe-under-test");

/// A file of this folder.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("compatibility")
        .join(name)
}

/// The broker under test, or the running one of `FLOE_TEST_BOOTSTRAP`.
struct Broker {
    bootstrap: String,
    _sandbox: Option<Sandbox>,
}

impl Broker {
    fn on_folder() -> Broker {
        Broker::running().unwrap_or_else(|| Broker::started(Setup::on_folder(BINARY)))
    }

    fn on_s3() -> Broker {
        Broker::running().unwrap_or_else(|| {
            Broker::started(Setup::on_bucket(BINARY, &S3::shared().create_bucket()))
        })
    }

    fn running() -> Option<Broker> {
        Some(Broker {
            bootstrap: config::bootstrap()?,
            _sandbox: None,
        })
    }

    fn started(setup: Setup) -> Broker {
        let sandbox = setup.start();
        Broker {
            bootstrap: sandbox.bootstrap(),
            _sandbox: Some(sandbox),
        }
    }
}

/// A topic name of its own, also on a broker that outlives the tests.
fn topic(name: &str) -> String {
    format!("{name}-{}", floe_tests::wait::wall_ms())
}
