//! A second writer of the bundle's container, made from the document alone, so that tests can put
//! anything into a container that is canonical.

/// Takes the entries of a small canonical container apart: names and data, in order.
pub fn take_apart(bundle: &[u8]) -> Vec<(String, Vec<u8>)> {
    let number = |at: usize, length: usize| {
        bundle[at..at + length].iter().rev().fold(0, |n, byte| n << 8 | usize::from(*byte))
    };
    let mut entries = Vec::new();
    let mut at = 0;
    while bundle[at..].starts_with(b"PK\x03\x04") {
        let (length, name_length) = (number(at + 18, 4), number(at + 26, 2));
        let name = at + 30;
        let data = name + name_length;
        let text = String::from_utf8_lossy(&bundle[name..data]).into_owned();
        entries.push((text, bundle[data..data + length].to_vec()));
        at = data + length;
    }
    entries
}

/// Puts entries, each under 4 GiB, into a canonical container.
pub fn assemble(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (name, data) in entries {
        let offset = out.len() as u32;
        let mut common = Vec::new();
        for field in [45u16, 0, 0, 0, 0x21] {
            common.extend(field.to_le_bytes());
        }
        for field in [crc32fast::hash(data), data.len() as u32, data.len() as u32] {
            common.extend(field.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(data);
        directory.extend(b"PK\x01\x02\x2d\x03");
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((0o100_644u32 << 16).to_le_bytes());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let start = out.len() as u32;
    let count = (entries.len() as u16).to_le_bytes();
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend(count);
    out.extend(count);
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    out
}
