//! Which exports are kept no longer: by age, by size in all, and because the disk is short. A
//! recording that is still to be made comes before a copy of one that was.

use std::fmt;
use std::time::Duration;

use super::record::ExportId;

/// How long and how much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A finished export is kept this long.
    pub keep: Duration,
    /// All exports together take at most this, bytes.
    pub bytes_max: u64,
}

/// A finished export.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Its name.
    pub id: ExportId,
    /// Since when, microseconds since 1970.
    pub finished_us: u64,
    /// What it takes, bytes.
    pub bytes: u64,
}

/// Why an export is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Somebody deleted it.
    Asked,
    /// It was kept as long as exports are.
    Age,
    /// All together were too large, and it was the oldest.
    Size,
    /// The disk had to make room for recordings, and it was the oldest.
    Disk,
    /// Its recording was deleted.
    Session,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Asked => "deleted",
            Self::Age => "kept as long as exports are kept",
            Self::Size => "removed as the oldest, to stay within the size of all exports",
            Self::Disk => "removed as the oldest, to make room for recordings",
            Self::Session => "its recording was deleted",
        })
    }
}

impl Limits {
    /// When an export that finished then is removed, microseconds since 1970.
    pub fn expires_us(&self, finished_us: u64) -> u64 {
        let keep = u64::try_from(self.keep.as_micros()).unwrap_or(u64::MAX);
        finished_us.saturating_add(keep)
    }
}

/// Which of the `kept` go, oldest first, when `coming_bytes` more are to be stored and the disk
/// lacks `lacking_bytes`.
pub fn sweep(
    mut kept: Vec<Kept>,
    limits: &Limits,
    now_us: u64,
    coming_bytes: u64,
    lacking_bytes: u64,
) -> Vec<(ExportId, Why)> {
    kept.sort_by_key(|one| (one.finished_us, one.id));
    let mut total = kept.iter().map(|one| one.bytes).sum::<u64>().saturating_add(coming_bytes);
    let mut lacking = lacking_bytes;
    let mut gone = Vec::new();
    for one in kept {
        let why = match one.bytes {
            _ if limits.expires_us(one.finished_us) <= now_us => Why::Age,
            // One that failed takes no room.
            0 => continue,
            _ if lacking > 0 => Why::Disk,
            _ if total > limits.bytes_max => Why::Size,
            _ => continue,
        };
        total -= one.bytes;
        lacking = lacking.saturating_sub(one.bytes);
        gone.push((one.id, why));
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { keep: Duration::from_secs(100), bytes_max: 1000 };

    fn at(second: u64) -> u64 {
        second * 1_000_000
    }

    fn kept(all: &[(u64, u64, u64)]) -> Vec<Kept> {
        let one = |&(id, second, bytes): &(u64, u64, u64)| Kept {
            id: ExportId(id),
            finished_us: at(second),
            bytes,
        };
        all.iter().map(one).collect()
    }

    fn swept(all: &[(u64, u64, u64)], second: u64, coming: u64, lacking: u64) -> Vec<(u64, Why)> {
        let gone = sweep(kept(all), &LIMITS, at(second), coming, lacking);
        gone.into_iter().map(|(id, why)| (id.0, why)).collect()
    }

    #[test]
    fn age_counts_from_the_end_and_to_the_second() {
        let all = [(1, 10, 5), (2, 11, 0)];
        assert_eq!(swept(&all, 109, 0, 0), []);
        assert_eq!(swept(&all, 110, 0, 0), [(1, Why::Age)]);
        assert_eq!(swept(&all, 111, 0, 0), [(1, Why::Age), (2, Why::Age)]);
        // A clock that went back removes nothing.
        assert_eq!(swept(&all, 0, 0, 0), []);
    }

    #[test]
    fn the_oldest_go_until_the_rest_fits() {
        let all = [(3, 30, 500), (1, 10, 300), (2, 20, 200), (4, 15, 0)];
        assert_eq!(swept(&all, 40, 0, 0), [], "a thousand fits");
        assert_eq!(swept(&all, 40, 1, 0), [(1, Why::Size)]);
        assert_eq!(swept(&all, 40, 301, 0), [(1, Why::Size), (2, Why::Size)]);
        // What is removed for its age counts.
        assert_eq!(swept(&all, 110, 300, 0), [(1, Why::Age)]);
    }

    #[test]
    fn the_disk_gets_its_room_and_no_more() {
        let all = [(1, 10, 300), (2, 20, 200)];
        assert_eq!(swept(&all, 40, 0, 1), [(1, Why::Disk)]);
        assert_eq!(swept(&all, 40, 0, 301), [(1, Why::Disk), (2, Why::Disk)]);
        assert_eq!(swept(&[(1, 10, 0)], 40, 0, 301), []);
    }
}
