//! The adaptive run-length and Golomb-Rice code of RemoteFX ([MS-RDPRFX] 3.1.8.1.7.3), written a
//! word at a time.
//!
//! [MS-RDPRFX]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-rdprfx/

/// Most that a parameter grows to, in eighths of a bit.
const MOST: u32 = 80;
/// Bits that a parameter is finer than what it counts.
const FINENESS: u32 = 3;
/// What the run's parameter gains with a full run, and loses with a run's end.
const RUN_GROWS: u32 = 4;
const RUN_SHRINKS: u32 = 6;
/// What it gains and loses with a zero, or another value, where runs are not looked for.
const ZERO_GROWS: u32 = 3;
const VALUE_SHRINKS: u32 = 3;

/// Bits that become bytes, the first of them the highest of its byte.
struct Bits<'a> {
    out: &'a mut Vec<u8>,
    /// The last `count` bits of it are not in `out` yet.
    word: u64,
    /// Fewer than 32 between calls.
    count: u32,
}

impl Bits<'_> {
    /// Appends the low `length` bits of a value that has no others; at most 32.
    #[inline]
    fn put(&mut self, value: u32, length: u32) {
        self.word = self.word << length | u64::from(value);
        self.count += length;
        if self.count >= 32 {
            self.count -= 32;
            let full = (self.word >> self.count) as u32;
            self.out.extend_from_slice(&full.to_be_bytes());
        }
    }

    /// So many ones, then a zero.
    #[inline]
    fn unary(&mut self, mut ones: u32) {
        while ones >= 31 {
            self.put((1 << 31) - 1, 31);
            ones -= 31;
        }
        self.put((1 << (ones + 1)) - 2, ones + 1);
    }

    /// Zeros up to the next byte.
    fn finish(self) {
        let padded = self.count.next_multiple_of(8);
        let bytes = ((self.word << (padded - self.count)) as u32) << (32 - padded.max(1));
        self.out.extend_from_slice(&bytes.to_be_bytes()[..padded as usize / 8]);
    }
}

/// The two parameters that follow the values.
struct Parameters {
    run: u32,
    rice: u32,
}

impl Parameters {
    /// How long a full run is, as a power of two; 0 where runs are not looked for.
    #[inline]
    fn run_bits(&self) -> u32 {
        self.run >> FINENESS
    }

    #[inline]
    fn run_grows(&mut self, by: u32) {
        self.run = (self.run + by).min(MOST);
    }

    #[inline]
    fn run_shrinks(&mut self, by: u32) {
        self.run = self.run.saturating_sub(by);
    }

    /// A value in the Golomb-Rice code.
    #[inline]
    fn rice(&mut self, bits: &mut Bits<'_>, value: u32) {
        let low = self.rice >> FINENESS;
        let high = value >> low;
        bits.unary(high);
        bits.put(value & ((1 << low) - 1), low);
        match high {
            0 => self.rice = self.rice.saturating_sub(2),
            1 => {}
            high => self.rice = (self.rice + high).min(MOST),
        }
    }
}

/// Twice the magnitude, less one for what is negative.
#[inline]
fn folded(value: i16) -> u32 {
    u32::from(value.unsigned_abs()) * 2 - u32::from(value < 0)
}

/// Appends the code of all values, padded to bytes: RLGR3, where two values go together, or RLGR1.
pub fn append(pairs: bool, mut values: &[i16], out: &mut Vec<u8>) {
    let mut bits = Bits { out, word: 0, count: 0 };
    let mut now = Parameters { run: 1 << FINENESS, rice: 1 << FINENESS };
    while let [first, rest @ ..] = values {
        if now.run_bits() > 0 {
            let mut zeros = 0;
            while let [0, rest @ ..] = values {
                zeros += 1;
                values = rest;
            }
            while zeros >= 1 << now.run_bits() {
                zeros -= 1 << now.run_bits();
                bits.put(0, 1);
                now.run_grows(RUN_GROWS);
            }
            bits.put(1 << now.run_bits() | zeros, now.run_bits() + 1);
            // A run at the end has no value after it.
            if let [value, rest @ ..] = values {
                bits.put(u32::from(*value < 0), 1);
                now.rice(&mut bits, u32::from(value.unsigned_abs()) - 1);
                values = rest;
            }
            now.run_shrinks(RUN_SHRINKS);
        } else if pairs {
            let (second, rest) = rest.split_first().unwrap_or((&0, &[]));
            let (first, second) = (folded(*first), folded(*second));
            let sum = first + second;
            now.rice(&mut bits, sum);
            bits.put(first, u32::BITS - sum.leading_zeros());
            match (first, second) {
                (0, 0) => now.run_grows(2 * ZERO_GROWS),
                (0, _) | (_, 0) => {}
                _ => now.run_shrinks(2 * VALUE_SHRINKS),
            }
            values = rest;
        } else {
            let value = folded(*first);
            now.rice(&mut bits, value);
            match value {
                0 => now.run_grows(ZERO_GROWS),
                _ => now.run_shrinks(VALUE_SHRINKS),
            }
            values = rest;
        }
    }
    bits.finish();
}
