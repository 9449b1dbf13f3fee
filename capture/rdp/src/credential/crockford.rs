//! Codes that people read from one screen and type into another, in Crockford's base 32.

use zeroize::Zeroizing;

/// The letters: no I, L, O, U, which are mistaken for others.
pub const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A code of `N` letters as a person or a program types it: any case, dashes and spaces anywhere, O
/// for 0, I and L for 1. None for anything else, and for another length.
pub fn typed<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    let mut code = Zeroizing::new([0; N]);
    let mut length = 0;
    for character in text.chars().filter(|character| !"- ".contains(*character)) {
        let upper = match character.to_ascii_uppercase() {
            'O' => '0',
            'I' | 'L' => '1',
            other => other,
        };
        let byte = u8::try_from(upper).ok().filter(|byte| ALPHABET.contains(byte))?;
        *code.get_mut(length)? = byte;
        length += 1;
    }
    (length == N).then_some(code)
}
