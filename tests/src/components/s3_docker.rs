//! MinIO in a container, through testcontainers.

use std::time::Duration;

use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt, TestcontainersError};

use super::keeper::{Keeper, Started, Stopped};
use super::s3::S3;
use crate::config;

const KEY: &str = "floe-test-key";
const SECRET: &str = "floe-test-secret";
const PORT: u16 = 9000;

/// How long a container may take, the pull of its image included.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Starts MinIO from the first image that is to be had. Returns it with the image's name.
pub(super) fn start() -> Result<(S3, String), String> {
    let mut reasons = Vec::new();
    for (name, tag) in config::minio_images() {
        let image = format!("{name}:{tag}");
        match Keeper::start(START_LIMIT, |started, stopped| {
            keep(name, tag, started, stopped)
        }) {
            Ok((keeper, port)) => return Ok((S3::local(port, KEY, SECRET, keeper), image)),
            Err(error) => reasons.push(format!("{image}: {error}")),
        }
    }
    Err(reasons.join("; "))
}

/// Runs the container until told to stop, then removes it.
async fn keep(name: String, tag: String, started: Started, stopped: Stopped) {
    match run(name, tag).await {
        Ok((container, port)) => {
            started.send(Ok(port)).ok();
            stopped.await.ok();
            // What cannot be removed is left to Docker's owner.
            container.rm().await.ok();
        }
        Err(error) => _ = started.send(Err(error.to_string())),
    }
}

async fn run(
    name: String,
    tag: String,
) -> Result<(ContainerAsync<GenericImage>, u16), TestcontainersError> {
    let container = GenericImage::new(name, tag)
        .with_exposed_port(PORT.tcp())
        .with_wait_for(WaitFor::message_on_either_std("API:"))
        .with_env_var("MINIO_ROOT_USER", KEY)
        .with_env_var("MINIO_ROOT_PASSWORD", SECRET)
        .with_cmd(["server", "/data"])
        .start()
        .await?;
    let port = container.get_host_port_ipv4(PORT.tcp()).await?;
    Ok((container, port))
}
