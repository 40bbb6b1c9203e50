//! Programs of other languages, run to their end: tools, package managers, stock clients.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::Process;
use crate::wait;

/// A program, its arguments and its input.
#[derive(Debug)]
pub struct Program {
    name: String,
    command: Command,
    input: Vec<u8>,
    limit: Duration,
}

/// What a program wrote. It ended with success.
#[derive(Debug)]
pub struct Finished {
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

impl Program {
    /// A program that is to end within two minutes.
    pub fn new(path: impl AsRef<OsStr>) -> Program {
        let command = Command::new(path);
        let name = command.get_program().to_string_lossy().into_owned();
        Program {
            name,
            command,
            input: Vec::new(),
            limit: Duration::from_secs(120),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Program {
        self.command.args(args);
        self
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Program {
        self.command.arg(arg);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Program {
        self.command.env(name, value);
        self
    }

    /// Runs in this folder.
    #[must_use]
    pub fn folder(mut self, folder: &Path) -> Program {
        self.command.current_dir(folder);
        self
    }

    /// Gives it this on its standard input.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Program {
        self.input = input.into();
        self
    }

    /// Allows it another time.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Program {
        self.limit = limit;
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    ///
    /// If it cannot be started, fails, or takes too long: then it is killed. The text holds what it
    /// wrote.
    pub fn try_run(mut self) -> Result<Finished, String> {
        let name = self.name;
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        // Every pipe has a thread, so that none of them can fill up and hold the program.
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let input = self.input;
        let feed = std::thread::spawn(move || {
            // A program may end without reading all of it.
            stdin.map(|mut stdin| stdin.write_all(&input).ok());
        });
        let (output, errors) = (collect(stdout), collect(stderr));
        let status = wait::within(self.limit, || child.try_wait().ok().flatten());
        if status.is_none() {
            child.kill().ok();
            child.wait().ok();
        }
        feed.join().ok();
        let finished = Finished {
            output: output.join().unwrap_or_default(),
            errors: errors.join().unwrap_or_default(),
        };
        match status {
            Some(status) if status.success() => Ok(finished),
            Some(status) => Err(format!(
                "{name}: {status}\n{}{}",
                finished.output, finished.errors
            )),
            None => Err(format!(
                "{name}: still running after {:?}\n{}{}",
                self.limit, finished.output, finished.errors
            )),
        }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// If it fails; see [`Program::try_run`].
    pub fn run(self) -> Finished {
        self.try_run().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts it beside the test.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn spawn(mut self) -> Process {
        let name = self.name;
        Process::spawn(&name, &mut self.command).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).ok();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A folder below cargo's target folder for what tests download and build. Kept between runs.
///
/// # Panics
///
/// If it cannot be made.
pub fn artifacts(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test knows its own path");
    // Not found by its CACHEDIR.TAG: cargo writes none into a target folder that somebody made before.
    let profile = test
        .ancestors()
        .find(|folder| folder.ends_with("deps"))
        .and_then(Path::parent)
        .expect("cargo builds tests into a folder `deps`");
    let target = profile
        .parent()
        .expect("a profile's folder lies in cargo's target folder");
    let folder = target.join("test-artifacts").join(name);
    std::fs::create_dir_all(&folder).expect("a folder below the target folder can be made");
    folder
}

/// Runs `make` in an artifact folder unless it ran there before with the same `recipe` text.
///
/// # Errors
///
/// Those of `make`.
///
/// # Panics
///
/// If the folder cannot be written.
pub fn made_once(
    folder: &Path,
    recipe: &str,
    make: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let mark = folder.join(".made-from");
    if std::fs::read_to_string(&mark).is_ok_and(|made| made == recipe) {
        return Ok(());
    }
    make()?;
    std::fs::write(&mark, recipe).expect("an artifact folder can be written");
    Ok(())
}
