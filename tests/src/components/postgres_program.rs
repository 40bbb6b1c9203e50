//! A `postgres` program on a folder that goes with it, which a test may also kill and start again.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::postgres::{COMPONENT, Postgres, query};
use crate::process::Process;
use crate::wait;

const USER: &str = "floe";
const PASSWORD: &str = "floe-test-password";

/// Where distributions keep versions beside each other.
const FOLDERS: &str = "/usr/lib/postgresql";

/// The server answers well within a second on an idle machine; after a kill it waits for its children.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Somebody else may take a free port before the server does.
const ROUNDS: usize = 5;

/// A server of the test's own. Killed on drop.
// Fields drop in order: the process ends before its folder goes.
#[derive(Debug)]
pub struct Server {
    process: Option<Process>,
    program: PathBuf,
    account: Option<(u32, u32)>,
    port: u16,
    folder: tempfile::TempDir,
}

impl Server {
    /// A new server with these settings, such as `fsync=off`.
    ///
    /// # Errors
    ///
    /// Why there is none: no programs, or what they said.
    pub fn start(settings: &[&str]) -> Result<Server, String> {
        let initdb = initdb().ok_or_else(|| format!("no initdb on the PATH or in {FOLDERS}"))?;
        let program = initdb.with_file_name("postgres");
        let account = account()?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        if let Some((user, group)) = account {
            chown(folder.path(), Some(user), Some(group)).map_err(|error| error.to_string())?;
        }
        let password = folder.path().join("password");
        std::fs::write(&password, PASSWORD).map_err(|error| error.to_string())?;
        let mut server = Server {
            process: None,
            program,
            account,
            port: 0,
            folder,
        };
        let made = server
            .command(&initdb)
            .arg("-D")
            .arg(server.data())
            .args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8"])
            .args(["--locale=C", "--no-sync", "--no-instructions"])
            .arg(format!("--pwfile={}", password.display()))
            .output()
            .map_err(|error| format!("{}: {error}", initdb.display()))?;
        if !made.status.success() {
            return Err(String::from_utf8_lossy(&made.stderr).into_owned());
        }
        server.launch(settings)?;
        Ok(server)
    }

    /// A server of the test's own, or `None` after saying that the test is skipped.
    ///
    /// # Panics
    ///
    /// If `FLOE_TEST_REQUIRE` names `postgres` and there is none.
    pub fn start_or_skip(settings: &[&str]) -> Option<Server> {
        Server::start(settings)
            .inspect_err(|why| super::missing(COMPONENT, why))
            .ok()
    }

    /// The program that runs.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Where it keeps its files.
    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Writes a file among the server's own, such as `standby.signal`, to be seen by its next start.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn add_file(&self, name: &str, content: &[u8]) {
        let path = self.data().join(name);
        std::fs::write(&path, content).expect("the server's folder can be written");
        // The server refuses a key that others may read.
        let secret = Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, secret).expect("our own file");
        if let Some((user, group)) = self.account {
            chown(&path, Some(user), Some(group)).expect("root may give its files away");
        }
    }

    /// The URL of its database.
    pub fn url(&self) -> String {
        format!(
            "postgres://{USER}:{PASSWORD}@127.0.0.1:{}/postgres",
            self.port
        )
    }

    /// Runs statements and returns the first column of the rows they give.
    ///
    /// # Errors
    ///
    /// What the server said instead.
    pub fn run(&self, sql: &str) -> Result<Vec<String>, String> {
        query(&self.url(), sql)
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        drop(self.process.take());
    }

    /// Starts a killed server again on its port, with these settings.
    ///
    /// # Panics
    ///
    /// If it does not come up.
    pub fn restart(&mut self, settings: &[&str]) {
        self.kill();
        // Children of a killed server hold its shared memory for a moment.
        wait::until("PostgreSQL is up again", START_LIMIT, || {
            self.launch_on(self.port, settings).ok()
        });
    }

    /// The shared server of a test process.
    pub(super) fn into_component(self) -> Postgres {
        Postgres::local(self.port, USER, PASSWORD, self)
    }

    fn launch(&mut self, settings: &[&str]) -> Result<(), String> {
        let mut refused = String::new();
        for _ in 0..ROUNDS {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
            let port = free.map_err(|error| error.to_string())?.port();
            match self.launch_on(port, settings) {
                Ok(()) => return Ok(()),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn launch_on(&mut self, port: u16, settings: &[&str]) -> Result<(), String> {
        let mut command = self.command(&self.program);
        command
            .arg("-D")
            .arg(self.data())
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", &format!("port={port}")])
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "max_connections=200"])
            .args(["-c", "shared_buffers=32MB"]);
        for setting in settings {
            command.args(["-c", setting]);
        }
        let mut process =
            Process::spawn("postgres", &mut command).map_err(|error| error.to_string())?;
        process.wait_for_line(START_LIMIT, |line| {
            line.contains("ready to accept").then_some(())
        })?;
        self.port = port;
        self.process = Some(process);
        Ok(())
    }

    /// A command that runs under the account the server may run under.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("LC_ALL", "C").current_dir(self.folder.path());
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }
}

/// `initdb` of the search path, else of the newest version in the distribution's folders.
fn initdb() -> Option<PathBuf> {
    if let Some(found) = super::program("initdb") {
        // The server's own programs lie beside the file itself, not beside a link to it.
        return std::fs::canonicalize(found).ok();
    }
    let versions = std::fs::read_dir(FOLDERS).ok()?;
    let found = versions
        .filter_map(|version| Some(version.ok()?.path().join("bin/initdb")))
        .filter(|path| path.is_file());
    found.max()
}

/// User and group to run as: PostgreSQL refuses to run as root.
fn account() -> Result<Option<(u32, u32)>, String> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let id = |flag: &str| -> Result<u32, String> {
        let output = Command::new("id")
            .args([flag, "postgres"])
            .stderr(Stdio::null())
            .output()
            .map_err(|error| format!("id: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let number = text.trim().parse();
        number.map_err(|_| "there is no user postgres to run it as".to_owned())
    };
    Ok(Some((id("-u")?, id("-g")?)))
}
