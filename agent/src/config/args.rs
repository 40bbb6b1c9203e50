//! The command line. Every flag is text here; `resolve` gives it its meaning together with the other
//! sources.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use super::Setting;

const ABOUT: &str = "A Kafka-compatible broker that keeps everything in one folder or bucket.";

const LONG_ABOUT: &str = "\
Floe is a Kafka-compatible broker without disks: unmodified Kafka clients write to and read from it,
and everything durable lies in one folder or one bucket (S3-compatible, Google Cloud Storage, Azure).

  floe                                  a broker on 127.0.0.1:9092 over ./floe-data
  floe --store s3://my-bucket           the same over a bucket, keys from AWS_* variables
  floe --listen 0.0.0.0:9092            reachable from other machines";

const AFTER_HELP: &str = "\
Each setting is looked for in this order: flag, environment variable, floe.toml, default. In floe.toml
the names are those of the flags without dashes in front; `set` is a table:

  store = \"s3://my-bucket\"
  listen = [\"127.0.0.1:9092\", \"outside=0.0.0.0:9093\"]
  [set]
  \"num.partitions\" = 4

Stores: file:PATH, s3://BUCKET[/PREFIX], gs://BUCKET[/PREFIX], az://CONTAINER[/PREFIX], memory: (lost when
the process ends). Who we are and where a bucket is comes from the usual variables, else from the role of the
machine or container:

  s3://  AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL (https:// or http://)
  gs://  GOOGLE_APPLICATION_CREDENTIALS or GOOGLE_SERVICE_ACCOUNT (a file), GOOGLE_BASE_URL,
         STORAGE_EMULATOR_HOST
  az://  AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_ENDPOINT,
         AZURE_STORAGE_USE_EMULATOR

Metadata in PostgreSQL: the server must run with fsync=on and synchronous_commit=on; a failover loses
nothing if its standby is synchronous (synchronous_standby_names). sslmode=disable, prefer, require,
verify-ca and verify-full and sslrootcert=FILE are options of the URL.

SIGTERM and Ctrl-C finish what was begun, write what waits, and exit with 0. Exit codes: 2 for an error
of use, 1 for one at run time, each with one line that says what is wrong.";

/// `floe` and what follows it.
#[derive(Parser, Debug)]
#[command(
    name = "floe",
    bin_name = "floe",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_long_help = AFTER_HELP,
    args_conflicts_with_subcommands = true,
    max_term_width = 100
)]
pub struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    args: Args,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run a broker (also what plain `floe` does)
    #[command(after_long_help = AFTER_HELP)]
    Start(Args),
    /// Ask the broker that runs with these settings whether it is ready: exit code 0 or 1
    ///
    /// For health checks of containers, where nothing else is at hand that could ask.
    Health(Args),
    /// Move a stopped cluster's metadata to another engine, or show a cluster
    ///
    /// To move: stop all processes; `floe meta export FILE` with the old --metadata; `floe meta import FILE`
    /// with the new one; start the processes with the new one. The store stays the same, and clients go on
    /// where they were.
    #[command(subcommand, verbatim_doc_comment)]
    Meta(MetaCommand),
    /// Look at one object of the store
    #[command(subcommand)]
    Object(ObjectCommand),
    /// Check that the store holds what the metadata says, whole, and nothing that nobody needs
    ///
    /// --store and --metadata (or FLOE_STORE, FLOE_METADATA, floe.toml) say where. The cluster may be running;
    /// nothing is changed. Each object that a log leads to must be there with its size and an intact index, with
    /// --deep every byte of it is read and held against its checksums. Exit code 0 if all is well, 1 if something
    /// is missing, damaged, or left over.
    #[command(verbatim_doc_comment)]
    Fsck {
        /// Read all bytes, and check the checksum of every batch
        #[arg(long)]
        deep: bool,
        /// Seconds for which an object that nobody needs any more may wait to be deleted
        ///
        /// By default twice the pause between two searches for orphans, and an hour.
        #[arg(long, value_name = "SECONDS")]
        orphan_age: Option<u64>,
        /// Where the cluster is.
        #[command(flatten)]
        args: Args,
    },
}

/// What to do with one object.
#[derive(Subcommand, Debug)]
pub enum ObjectCommand {
    /// Show what a segment holds: header, footer, and every batch of its index
    Inspect {
        /// Its key below the store's prefix, as in segments/0/1a/…
        key: String,
        /// Read all its bytes, and check the checksum of every batch
        #[arg(long)]
        verify: bool,
        /// Where the store is.
        #[command(flatten)]
        args: Args,
    },
}

/// What to do with a cluster's metadata.
#[derive(Subcommand, Debug)]
pub enum MetaCommand {
    /// Write the metadata of a stopped cluster to a new file
    ///
    /// --store and --metadata (or FLOE_STORE, FLOE_METADATA, floe.toml) say where it is now. Refused while the
    /// cluster's owner answers.
    #[command(verbatim_doc_comment)]
    Export {
        /// The file to write; it must not exist
        file: PathBuf,
        /// Where the cluster is.
        #[command(flatten)]
        args: Args,
    },
    /// Move the cluster to the engine of --metadata with what was exported
    ///
    /// The store must be the cluster's own. Everything is checked and read back before the cluster is moved in
    /// one step; from then on the old engine is refused. Refused if the cluster was started since the export.
    #[command(verbatim_doc_comment)]
    Import {
        /// The file that was exported
        file: PathBuf,
        /// Where the cluster is.
        #[command(flatten)]
        args: Args,
    },
    /// Show a cluster in words; it may be running
    Inspect(Args),
}

/// What a process is started for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Task {
    /// To run a broker.
    Run,
    /// To ask the one that runs whether it is ready.
    Health,
    /// To do something with a cluster's metadata.
    Meta(MetaTask),
    /// To look at one object.
    Object(ObjectTask),
    /// To check the whole store.
    Fsck(FsckTask),
}

/// What to do with one object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ObjectTask {
    /// Show it.
    Inspect {
        /// Its key below the store's prefix.
        key: String,
        /// Whether to check every byte.
        is_verified: bool,
    },
}

/// How to check a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FsckTask {
    /// Whether to check every byte.
    pub is_deep: bool,
    /// How long an object that nobody needs may be there; `None` for what suits the settings.
    pub orphan_age: Option<Duration>,
}

/// What to do with a cluster's metadata.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetaTask {
    /// Write it to a file.
    Export {
        /// Which.
        file: PathBuf,
    },
    /// Move the cluster with what is in a file.
    Import {
        /// Which.
        file: PathBuf,
    },
    /// Show the cluster.
    Inspect,
}

impl CommandLine {
    /// What to do, and the flags: of the broker to run, or of the one that is asked for its health, or of the
    /// cluster.
    #[must_use]
    pub fn into_task(self) -> (Task, Args) {
        match self.command {
            None => (Task::Run, self.args),
            Some(Command::Start(args)) => (Task::Run, args),
            Some(Command::Health(args)) => (Task::Health, args),
            Some(Command::Meta(MetaCommand::Export { file, args })) => {
                (Task::Meta(MetaTask::Export { file }), args)
            }
            Some(Command::Meta(MetaCommand::Import { file, args })) => {
                (Task::Meta(MetaTask::Import { file }), args)
            }
            Some(Command::Meta(MetaCommand::Inspect(args))) => {
                (Task::Meta(MetaTask::Inspect), args)
            }
            Some(Command::Object(ObjectCommand::Inspect { key, verify, args })) => {
                let is_verified = verify;
                (Task::Object(ObjectTask::Inspect { key, is_verified }), args)
            }
            Some(Command::Fsck {
                deep,
                orphan_age,
                args,
            }) => {
                let task = FsckTask {
                    is_deep: deep,
                    orphan_age: orphan_age.map(Duration::from_secs),
                };
                (Task::Fsck(task), args)
            }
        }
    }
}

/// The flags of `floe start`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Args {
    /// Where everything is kept [default: file:./floe-data]
    ///
    /// file:PATH, s3://BUCKET[/PREFIX], gs://BUCKET[/PREFIX], az://CONTAINER[/PREFIX] or memory:.
    /// One store is one cluster.
    /// [env: FLOE_STORE]
    #[arg(long, value_name = "URL", verbatim_doc_comment)]
    store: Option<String>,

    /// The engine that keeps the metadata: store: or postgres://… [default: store:]
    ///
    /// store: is the embedded engine, in the store itself. postgres://USER:PASSWORD@HOST:PORT/DATABASE is a
    /// database of your own, for lower latency of commits; give the URL in the environment or the file to
    /// keep its password off the process list. A cluster keeps the engine it was created with until it is moved
    /// with `floe meta`.
    /// [env: FLOE_METADATA]
    #[arg(long, value_name = "URL", verbatim_doc_comment)]
    metadata: Option<String>,
    /// A Kafka listener; may be repeated [default: 127.0.0.1:9092]
    ///
    /// Several listeners serve clients inside and outside of a network; names tell them apart.
    /// Port 0 takes any free one.
    /// [env: FLOE_LISTEN, with commas between]
    #[arg(long, value_name = "[NAME=]HOST:PORT", verbatim_doc_comment)]
    listen: Vec<String>,

    /// What clients of a listener are told to connect to [default: the listener]
    ///
    /// Needed where clients reach the broker under another address, as through a port mapping.
    /// Clients of a listener on all interfaces (0.0.0.0) are told the address they came in on.
    /// [env: FLOE_ADVERTISE, with commas between]
    #[arg(long, value_name = "[NAME=]HOST:PORT", verbatim_doc_comment)]
    advertise: Vec<String>,

    /// What this process does: of agent, metadata, compaction [default: all]
    ///
    /// Agents serve Kafka clients, one process with the metadata role keeps the order of a cluster and
    /// others take over from it, compaction merges. At least one process needs the metadata role.
    /// [env: FLOE_ROLES]
    #[arg(long, value_name = "LIST", verbatim_doc_comment)]
    roles: Option<String>,

    /// Where other processes of the cluster reach this one [default: the first listener's interface]
    ///
    /// Processes given the same store find each other and form one cluster. The address must be
    /// reachable for the others; on all interfaces (0.0.0.0) the one to the outside is told.
    /// [env: FLOE_INTERNAL]
    #[arg(long, value_name = "HOST:PORT", verbatim_doc_comment)]
    internal: Option<String>,

    /// The zone of this process, told to clients as its rack [default: none]
    ///
    /// Agents of one zone read from each other before they read the store, and so do those without one.
    /// [env: FLOE_ZONE]
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    zone: Option<String>,

    /// What buffers and caches may take [default: 1/4 of memory, 384MiB at most]
    ///
    /// The default is a quarter of the container's or the machine's memory, but not more than 384MiB:
    /// ask for more to give readers of old records more cache. Past the limit sockets are not read
    /// until there is room; nothing is dropped. At least 64MiB.
    /// [env: FLOE_MEMORY_LIMIT]
    #[arg(long, value_name = "SIZE", verbatim_doc_comment)]
    memory_limit: Option<String>,

    /// Where /livez, /readyz and /metrics are served [default: 127.0.0.1:9080]
    ///
    /// [env: FLOE_HTTP]
    #[arg(long, value_name = "HOST:PORT", verbatim_doc_comment)]
    http: Option<String>,

    /// Write waiting records to the store at this many bytes [default: 8MiB]
    ///
    /// Larger segments mean fewer requests to the store. 64KiB to 64MiB.
    /// [env: FLOE_FLUSH_SIZE]
    #[arg(long, value_name = "SIZE", verbatim_doc_comment)]
    flush_size: Option<String>,

    /// Write waiting records at this age [default: 250ms, on a folder a few ms]
    ///
    /// Shorter means quicker acknowledgements and more requests to the store: at 250ms up to four a
    /// second while records trickle in. 0ms to 10s.
    /// [env: FLOE_FLUSH_INTERVAL]
    #[arg(long, value_name = "TIME", verbatim_doc_comment)]
    flush_interval: Option<String>,

    /// What is logged: error, warn, info, debug, trace, or by module [default: info]
    ///
    /// [env: FLOE_LOG]
    #[arg(long, value_name = "LEVEL", verbatim_doc_comment)]
    log: Option<String>,

    /// A broker setting under Kafka's name; may be repeated
    ///
    /// Such as auto.create.topics.enable=false, num.partitions=4, message.max.bytes=2000000,
    /// log.retention.ms=-1 or default.replication.factor=3. Unknown names are refused.
    /// [env: FLOE_SET, with commas between]
    #[arg(long, value_name = "NAME=VALUE", verbatim_doc_comment)]
    set: Vec<String>,

    /// A settings file [default: floe.toml, if there is one]
    ///
    /// [env: FLOE_CONFIG]
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub config: Option<PathBuf>,
}

impl Args {
    /// What was given for `setting`; nothing if the flag is absent.
    pub(crate) fn values(&self, setting: Setting) -> Vec<String> {
        let one = |value: &Option<String>| value.iter().cloned().collect();
        match setting {
            Setting::Store => one(&self.store),
            Setting::Metadata => one(&self.metadata),
            Setting::Listen => self.listen.clone(),
            Setting::Advertise => self.advertise.clone(),
            Setting::Roles => one(&self.roles),
            Setting::Internal => one(&self.internal),
            Setting::Zone => one(&self.zone),
            Setting::MemoryLimit => one(&self.memory_limit),
            Setting::Http => one(&self.http),
            Setting::FlushSize => one(&self.flush_size),
            Setting::FlushInterval => one(&self.flush_interval),
            Setting::Log => one(&self.log),
            Setting::Set => self.set.clone(),
        }
    }
}
