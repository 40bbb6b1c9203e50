//! Python with clients from its package index, in virtual environments below cargo's target folder.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{missing, program_or_skip};
use crate::program::{Program, artifacts, made_once};

const PIP_LIMIT: Duration = Duration::from_secs(600);

/// The interpreter of the environment `name` that has what the file `requirements` lists, or `None`
/// after saying that the test is skipped.
///
/// # Panics
///
/// If it cannot be had although `FLOE_TEST_REQUIRE` names `python`.
pub fn interpreter_or_skip(name: &str, requirements: &Path) -> Option<PathBuf> {
    static PIP: Mutex<()> = Mutex::new(());
    let _turn = PIP.lock().unwrap_or_else(PoisonError::into_inner);
    let python = program_or_skip("python", "python3")?;
    let folder = artifacts(name);
    let own = folder.join("bin").join("python");
    let recipe = std::fs::read_to_string(requirements).expect("the list of packages can be read");
    let made = made_once(&folder, &recipe, || {
        Program::new(&python)
            .args(["-m", "venv"])
            .arg(&folder)
            .limit(PIP_LIMIT)
            .try_run()?;
        Program::new(&own)
            .args(["-m", "pip", "install", "--quiet"])
            .args(["--disable-pip-version-check", "-r"])
            .arg(requirements)
            .limit(PIP_LIMIT)
            .try_run()
            .map(drop)
    });
    match made {
        Ok(()) => Some(own),
        Err(why) => {
            missing(
                "python",
                &format!("the clients could not be installed: {why}"),
            );
            None
        }
    }
}
