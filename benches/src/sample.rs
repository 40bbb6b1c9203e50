//! What a phase cost: CPU of server, store and client, peak memory, requests to the object store.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use floe_tests::http;
use serde::Serialize;

use crate::cpu::CpuSeconds;
use crate::memory;

/// Bytes of a GiB.
pub const GIB: f64 = 1_073_741_824.0;

/// Whom to watch.
#[derive(Clone, Debug, Default)]
pub struct Watched {
    /// Processes of the broker.
    pub servers: Vec<u32>,
    /// Processes of the store, counted apart.
    pub stores: Vec<u32>,
    /// Floe's HTTP address, for its count of requests to the store.
    pub http: Option<SocketAddr>,
}

/// A moment before the phase.
#[derive(Debug)]
pub struct Before {
    watched: Watched,
    server: CpuSeconds,
    store: CpuSeconds,
    client: CpuSeconds,
    requests: BTreeMap<String, f64>,
}

/// What the phase cost in all and per GiB of record bytes.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cost {
    /// The broker's CPU.
    pub server: Party,
    /// The store's CPU, if it is a process of its own.
    pub store: Party,
    /// This process's CPU.
    pub client: Party,
    /// The broker's peak of resident memory, MiB.
    pub peak_mib: f64,
    /// Requests of the broker to the object store by operation, in all.
    pub requests: BTreeMap<String, f64>,
    /// The same per GiB.
    pub requests_per_gib: BTreeMap<String, f64>,
}

/// CPU of one party.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Party {
    /// CPU seconds.
    pub cpu_s: f64,
    /// CPU seconds per GiB.
    pub cpu_s_per_gib: f64,
    /// The part of it in user mode.
    pub user_s_per_gib: f64,
}

impl Party {
    fn new(cpu: CpuSeconds, gib: f64) -> Party {
        Party {
            cpu_s: cpu.total(),
            cpu_s_per_gib: cpu.total() / gib,
            user_s_per_gib: cpu.user / gib,
        }
    }
}

impl Before {
    /// Begins a phase.
    pub fn now(watched: &Watched) -> Before {
        memory::reset_peaks(&watched.servers);
        Before {
            watched: watched.clone(),
            server: CpuSeconds::of(&watched.servers),
            store: CpuSeconds::of(&watched.stores),
            client: CpuSeconds::of_self(),
            requests: requests(watched.http),
        }
    }

    /// Ends the phase, in which `bytes` of records went through.
    pub fn cost(&self, bytes: u64) -> Cost {
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let (gib, peak) = (
            bytes as f64 / GIB,
            memory::peak_bytes(&self.watched.servers) as f64 / 1_048_576.0,
        );
        let mut in_all = requests(self.watched.http);
        for (operation, count) in &mut in_all {
            *count -= self.requests.get(operation).copied().unwrap_or(0.0);
        }
        in_all.retain(|_, count| *count > 0.0);
        let per_gib = in_all
            .iter()
            .map(|(operation, count)| (operation.clone(), count / gib))
            .collect();
        Cost {
            server: Party::new(CpuSeconds::of(&self.watched.servers) - self.server, gib),
            store: Party::new(CpuSeconds::of(&self.watched.stores) - self.store, gib),
            client: Party::new(CpuSeconds::of_self() - self.client, gib),
            peak_mib: peak,
            requests: in_all,
            requests_per_gib: per_gib,
        }
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut line = |name: &str, party: &Party| {
            let Party {
                cpu_s,
                cpu_s_per_gib,
                user_s_per_gib,
            } = party;
            writeln!(
                f,
                "{name:<8} {cpu_s_per_gib:6.2} CPU-s per GiB ({user_s_per_gib:.2} user), {cpu_s:.2} s in all"
            )
        };
        line("server", &self.server)?;
        if self.store.cpu_s > 0.0 {
            line("store", &self.store)?;
        }
        line("client", &self.client)?;
        write!(f, "memory   {:6.1} MiB peak of the server", self.peak_mib)?;
        for (operation, count) in &self.requests {
            let per_gib = self.requests_per_gib.get(operation).copied().unwrap_or(0.0);
            write!(
                f,
                "\nrequests {per_gib:6.1} {operation} per GiB, {count} in all"
            )?;
        }
        Ok(())
    }
}

/// Floe's counters of requests to the store, by operation; nothing for another broker.
fn requests(address: Option<SocketAddr>) -> BTreeMap<String, f64> {
    let Some(address) = address else {
        return BTreeMap::new();
    };
    let Ok((200, text)) = http::get(address, "/metrics") else {
        return BTreeMap::new();
    };
    by_operation(&text)
}

/// Sums `floe_store_requests_total{operation="…",caller="…"}` by operation, `get`, and by both,
/// `get by fetch`.
fn by_operation(text: &str) -> BTreeMap<String, f64> {
    let mut counts = BTreeMap::new();
    for line in text
        .lines()
        .filter(|line| line.starts_with("floe_store_requests_total{"))
    {
        let label = |name: &str| {
            let (_, rest) = line.split_once(&format!("{name}=\""))?;
            rest.split('"').next()
        };
        let count = line
            .rsplit(' ')
            .next()
            .and_then(|count| count.parse::<f64>().ok());
        let (Some(operation), Some(caller), Some(count)) =
            (label("operation"), label("caller"), count)
        else {
            continue;
        };
        *counts.entry(operation.to_owned()).or_default() += count;
        *counts
            .entry(format!("{operation} by {caller}"))
            .or_default() += count;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_summed_by_operation() {
        let text = "floe_store_requests_total{operation=\"put\",caller=\"produce\"} 3\n\
                    floe_store_requests_total{caller=\"metadata\",operation=\"put\"} 4\n\
                    floe_store_requests_total{operation=\"get\",caller=\"fetch\"} 1\n\
                    floe_other_total{operation=\"put\"} 9\n";
        let expected = [
            ("get", 1.0),
            ("get by fetch", 1.0),
            ("put", 7.0),
            ("put by metadata", 4.0),
            ("put by produce", 3.0),
        ];
        let expected = expected.map(|(name, count)| (name.to_owned(), count));
        assert_eq!(by_operation(text), BTreeMap::from(expected));
    }
}
