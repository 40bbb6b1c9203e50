//! Hostile frames: requests made by the grammar and then damaged, and bytes that were never Kafka's.
//!
//! The generator is seeded, so a frame that hurts can be made again. Damage is of the kinds that get
//! past the first checks: counts and lengths that lie, batches whose CRC was made right again.

use bytes::Bytes;
use floe_protocol::arbitrary::{APIS, ApiCodec, Random};
use floe_protocol::encoder::Encoder;
use floe_protocol::messages::Message;
use floe_protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use floe_protocol::records::Records;

/// Values that decoders trip over, as big-endian int32 and as unsigned varint.
const HOSTILE: [&[u8]; 8] = [
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0x80, 0x00, 0x00, 0x00],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff],
    &[0x80, 0x80, 0x80, 0x80, 0x08],
    &[0x00],
];

/// First bytes of other protocols.
const STRANGERS: [&[u8]; 4] = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    &[
        0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03,
    ],
    b"SSH-2.0-OpenSSH_9.2\r\n",
];

/// A seeded source of bad frames.
#[derive(Debug)]
pub struct BadFrames {
    random: Random,
    topic: String,
}

impl BadFrames {
    /// Frames from a seed; produce requests name `topic`, which should exist.
    pub fn new(seed: u64, topic: &str) -> BadFrames {
        BadFrames {
            random: Random::new(seed),
            topic: topic.to_owned(),
        }
    }

    /// The next frame with its length prefix, or what stands in the place of one.
    pub fn next_frame(&mut self) -> Vec<u8> {
        match self.random.below(10) {
            0 => self.stranger(),
            1 => self.unknown_api(),
            2 => self.lying_length(),
            3 => self.noise_behind_a_header(),
            4 | 5 => self.damaged_batch(),
            6 => {
                let request = self.request();
                framed(&request)
            }
            _ => {
                let mut request = self.request();
                self.damage(&mut request);
                framed(&request)
            }
        }
    }

    /// A request of any API and version as the grammar has it, its values chosen by chance.
    fn request(&mut self) -> Vec<u8> {
        loop {
            let at = self.random.below(APIS.len());
            let Some(api) = APIS.get(at) else { continue };
            let versions: Vec<i16> = api.key.decodable_versions().collect();
            let at = self.random.below(versions.len());
            let Some(version) = versions.get(at).copied() else {
                continue;
            };
            if let Some(request) = self.encode(api, version) {
                return request;
            }
        }
    }

    fn encode(&mut self, api: &ApiCodec, version: i16) -> Option<Vec<u8>> {
        let mut e = self.header(api.key.to_wire(), version, api.key.is_flexible(version));
        let body = (api.request.arbitrary)(&mut self.random, version);
        body.encode_any(&mut e, version).ok()?;
        Some(e.into_body().to_vec())
    }

    /// A request header; bodies of flexible versions have tagged fields in theirs.
    fn header(&mut self, key: i16, version: i16, flexible: bool) -> Encoder {
        let mut e = Encoder::new();
        e.i16(key);
        e.i16(version);
        e.i32(self.random.i32());
        // Null, empty, or a name.
        let name: &[u8] = match self.random.below(3) {
            0 => &[0xff, 0xff],
            1 => &[0x00, 0x00],
            _ => &[0x00, 0x03, b'b', b'a', b'd'],
        };
        name.iter().for_each(|byte| e.i8(byte.cast_signed()));
        if flexible {
            e.uvarint(0);
        }
        e
    }

    /// One to six changes: bits, hostile numbers, cuts, insertions.
    fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.random.below(6) {
            let at = self.random.below(bytes.len() + 1);
            match self.random.below(5) {
                0 => bytes.truncate(at),
                1 => {
                    let extra = self.random.bytes();
                    bytes.splice(at..at, extra);
                }
                2 | 3 => {
                    let hostile = HOSTILE.get(self.random.below(HOSTILE.len()));
                    let hostile = hostile.copied().unwrap_or_default();
                    let end = bytes.len().min(at + hostile.len());
                    bytes.splice(at..end, hostile.iter().copied());
                }
                _ => {
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << self.random.below(8);
                    }
                }
            }
        }
    }

    fn stranger(&mut self) -> Vec<u8> {
        if self.random.coin() {
            let at = self.random.below(STRANGERS.len());
            return STRANGERS.get(at).copied().unwrap_or_default().to_vec();
        }
        self.random.bytes().to_vec()
    }

    fn unknown_api(&mut self) -> Vec<u8> {
        let (key, version, flexible) = (self.random.i16(), self.random.i16(), self.random.coin());
        let mut e = self.header(key, version, flexible);
        self.random
            .bytes()
            .iter()
            .for_each(|byte| e.i8(byte.cast_signed()));
        framed(&e.into_body())
    }

    /// A good request behind a length that is not its own.
    fn lying_length(&mut self) -> Vec<u8> {
        let request = self.request();
        let length = match self.random.below(6) {
            0 => -1,
            1 => 0,
            2 => i32::MAX,
            3 => i32::MIN,
            4 => 200 << 20,
            _ => self.random.i32() % 4096,
        };
        let mut frame = length.to_be_bytes().to_vec();
        frame.extend_from_slice(&request);
        frame
    }

    fn noise_behind_a_header(&mut self) -> Vec<u8> {
        let at = self.random.below(APIS.len());
        let Some(api) = APIS.get(at) else {
            return Vec::new();
        };
        let version = *api.key.valid_versions().end();
        let mut e = self.header(api.key.to_wire(), version, api.key.is_flexible(version));
        for _ in 0..self.random.below(6) {
            let at = self.random.below(HOSTILE.len());
            HOSTILE
                .get(at)
                .into_iter()
                .copied()
                .flatten()
                .for_each(|b| e.i8(b.cast_signed()));
            self.random
                .bytes()
                .iter()
                .for_each(|byte| e.i8(byte.cast_signed()));
        }
        framed(&e.into_body())
    }

    /// A Produce request to a real partition with a damaged batch, its CRC mostly made right.
    fn damaged_batch(&mut self) -> Vec<u8> {
        let mut batch = plain_batch(self.random.below(200));
        self.damage(&mut batch);
        if self.random.below(4) > 0 {
            repair(&mut batch);
        }
        let partition = PartitionProduceData {
            index: if self.random.coin() {
                0
            } else {
                self.random.i32()
            },
            records: Some(Records::from(Bytes::from(batch))),
        };
        let topic = TopicProduceData {
            name: self.topic.clone().into(),
            partition_data: vec![partition],
            ..TopicProduceData::default()
        };
        let request = ProduceRequest {
            acks: -1,
            timeout_ms: 1000,
            topic_data: vec![topic],
            ..ProduceRequest::default()
        };
        let version = 9;
        let mut e = self.header(0, version, true);
        match request.encode(&mut e, version) {
            Ok(()) => framed(&e.into_body()),
            Err(_) => Vec::new(),
        }
    }
}

/// A frame with the right length prefix.
fn framed(request: &[u8]) -> Vec<u8> {
    let length = i32::try_from(request.len()).unwrap_or(i32::MAX);
    let mut frame = length.to_be_bytes().to_vec();
    frame.extend_from_slice(request);
    frame
}

/// A good record batch of one record with a value of `value_bytes`, below 8,000.
fn plain_batch(value_bytes: usize) -> Vec<u8> {
    let varint = |value: usize| {
        // Zigzag of a number that is not negative, in two bytes.
        let z = value * 2;
        [
            u8::try_from(z & 0x7f).unwrap_or(0) | 0x80,
            u8::try_from(z >> 7).unwrap_or(0),
        ]
    };
    let mut record = vec![0, 0, 0, 1];
    record.extend_from_slice(&varint(value_bytes));
    record.resize(record.len() + value_bytes, b'v');
    record.push(0);
    let mut batch = vec![0; 61];
    batch.splice(16..17, [2]);
    batch.splice(43..57, [0xff; 14]);
    batch.splice(57..61, [0, 0, 0, 1]);
    batch.extend_from_slice(&varint(record.len()));
    batch.extend_from_slice(&record);
    repair(&mut batch);
    batch
}

/// Makes length and CRC of a batch right again, as far as it reaches.
fn repair(batch: &mut [u8]) {
    let length = i32::try_from(batch.len().saturating_sub(12)).unwrap_or(i32::MAX);
    if let Some(field) = batch.get_mut(8..12) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    let crc = crc32c(batch.get(21..).unwrap_or_default());
    if let Some(field) = batch.get_mut(17..21) {
        field.copy_from_slice(&crc.to_be_bytes());
    }
}

/// CRC-32C, bit by bit: independent of the code under test, and fast enough for small batches.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_itself() {
        let frames = |seed| {
            let mut source = BadFrames::new(seed, "t");
            (0..200).map(|_| source.next_frame()).collect::<Vec<_>>()
        };
        assert_eq!(frames(7), frames(7));
        assert_ne!(frames(7), frames(8));
    }

    #[test]
    fn the_check_value_of_crc32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn an_undamaged_batch_is_good() {
        let batch = Bytes::from(plain_batch(100));
        let header = floe_protocol::record_batch::BatchHeader::parse(&batch).unwrap();
        assert_eq!(header.size_bytes(), batch.len());
        assert_eq!(header.crc, crc32c(&batch[21..]));
        assert_eq!((header.magic, header.record_count), (2, 1));
    }
}
