//! The cluster of `deploy/compose.yaml` as users start it: MinIO, agents from the image, a balancer.
//!
//! ```text
//! clients ──▶ 127.0.0.1:PORT ═▶ balancer ──▶ agents ──▶ minio
//!                                  └ the name `agent`, asked again and again
//! ```

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use floe_tests::components::docker::{Compose, Docker};
use floe_tests::say::say;
use floe_tests::{config, wait};

const LIMIT: Duration = Duration::from_secs(60);
/// Beyond the 25 s that a drain may take.
const STOP_SECONDS: &str = "30";

/// What a stack is made of, all there.
pub(crate) struct Parts {
    docker: Docker,
    compose: Compose,
    /// The variables of the compose files that say where images come from.
    images: Vec<(&'static str, String)>,
}

impl Parts {
    /// All that a stack needs, or `None` after saying what is missing.
    pub(crate) fn or_skip() -> Option<Parts> {
        let docker = Docker::or_skip()?;
        let compose = docker.compose_or_skip()?;
        let images = vec![
            ("FLOE_IMAGE", docker.image_or_skip(&[config::floe_image()])?),
            (
                "HAPROXY_IMAGE",
                docker.image_or_skip(&config::haproxy_images())?,
            ),
            (
                "MINIO_IMAGE",
                docker.image_or_skip(&names(config::minio_images()))?,
            ),
            (
                "MC_IMAGE",
                docker.image_or_skip(&names(config::mc_images()))?,
            ),
        ];
        Some(Parts {
            docker,
            compose,
            images,
        })
    }

    /// The same, and PostgreSQL.
    pub(crate) fn with_postgres_or_skip() -> Option<Parts> {
        let mut parts = Parts::or_skip()?;
        let image = parts
            .docker
            .image_or_skip(&config::compose_postgres_images())?;
        parts.images.push(("POSTGRES_IMAGE", image));
        Some(parts)
    }
}

fn names(images: Vec<(String, String)>) -> Vec<String> {
    let name = |(name, tag)| format!("{name}:{tag}");
    images.into_iter().map(name).collect()
}

/// A running stack. Nothing of it outlives the value.
pub(crate) struct Stack {
    parts: Parts,
    project: String,
    files: Vec<String>,
    port: u16,
}

impl Stack {
    /// `docker compose up` with these files of `deploy/`; ready when it returns.
    pub(crate) fn up(parts: Parts, files: &[&str]) -> Stack {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        let path = |file: &&str| -> PathBuf { deploy.join(file) };
        let stack = Stack {
            parts,
            project: format!("floe-test-{}-{}", std::process::id(), wait::wall_ms()),
            files: files
                .iter()
                .map(|file| path(file).display().to_string())
                .collect(),
            port: port.local_addr().unwrap().port(),
        };
        drop(port);
        let started = wait::now();
        stack.compose(&["up", "--detach"]);
        stack.await_agents();
        let took = started.elapsed().as_millis();
        say(&format!("docker compose up: ready after {took} ms"));
        stack
    }

    fn compose(&self, args: &[&str]) -> String {
        self.try_compose(args)
            .unwrap_or_else(|error| panic!("compose {}: {error}", args.join(" ")))
    }

    fn try_compose(&self, args: &[&str]) -> Result<String, String> {
        let mut environment = self.parts.images.clone();
        // The port is open to this machine only.
        environment.push(("FLOE_PORT", self.bootstrap()));
        environment.push(("FLOE_ADVERTISE", self.bootstrap()));
        let files = self.files.iter().flat_map(|file| ["--file", file]);
        let mut all: Vec<&str> = files.collect();
        all.extend(["--project-name", &self.project]);
        all.extend(args);
        self.parts.compose.try_run(&environment, &all)
    }

    fn docker(&self, args: &[&str]) -> String {
        self.parts.docker.run(args)
    }

    /// The one address that clients know.
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The containers of the agents, running or not.
    pub(crate) fn agents(&self) -> Vec<String> {
        let listed = self.compose(&["ps", "--all", "--quiet", "agent"]);
        listed.lines().map(str::to_owned).collect()
    }

    /// As many agents as this, none too: `up --scale`. Returns when all are ready.
    pub(crate) fn scale(&self, count: usize) {
        self.compose(&["up", "--detach", "--scale", &format!("agent={count}")]);
        assert_eq!(self.agents().len(), count, "containers of agents");
        self.await_agents();
    }

    fn await_agents(&self) {
        self.agents()
            .iter()
            .for_each(|agent| self.await_ready(agent));
    }

    /// Waits until the agent says itself that it is ready.
    pub(crate) fn await_ready(&self, agent: &str) {
        let ask = ["exec", agent, "/usr/bin/floe", "health"];
        wait::until("a ready agent", LIMIT, || {
            self.parts.docker.try_run(&ask).ok()
        });
    }

    /// Kills the agent with SIGKILL.
    pub(crate) fn kill(&self, agent: &str) {
        self.docker(&["kill", "--signal", "KILL", agent]);
    }

    /// Cuts an agent off from everything: other agents, the store, the balancer.
    pub(crate) fn cut_off(&self, agent: &str) {
        self.docker(&["network", "disconnect", "--force", &self.network(), agent]);
    }

    /// Ends that.
    pub(crate) fn plug_in(&self, agent: &str) {
        let network = self.network();
        self.docker(&["network", "connect", "--alias", "agent", &network, agent]);
    }

    fn network(&self) -> String {
        format!("{}_default", self.project)
    }

    /// Starts an agent that ended.
    pub(crate) fn restart(&self, agent: &str) {
        self.docker(&["start", agent]);
    }

    /// Ends an agent with SIGTERM. Returns its exit code.
    pub(crate) fn stop(&self, agent: &str) -> String {
        self.docker(&["stop", "--time", STOP_SECONDS, agent]);
        self.docker(&["inspect", "--format", "{{.State.ExitCode}}", agent])
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.try_compose(&["logs", "--no-color", "--tail", "15"]);
            say(&format!(
                "last lines: {}",
                logs.unwrap_or_else(|error| error)
            ));
        }
        // What cannot be removed is left to Docker's owner.
        let down = self.try_compose(&["down", "--volumes", "--timeout", "0"]);
        if let Err(error) = down {
            say(&format!("compose down: {error}"));
        }
    }
}
