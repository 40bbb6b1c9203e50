//! Servers that are measured, each a child process with a folder of its own: Floe, MinIO, Apache Kafka.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use floe_tests::components::java::Kafka as Jars;
use floe_tests::components::s3::{Bucket, S3};
use floe_tests::process::Process;
use floe_tests::sandbox::{Sandbox, Setup};
use floe_tests::wait;

/// A server is up within this time.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A broker under measurement.
#[derive(Debug)]
pub enum Broker {
    /// Ours.
    Floe(Box<Sandbox>),
    /// Apache Kafka.
    Kafka(Kafka),
}

impl Broker {
    /// What clients take as `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        match self {
            Broker::Floe(sandbox) => sandbox.bootstrap(),
            Broker::Kafka(kafka) => kafka.address.to_string(),
        }
    }

    /// Its process.
    pub fn id(&mut self) -> u32 {
        match self {
            Broker::Floe(sandbox) => sandbox.process().id(),
            Broker::Kafka(kafka) => kafka.process.id(),
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

/// A Kafka broker: one KRaft node with its own defaults and the JVM options of its start script.
#[derive(Debug)]
pub struct Kafka {
    address: SocketAddr,
    process: Process,
    /// Time from the start of the process until it answered.
    pub ready_after: Duration,
}

/// What `kafka-server-start.sh` and `kafka-run-class.sh` give the JVM.
const JVM: [&str; 8] = [
    "-Xms1G",
    "-Xmx1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
];

impl Kafka {
    /// Formats `folder` and starts a broker on it.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(jars: &Jars, folder: &Path) -> Kafka {
        let (address, controller) = (free_address(), free_address());
        fs::create_dir_all(folder).expect("the folder can be made");
        let properties = folder.join("server.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.bootstrap.servers={controller}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
             advertised.listeners=PLAINTEXT://{address}\n\
             controller.listener.names=CONTROLLER\ninter.broker.listener.name=PLAINTEXT\n\
             listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
             log.dirs={}\noffsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n",
            folder.join("log").display()
        );
        fs::write(&properties, text).expect("the folder can be written");
        jars.class("kafka.tools.StorageTool")
            .args([
                "format",
                "--standalone",
                "-t",
                "Zmxvb2ViZW5jaG1hcmtzMQ",
                "-c",
            ])
            .arg(&properties)
            .run();
        let start = wait::now();
        let process = jars.class_on(&JVM, "kafka.Kafka").arg(&properties).spawn();
        wait::until("a Kafka that answers", READY_LIMIT, || {
            answers(address).then_some(())
        });
        Kafka {
            address,
            process,
            ready_after: start.elapsed(),
        }
    }
}

/// Whether a broker there answers ApiVersions.
fn answers(address: SocketAddr) -> bool {
    use std::io::{Read, Write};
    // ApiVersions version 0, correlation id 1, client id null.
    const REQUEST: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let ask = || -> std::io::Result<()> {
        let mut connection = TcpStream::connect(address)?;
        connection.set_read_timeout(Some(Duration::from_millis(500)))?;
        connection.write_all(&REQUEST)?;
        connection.read_exact(&mut [0; 8])
    };
    ask().is_ok()
}

/// A local address that was free a moment ago; Kafka must know its ports before it starts.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an ephemeral port is free");
    listener
        .local_addr()
        .expect("a bound socket has an address")
}
