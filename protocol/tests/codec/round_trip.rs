//! What is written is read again; what is cut off or damaged is refused or at least does no harm.

use floe_protocol::arbitrary::{Random, STRUCTS};

use crate::{decode, encode, for_each_message};

#[test]
fn random_messages_survive_in_every_version() {
    let mut random = Random::new(1);
    for_each_message(|name, codec, version| {
        for round in 0..100 {
            let message = (codec.arbitrary)(&mut random, version);
            let bytes = encode(message.as_ref(), version);
            let (read, left) = decode(codec, &bytes, version)
                .unwrap_or_else(|error| panic!("{name} #{round}: {error}\n{message:?}"));
            assert!(
                read.equals(message.as_ref()),
                "{name} #{round}\n{message:?}\n{read:?}"
            );
            assert_eq!(left, 0, "{name} #{round}");
            assert_eq!(encode(read.as_ref(), version), bytes, "{name} #{round}");
        }
    });
}

#[test]
fn every_prefix_is_refused() {
    let mut random = Random::new(2);
    for_each_message(|name, codec, version| {
        for _ in 0..8 {
            let message = (codec.arbitrary)(&mut random, version);
            let bytes = encode(message.as_ref(), version);
            for end in 0..bytes.len() {
                let read = decode(codec, &bytes[..end], version);
                assert!(
                    read.is_err(),
                    "{name} cut to {end} of {}: {message:?}",
                    bytes.len()
                );
            }
        }
    });
}

#[test]
fn bytes_after_the_body_are_counted_and_ignored() {
    let mut random = Random::new(3);
    for_each_message(|name, codec, version| {
        let message = (codec.arbitrary)(&mut random, version);
        let mut bytes = encode(message.as_ref(), version).to_vec();
        bytes.extend_from_slice(b"rest");
        let (read, left) = decode(codec, &bytes, version).unwrap();
        assert!(read.equals(message.as_ref()), "{name}");
        assert_eq!(left, 4, "{name}");
    });
}

/// Damages `bytes` in one to three places: edge values where lengths might be, other bytes, lost and added ones.
fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len().max(1));
        let edge: &[u8] = match random.below(8) {
            0 => &[0xff, 0xff, 0xff, 0xff],
            1 => &[0x7f, 0xff, 0xff, 0xff],
            2 => &[0x80, 0, 0, 0],
            3 => &[0, 0, 0xff, 0xff],
            4 => &[0xff, 0xff, 0xff, 0xff, 0x0f],
            5 => &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            6 => &[0xff, 0xfe],
            _ => &[0],
        };
        match random.below(4) {
            0 if !bytes.is_empty() => bytes[at] = random.i8().cast_unsigned(),
            1 if !bytes.is_empty() => _ = bytes.remove(at),
            2 => bytes.splice(at..at, edge.iter().copied()).for_each(drop),
            _ => {
                let end = bytes.len().min(at + edge.len());
                bytes.splice(at..end, edge.iter().copied()).for_each(drop);
            }
        }
    }
}

/// A damaged message is refused, or read as some message that is then as good as any other.
#[test]
fn mutated_messages_are_refused_or_survive() {
    let (mut random, mut refused, mut read) = (Random::new(4), 0, 0);
    for_each_message(|name, codec, version| {
        for _ in 0..200 {
            let message = (codec.arbitrary)(&mut random, version);
            let mut bytes = encode(message.as_ref(), version).to_vec();
            mutate(&mut random, &mut bytes);
            let Ok((message, _)) = decode(codec, &bytes, version) else {
                refused += 1;
                continue;
            };
            read += 1;
            // Compared as bytes: a float that is not a number does not equal itself.
            let once = encode(message.as_ref(), version);
            let (again, left) = decode(codec, &once, version).unwrap();
            assert_eq!(
                (encode(again.as_ref(), version), left),
                (once, 0),
                "{name} {bytes:02x?}"
            );
        }
    });
    assert!(
        refused > 1000 && read > 1000,
        "{refused} refused, {read} read"
    );
}

#[test]
fn garbage_does_no_harm() {
    let mut random = Random::new(5);
    for_each_message(|_, codec, version| {
        for _ in 0..200 {
            let length = random.below(200);
            let garbage: Vec<u8> = (0..length).map(|_| random.i8().cast_unsigned()).collect();
            _ = decode(codec, &garbage, version);
        }
    });
}

/// The decoder refuses a count beyond `remaining / smallest size`: too large a size would refuse good messages, too
/// small a one would let bad counts through.
#[test]
fn the_smallest_struct_is_as_small_as_the_decoder_assumes() {
    for size in STRUCTS {
        for version in size.versions.0..=size.versions.1 {
            let (default, smallest) = (size.default_and_smallest_bytes)(version).unwrap();
            assert_eq!(default, smallest, "{} {version}", size.name);
        }
    }
}
