//! The PostgreSQL engine over a real server: the contract all engines keep, and what happens when the
//! server, or the way to it, fails.

use floe_metadata::engine::{Engine, EngineError, Row, RowChange, Session};

// The contract as tests lies beside the trait; engines that need a server of their own run it here.
#[path = "../../metadata/src/engine/conformance.rs"]
mod conformance;
mod encryption;
mod failures;
mod fixture;
mod refusals;
mod restored;

use fixture::Database;

conformance::suite!(
    match Database::create().await {
        Some(database) => database,
        None => return,
    },
    #[tokio::test]
);
