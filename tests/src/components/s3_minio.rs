//! A `minio` program from the search path, on a folder that goes with it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use super::s3::S3;
use crate::process::Process;

const KEY: &str = "floe-test-key";
const SECRET: &str = "floe-test-secret";

/// MinIO answers well within a second on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(60);

// Fields drop in order: the process ends before its folder goes.
#[derive(Debug)]
#[expect(dead_code, reason = "held for what their drop ends and removes")]
struct Server {
    process: Process,
    folder: tempfile::TempDir,
}

/// Starts MinIO on an ephemeral port. Returns it with the path of the program.
pub(super) fn start() -> Result<(S3, PathBuf), String> {
    let path = super::program("minio").ok_or("no `minio` on the PATH")?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut process = Process::spawn(
        "minio",
        Command::new(&path)
            .args([
                "server",
                "--address",
                "127.0.0.1:0",
                "--console-address",
                // Another spelling: MinIO refuses two equal addresses, port 0 or not.
                "localhost:0",
            ])
            .arg(folder.path())
            .env("MINIO_BROWSER", "off")
            .env("MINIO_ROOT_USER", KEY)
            .env("MINIO_ROOT_PASSWORD", SECRET),
    )
    .map_err(|error| error.to_string())?;
    let port = process.wait_for_line(START_LIMIT, api_port)?;
    Ok((
        S3::local(port, KEY, SECRET, Server { process, folder }),
        path,
    ))
}

/// The port in MinIO's line `API: http://127.0.0.1:PORT`.
fn api_port(line: &str) -> Option<u16> {
    let url = line.strip_prefix("API:")?.split_whitespace().next()?;
    url.rsplit(':').next()?.parse().ok()
}
