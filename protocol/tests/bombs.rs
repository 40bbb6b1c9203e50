//! Hostile batches and streams under a counting allocator: what a few bytes claim must not become
//! memory. Counts the Rust heap; zstd's own window, outside of it, is bounded by the window limit.

#![expect(
    unsafe_code,
    reason = "a global allocator cannot be written without it"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "a test that slices too far has found its fault"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Write;

use bytes::Bytes;
use floe_protocol::checksum::crc32c;
use floe_protocol::compression::{Compression, CompressionError, compress, decompress};
use floe_protocol::record_batch::{
    BatchBuilder, BatchError, ProduceLimits, RecordFault, RecordIter, WalkLimits, check_produced,
    walk,
};

thread_local! {
    /// Bytes of this thread that are allocated now; the most since the last reset; calls since then.
    static HEAP: Cell<Heap> = const { Cell::new(Heap { live: 0, peak: 0, calls: 0 }) };
}

#[derive(Clone, Copy)]
struct Heap {
    live: isize,
    peak: isize,
    calls: usize,
}

struct Counting;

impl Counting {
    fn count(bytes: isize) {
        HEAP.with(|heap| {
            let mut now = heap.get();
            now.live += bytes;
            now.peak = now.peak.max(now.live);
            now.calls += usize::from(bytes > 0);
            heap.set(now);
        });
    }
}

// SAFETY: every call goes to the system's allocator as it came; the counting neither allocates nor
// touches the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::count(layout.size().cast_signed());
        // SAFETY: the caller's promises are those the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::count(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `run` returns, the most bytes it held at once, and how often it allocated.
fn measured<T>(run: impl FnOnce() -> T) -> (T, usize, usize) {
    let start = HEAP.with(|heap| {
        let now = heap.get();
        heap.set(Heap {
            peak: now.live,
            calls: 0,
            ..now
        });
        now.live
    });
    let result = run();
    let heap = HEAP.with(Cell::get);
    (
        result,
        usize::try_from(heap.peak - start).expect("the peak is above the start"),
        heap.calls,
    )
}

/// Reliability rules allow decoding N bytes 8 N + 64 KiB.
fn budget(bytes: usize) -> usize {
    8 * bytes + (64 << 10)
}

/// What a decoder may hold when `cap_bytes` came out: growing keeps old and new room for a moment.
fn streamed(cap_bytes: usize) -> usize {
    2 * cap_bytes + (256 << 10)
}

fn limits() -> ProduceLimits {
    ProduceLimits {
        produce_version: 12,
        max_message_bytes: usize::MAX,
        timestamps: None,
    }
}

/// A batch whose header counts `record_count` records and whose block is `block`, its CRC right.
fn batch_of(codec: Compression, record_count: i32, block: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.append(0, None, None);
    let mut bytes = builder.build().expect("it fits")[..61].to_vec();
    bytes.extend_from_slice(block);
    let length = i32::try_from(bytes.len() - 12).expect("small");
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[21..23].copy_from_slice(&codec.codec().to_be_bytes());
    bytes[23..27].copy_from_slice(&(record_count - 1).to_be_bytes());
    bytes[57..61].copy_from_slice(&record_count.to_be_bytes());
    let crc = crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    Bytes::from(bytes)
}

/// One mebibyte of zeros, many times over, in the format of the codec.
fn bomb(codec: Compression, mebibytes: usize) -> Vec<u8> {
    let zeros = vec![0; 1 << 20];
    let one = compress(&zeros, codec).expect("it compresses");
    match codec {
        // The blocks between the frame's header and its end mark.
        Compression::Lz4 => {
            let blocks = one[7..one.len() - 4].repeat(mebibytes);
            [&one[..7], &blocks, &[0; 4]].concat()
        }
        Compression::None | Compression::Gzip | Compression::Snappy | Compression::Zstd => {
            one.repeat(mebibytes)
        }
    }
}

#[test]
fn checking_and_walking_plain_batches_allocate_nothing() {
    let mut builder = BatchBuilder::new(Compression::None);
    for i in 0..10_000 {
        builder.append(i, Some(b"key"), Some(b"value"));
    }
    let batch = builder.build().expect("it fits");
    let (checked, _, calls) = measured(|| check_produced(&batch, &limits()));
    assert!(checked.is_ok());
    assert_eq!(calls, 0, "check_produced allocates");
    let (walked, _, calls) = measured(|| walk(&batch, &WalkLimits::new(0)));
    assert!(walked.is_ok());
    assert_eq!(calls, 0, "walk allocates");
    let (read, peak, _) = measured(|| {
        RecordIter::new(&batch, 0)
            .expect("a good batch")
            .filter(Result::is_ok)
            .count()
    });
    assert_eq!(read, 10_000);
    assert!(peak < 4096, "reading record by record held {peak} bytes");
}

#[test]
fn streams_of_a_gibibyte_stop_at_the_cap() {
    let cap_bytes = 4 << 20;
    for codec in [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let bomb = bomb(codec, 1024);
        let (found, peak, _) = measured(|| decompress(&bomb, codec, cap_bytes));
        assert_eq!(found, Err(CompressionError::TooLarge { codec, cap_bytes }));
        assert!(peak <= streamed(cap_bytes), "{codec} held {peak} bytes");
        let batch = batch_of(codec, 1, &bomb);
        let limits = WalkLimits {
            decompressed_bytes_max: cap_bytes,
            ..WalkLimits::new(0)
        };
        let (walked, peak, _) = measured(|| walk(&batch, &limits));
        assert!(matches!(walked, Err(BatchError::Compression(_))), "{codec}");
        assert!(
            peak <= streamed(cap_bytes),
            "walking {codec} held {peak} bytes"
        );
    }
}

#[test]
fn the_default_cap_holds() {
    let bomb = bomb(Compression::Zstd, 1024);
    assert!(bomb.len() < 100_000, "{} bytes of zstd", bomb.len());
    let batch = batch_of(Compression::Zstd, 1, &bomb);
    let (walked, peak, _) = measured(|| walk(&batch, &WalkLimits::new(1_048_588)));
    assert!(matches!(
        walked,
        Err(BatchError::Compression(CompressionError::TooLarge { .. }))
    ));
    assert!(peak <= streamed(64 << 20), "{peak} bytes");
}

#[test]
fn claims_of_size_allocate_nothing_like_it() {
    let snappy = |claim: &[u8]| [claim, &[0; 20]].concat();
    let xerial = |block: &[u8]| {
        let length = i32::try_from(block.len()).expect("small").to_be_bytes();
        [b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01", &length[..], block].concat()
    };
    // A frame of 4 MiB blocks whose content is said to be 2^63 bytes, and one block that is cut short.
    let described = [&[0x68, 0x70][..], &(1_u64 << 63).to_le_bytes()].concat();
    let checksum = twox_hash::XxHash32::oneshot(0, &described).to_le_bytes()[1];
    let block = [&[1, 0, 0, 0, 0x10][..], &[0; 4]].concat();
    let lz4 = [
        &[0x04, 0x22, 0x4d, 0x18][..],
        &described,
        &[checksum],
        &block,
    ]
    .concat();
    // A single segment of 2^40 bytes; a window of 2^41 bytes and no size.
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    let segment = [
        &magic[..],
        &[0xe0],
        &(1_u64 << 40).to_le_bytes(),
        &[1, 0, 0],
    ]
    .concat();
    let window = [&magic[..], &[0x00, 0xff], &[1, 0, 0]].concat();
    for (name, codec, input) in [
        (
            "4 GiB",
            Compression::Snappy,
            snappy(&[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ),
        (
            "60 MiB",
            Compression::Snappy,
            snappy(&[0x80, 0x80, 0x80, 0x1e]),
        ),
        (
            "framed 4 GiB",
            Compression::Snappy,
            xerial(&snappy(&[0xff, 0xff, 0xff, 0xff, 0x0f])),
        ),
        (
            "framed 60 MiB",
            Compression::Snappy,
            xerial(&snappy(&[0x80, 0x80, 0x80, 0x1e])),
        ),
        ("content size", Compression::Lz4, lz4),
        ("segment", Compression::Zstd, segment),
        ("window", Compression::Zstd, window),
    ] {
        let (found, peak, _) = measured(|| decompress(&input, codec, 64 << 20));
        assert!(found.is_err(), "{codec}, {name}");
        assert!(peak <= budget(input.len()), "{codec}, {name}: {peak} bytes");
    }
}

/// A gzip member may have a name, a comment and an extra field of any length.
#[test]
fn gzip_headers_cost_no_more_than_their_bytes() {
    let long = vec![b'n'; 1 << 20];
    let mut encoder = flate2::GzBuilder::new()
        .filename(long.clone())
        .comment(long)
        .extra(vec![1; 65_535])
        .write(Vec::new(), flate2::Compression::fast());
    encoder.write_all(b"x").expect("it compresses");
    let input = encoder.finish().expect("it compresses");
    let (_, peak, _) = measured(|| decompress(&input, Compression::Gzip, 1 << 20));
    assert!(
        peak <= budget(input.len()),
        "{peak} bytes of {}",
        input.len()
    );
}

#[test]
fn counts_and_lengths_from_the_wire_size_nothing() {
    let max = [0xfe, 0xff, 0xff, 0xff, 0x0f];
    let record =
        |fields: &[u8]| [&[u8::try_from(2 * fields.len()).expect("short")], fields].concat();
    for (name, count, block, fault) in [
        (
            "records",
            i32::MAX,
            record(&[0, 0, 0, 1, 1, 0]),
            RecordFault::Truncated,
        ),
        ("length", 1, max.to_vec(), RecordFault::Truncated),
        (
            "key",
            1,
            record(&[&[0, 0, 0][..], &max].concat()),
            RecordFault::Truncated,
        ),
        (
            "value",
            1,
            record(&[&[0, 0, 0, 1][..], &max].concat()),
            RecordFault::Truncated,
        ),
        (
            "headers",
            1,
            record(&[&[0, 0, 0, 1, 1][..], &max].concat()),
            RecordFault::HeaderCount(i32::MAX),
        ),
    ] {
        let batch = batch_of(Compression::None, count, &block);
        let (walked, peak, _) = measured(|| walk(&batch, &WalkLimits::new(0)));
        let index = i32::from(name == "records");
        assert_eq!(walked, Err(BatchError::Record { index, fault }), "{name}");
        assert!(peak <= budget(batch.len()), "walking {name}: {peak} bytes");
        let (read, peak, _) = measured(|| {
            RecordIter::new(&batch, 0)
                .expect("a good header")
                .collect::<Result<Vec<_>, _>>()
        });
        assert_eq!(read, Err(BatchError::Record { index, fault }), "{name}");
        assert!(peak <= budget(batch.len()), "reading {name}: {peak} bytes");
    }
}

/// Two bytes a header: once decoded they would be many times that.
#[test]
fn very_many_headers_cost_nothing_until_they_are_looked_at() {
    let headers = 500_000;
    let mut fields = vec![0, 0, 0, 1, 1];
    put_varint(&mut fields, headers);
    fields.extend([0, 1].repeat(usize::try_from(headers).expect("positive")));
    let mut block = Vec::new();
    put_varint(&mut block, i32::try_from(fields.len()).expect("small"));
    block.extend(fields);
    let batch = batch_of(Compression::None, 1, &block);
    let (seen, peak, _) = measured(|| {
        let mut records = RecordIter::new(&batch, 0).expect("a good header");
        let record = records.next().expect("one record").expect("a good record");
        record
            .headers
            .iter()
            .filter(|header| header.value.is_none())
            .count()
    });
    assert_eq!(seen, usize::try_from(headers).expect("positive"));
    assert!(peak < 4096, "{peak} bytes");
}

fn put_varint(out: &mut Vec<u8>, value: i32) {
    let mut bits = (value << 1).cast_unsigned();
    while bits > 0x7f {
        out.push(bits.to_le_bytes()[0] | 0x80);
        bits >>= 7;
    }
    out.push(bits.to_le_bytes()[0]);
}

/// However many records are refused, the answer names a bounded number.
#[test]
fn refused_records_are_listed_within_bounds() {
    let mut builder = BatchBuilder::new(Compression::Zstd);
    for _ in 0..200_000 {
        builder.append(0, None, None);
    }
    let batch = builder.build().expect("it fits");
    let limits = WalkLimits {
        require_keys: true,
        ..WalkLimits::new(0)
    };
    let (walked, peak, _) = measured(|| walk(&batch, &limits));
    let Err(BatchError::WithoutKey { record_indexes }) = walked else {
        panic!("records without keys passed");
    };
    assert_eq!(record_indexes.len(), 1024);
    let records_bytes = 200_000 * 10;
    assert!(peak <= streamed(records_bytes), "{peak} bytes");
}
