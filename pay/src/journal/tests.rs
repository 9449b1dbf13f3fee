//! Cuts and flips at every byte of a small journal.

use super::*;

fn payloads() -> Vec<Vec<u8>> {
    (0u8..4).map(|i| vec![i; 10 + usize::from(i)]).collect()
}

fn write(dir: &std::path::Path) {
    let (mut journal, _) = Journal::open(FileMedium::open(dir).unwrap(), |_, _| Ok(())).unwrap();
    for payload in payloads() {
        journal.append(&payload).unwrap();
    }
}

fn read(dir: &std::path::Path) -> Result<(Vec<Vec<u8>>, Opened), JournalError> {
    let mut seen = Vec::new();
    let (_, opened) = Journal::open(FileMedium::open(dir).unwrap(), |_, payload| {
        seen.push(payload.to_vec());
        Ok(())
    })?;
    Ok((seen, opened))
}

#[test]
fn what_was_written_is_read_back_and_written_on() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    write(dir.path());
    let (seen, opened) = read(dir.path()).unwrap();
    assert_eq!(seen, [payloads(), payloads()].concat());
    assert_eq!(opened, Opened { frames: 8, torn_bytes: 0 });
}

#[test]
fn every_cut_of_acknowledged_bytes_refuses() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let whole = std::fs::read(dir.path().join("journal")).unwrap();
    for len in 0..whole.len() {
        std::fs::write(dir.path().join("journal"), &whole[..len]).unwrap();
        let error = read(dir.path()).unwrap_err();
        assert!(matches!(error, JournalError::Missing { acknowledged: 4, .. }), "{len}: {error}");
        assert_eq!(std::fs::read(dir.path().join("journal")).unwrap().len(), len, "untouched");
    }
}

#[test]
fn every_flipped_byte_refuses() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let whole = std::fs::read(dir.path().join("journal")).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        std::fs::write(dir.path().join("journal"), &bytes).unwrap();
        let error = read(dir.path()).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { .. }), "{at}: {error}");
    }
}

#[test]
fn a_torn_tail_behind_the_mark_is_cut_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    let whole = std::fs::read(dir.path().join("journal")).unwrap();
    let marks: Vec<_> = (0..2)
        .map(|slot| std::fs::read(dir.path().join(format!("journal.mark.{slot}"))).unwrap())
        .collect();
    write(dir.path());
    let longer = std::fs::read(dir.path().join("journal")).unwrap();
    let frame = HEADER + payloads()[0].len() + HASH;
    for len in whole.len()..=whole.len() + frame {
        std::fs::write(dir.path().join("journal"), &longer[..len]).unwrap();
        for (slot, mark) in marks.iter().enumerate() {
            std::fs::write(dir.path().join(format!("journal.mark.{slot}")), mark).unwrap();
        }
        let (seen, opened) = read(dir.path()).unwrap();
        let whole_frame = len == whole.len() + frame;
        assert_eq!(seen.len(), 4 + usize::from(whole_frame));
        let torn = if whole_frame { 0 } else { len - whole.len() };
        assert_eq!(opened.torn_bytes, torn as u64);
        assert_eq!(read(dir.path()).unwrap().1.torn_bytes, 0, "cut once");
    }
}

#[test]
fn one_altered_mark_is_enough_two_refuse() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path());
    std::fs::write(dir.path().join("journal.mark.0"), [7; MARK]).unwrap();
    assert_eq!(read(dir.path()).unwrap().0.len(), 4);
    std::fs::write(dir.path().join("journal.mark.0"), [7; MARK]).unwrap();
    std::fs::write(dir.path().join("journal.mark.1"), [7; MARK]).unwrap();
    assert!(matches!(read(dir.path()).unwrap_err(), JournalError::Damaged { .. }));
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = FileMedium::open(dir.path()).unwrap();
    assert!(matches!(FileMedium::open(dir.path()), Err(OpenFileError::InUse(_))));
}
