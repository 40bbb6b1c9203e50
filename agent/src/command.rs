//! The `floe` command: reads the settings, starts a broker, and stops it on a signal.
//!
//! Exit codes: 0 after a drain, 1 for an error at run time, 2 for an error of use; errors are one line.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::ask;
use crate::config::{
    Args, CommandLine, Config, Environment, FsckTask, MetaTask, ObjectTask, Task, resolve,
};
use crate::fsck;
use crate::meta;
use crate::object::{self, ObjectError};
use crate::panics;
use crate::start::{RunningAgent, start};

/// An error of use.
const USE_ERROR: u8 = 2;

/// Blocking work is file access of a local store; more threads would only hold more memory.
const BLOCKING_THREADS_MAX: usize = 32;

/// Does what the command line of this process says, as a release that understands feature levels up to
/// `feature_level`.
#[must_use]
pub fn run(feature_level: u32) -> ExitCode {
    let (task, args) = match CommandLine::try_parse() {
        Ok(line) => line.into_task(),
        Err(error) => return explain(&error),
    };
    let (mut config, mut log) = match settings(&args) {
        Ok(settings) => settings,
        Err(error) => return fail(&error, USE_ERROR),
    };
    config.feature_level = feature_level;
    match task {
        Task::Health => {
            return match ask::readiness(&config.http) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error, 1),
            };
        }
        // Its answer is what it prints.
        Task::Meta(_) | Task::Object(_) | Task::Fsck(_) if log == "info" => {
            "warn".clone_into(&mut log);
        }
        Task::Meta(_) | Task::Object(_) | Task::Fsck(_) | Task::Run => {}
    }
    if let Err(error) = log_to_stderr(&log) {
        return fail(&format!("log level '{log}': {error}"), USE_ERROR);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(async {
                match &task {
                    Task::Meta(task) => run_meta(&config, task).await,
                    Task::Object(task) => run_object(&config, task).await,
                    Task::Fsck(task) => run_fsck(&config, *task).await,
                    Task::Run | Task::Health => run_broker(config).await,
                }
            });
            // Nothing that still runs may hold up the end: what matters has been waited for.
            runtime.shutdown_background();
            code
        }
        Err(error) => fail(&format!("cannot start threads: {error}"), 1),
    }
}

fn settings(args: &Args) -> Result<(Config, String), String> {
    let environment = Environment::of_process(args).map_err(|error| error.to_string())?;
    resolve(args, &environment).map_err(|error| error.to_string())
}

/// Help and version as clap writes them; of an error its first paragraph, on one line.
fn explain(error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        // A reader that went away is no error of ours.
        return match error.print() {
            Ok(()) | Err(_) => ExitCode::SUCCESS,
        };
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return fail("a command is missing; see floe --help", USE_ERROR);
    }
    let text = error.to_string();
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join(" ");
    fail(
        &format!("{}; see floe --help", line.trim_start_matches("error: ")),
        USE_ERROR,
    )
}

#[expect(
    clippy::print_stderr,
    reason = "the one line that says why the process ends"
)]
fn fail(error: &(impl std::fmt::Display + ?Sized), code: u8) -> ExitCode {
    eprintln!("floe: {error}");
    ExitCode::from(code)
}

/// Logs lines to standard error. A bare level is that of our own parts; libraries speak from WARN up.
fn log_to_stderr(log: &str) -> Result<(), String> {
    let filter = if log.contains(['=', ',']) {
        log.to_owned()
    } else {
        format!(
            "warn,floe={log},floe_agent={log},floe_metadata={log},floe_storage={log},floe_compaction={log}"
        )
    };
    let filter =
        tracing_subscriber::EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|error| error.to_string())
}

async fn run_meta(config: &Config, task: &MetaTask) -> ExitCode {
    match meta::run(config, task).await {
        Ok(text) => answer(&text, ExitCode::SUCCESS),
        Err(error) => fail(&error, 1),
    }
}

async fn run_object(config: &Config, task: &ObjectTask) -> ExitCode {
    match object::run(config, task).await {
        Ok(inspected) => answer(
            &inspected.text,
            ExitCode::from(u8::from(inspected.is_damaged)),
        ),
        Err(error @ ObjectError::NoSegment(_)) => fail(&error, USE_ERROR),
        Err(error) => fail(&error, 1),
    }
}

async fn run_fsck(config: &Config, task: FsckTask) -> ExitCode {
    match fsck::run(config, task, &progress).await {
        Ok(report) => answer(
            &report.to_string(),
            ExitCode::from(u8::from(!report.is_clean())),
        ),
        Err(error) => fail(&error, 1),
    }
}

#[expect(
    clippy::print_stderr,
    reason = "what is told while a long command runs; its answer goes to standard output"
)]
fn progress(line: &str) {
    eprintln!("floe: {line}");
}

fn answer(text: &str, code: ExitCode) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        // A reader that went away is no error of ours.
        Ok(()) | Err(_) => code,
    }
}

async fn run_broker(config: Config) -> ExitCode {
    let panicked = panics::watch();
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("cannot listen for signals: {error}"), 1),
    };
    let agent = tokio::select! {
        biased;
        () = signals.next() => return ExitCode::SUCCESS,
        started = start(config) => match started {
            Ok(agent) => agent,
            Err(error) => return fail(&error, 1),
        },
    };
    tracing::info!("{}", agent.ready_line());
    tokio::select! {
        biased;
        () = panicked.cancelled() => fail("stopped: an invariant is broken, see above", 1),
        code = serve(agent, &mut signals) => code,
    }
}

async fn serve(agent: RunningAgent, signals: &mut Signals) -> ExitCode {
    tokio::select! {
        biased;
        () = signals.next() => {}
        failure = agent.failed() => return fail(&failure, 1),
    }
    tracing::info!("stopping: finishing what was begun");
    tokio::select! {
        biased;
        () = signals.next() => fail("stopped by a second signal before all was finished", 1),
        stopped = agent.shutdown() => match stopped {
            Ok(()) => {
                tracing::info!("stopped");
                ExitCode::SUCCESS
            }
            Err(error) => fail(&error, 1),
        },
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
