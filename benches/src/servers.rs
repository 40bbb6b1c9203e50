//! Servers that are measured, each a child process with a folder of its own: Floe, MinIO, Apache Kafka.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use floe_tests::components::kafka::Server;
use floe_tests::components::s3::{Bucket, S3};
use floe_tests::process::Process;
use floe_tests::sandbox::{Sandbox, Setup};

/// A server is up within this time.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A broker under measurement.
#[derive(Debug)]
pub enum Broker {
    /// Ours.
    Floe(Box<Sandbox>),
    /// Apache Kafka.
    Kafka(Server),
}

impl Broker {
    /// What clients take as `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        match self {
            Broker::Floe(sandbox) => sandbox.bootstrap(),
            Broker::Kafka(kafka) => kafka.address().to_string(),
        }
    }

    /// Its process.
    pub fn id(&mut self) -> u32 {
        match self {
            Broker::Floe(sandbox) => sandbox.process().id(),
            Broker::Kafka(kafka) => kafka.id(),
        }
    }

    /// Its HTTP port, if it is ours.
    pub fn http(&self) -> Option<SocketAddr> {
        match self {
            Broker::Floe(sandbox) => Some(sandbox.http_address()),
            Broker::Kafka(_) => None,
        }
    }
}

/// A Floe of a release build on a folder below `folder`, which lies on the disk to be measured.
pub fn floe_on_folder(binary: &Path, folder: &Path) -> Setup {
    Setup::on_store(binary, &format!("file:{}", folder.display()))
}

/// A MinIO process.
#[derive(Debug)]
pub struct Minio {
    s3: Arc<S3>,
    process: Process,
}

impl Minio {
    /// Starts `minio` from the search path on a folder.
    ///
    /// # Panics
    ///
    /// If it is missing or does not start.
    pub fn start(folder: &Path) -> Minio {
        let program =
            floe_tests::components::program("minio").expect("`minio` is on the search path");
        let (key, secret) = ("floe-bench-key", "floe-bench-secret");
        let mut process = Process::spawn(
            "minio",
            Command::new(program)
                .args([
                    "server",
                    "--address",
                    "127.0.0.1:0",
                    "--console-address",
                    "localhost:0",
                ])
                .arg(folder)
                .env("MINIO_BROWSER", "off")
                .env("MINIO_ROOT_USER", key)
                .env("MINIO_ROOT_PASSWORD", secret),
        )
        .expect("minio can be started");
        let endpoint = process
            .wait_for_line(READY_LIMIT, |line| {
                Some(
                    line.strip_prefix("API:")?
                        .split_whitespace()
                        .next()?
                        .to_owned(),
                )
            })
            .unwrap_or_else(|error| panic!("{error}"));
        Minio {
            s3: S3::running(&endpoint, key, secret),
            process,
        }
    }

    /// A new bucket.
    pub fn bucket(&self) -> Bucket {
        self.s3.create_bucket()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.s3.address()
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}
