//! Peak memory of servers, and touching memory before a measurement.

use std::fs;

use floe_tests::process::status_bytes;

/// Starts a new peak for each process, so that [`peak_bytes`] is that of the phase alone.
pub fn reset_peaks(ids: &[u32]) {
    for id in ids {
        // Without the right to do so the peak is that of the whole life, which is no smaller.
        fs::write(format!("/proc/{id}/clear_refs"), "5").ok();
    }
}

/// Sum of the processes' peaks of resident memory since the last reset, in bytes.
pub fn peak_bytes(ids: &[u32]) -> u64 {
    ids.iter().map(|id| status_bytes(*id, "VmHWM:")).sum()
}

/// Sum of the processes' resident memory now, in bytes.
pub fn resident_bytes(ids: &[u32]) -> u64 {
    ids.iter().map(|id| status_bytes(*id, "VmRSS:")).sum()
}

/// Touches `gib` GiB and gives them back. On a virtual machine the first touch of a page can cost
/// more than the work that is to be measured.
pub fn touch(gib: usize) {
    const PAGE_BYTES: usize = 4096;
    for _ in 0..gib {
        let mut bytes = vec![0_u8; 1 << 30];
        for page in bytes.chunks_mut(PAGE_BYTES) {
            if let Some(first) = page.first_mut() {
                *first = 1;
            }
        }
        std::hint::black_box(&bytes);
    }
}
