//! CPU time and memory of processes, from `/proc`: their own, that of their living descendants, and
//! that of children they have waited for.

use std::collections::BTreeMap;
use std::fs;
use std::ops::{Add, AddAssign, Sub};

/// CPU seconds in user and in kernel mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct CpuSeconds {
    /// In the programs.
    pub user: f64,
    /// In the kernel on their behalf.
    pub system: f64,
}

impl CpuSeconds {
    /// User and kernel mode together.
    pub fn total(self) -> f64 {
        self.user + self.system
    }

    /// Time of the processes `ids` and of all their descendants so far. Processes that are gone and
    /// were nobody's waited-for children count nothing.
    pub fn of(ids: &[u32]) -> CpuSeconds {
        let processes = processes();
        let mut sum = CpuSeconds::default();
        for (id, stat) in &processes {
            if ids.iter().any(|root| is_descendant(&processes, *id, *root)) {
                sum += stat.cpu;
            }
        }
        sum
    }

    /// Time of this process so far, without children.
    pub fn of_self() -> CpuSeconds {
        Stat::read(std::process::id()).map_or(CpuSeconds::default(), |stat| stat.own)
    }
}

impl Add for CpuSeconds {
    type Output = CpuSeconds;

    fn add(self, other: CpuSeconds) -> CpuSeconds {
        CpuSeconds {
            user: self.user + other.user,
            system: self.system + other.system,
        }
    }
}

impl AddAssign for CpuSeconds {
    fn add_assign(&mut self, other: CpuSeconds) {
        *self = *self + other;
    }
}

impl Sub for CpuSeconds {
    type Output = CpuSeconds;

    fn sub(self, other: CpuSeconds) -> CpuSeconds {
        CpuSeconds {
            user: self.user - other.user,
            system: self.system - other.system,
        }
    }
}

struct Stat {
    parent: u32,
    own: CpuSeconds,
    cpu: CpuSeconds,
}

impl Stat {
    fn read(id: u32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    /// Fields as `proc(5)` numbers them: 4 parent, 14 utime, 15 stime, 16 cutime, 17 cstime.
    fn parse(text: &str) -> Option<Stat> {
        // The name, field 2, may hold anything; it ends with the last parenthesis.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let seconds = |number: usize| -> Option<f64> {
            let ticks: u32 = fields.get(number - 3)?.parse().ok()?;
            Some(f64::from(ticks) / ticks_per_second())
        };
        let own = CpuSeconds {
            user: seconds(14)?,
            system: seconds(15)?,
        };
        let waited_for = CpuSeconds {
            user: seconds(16)?,
            system: seconds(17)?,
        };
        Some(Stat {
            parent: fields.get(1)?.parse().ok()?,
            own,
            cpu: own + waited_for,
        })
    }
}

fn ticks_per_second() -> f64 {
    u32::try_from(rustix::param::clock_ticks_per_second()).map_or(100.0, f64::from)
}

fn processes() -> BTreeMap<u32, Stat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| Some((id, Stat::read(id)?))).collect()
}

fn is_descendant(processes: &BTreeMap<u32, Stat>, id: u32, root: u32) -> bool {
    let mut id = id;
    // Deeper than any real tree: a reused id cannot make this run for ever.
    for _ in 0..64 {
        if id == root {
            return true;
        }
        match processes.get(&id) {
            Some(stat) if stat.parent > 1 => id = stat.parent,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_a_nasty_name() {
        let text = "12 (a) b (c) S 7 12 12 0 -1 4194560 1 2 3 4 150 50 25 75 20 0 1 0 5 6 7";
        let stat = Stat::parse(text).unwrap();
        let tick = 1.0 / ticks_per_second();
        assert_eq!(stat.parent, 7);
        assert!((stat.own.total() - 200.0 * tick).abs() < 1e-9);
        assert!((stat.cpu.user - 175.0 * tick).abs() < 1e-9);
        assert!((stat.cpu.system - 125.0 * tick).abs() < 1e-9);
    }

    #[test]
    fn work_is_counted() {
        let id = std::process::id();
        let before = (CpuSeconds::of_self(), CpuSeconds::of(&[id]));
        let mut state = 1_u64;
        let start = crate::time::now();
        while start.elapsed() < std::time::Duration::from_millis(200) {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
        }
        assert_ne!(state, 0);
        assert!((CpuSeconds::of_self() - before.0).total() > 0.02);
        assert!((CpuSeconds::of(&[id]) - before.1).total() > 0.02);
    }
}
