//! kcat, as the broker's own ready line recommends it.

use floe_tests::components::program_or_skip;
use floe_tests::program::Program;

use crate::{Broker, topic};

#[test]
fn kcat() {
    let Some(kcat) = program_or_skip("kcat", "kcat") else {
        return;
    };
    for broker in [Broker::on_folder(), Broker::on_s3()] {
        let topic = topic("kcat");
        let run = |args: &[&str], input: &str| {
            let own = ["-b", &broker.bootstrap, "-t", &topic];
            Program::new(&kcat)
                .args(own)
                .args(args)
                .input(input)
                .run()
                .output
        };
        let lines: String = (0..500).map(|n| format!("{n}:value {n}\n")).collect();
        // The topic creates itself.
        run(&["-P", "-K", ":"], &lines);
        assert_eq!(run(&["-C", "-e", "-q", "-K", ":"], ""), lines);
        // Again with a codec and idempotence, and from an offset.
        run(
            &[
                "-P",
                "-K",
                ":",
                "-z",
                "lz4",
                "-X",
                "enable.idempotence=true",
            ],
            &lines,
        );
        assert_eq!(run(&["-C", "-e", "-q", "-K", ":", "-o", "500"], ""), lines);
        assert_eq!(run(&["-C", "-e", "-q", "-o", "-1"], ""), "value 499\n");
        let listed = Program::new(&kcat)
            .args(["-L", "-b", &broker.bootstrap])
            .run()
            .output;
        assert!(
            listed.contains(&format!("topic \"{topic}\" with 1 partitions")),
            "{listed}"
        );
    }
}
