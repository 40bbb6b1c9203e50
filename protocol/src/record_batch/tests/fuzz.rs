//! Mutated batches. The mutator repairs length and CRC, or nothing would get past the first checks;
//! half of the time it mutates the records before they are compressed. What a walk lets pass must then
//! be readable and must come out of the builder as it went in.

use super::golden::all;
use super::*;
use crate::compression::{compress, decompress};
use crate::fuzzing::{Mutator, iterations};

const CAP_BYTES: usize = 1 << 18;

/// One good batch with damage that the CRC does not tell.
fn mutant(seeds: &[(String, Bytes)], mutator: &mut Mutator) -> Bytes {
    let (_, seed) = &seeds[mutator.below(seeds.len())];
    let codec = mutator.one_of(&Compression::ALL);
    let header = BatchHeader::parse(seed).expect("a good batch");
    let plain = header
        .attributes
        .compression()
        .and_then(|codec| Ok(decompress(&seed[HEADER_BYTES..], codec, CAP_BYTES)?));
    let mut bytes = match plain {
        Ok(mut plain) if mutator.below(2) == 0 => {
            mutator.mutate(&mut plain);
            let block = compress(&plain, codec).expect("it compresses");
            let mut bytes = seed[..HEADER_BYTES].to_vec();
            let attributes = header.attributes.with_compression(codec);
            bytes[21..23].copy_from_slice(&attributes.0.to_be_bytes());
            bytes.extend_from_slice(&block);
            bytes
        }
        _ => {
            let mut bytes = seed.to_vec();
            mutator.mutate(&mut bytes);
            bytes
        }
    };
    if bytes.len() < HEADER_BYTES || mutator.below(16) == 0 {
        return Bytes::from(bytes);
    }
    bytes[..8].fill(0);
    bytes[16] = 2;
    repaired(bytes)
}

fn check(batch: &Bytes) -> bool {
    let limits = WalkLimits {
        decompressed_bytes_max: CAP_BYTES,
        ..WalkLimits::new(0)
    };
    let checked = check_produced(batch, &super::limits());
    let walked = walk(batch, &limits);
    let read = RecordIter::new(batch, CAP_BYTES).map(|iter| iter.collect::<Result<Vec<_>, _>>());
    let (Ok(header), Ok(summary)) = (checked, walked) else {
        return false;
    };
    let read = read
        .expect("what was walked can be read")
        .expect("what was walked can be read");
    assert_eq!(
        i64::from(summary.record_count),
        i64::from(header.record_count)
    );
    assert_eq!(
        read.len(),
        usize::try_from(summary.record_count).expect("a count")
    );
    assert!(
        read.iter()
            .enumerate()
            .all(|(i, record)| record.offset == i64::try_from(i).unwrap())
    );
    let times = read.iter().map(|record| record.timestamp_ms);
    assert_eq!(times.clone().max(), Some(summary.max_timestamp_ms));
    assert_eq!(times.min(), Some(summary.min_timestamp_ms));
    let mut builder = BatchBuilder::replacing(&header, Compression::None);
    for record in &read {
        builder.push(record);
    }
    // Times too far apart for a delta from the first cannot be rebuilt; all else can.
    match builder.build() {
        Ok(rebuilt) => assert_eq!(records(&rebuilt), Ok(read)),
        Err(error) => assert!(matches!(error, BuildError::Timestamp { .. }), "{error}"),
    }
    true
}

#[test]
fn mutated_batches() {
    let mut seeds = all();
    seeds.retain(|(_, batch)| batch.len() < 6000);
    for codec in Compression::ALL {
        seeds.push((codec.to_string(), builder(codec).build().expect("it fits")));
    }
    let mut mutator = Mutator::new(0x5eed);
    let mut passed = 0;
    let count = iterations(6000);
    for _ in 0..count {
        let batch = mutant(&seeds, &mut mutator);
        passed += u64::from(check(&batch));
    }
    // If hardly any mutant passed, the mutator would test nothing behind the first checks.
    assert!(passed > count / 50, "{passed} of {count} mutants passed");
}
