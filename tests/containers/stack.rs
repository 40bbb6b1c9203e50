//! MinIO, a balancer with the settings of `deploy/haproxy.cfg`, and agents from the image, on a network
//! of their own.
//!
//! ```text
//! clients ──▶ 127.0.0.1:PORT ═▶ balancer ──▶ agent-0, agent-1, … ──▶ minio
//!                                  └ the name `agent`, asked again and again
//! ```
//!
//! MinIO and the balancer run through testcontainers. Agents run through the `docker` program, since they
//! share a name and are killed and stopped.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use floe_tests::components::docker::Docker;
use floe_tests::components::s3::{Bucket, S3};
use floe_tests::say::say;
use floe_tests::{config, wait};
use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::runtime::Runtime;

const KEY: &str = "floe-test-key";
const SECRET: &str = "floe-test-secret";
const BALANCER_CONFIG: &str = "../deploy/haproxy.cfg";
const LIMIT: Duration = Duration::from_secs(60);

/// What a stack is made of, all there.
pub(crate) struct Images {
    docker: Docker,
    floe: String,
    minio: (String, String),
    haproxy: String,
}

impl Images {
    /// All that a stack needs, or `None` after saying what is missing.
    pub(crate) fn or_skip() -> Option<Images> {
        let docker = Docker::or_skip()?;
        let minio: Vec<_> = config::minio_images()
            .into_iter()
            .map(|(name, tag)| format!("{name}:{tag}"))
            .collect();
        let minio = docker.image_or_skip(&minio)?;
        let (name, tag) = minio.rsplit_once(':').unwrap_or((&minio, "latest"));
        Some(Images {
            floe: docker.image_or_skip(&[config::floe_image()])?,
            haproxy: docker.image_or_skip(&config::haproxy_images())?,
            minio: (name.to_owned(), tag.to_owned()),
            docker,
        })
    }
}

/// A running stack. Nothing of it outlives the value.
pub(crate) struct Stack {
    images: Images,
    network: String,
    port: u16,
    bucket: Option<Bucket>,
    agents: Vec<String>,
    services: Vec<ContainerAsync<GenericImage>>,
    runtime: Runtime,
}

impl Stack {
    /// MinIO, a bucket and a balancer, without agents yet.
    pub(crate) fn start(images: Images) -> Stack {
        let port = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stack = Stack {
            images,
            network: format!("floe-test-{}-{}", std::process::id(), wait::wall_ms()),
            port: port.local_addr().unwrap().port(),
            bucket: None,
            agents: Vec::new(),
            services: Vec::new(),
            runtime: Runtime::new().unwrap(),
        };
        drop(port);
        stack.start_minio();
        stack.start_balancer();
        stack
    }

    fn start_minio(&mut self) {
        let (name, tag) = &self.images.minio;
        let image = GenericImage::new(name, tag)
            .with_exposed_port(9000.tcp())
            .with_wait_for(WaitFor::message_on_either_std("API:"))
            .with_env_var("MINIO_ROOT_USER", KEY)
            .with_env_var("MINIO_ROOT_PASSWORD", SECRET)
            .with_cmd(["server", "/data"])
            .with_network(&self.network)
            .with_container_name(self.minio());
        let (minio, port) = self.runtime.block_on(async {
            let minio = image.start().await.unwrap();
            let port = minio.get_host_port_ipv4(9000.tcp()).await.unwrap();
            (minio, port)
        });
        self.services.push(minio);
        let s3 = S3::running(&format!("http://127.0.0.1:{port}"), KEY, SECRET);
        self.bucket = Some(s3.create_bucket());
    }

    fn start_balancer(&mut self) {
        let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join(BALANCER_CONFIG);
        let settings = std::fs::read(settings).unwrap();
        let image = &self.images.haproxy;
        let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
        let image = GenericImage::new(name, tag)
            .with_copy_to("/usr/local/etc/haproxy/haproxy.cfg", settings)
            .with_env_var("AGENTS", "agent")
            .with_mapped_port(self.port, 9092.tcp())
            .with_network(&self.network)
            .with_container_name(self.balancer());
        let balancer = self.runtime.block_on(image.start()).unwrap();
        self.services.push(balancer);
    }

    fn minio(&self) -> String {
        format!("{}-minio", self.network)
    }

    fn balancer(&self) -> String {
        format!("{}-balancer", self.network)
    }

    fn docker(&self, args: &[&str]) -> String {
        self.images.docker.run(args)
    }

    /// The one address that clients know.
    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Starts one more agent. Returns its number.
    pub(crate) fn add_agent(&mut self) -> usize {
        let number = self.agents.len();
        let name = format!("{}-agent-{number}", self.network);
        let store = self.bucket.as_ref().unwrap().url();
        let advertise = self.bootstrap();
        let variables = [
            format!("AWS_ENDPOINT_URL=http://{}:9000", self.minio()),
            "AWS_REGION=us-east-1".to_owned(),
            format!("AWS_ACCESS_KEY_ID={KEY}"),
            format!("AWS_SECRET_ACCESS_KEY={SECRET}"),
        ];
        let mut args = vec!["run", "--detach", "--name", &name];
        args.extend(["--network", &self.network, "--network-alias", "agent"]);
        args.extend(["--read-only", "--cap-drop", "ALL"]);
        args.extend(variables.iter().flat_map(|variable| ["--env", variable]));
        args.extend([self.images.floe.as_str(), "--store", &store]);
        args.extend(["--listen", "0.0.0.0:9092", "--advertise", &advertise]);
        args.extend(["--http", "0.0.0.0:9080", "--internal", "0.0.0.0:9090"]);
        self.images.docker.run(&args);
        self.agents.push(name);
        number
    }

    /// Waits until the agent says itself that it is ready.
    pub(crate) fn await_ready(&self, agent: usize) {
        let ask = ["exec", &self.agents[agent], "/usr/bin/floe", "health"];
        wait::until("a ready agent", LIMIT, || {
            self.images.docker.try_run(&ask).ok()
        });
    }

    /// Kills the agent with SIGKILL.
    pub(crate) fn kill(&self, agent: usize) {
        self.docker(&["kill", "--signal", "KILL", &self.agents[agent]]);
    }

    /// Starts an agent that ended.
    pub(crate) fn restart(&self, agent: usize) {
        self.docker(&["start", &self.agents[agent]]);
    }

    /// Ends agents with SIGTERM, all at once. Returns their exit codes.
    pub(crate) fn stop(&self, agents: &[usize]) -> Vec<String> {
        let names: Vec<&str> = agents.iter().map(|n| self.agents[*n].as_str()).collect();
        self.docker(&[&["stop", "--time", "30"], names.as_slice()].concat());
        let inspect = ["inspect", "--format", "{{.State.ExitCode}}"];
        let codes = self.docker(&[&inspect, names.as_slice()].concat());
        codes.lines().map(str::to_owned).collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let docker = &self.images.docker;
        if std::thread::panicking() {
            for container in self.agents.iter().chain([&self.balancer()]) {
                let lines = docker.last_lines(container);
                say(&format!("last lines of {container}:\n{lines}"));
            }
        }
        for agent in &self.agents {
            // What cannot be removed is left to Docker's owner.
            docker.try_run(&["rm", "--force", agent]).ok();
        }
        for service in self.services.drain(..) {
            self.runtime.block_on(service.rm()).ok();
        }
    }
}
