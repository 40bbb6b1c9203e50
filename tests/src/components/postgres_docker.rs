//! PostgreSQL in a container, through testcontainers.

use std::time::Duration;

use testcontainers::core::{IntoContainerPort, WaitFor};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt, TestcontainersError};

use super::keeper::{Keeper, Started, Stopped};
use super::postgres::Postgres;
use crate::config;

const USER: &str = "postgres";
const PASSWORD: &str = "floe-test-password";
const PORT: u16 = 5432;

/// How long a container may take, the pull of its image included.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Starts PostgreSQL from the first image that is to be had. Returns it with the image's name.
pub(super) fn start() -> Result<(Postgres, String), String> {
    let mut reasons = Vec::new();
    for (name, tag) in config::postgres_images() {
        let image = format!("{name}:{tag}");
        match Keeper::start(START_LIMIT, |started, stopped| {
            keep(name, tag, started, stopped)
        }) {
            Ok((keeper, port)) => {
                return Ok((Postgres::local(port, USER, PASSWORD, keeper), image));
            }
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
    // The image starts the server twice: once to set it up, without a port, and then to stay.
    let ready = "listening on IPv4 address \"0.0.0.0\"";
    let container = GenericImage::new(name, tag)
        .with_exposed_port(PORT.tcp())
        .with_wait_for(WaitFor::message_on_either_std(ready))
        .with_env_var("POSTGRES_PASSWORD", PASSWORD)
        .start()
        .await?;
    let port = container.get_host_port_ipv4(PORT.tcp()).await?;
    Ok((container, port))
}
