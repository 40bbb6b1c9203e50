//! A reference model: the same rules over plain lists, without packing, paging or rows. Random commands go
//! to both; replies and reads must agree, through groups, crashes, and whatever is in memory.

mod reference;
mod steps;

use proptest::prelude::*;

use super::fixtures::{Cluster, recover, roomy, tiny};
use crate::state::StateConfig;
use reference::Model;
use steps::{Step, steps};

/// Runs the steps against a state and the model.
fn run(config: StateConfig, steps: &[Step]) {
    let mut cluster = Cluster::registered(config);
    let mut model = Model::default();
    let mut sealed = model.clone();
    for step in steps {
        match step {
            Step::Wait(ms) => cluster.now_ms += ms,
            Step::Seal => {
                cluster.seal();
                sealed = model.clone();
                expect_rows(&cluster, &model);
            }
            Step::Crash => {
                cluster.crash();
                model = sealed.clone();
                model.crash();
            }
            Step::Command(draft) => {
                let command = model.command(draft, cluster.now_ms);
                let reply = cluster.run_open(command.clone());
                let expected = model.apply(cluster.state.now_ms(), command);
                assert_eq!(model.strip(reply), expected);
            }
        }
        model.compare(&cluster.state);
    }
    cluster.seal();
    let (hash, producers_hash) = (cluster.state.hash(), cluster.producers_hash());
    let recovered = recover(&cluster.config, &cluster.rows).unwrap();
    assert_eq!(recovered.hash(), hash);
    cluster.state = recovered;
    model.crash();
    expect_rows(&cluster, &model);
    assert_eq!(cluster.producers_hash(), producers_hash);
    model.compare(&cluster.state);
}

/// Rows of segments are there as long as they are needed, and no longer.
fn expect_rows(cluster: &Cluster, model: &Model) {
    let counts = cluster.state.counts();
    let checkpoint = model.last_commit() - counts.replay_commits;
    assert_eq!(cluster.segment_rows(), model.rows(checkpoint));
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_tiny_memory(steps in steps(150)) {
        run(tiny(), &steps);
    }

    #[test]
    fn agrees_with_no_memory_for_producers(steps in steps(60)) {
        let config = StateConfig { producer_states_bytes_max: 0, ..tiny() };
        run(config, &steps);
    }

    #[test]
    fn agrees_with_a_replay_of_everything(steps in steps(100)) {
        run(roomy(), &steps);
    }

    #[test]
    fn limits_never_change_what_a_state_says(steps in steps(80)) {
        let hashes = [tiny(), roomy()].map(|config| {
            let mut cluster = Cluster::registered(config);
            let mut model = Model::default();
            for step in &steps {
                match step {
                    Step::Wait(ms) => cluster.now_ms += ms,
                    Step::Command(draft) => {
                        let command = model.command(draft, cluster.now_ms);
                        cluster.run_open(command.clone());
                        model.apply(cluster.state.now_ms(), command);
                    }
                    Step::Seal | Step::Crash => {
                        cluster.seal();
                        cluster.crash();
                    }
                }
            }
            cluster.seal();
            (cluster.state.hash(), cluster.producers_hash())
        });
        prop_assert_eq!(hashes[0], hashes[1]);
    }
}
