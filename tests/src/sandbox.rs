//! A `floe` broker as a child process, on a folder or a bucket of its own.
//!
//! Ports are ephemeral at the first start and kept from then on, so that clients find a restarted
//! broker where they left it. Nothing outlives the value: the process is killed on drop, and its last
//! lines are shown if the test failed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use crate::components::emulated::EmulatedBucket;
use crate::components::s3::Bucket;
use crate::config;
use crate::process::Process;
use crate::{http, wait};

/// A broker is ready within a second; a test build on a busy machine may take longer.
const READY_LIMIT: Duration = Duration::from_secs(60);

/// A drain ends within 25 s, so says the design.
const DRAIN_LIMIT: Duration = Duration::from_secs(25);

/// How to start a broker: program, store, flags, environment.
#[derive(Clone, Debug)]
pub struct Setup {
    binary: PathBuf,
    store: String,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    listen: SocketAddr,
    http: SocketAddr,
    // Held, so that the store lives as long as its broker.
    _folder: Option<Arc<TempDir>>,
    _bucket: Option<Bucket>,
    _emulated: Option<EmulatedBucket>,
}

impl Setup {
    /// A broker on a new temporary folder. `binary` is the program that cargo built for the test;
    /// `FLOE_TEST_BINARY` replaces it.
    ///
    /// # Panics
    ///
    /// If no temporary folder can be made.
    pub fn on_folder(binary: impl AsRef<Path>) -> Setup {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let store = format!("file:{}", folder.path().join("store").display());
        Setup {
            _folder: Some(Arc::new(folder)),
            ..Setup::on_store(binary, &store)
        }
    }

    /// A broker on a bucket.
    pub fn on_bucket(binary: impl AsRef<Path>, bucket: &Bucket) -> Setup {
        Setup {
            environment: bucket.environment(),
            _bucket: Some(bucket.clone()),
            ..Setup::on_store(binary, &bucket.url())
        }
    }

    /// A broker on a bucket of another service than S3.
    pub fn on_emulated(binary: impl AsRef<Path>, bucket: &EmulatedBucket) -> Setup {
        Setup {
            environment: bucket.environment(),
            _emulated: Some(bucket.clone()),
            ..Setup::on_store(binary, bucket.url())
        }
    }

    /// A broker on any store.
    pub fn on_store(binary: impl AsRef<Path>, store: &str) -> Setup {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Setup {
            binary: config::binary().unwrap_or_else(|| binary.as_ref().to_owned()),
            store: store.to_owned(),
            args: Vec::new(),
            environment: Vec::new(),
            listen: any_port,
            http: any_port,
            _folder: None,
            _bucket: None,
            _emulated: None,
        }
    }

    /// Adds a command-line argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Setup {
        self.args.push(arg.into());
        self
    }

    /// Sets a broker setting under Kafka's name.
    #[must_use]
    pub fn set(self, name: &str, value: impl std::fmt::Display) -> Setup {
        self.arg("--set").arg(format!("{name}={value}"))
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Setup {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Replaces the environment variables that lead to the store.
    #[must_use]
    pub fn environment(mut self, environment: Vec<(String, String)>) -> Setup {
        self.environment = environment;
        self
    }

    /// Listens for Kafka clients on this address instead of an ephemeral port.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Setup {
        self.listen = address;
        self
    }

    /// Takes another program.
    #[must_use]
    pub fn binary(mut self, binary: impl AsRef<Path>) -> Setup {
        self.binary = binary.as_ref().to_owned();
        self
    }

    /// Listens on ephemeral ports, as before the first start.
    #[must_use]
    pub fn any_ports(self) -> Setup {
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        Setup {
            listen: any_port,
            http: any_port,
            ..self
        }
    }

    /// The store URL.
    pub fn store(&self) -> &str {
        &self.store
    }

    /// Starts the broker and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If it does not get ready; the message holds its output.
    pub fn start(self) -> Sandbox {
        self.try_start().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts the broker and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Its output, if it does not get ready.
    ///
    /// # Panics
    ///
    /// If the program cannot be started at all.
    pub fn try_start(mut self) -> Result<Sandbox, String> {
        let (process, ready_after) = self.launch()?;
        Ok(Sandbox {
            setup: self,
            process,
            ready_after,
        })
    }

    /// Runs a broker that is expected to refuse, to its end. Returns its exit status and its output.
    ///
    /// # Panics
    ///
    /// If the program cannot be started or does not end within a minute.
    pub fn run_to_end(self) -> (ExitStatus, Vec<String>) {
        let mut process = self.spawn();
        let status = process.wait(READY_LIMIT);
        (status, process.lines())
    }

    fn spawn(&self) -> Process {
        let mut command = Command::new(&self.binary);
        command
            .arg("start")
            .args(["--store", &self.store])
            .args(["--listen", &self.listen.to_string()])
            .args(["--http", &self.http.to_string()])
            .args(&self.args)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        let binary = self.binary.display();
        Process::spawn("floe", &mut command).unwrap_or_else(|error| panic!("{binary}: {error}"))
    }

    /// Starts the process and keeps the ports it was given.
    fn launch(&mut self) -> Result<(Process, Duration), String> {
        let start = wait::now();
        let mut process = self.spawn();
        let addresses = process.wait_for_line(READY_LIMIT, ready_line)?;
        let ready_after = start.elapsed();
        if let Some(listen) = addresses.listen {
            self.listen = listen;
        }
        self.http = addresses.http;
        Ok((process, ready_after))
    }
}

/// A running broker.
#[derive(Debug)]
pub struct Sandbox {
    setup: Setup,
    process: Process,
    ready_after: Duration,
}

impl Sandbox {
    /// What clients take as `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.setup.listen.to_string()
    }

    /// Where it listens for Kafka clients.
    pub fn address(&self) -> SocketAddr {
        self.setup.listen
    }

    /// Where it answers HTTP.
    pub fn http_address(&self) -> SocketAddr {
        self.setup.http
    }

    /// How it was started.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Time from the start of the process to its ready line.
    pub fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// Kills it with SIGKILL and waits for the end.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends SIGTERM and waits for the end of the drain.
    ///
    /// # Panics
    ///
    /// If the drain takes longer than the 25 s it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.terminate();
        self.process.wait(DRAIN_LIMIT)
    }

    /// Takes another program from the next start on.
    pub fn replace_binary(&mut self, binary: impl AsRef<Path>) {
        self.setup.binary = binary.as_ref().to_owned();
    }

    /// Starts an ended broker again, on the same store and ports. Returns the time until ready.
    ///
    /// # Panics
    ///
    /// If it does not get ready.
    pub fn restart(&mut self) -> Duration {
        self.process.kill();
        let (process, ready_after) = self
            .setup
            .launch()
            .unwrap_or_else(|error| panic!("restart: {error}"));
        self.process = process;
        self.ready_after = ready_after;
        ready_after
    }

    /// Body of a GET on the HTTP port, such as `/metrics`.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub fn http_get(&self, path: &str) -> (u16, String) {
        let address = self.setup.http;
        http::get(address, path).unwrap_or_else(|error| panic!("GET {address}{path}: {error}"))
    }
}

/// What a ready line says.
#[derive(Debug, PartialEq, Eq)]
struct Addresses {
    /// `None` without clients.
    listen: Option<SocketAddr>,
    http: SocketAddr,
}

/// Reads the addresses of the one line that a ready broker logs:
/// `floe VERSION is ready on KAFKA[, KAFKA…] over STORE, health and metrics on http://HTTP; …`.
fn ready_line(line: &str) -> Option<Addresses> {
    let (listen, rest) = match line.split_once(" is ready on ") {
        Some((_, rest)) => {
            let (kafka, rest) = rest.split_once(" over ")?;
            (Some(kafka.split(", ").next()?.parse().ok()?), rest)
        }
        None => (
            None,
            line.split_once(" is ready without Kafka clients over ")?.1,
        ),
    };
    let http = rest
        .rsplit_once("http://")?
        .1
        .split(';')
        .next()?
        .parse()
        .ok()?;
    Some(Addresses { listen, http })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_gives_both_addresses() {
        let line = "2026 INFO floe 0.1.0 is ready on 127.0.0.1:4321, 127.0.0.1:5 over file:/http://x, \
                    health and metrics on http://127.0.0.1:99; try: kcat -b 127.0.0.1:4321";
        let listen = SocketAddr::from(([127, 0, 0, 1], 4321));
        let http = SocketAddr::from(([127, 0, 0, 1], 99));
        let listen = Some(listen);
        assert_eq!(ready_line(line), Some(Addresses { listen, http }));
        let line = "INFO floe 0.1.0 is ready without Kafka clients over s3://b, other processes on \
                    127.0.0.1:7, health and metrics on http://127.0.0.1:99";
        let listen = None;
        assert_eq!(ready_line(line), Some(Addresses { listen, http }));
        assert_eq!(ready_line("INFO listening on 127.0.0.1:4321"), None);
    }
}
