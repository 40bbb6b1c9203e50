//! The `docker` program, for what containers are to suffer: kills, stops, names shared by several.
//! Whole services come through testcontainers.

use std::path::PathBuf;
use std::time::Duration;

use super::{missing, program_or_skip};
use crate::program::Program;

/// What builds images or waits for health checks takes longer than a plain command.
const COMPOSE_LIMIT: Duration = Duration::from_secs(180);

/// A `docker` program whose daemon answers.
#[derive(Clone, Debug)]
pub struct Docker {
    path: PathBuf,
}

impl Docker {
    /// Docker, or `None` after saying that the test is skipped.
    ///
    /// # Panics
    ///
    /// If it is missing or does not answer although `FLOE_TEST_REQUIRE` names `docker`.
    pub fn or_skip() -> Option<Docker> {
        let docker = Docker {
            path: program_or_skip("docker", "docker")?,
        };
        match docker.try_run(&["version"]) {
            Ok(_) => Some(docker),
            Err(why) => {
                missing("docker", why.lines().next().unwrap_or_default());
                None
            }
        }
    }

    /// Docker Compose, or `None` after saying that the test is skipped.
    ///
    /// # Panics
    ///
    /// If it is missing although `FLOE_TEST_REQUIRE` names `compose`.
    pub fn compose_or_skip(&self) -> Option<Compose> {
        if self.try_run(&["compose", "version"]).is_ok() {
            return Some(Compose {
                path: self.path.clone(),
                first: Some("compose"),
            });
        }
        program_or_skip("compose", "docker-compose").map(|path| Compose { path, first: None })
    }

    /// The first of `images` that the daemon holds, or `None` after saying that the test is skipped.
    ///
    /// # Panics
    ///
    /// If there is none although `FLOE_TEST_REQUIRE` names `docker`.
    pub fn image_or_skip(&self, images: &[String]) -> Option<String> {
        let is_here = |image: &&String| self.try_run(&["image", "inspect", image]).is_ok();
        let found = images.iter().find(is_here).cloned();
        if found.is_none() {
            missing(
                "docker",
                &format!("there is no image {}", images.join(" or ")),
            );
        }
        found
    }

    /// The last lines that a container wrote, of both kinds; what `docker` says if there is none.
    pub fn last_lines(&self, container: &str) -> String {
        let program = Program::new(&self.path).args(["logs", "--tail", "15", container]);
        match program.limit(Duration::from_secs(10)).try_run() {
            Ok(finished) => finished.output + &finished.errors,
            Err(error) => error,
        }
    }

    /// Runs `docker` with `args`. Returns its output without the space around it.
    ///
    /// # Errors
    ///
    /// What it said instead.
    pub fn try_run(&self, args: &[&str]) -> Result<String, String> {
        let program = Program::new(&self.path).args(args);
        let finished = program.limit(Duration::from_secs(60)).try_run()?;
        Ok(finished.output.trim().to_owned())
    }

    /// The same, of something that must work.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn run(&self, args: &[&str]) -> String {
        self.try_run(args)
            .unwrap_or_else(|error| panic!("docker {}: {error}", args.join(" ")))
    }
}

/// Docker Compose: the plugin, or the program of its own.
#[derive(Clone, Debug)]
pub struct Compose {
    path: PathBuf,
    first: Option<&'static str>,
}

impl Compose {
    /// Runs Compose with `args`. Returns its output without the space around it.
    ///
    /// # Errors
    ///
    /// What it said instead.
    pub fn try_run(&self, environment: &[(&str, String)], args: &[&str]) -> Result<String, String> {
        let mut program = Program::new(&self.path).args(self.first).args(args);
        for (name, value) in environment {
            program = program.env(name, value);
        }
        let finished = program.limit(COMPOSE_LIMIT).try_run()?;
        Ok(finished.output.trim().to_owned())
    }
}
