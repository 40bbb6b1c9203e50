//! Whatever a frame of N bytes holds, decoding it takes at most 8 x N + 64 KiB of memory at its peak. Counted by the
//! allocator itself, in a test binary of its own, on valid, damaged and hostile frames of every API and version.
#![allow(
    unsafe_code,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a counting allocator is unsafe code by its nature; the rest are tests"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::Bytes;
use floe_protocol::arbitrary::{APIS, MessageCodec, Random};
use floe_protocol::budget::Budget;
use floe_protocol::decoder::Decoder;
use floe_protocol::encoder::Encoder;
use floe_protocol::header::RequestHeader;

/// Counts what the thread it runs in holds, so that tests beside each other do not disturb the numbers.
struct Counting;

thread_local! {
    static HELD_BYTES: Cell<usize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<usize> = const { Cell::new(0) };
}

fn took(bytes: usize) {
    let held = HELD_BYTES.get().saturating_add(bytes);
    HELD_BYTES.set(held);
    PEAK_BYTES.set(PEAK_BYTES.get().max(held));
}

fn gave(bytes: usize) {
    HELD_BYTES.set(HELD_BYTES.get().saturating_sub(bytes));
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        gave(layout.size());
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // A move holds both for a moment.
        took(size);
        gave(layout.size());
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that `work` held at any time beyond what was held before.
fn peak_bytes(work: impl FnOnce()) -> usize {
    let before = HELD_BYTES.get();
    PEAK_BYTES.set(before);
    work();
    PEAK_BYTES.get() - before
}

/// Decodes `frame` and checks what it took.
fn check(name: &str, frame: Vec<u8>, decode: impl FnOnce(&mut Decoder)) {
    let allowed = 8 * frame.len() + 64 * 1024;
    let start = frame[..frame.len().min(64)].to_vec();
    // The frame itself is there already; what `Bytes` needs to share it is not.
    let frame = Bytes::from(frame);
    let peak = peak_bytes(|| {
        let budget = Budget::for_frame(frame.len());
        decode(&mut Decoder::new(frame.clone(), budget));
    });
    assert!(
        peak <= allowed,
        "{name}: {peak} bytes for a frame of {}, {allowed} allowed: {start:02x?}",
        frame.len()
    );
}

fn for_each_message(mut work: impl FnMut(&str, &MessageCodec, i16)) {
    for api in APIS {
        for version in api.key.decodable_versions() {
            for (what, codec) in api.both() {
                work(&format!("{} {what} {version}", api.key), &codec, version);
            }
        }
    }
}

fn check_body(name: &str, codec: &MessageCodec, version: i16, frame: Vec<u8>) {
    check(name, frame, |d| _ = (codec.decode_and_drop)(d, version));
}

fn random_frame(codec: &MessageCodec, version: i16, random: &mut Random) -> Vec<u8> {
    let mut e = Encoder::new();
    (codec.arbitrary)(random, version)
        .encode_any(&mut e, version)
        .unwrap();
    e.into_body().to_vec()
}

#[test]
fn the_counter_counts() {
    assert_eq!(peak_bytes(|| drop(vec![0_u8; 1000])), 1000);
    let peak = peak_bytes(|| {
        drop(vec![0_u8; 300]);
        drop(vec![0_u8; 200]);
    });
    assert_eq!(peak, 300);
}

#[test]
fn valid_and_damaged_frames() {
    let mut random = Random::new(31);
    for_each_message(|name, codec, version| {
        for _ in 0..6 {
            let frame = random_frame(codec, version, &mut random);
            check_body(name, codec, version, frame.clone());
            for _ in 0..8 {
                let mut damaged = frame.clone();
                if damaged.is_empty() {
                    continue;
                }
                let at = random.below(damaged.len());
                let edge = [
                    &b"\xff\xff\xff\xff"[..],
                    b"\x7f\xff\xff\xff",
                    b"\0\0\xff\xff",
                ];
                for (position, byte) in edge[random.below(3)].iter().enumerate() {
                    if let Some(target) = damaged.get_mut(at + position) {
                        *target = *byte;
                    }
                }
                check_body(name, codec, version, damaged);
            }
        }
    });
}

/// At every position of a valid frame a count as large as the rest could hold, followed by a long run of one byte:
/// zeros are the shortest structs of plain versions, ones those of compact versions.
#[test]
fn large_counts_of_small_structs() {
    const RUN_BYTES: usize = 20_000;
    let mut random = Random::new(32);
    for_each_message(|name, codec, version| {
        let mut frame = random_frame(codec, version, &mut random);
        frame.truncate(48);
        for at in 0..=frame.len() {
            for filler in [0, 1] {
                let divisor = [1, 2, 3, 4, 8, 16][random.below(6)];
                let count = u32::try_from(RUN_BYTES / divisor).unwrap();
                let mut plain = frame[..at].to_vec();
                plain.extend(count.to_be_bytes());
                plain.resize(at + RUN_BYTES, filler);
                check_body(name, codec, version, plain);

                let mut compact = frame[..at].to_vec();
                let [a, b, ..] = (count * 2).to_le_bytes();
                compact.extend([a | 0x80, b | 0x80, 0]);
                compact.resize(at + RUN_BYTES, filler);
                check_body(name, codec, version, compact);
            }
        }
    });
}

/// Arrays within arrays, each claiming what its neighbours claim too: the same bytes must not be paid out twice.
#[test]
fn nested_counts() {
    for_each_message(|name, codec, version| {
        for count in [1_u8, 2, 3, 10, 100, 127] {
            check_body(name, codec, version, vec![count; 4_000]);
            let plain = [0, 0, 0, count].repeat(2_000);
            check_body(name, codec, version, plain.clone());
            check_body(name, codec, version, plain[1..].to_vec());
            check_body(name, codec, version, [0, count].repeat(2_000));
        }
    });
}

/// Tagged fields that repeat a known array again and again, and many of them.
#[test]
fn repeated_tags() {
    for_each_message(|name, codec, version| {
        let mut e = Encoder::new();
        (codec.default)().encode_any(&mut e, version).unwrap();
        let body = e.into_body();
        for tag in 0..4_u8 {
            for fields in [1_u16, 100, 1000, 1024, 1025] {
                let mut frame = body.get(..body.len().saturating_sub(1)).unwrap().to_vec();
                let [low, high] = fields.to_le_bytes();
                frame.extend([low | 0x80, (high << 1) | (low >> 7)]);
                for _ in 0..fields {
                    frame.extend([tag, 20, 6]);
                    frame.extend([1; 19]);
                }
                check_body(name, codec, version, frame);
            }
        }
    });
}

#[test]
fn headers() {
    for length in [0_usize, 1, 100, 10_000, 32_767] {
        let mut frame = b"\0\x12\0\x03\0\0\0\x01".to_vec();
        frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        frame.resize(frame.len() + length, 0xff);
        frame.push(0);
        check("client id", frame, |d| _ = RequestHeader::decode(d));
    }
    for tags in [64_u8, 65, 127] {
        let mut frame = b"\0\x12\0\x03\0\0\0\x01\xff\xff".to_vec();
        frame.push(tags);
        frame.extend([9, 0].repeat(tags.into()));
        check("tags", frame, |d| _ = RequestHeader::decode(d));
    }
}
