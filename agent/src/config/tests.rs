//! What each source says, and which one wins.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Parser as _;
use floe_storage::store::StoreUrl;

use super::{
    ByteSize, CommandLine, Config, ConfigError, Environment, FsckTask, MetaTask, ObjectTask,
    Setting, Task, resolve,
};
use crate::broker::Endpoint;

fn environment(variables: &[(&str, &str)], file: Option<&str>) -> Environment {
    Environment {
        variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        file: file.map(|text| ("floe.toml".to_owned(), text.to_owned())),
        memory_bytes: Some(16 << 30),
        seed: 1,
    }
}

fn resolved(flags: &[&str], environment: &Environment) -> Result<Config, ConfigError> {
    let line = CommandLine::try_parse_from(std::iter::once(&"floe").chain(flags)).unwrap();
    resolve(&line.into_task().1, environment).map(|(config, _)| config)
}

fn refusal(flags: &[&str], environment: &Environment) -> String {
    resolved(flags, environment)
        .expect_err("must be refused")
        .to_string()
}

fn endpoint(host: &str, port: u16) -> Endpoint {
    Endpoint {
        host: host.to_owned(),
        port,
    }
}

#[test]
fn commands_that_look_at_the_store() {
    let task = |line: &[&str]| {
        let line = CommandLine::try_parse_from(std::iter::once(&"floe").chain(line));
        line.unwrap().into_task().0
    };
    let fsck = |is_deep, seconds: Option<u64>| {
        Task::Fsck(FsckTask {
            is_deep,
            orphan_age: seconds.map(Duration::from_secs),
        })
    };
    assert_eq!(task(&["fsck", "--store", "memory:"]), fsck(false, None));
    assert_eq!(
        task(&["fsck", "--deep", "--orphan-age", "0"]),
        fsck(true, Some(0))
    );
    let inspect = |is_verified| {
        let key = "segments/0/00/x".to_owned();
        Task::Object(ObjectTask::Inspect { key, is_verified })
    };
    let line = ["object", "inspect", "segments/0/00/x", "--verify"];
    assert_eq!(task(&line), inspect(true));
    assert_eq!(task(&line[..3]), inspect(false));
}

#[test]
fn nothing_given() {
    let config = resolved(&[], &environment(&[], None)).unwrap();
    assert_eq!(config.store, StoreUrl::Folder("./floe-data".into()));
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].listen, endpoint("127.0.0.1", 9092));
    assert_eq!(config.listeners[0].advertise, None);
    assert_eq!(config.http, endpoint("127.0.0.1", 9080));
    assert_eq!(config.memory_limit, ByteSize(384 << 20));
    assert_eq!(config.flush.bytes, ByteSize(8 << 20));
    assert_eq!(config.flush.interval, None);
    assert_eq!(
        config,
        resolved(&["start"], &environment(&[], None)).unwrap()
    );
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = Some("zone = \"file\"\nhttp = \"127.0.0.1:3\"\nflush-interval = \"3ms\"\n");
    let variables = [("FLOE_ZONE", "variable"), ("FLOE_HTTP", "127.0.0.1:2")];
    let environment = environment(&variables, file);
    let config = resolved(&["--zone", "flag"], &environment).unwrap();
    assert_eq!(config.zone.as_deref(), Some("flag"));
    assert_eq!(config.http, endpoint("127.0.0.1", 2));
    assert_eq!(config.flush.interval, Some(Duration::from_millis(3)));
    assert_eq!(config.flush.bytes, ByteSize(8 << 20));
}

#[test]
fn broker_settings_of_all_sources_come_together() {
    let file =
        Some("[set]\nnum.partitions = 3\n\"log.retention.ms\" = 5\ndelete.topic.enable = false\n");
    let environment = environment(
        &[(
            "FLOE_SET",
            "log.retention.ms=6,log.cleanup.policy=compact,delete",
        )],
        file,
    );
    let settings = resolved(&["--set", "num.partitions=4"], &environment)
        .unwrap()
        .settings;
    assert_eq!(
        settings.set_value("num.partitions").map(|(value, _)| value),
        Some("4")
    );
    assert_eq!(
        settings
            .set_value("log.retention.ms")
            .map(|(value, _)| value),
        Some("6")
    );
    assert_eq!(
        settings
            .set_value("log.cleanup.policy")
            .map(|(value, _)| value),
        Some("compact,delete")
    );
    assert!(!settings.is_on("delete.topic.enable"));
    assert!(settings.is_on("auto.create.topics.enable"));
}

#[test]
fn listeners_and_what_they_advertise() {
    let flags = [
        "--listen",
        "0.0.0.0:9092",
        "--listen",
        "outside=[::]:9093",
        "--advertise",
        "outside=example.org:19093",
    ];
    let config = resolved(&flags, &environment(&[], None)).unwrap();
    assert_eq!(config.listeners[0].listen, endpoint("0.0.0.0", 9092));
    assert_eq!(config.listeners[0].advertise, None);
    assert_eq!(config.listeners[1].listen, endpoint("::", 9093));
    assert_eq!(
        config.listeners[1].advertise,
        Some(endpoint("example.org", 19093))
    );
    let listed = environment(&[("FLOE_LISTEN", "a=127.0.0.1:1, b=127.0.0.1:2")], None);
    assert_eq!(resolved(&[], &listed).unwrap().listeners.len(), 2);
    let file = environment(&[], Some("listen = [\"a=127.0.0.1:1\", \"b=127.0.0.1:2\"]"));
    assert_eq!(resolved(&[], &file).unwrap().listeners.len(), 2);
}

#[test]
fn metadata_is_kept_in_the_store_unless_told_otherwise() {
    let none = environment(&[], None);
    for (flags, expected) in [
        (&[][..], "Store"),
        (&["--metadata", "store:"], "Store"),
        (
            &["--metadata", "postgres://u:secret@h/d"],
            "Postgres(postgres://u@h:5432/d)",
        ),
    ] {
        let config = resolved(flags, &none).unwrap();
        assert_eq!(format!("{:?}", config.metadata), expected);
        assert!(!format!("{config:?}").contains("secret"));
    }
}

#[test]
fn the_memory_limit_follows_the_machine() {
    for (machine, expected) in [
        (Some(16 << 30), 384 << 20),
        (Some(1 << 30), 256 << 20),
        (Some(100 << 20), 64 << 20),
        (None, 384 << 20),
    ] {
        let environment = Environment {
            memory_bytes: machine,
            ..environment(&[], None)
        };
        let config = resolved(&[], &environment).unwrap();
        assert_eq!(config.memory_limit, ByteSize(expected), "{machine:?}");
    }
    let asked = resolved(&["--memory-limit", "1GiB"], &environment(&[], None)).unwrap();
    assert_eq!(asked.memory_limit, ByteSize(1 << 30));
}

#[test]
fn refusals_name_the_source_and_the_value() {
    let none = environment(&[], None);
    for (flags, expected) in [
        (
            &["--listen", "nonsense"][..],
            "--listen: 'nonsense' has no port",
        ),
        (
            &["--listen", "a:99999"],
            "--listen: 'a:99999' has no port between",
        ),
        (
            &["--listen", "::1:9092"],
            "--listen: '::1:9092' needs brackets",
        ),
        (
            &["--listen", "a:1", "--listen", "b:2"],
            "is a second listener called 'default'",
        ),
        (&["--advertise", "x=a:1"], "names no listener"),
        (
            &["--advertise", "0.0.0.0:1"],
            "is nothing a client can connect to",
        ),
        (
            &["--memory-limit", "lots"],
            "--memory-limit: 'lots' is no size",
        ),
        (&["--memory-limit", "1MiB"], "is too small; at least 64MiB"),
        (&["--flush-size", "1"], "is not between 64KiB and 64MiB"),
        (&["--flush-interval", "5"], "is no time"),
        (&["--flush-interval", "1000s"], "is more than 10s"),
        (
            &["--set", "num.partitions"],
            "--set: 'num.partitions' is not of the form NAME=VALUE",
        ),
        (
            &["--set", "num.partitions=many"],
            "Invalid value many for configuration num.partitions",
        ),
        (
            &["--set", "no.such.thing=1"],
            "--set: unknown broker setting 'no.such.thing'",
        ),
        (&["--set", "node.id=1"], "'node.id' cannot be set by name"),
        (
            &["--store", "ftp://x"],
            "--store: store 'ftp://x' is not supported",
        ),
        (&["--metadata", "slatedb:"], "--metadata: is no engine"),
        (
            &["--metadata", "postgres://u:secret@h"],
            "--metadata: the PostgreSQL URL names no database",
        ),
    ] {
        let refusal = refusal(flags, &none);
        assert!(refusal.contains(expected), "{flags:?}: {refusal}");
        assert_eq!(refusal.lines().count(), 1, "{flags:?}: one line");
    }
    let secret = environment(&[("FLOE_METADATA", "postgresql://u:secret@h:x/d")], None);
    let refused = refusal(&[], &secret);
    assert!(refused.starts_with("FLOE_METADATA: "), "{refused}");
    assert!(!refused.contains("secret"), "{refused}");
    let variable = environment(&[("FLOE_MEMORY_LIMIT", "x")], None);
    assert!(refusal(&[], &variable).starts_with("FLOE_MEMORY_LIMIT: 'x' is no size"));
    for (file, expected) in [
        ("stor = \"x\"", "floe.toml: unknown setting 'stor'"),
        ("store = [1]", "floe.toml: setting 'store' must be a text"),
        ("set = 1", "floe.toml: setting 'set' must be a table"),
        ("zone = \"a\"\nhttp = ", "floe.toml: line 2:"),
        (
            "memory-limit = \"x\"",
            "floe.toml: memory-limit: 'x' is no size",
        ),
        (
            "[set]\nfoo = 1",
            "floe.toml: set: unknown broker setting 'foo'",
        ),
    ] {
        let refusal = refusal(&[], &environment(&[], Some(file)));
        assert!(refusal.contains(expected), "{file}: {refusal}");
        assert_eq!(refusal.lines().count(), 1, "{file}: one line");
    }
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("1", 1),
        ("64K", 65_536),
        ("512MiB", 512 << 20),
        ("1 GiB", 1 << 30),
        ("2gb", 2 << 30),
    ] {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
    }
    for text in [
        "",
        "x",
        "1.5G",
        "-1",
        "99999999999999999999",
        "18446744073709551615T",
    ] {
        assert!(text.parse::<ByteSize>().is_err(), "{text}");
    }
    assert_eq!(ByteSize(384 << 20).to_string(), "384MiB");
    assert_eq!(ByteSize(1000).to_string(), "1000");
}

#[test]
fn the_help_is_complete() {
    use clap::CommandFactory as _;
    CommandLine::command().debug_assert();
    let help = CommandLine::command().render_long_help().to_string();
    for setting in super::Setting::ALL {
        assert!(
            help.contains(&format!("--{}", setting.key())),
            "{setting:?}"
        );
        assert!(help.contains(&setting.variable()), "{setting:?}");
    }
}

#[test]
fn what_to_do_and_the_flags_for_it() {
    let file = || "metadata.floe".into();
    for (words, expected) in [
        (vec!["floe"], Task::Run),
        (vec!["floe", "start"], Task::Run),
        (vec!["floe", "health"], Task::Health),
        (
            vec!["floe", "meta", "export", "metadata.floe"],
            Task::Meta(MetaTask::Export { file: file() }),
        ),
        (
            vec!["floe", "meta", "import", "metadata.floe"],
            Task::Meta(MetaTask::Import { file: file() }),
        ),
        (
            vec!["floe", "meta", "inspect"],
            Task::Meta(MetaTask::Inspect),
        ),
    ] {
        let words = words.into_iter().chain(["--store", "s3://bucket"]);
        let (task, args) = CommandLine::try_parse_from(words).unwrap().into_task();
        assert_eq!(task, expected);
        assert_eq!(args.values(Setting::Store), ["s3://bucket"]);
    }
    for words in [
        vec!["floe", "meta"],
        vec!["floe", "meta", "export"],
        vec!["floe", "meta", "inspect", "metadata.floe"],
    ] {
        assert!(CommandLine::try_parse_from(&words).is_err(), "{words:?}");
    }
}
