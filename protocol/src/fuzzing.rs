//! A seeded mutator of bytes for tests that feed decoders with nearly good input. Same seed, same
//! mutants, on every machine.

/// Values at which lengths, counts and signs go wrong.
const EDGES: [i64; 14] = [
    0,
    1,
    -1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    i32::MAX as i64,
    i32::MIN as i64,
    u32::MAX as i64,
    i64::MAX,
    i64::MIN,
];
/// Mutants do not grow without bound.
const LEN_MAX: usize = 1 << 17;

/// How many mutants a test tries: `FLOE_FUZZ_ITERATIONS`, or so few that the tests stay quick.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's own setting, read nowhere else"
)]
pub(crate) fn iterations(default: u64) -> u64 {
    std::env::var("FLOE_FUZZ_ITERATIONS").map_or(default, |text| {
        text.parse().expect("FLOE_FUZZ_ITERATIONS is a number")
    })
}

/// Mutates bytes, drawing from SplitMix64.
#[derive(Debug)]
pub(crate) struct Mutator {
    state: u64,
}

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 if there is none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap()).unwrap()
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Applies one to four mutations.
    pub(crate) fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            self.once(bytes);
        }
    }

    fn once(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        let end = (at + 1 + self.below(16)).min(bytes.len());
        match self.below(8) {
            _ if bytes.is_empty() => bytes.push(self.next().to_le_bytes()[0]),
            0 | 1 => bytes[at] ^= 1 << self.below(8),
            2 => bytes[at] = self.one_of(&EDGES).to_le_bytes()[0],
            3 => bytes[at] = bytes[at].wrapping_add(self.one_of(&[1, 2, 254, 255])),
            4 => self.overwrite(&mut bytes[at..]),
            5 => bytes.truncate(at),
            6 => drop(bytes.drain(at..end)),
            _ if bytes.len() < LEN_MAX => {
                let piece = bytes[at..end].to_vec();
                let to = self.below(bytes.len() + 1);
                drop(bytes.splice(to..to, piece));
            }
            _ => {}
        }
    }

    /// Puts an edge of 2, 4 or 8 bytes in either byte order.
    fn overwrite(&mut self, bytes: &mut [u8]) {
        let edge = self.one_of(&EDGES);
        let size = self.one_of(&[2, 4, 8]).min(bytes.len());
        if self.below(2) == 0 {
            bytes[..size].copy_from_slice(&edge.to_le_bytes()[..size]);
        } else {
            bytes[..size].copy_from_slice(&edge.to_be_bytes()[8 - size..]);
        }
    }
}
