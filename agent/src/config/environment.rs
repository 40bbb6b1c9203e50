//! What the surroundings of this process say. The only part of the config that reads them.

use std::fs;
use std::io;
use std::path::Path;

use rand::TryRngCore as _;
use rand::rngs::OsRng;

use super::{Args, ConfigError, DEFAULT_FILE, Environment};

impl Environment {
    /// Reads variables, settings file and memory of this process, and draws its seed.
    ///
    /// # Errors
    /// A settings file that was named, or is there, cannot be read.
    pub fn of_process(args: &Args) -> Result<Self, ConfigError> {
        let variables: std::collections::BTreeMap<_, _> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("FLOE_"))
            .collect();
        let named = args
            .config
            .clone()
            .or_else(|| variables.get("FLOE_CONFIG").map(Into::into));
        let file = match &named {
            Some(path) => Some(read(path)?),
            None if Path::new(DEFAULT_FILE).exists() => Some(read(Path::new(DEFAULT_FILE))?),
            None => None,
        };
        let seed = OsRng.try_next_u64().map_err(|error| ConfigError::File {
            file: "the system's random numbers".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Self {
            variables,
            file,
            memory_bytes: memory_bytes(),
            seed,
        })
    }
}

fn read(path: &Path) -> Result<(String, String), ConfigError> {
    let file = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => Ok((file, text)),
        Err(error) => Err(ConfigError::File {
            file,
            reason: describe(&error),
        }),
    }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        _ => error.to_string(),
    }
}

/// Memory of the container if it has a limit, else of the machine; `None` where neither can be told.
fn memory_bytes() -> Option<u64> {
    let limits = [
        fs::read_to_string("/sys/fs/cgroup/memory.max")
            .ok()
            .as_deref()
            .and_then(cgroup_limit),
        fs::read_to_string("/sys/fs/cgroup/memory/memory.limit_in_bytes")
            .ok()
            .as_deref()
            .and_then(cgroup_limit),
        fs::read_to_string("/proc/meminfo")
            .ok()
            .as_deref()
            .and_then(machine_memory),
    ];
    limits.into_iter().flatten().min()
}

/// A cgroup's limit; `None` for `max`. Version 1 writes a huge number for "none", which the machine's
/// memory undercuts.
fn cgroup_limit(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `MemTotal` of `/proc/meminfo`, which counts in KiB.
fn machine_memory(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_containers_and_machines() {
        assert_eq!(cgroup_limit("max\n"), None);
        assert_eq!(cgroup_limit("1073741824\n"), Some(1 << 30));
        let meminfo = "MemTotal:       24681840 kB\nMemFree:  1 kB\n";
        assert_eq!(machine_memory(meminfo), Some(24_681_840 * 1024));
        assert_eq!(machine_memory("nothing"), None);
    }
}
