//! One component of a RemoteFX tile, from samples to bits ([MS-RDPRFX] 3.1.8.1): wavelet,
//! quantisation, differences, entropy code.
//!
//! The bits are those of `ironrdp-graphics`, which the tests hold this against; that writes each
//! of them by itself, and took two thirds of all processor time of a moving desktop.
//!
//! [MS-RDPRFX]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-rdprfx/

mod rlgr;

use ironrdp_pdu::codecs::rfx::{EntropyAlgorithm, Quant};

/// Samples of a component: 64 rows of 64.
pub const SAMPLES: usize = 64 * 64;
/// Where the coarsest picture begins: 8 x 8 means, which are told as differences.
const MEANS: usize = SAMPLES - 64;

/// Samples of a component, row by row; what they are while they are coded is the coder's affair.
pub type Plane = [i16; SAMPLES];

/// Codes components; keeps room between them.
#[derive(Debug)]
pub struct ComponentCoder {
    room: Box<Plane>,
}

impl Default for ComponentCoder {
    fn default() -> Self {
        ComponentCoder { room: Box::new([0; SAMPLES]) }
    }
}

impl ComponentCoder {
    /// Appends a component's bits, padded to bytes. The plane is used up.
    pub fn append(
        &mut self,
        plane: &mut Plane,
        quant: &Quant,
        entropy: EntropyAlgorithm,
        out: &mut Vec<u8>,
    ) {
        let mut bands = &mut plane[..];
        let steps = [
            [quant.hl1, quant.lh1, quant.hh1],
            [quant.hl2, quant.lh2, quant.hh2],
            [quant.hl3, quant.lh3, quant.hh3],
        ];
        for (level, steps) in steps.into_iter().enumerate() {
            match level {
                0 => split::<32>(bands, &mut self.room[..]),
                1 => split::<16>(bands, &mut self.room[..]),
                _ => split::<8>(bands, &mut self.room[..]),
            }
            let band = bands.len() / 4;
            for step in steps {
                let (done, rest) = bands.split_at_mut(band);
                quantise(done, step);
                bands = rest;
            }
        }
        quantise(bands, quant.ll3);
        for at in (MEANS + 1..SAMPLES).rev() {
            plane[at] = plane[at].wrapping_sub(plane[at - 1]);
        }
        rlgr::append(matches!(entropy, EntropyAlgorithm::Rlgr3), &plane[..], out);
    }
}

/// Divides by the step, two to the power of `step - 1`, towards the lesser.
fn quantise(band: &mut [i16], step: u8) {
    let shift = step.saturating_sub(1).min(15);
    for value in band {
        *value >>= shift;
    }
}

/// One level of the wavelet: a square of `2 N` a side becomes four of `N`, one after the other:
/// what differs across (HL), down (LH), both ways (HH), and the means (LL).
fn split<const N: usize>(square: &mut [i16], room: &mut [i16]) {
    let (low, high) = room[..4 * N * N].split_at_mut(2 * N * N);
    let row = |y: usize| y * 2 * N..(y + 1) * 2 * N;
    for n in 0..N {
        // Beyond the last row lies the last even one again.
        let next = if n + 1 < N { 2 * n + 2 } else { 2 * n };
        let (even, odd, next) = (&square[row(2 * n)], &square[row(2 * n + 1)], &square[row(next)]);
        let above = row(n.saturating_sub(1));
        for (((out, even), odd), next) in high[row(n)].iter_mut().zip(even).zip(odd).zip(next) {
            *out = difference(*even, *odd, *next);
        }
        let (above, here) = (&high[above], &high[row(n)]);
        for (((out, even), above), here) in low[row(n)].iter_mut().zip(even).zip(above).zip(here) {
            *out = mean(*even, *above, *here);
        }
    }
    let (hl, rest) = square.split_at_mut(N * N);
    let (lh, rest) = rest.split_at_mut(N * N);
    let (hh, ll) = rest.split_at_mut(N * N);
    for n in 0..N {
        let out = n * N..(n + 1) * N;
        across::<N>(&low[row(n)], &mut ll[out.clone()], &mut hl[out.clone()]);
        across::<N>(&high[row(n)], &mut lh[out.clone()], &mut hh[out]);
    }
}

/// The same along one row of `2 N`: means and differences.
fn across<const N: usize>(row: &[i16], means: &mut [i16], differences: &mut [i16]) {
    let (mut even, mut odd) = ([0; 33], [0; 32]);
    for ((pair, even), odd) in row.chunks_exact(2).zip(&mut even).zip(&mut odd) {
        (*even, *odd) = (pair[0], pair[1]);
    }
    even[N] = even[N - 1];
    for (n, out) in differences.iter_mut().enumerate().take(N) {
        *out = difference(even[n], odd[n], even[n + 1]);
    }
    means[0] = mean(even[0], differences[0], differences[0]);
    for n in 1..N {
        means[n] = mean(even[n], differences[n - 1], differences[n]);
    }
}

/// Half of what a sample differs from the mean of its neighbours.
#[inline]
fn difference(before: i16, sample: i16, after: i16) -> i16 {
    narrow((i32::from(sample) - ((i32::from(before) + i32::from(after)) >> 1)) >> 1)
}

/// A sample with the mean of the differences beside it.
#[inline]
fn mean(sample: i16, before: i16, after: i16) -> i16 {
    narrow(i32::from(sample) + ((i32::from(before) + i32::from(after)) >> 1))
}

/// The low 16 bits. Samples have 13 bits, so nothing is lost; others wrap as the codec's do.
#[inline]
fn narrow(value: i32) -> i16 {
    value as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use ironrdp_graphics::rfx_encode_component;
    use proptest::prelude::*;

    fn both(plane: &Plane, quant: &Quant, entropy: EntropyAlgorithm) -> (Vec<u8>, Vec<u8>) {
        let mut theirs = vec![0; 1 << 17];
        let length = rfx_encode_component(&mut plane.clone(), &mut theirs, quant, entropy).unwrap();
        theirs.truncate(length);
        let mut ours = Vec::new();
        ComponentCoder::default().append(&mut plane.clone(), quant, entropy, &mut ours);
        (ours, theirs)
    }

    fn algorithms() -> [EntropyAlgorithm; 2] {
        [EntropyAlgorithm::Rlgr1, EntropyAlgorithm::Rlgr3]
    }

    fn quant(steps: [u8; 10]) -> Quant {
        let [ll3, lh3, hl3, hh3, lh2, hl2, hh2, lh1, hl1, hh1] = steps;
        Quant { ll3, lh3, hl3, hh3, lh2, hl2, hh2, lh1, hl1, hh1 }
    }

    #[test]
    fn still_and_extreme_planes_give_the_codec_s_bits() {
        let edge = |n: usize| if (n / 64 + n % 64).is_multiple_of(2) { 4095 } else { -4096 };
        for of in [&|_| 0, &|_| 4095, &|_| -4096, &edge, &|n: usize| n as i16]
            as [&dyn Fn(usize) -> i16; 5]
        {
            let plane: Plane = std::array::from_fn(of);
            for entropy in algorithms() {
                let (ours, theirs) = both(&plane, &Quant::default(), entropy);
                assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn a_coder_forgets_what_it_coded_before() {
        let noise: Plane = std::array::from_fn(|n| ((n * 7919) % 8191) as i16 - 4096);
        let mut coder = ComponentCoder::default();
        let mut code = |plane: &Plane| {
            let mut out = Vec::new();
            let quant = Quant::default();
            coder.append(&mut plane.clone(), &quant, EntropyAlgorithm::Rlgr3, &mut out);
            out
        };
        let first = code(&[0; SAMPLES]);
        code(&noise);
        assert_eq!(code(&[0; SAMPLES]), first);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// From a few odd samples in a still plane to noise, at every coarseness there is.
        #[test]
        fn every_plane_gives_the_codec_s_bits(
            steps in prop::array::uniform10(6u8..=15),
            sparse in prop::collection::vec((0..SAMPLES, -4096i16..4096), 0..200),
            noise in prop::option::of(prop::collection::vec(-4096i16..4096, SAMPLES)),
            ground in -4096i16..4096,
        ) {
            let mut plane = [ground; SAMPLES];
            if let Some(noise) = noise {
                plane.copy_from_slice(&noise);
            }
            for (at, value) in sparse {
                plane[at] = value;
            }
            for entropy in algorithms() {
                let (ours, theirs) = both(&plane, &quant(steps), entropy);
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
