//! Random messages from a seed, for tests: of this crate, and of others that enable the feature `arbitrary`.
//! Owns the generator, the values it likes (edges more often than chance would have them) and a list of all APIs that
//! lets a test treat them alike.

use std::any::Any;
use std::fmt::Debug;

use bytes::Bytes;
use uuid::Uuid;

use crate::api::ApiKey;
use crate::decoder::{DecodeError, Decoder};
use crate::encoder::{EncodeError, Encoder};
use crate::messages::{Message, Request};
use crate::records::Records;
use crate::str::Str;

/// A seeded generator (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
    // How deep arrays nest at the moment: inner ones are shorter, so that messages stay small.
    depth: u32,
}

impl Random {
    /// A generator that repeats itself for a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            state: seed,
            depth: 0,
        }
    }

    /// The next 64 bits.
    pub fn u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.u64() % bound).unwrap_or_default()
    }

    /// True half of the time.
    pub fn coin(&mut self) -> bool {
        self.u64() & 1 == 1
    }

    /// Any bool.
    pub fn bool(&mut self) -> bool {
        self.coin()
    }

    /// Any int8.
    pub fn i8(&mut self) -> i8 {
        let [byte, ..] = self.i64().to_le_bytes();
        i8::from_le_bytes([byte])
    }

    /// Any int16.
    pub fn i16(&mut self) -> i16 {
        let [a, b, ..] = self.i64().to_le_bytes();
        i16::from_le_bytes([a, b])
    }

    /// Any uint16.
    pub fn u16(&mut self) -> u16 {
        let [a, b, ..] = self.i64().to_le_bytes();
        u16::from_le_bytes([a, b])
    }

    /// Any int32.
    pub fn i32(&mut self) -> i32 {
        let [a, b, c, d, ..] = self.i64().to_le_bytes();
        i32::from_le_bytes([a, b, c, d])
    }

    /// Any uint32.
    pub fn u32(&mut self) -> u32 {
        self.i32().cast_unsigned()
    }

    /// Any int64; small numbers and the ends of the range come often.
    pub fn i64(&mut self) -> i64 {
        match self.below(8) {
            0 => 0,
            1 => -1,
            2 => i64::MAX,
            3 => i64::MIN,
            4 => self.u64().cast_signed() % 128,
            _ => self.u64().cast_signed(),
        }
    }

    /// A finite float64.
    pub fn f64(&mut self) -> f64 {
        f64::from(self.i32()) / 8.0
    }

    /// Any uuid, zero among them.
    pub fn uuid(&mut self) -> Uuid {
        if self.below(4) == 0 {
            Uuid::nil()
        } else {
            Uuid::from_u64_pair(self.u64(), self.u64())
        }
    }

    /// A string of up to some hundred bytes, with characters of one to four bytes.
    pub fn string(&mut self) -> Str {
        let length = self.length(300);
        let mut text = String::new();
        for _ in 0..length {
            text.push(match self.below(7) {
                0 => '\0',
                1 => 'é',
                2 => '漢',
                3 => '🦀',
                _ => 'a',
            });
        }
        Str::from(text)
    }

    /// Up to some hundred bytes.
    pub fn bytes(&mut self) -> Bytes {
        let length = self.length(300);
        (0..length).map(|_| self.u64().to_le_bytes()[0]).collect()
    }

    /// Bytes in a few pieces.
    pub fn records(&mut self) -> Records {
        let pieces = self.below(4);
        (0..pieces).map(|_| self.bytes()).collect()
    }

    /// A length that is mostly small and at times near the places where varints grow.
    fn length(&mut self, max: usize) -> usize {
        match self.below(16) {
            0..=2 => 0,
            3 => 126 + self.below(4),
            4 => self.below(max),
            _ => self.below(12),
        }
    }

    /// An array of a few elements, fewer the deeper it lies.
    pub fn array<T>(&mut self, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let bound = 4_usize.saturating_sub(usize::try_from(self.depth / 2).unwrap_or_default());
        let length = self.below(bound.max(2));
        self.depth += 1;
        let elements = (0..length).map(|_| element(self)).collect();
        self.depth -= 1;
        elements
    }
}

/// A struct that can be made up.
pub trait Arbitrary: Sized {
    /// A random value that sets only fields which `version` has.
    fn arbitrary(random: &mut Random, version: i16) -> Self;
}

/// A request or response whose type a test does not care about.
pub trait AnyMessage: Any + Debug {
    /// Writes the fields of `version`.
    ///
    /// # Errors
    /// A field is null or too long for this version.
    fn encode_any(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError>;

    /// Whether `other` is the same message.
    fn equals(&self, other: &dyn AnyMessage) -> bool;
}

impl<M: Message + PartialEq + Debug + 'static> AnyMessage for M {
    fn encode_any(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        self.encode(e, version)
    }

    fn equals(&self, other: &dyn AnyMessage) -> bool {
        (other as &dyn Any).downcast_ref::<M>() == Some(self)
    }
}

/// Reads some message.
pub type Decode = fn(&mut Decoder, i16) -> Result<Box<dyn AnyMessage>, DecodeError>;

/// How one request or response is made up and read.
#[derive(Debug, Clone, Copy)]
pub struct MessageCodec {
    /// The message with every field at its default.
    pub default: fn() -> Box<dyn AnyMessage>,
    /// A random message.
    pub arbitrary: fn(&mut Random, i16) -> Box<dyn AnyMessage>,
    /// Reads a message.
    pub decode: Decode,
    /// Reads a message and drops it, without an allocation of its own.
    pub decode_and_drop: fn(&mut Decoder, i16) -> Result<(), DecodeError>,
}

impl MessageCodec {
    const fn of<M: Message + Arbitrary + Default + PartialEq + Debug + 'static>() -> Self {
        Self {
            default: || Box::new(M::default()),
            arbitrary: |random, version| Box::new(M::arbitrary(random, version)),
            decode: |d, version| Ok(Box::new(M::decode(d, version)?)),
            decode_and_drop: |d, version| M::decode(d, version).map(drop),
        }
    }
}

/// A struct as short as it can be, next to what the decoder assumes of it.
#[derive(Debug, Clone, Copy)]
pub struct StructSize {
    /// The struct, with its module.
    pub name: &'static str,
    /// The versions it occurs in: the first and the last.
    pub versions: (i16, i16),
    /// The bytes of the default struct, and `Message::smallest_wire_bytes`, in a version.
    pub default_and_smallest_bytes: fn(i16) -> Result<(usize, usize), EncodeError>,
}

impl StructSize {
    const fn of<M: Message + Default>(name: &'static str, versions: (i16, i16)) -> Self {
        Self {
            name,
            versions,
            default_and_smallest_bytes: |version| {
                let mut e = Encoder::new();
                M::default().encode(&mut e, version)?;
                Ok((e.len_bytes(), M::smallest_wire_bytes(version)))
            },
        }
    }
}

/// One API.
#[derive(Debug, Clone, Copy)]
pub struct ApiCodec {
    /// Its key.
    pub key: ApiKey,
    /// Its request.
    pub request: MessageCodec,
    /// Its response.
    pub response: MessageCodec,
}

impl ApiCodec {
    const fn of<R>() -> Self
    where
        R: Request + Arbitrary + Default + PartialEq + Debug + 'static,
        R::Response: Arbitrary + Default + PartialEq + Debug + 'static,
    {
        Self {
            key: R::KEY,
            request: MessageCodec::of::<R>(),
            response: MessageCodec::of::<R::Response>(),
        }
    }

    /// Request and response, each with its name.
    #[must_use]
    pub const fn both(&self) -> [(&'static str, MessageCodec); 2] {
        [("request", self.request), ("response", self.response)]
    }
}

include!(concat!(env!("OUT_DIR"), "/arbitrary.rs"));
