//! A child process whose output is kept, whose memory and CPU can be read, and which never outlives
//! its owner.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// Lines of output that are kept; beyond it the oldest half is dropped.
const LINES_MAX: usize = 20_000;

/// Lines that are shown when a test fails.
const LINES_SHOWN: usize = 80;

#[derive(Debug, Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Output {
    fn push(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= LINES_MAX {
            lines.drain(..LINES_MAX / 2);
        }
        lines.push(line);
        self.grown.notify_all();
    }
}

/// A running or ended child process. Killed and waited for on drop.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts `command` with nothing on its standard input and its output kept line by line.
    ///
    /// # Errors
    ///
    /// If the program cannot be started.
    pub fn spawn(name: &str, command: &mut Command) -> std::io::Result<Process> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = Arc::new(Output::default());
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            readers.push(keep_lines(pipe, Arc::clone(&output)));
        }
        if let Some(pipe) = child.stderr.take() {
            readers.push(keep_lines(pipe, Arc::clone(&output)));
        }
        Ok(Process {
            name: name.to_owned(),
            child,
            output,
            readers,
        })
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All kept lines of standard output and standard error, in order of arrival.
    pub fn lines(&self) -> Vec<String> {
        self.output
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The kept output as one text.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// Waits for a line that `pick` takes, also among those already written.
    ///
    /// # Errors
    ///
    /// The output so far, if the process ends or `limit` passes before such a line.
    pub fn wait_for_line<T>(
        &mut self,
        limit: Duration,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> Result<T, String> {
        let start = wait::now();
        let mut seen = 0;
        loop {
            // Ask before looking: what an ended process wrote is complete once its readers are.
            let ended = self.try_wait().is_some();
            if ended {
                self.join_readers();
            }
            let lines = self
                .output
                .lines
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = lines.iter().skip(seen).find_map(|line| pick(line)) {
                return Ok(found);
            }
            seen = lines.len();
            if ended || start.elapsed() >= limit {
                let why = if ended { "ended" } else { "was silent" };
                return Err(format!("{} {why}:\n{}", self.name, lines.join("\n")));
            }
            let (lines, _) = self
                .output
                .grown
                .wait_timeout(lines, Duration::from_millis(20))
                .unwrap_or_else(PoisonError::into_inner);
            drop(lines);
        }
    }

    /// The exit status, if the process has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for the end of the process and of its output.
    ///
    /// # Panics
    ///
    /// If it is still running after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let name = self.name.clone();
        let status = wait::until(&format!("end of {name}"), limit, || self.try_wait());
        self.join_readers();
        status
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    ///
    /// If the process has been waited for already.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Stops the process where it stands, until [`Process::resume`].
    ///
    /// # Panics
    ///
    /// If the process has been waited for already.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a paused process go on.
    ///
    /// # Panics
    ///
    /// If the process has been waited for already.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let id = id.expect("a child has a process id");
        kill_process(id, signal).expect("an own child takes signals");
    }

    /// Sends SIGKILL and waits for the end. Does nothing if the process has ended.
    pub fn kill(&mut self) {
        // The only errors are that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        self.join_readers();
    }

    /// Resident memory in bytes, from `/proc`; 0 once the process has ended.
    pub fn resident_bytes(&self) -> u64 {
        status_bytes(self.id(), "VmRSS:")
    }

    fn join_readers(&mut self) {
        for reader in self.readers.drain(..) {
            // A reader ends with its pipe and cannot panic otherwise.
            reader.join().ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let lines = self.lines();
            let first = lines.len().saturating_sub(LINES_SHOWN);
            eprintln!("--- last lines of {} ---", self.name);
            for line in lines.iter().skip(first) {
                eprintln!("{line}");
            }
        }
    }
}

/// A size field of `/proc/ID/status` such as `VmRSS:` or `VmHWM:`, in bytes; 0 if it is not there.
pub fn status_bytes(id: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn keep_lines(pipe: impl Read + Send + 'static, output: Arc<Output>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(pipe.read_until(b'\n', &mut line), Ok(n) if n > 0) {
            output.push(String::from_utf8_lossy(&line).trim_end().to_owned());
            line.clear();
        }
    })
}
