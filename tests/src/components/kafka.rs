//! A broker of Apache Kafka itself: what ours is compared with.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::java::Kafka;
use crate::process::Process;
use crate::wait;

/// It is up within this time.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A Kafka broker: one KRaft node with its own defaults and the JVM options of its start script.
#[derive(Debug)]
pub struct Server {
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

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn id(&mut self) -> u32 {
        self.process.id()
    }

    /// Formats `folder` and starts a broker on it.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(jars: &Kafka, folder: &Path) -> Server {
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
        Server {
            address,
            process,
            ready_after: start.elapsed(),
        }
    }
}

/// Whether a broker there answers ApiVersions.
fn answers(address: SocketAddr) -> bool {
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
