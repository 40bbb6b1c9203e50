//! Go: franz-go.

use std::time::Duration;

use floe_tests::components::{missing, program_or_skip};
use floe_tests::program::{Program, artifacts};

use crate::{Broker, source, topic};

const BUILD_LIMIT: Duration = Duration::from_secs(600);

/// Builds the client `name` of the package in `folder` and runs it against each kind of broker.
pub(crate) fn check(name: &str, folder: &str) {
    let Some(go) = program_or_skip("go", "go") else {
        return;
    };
    let program = artifacts("go").join(name);
    let built = Program::new(go)
        .args(["build", "-o"])
        .arg(&program)
        .arg(folder)
        .folder(&source("go"))
        .limit(BUILD_LIMIT)
        .try_run();
    if let Err(why) = built {
        missing("go", &format!("the client could not be built: {why}"));
        return;
    }
    for broker in [Broker::on_folder(), Broker::on_s3()] {
        let finished = Program::new(&program)
            .args([&broker.bootstrap, &topic(name)])
            .run();
        assert_eq!(finished.output.trim(), "OK", "{}", finished.errors);
    }
}

#[test]
fn franz_go() {
    check("round-trip", ".");
}
