//! Where one fragment ends and the next begins.
//!
//! A fragment never grows beyond its length by more than a picture, because its length is what a
//! crash may cost. Within that, cuts fall on keyframes: groups of pictures shorter than a fragment
//! are gathered, longer ones are split evenly.

/// How much longer than asked a fragment may be to end on a keyframe, as a divisor of its length (a
/// twenty-fifth).
const GRACE_DIVISOR: i64 = 25;

/// Decides on cuts; learns the distance of keyframes.
#[derive(Debug)]
pub(super) struct Cutter {
    length: i64,
    last_keyframe: Option<i64>,
    group: Option<i64>,
    steady: bool,
}

impl Cutter {
    /// `length` in ticks.
    pub fn new(length: i64) -> Self {
        Self { length: length.max(1), last_keyframe: None, group: None, steady: false }
    }

    /// Forgets the keyframes seen.
    pub fn forget(&mut self) {
        *self = Self::new(self.length);
    }

    /// A keyframe at this time.
    pub fn keyframe(&mut self, time: i64) {
        if let Some(last) = self.last_keyframe {
            let group = Some(time - last).filter(|g| *g > 0);
            // Encoders that place keyframes by what they see are not predictable.
            self.steady = match (group, self.group) {
                (Some(new), Some(old)) => (new - old).abs() <= old / 20,
                _ => false,
            };
            self.group = group;
        }
        self.last_keyframe = Some(time);
    }

    /// Whether a fragment that is `elapsed` long ends before the picture at hand.
    pub fn cut(&self, elapsed: i64, sync: bool, frame: i64) -> bool {
        let most = self.length + self.length / GRACE_DIVISOR;
        if sync {
            // Would the next keyframe come too late for this fragment?
            return elapsed + self.group.unwrap_or(self.length) > most;
        }
        let wanted = match self.group {
            // A group that does not fit is split into equal parts.
            Some(group) if self.steady && group > most => group / ((group + most - 1) / most),
            // The keyframe to come ends the fragment, if it comes, even if it comes a little late.
            Some(group) if self.steady || (group - self.length).abs() <= self.length / 10 => {
                most + frame
            }
            _ => self.length,
        };
        elapsed + frame / 2 >= wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths of the fragments of a stream with this frame length and group length, in ticks,
    /// length 1000.
    fn lengths(frame: i64, group: i64, frames: i64) -> Vec<(i64, bool)> {
        let mut cutter = Cutter::new(1000);
        let (mut start, mut start_sync, mut found) = (0, true, Vec::new());
        for n in 0..frames {
            let (time, sync) = (n * frame, n * frame % group == 0);
            if sync {
                cutter.keyframe(time);
            }
            if n > 0 && cutter.cut(time - start, sync, frame) {
                found.push((time - start, start_sync));
                (start, start_sync) = (time, sync);
            }
        }
        found
    }

    #[test]
    fn one_second_groups_are_one_fragment_each() {
        assert!(lengths(40, 1000, 500).iter().all(|f| *f == (1000, true)));
    }

    #[test]
    fn short_groups_are_gathered() {
        // The first group is not yet known to be short.
        assert!(lengths(50, 250, 500).iter().skip(1).all(|f| *f == (1000, true)));
        assert!(lengths(40, 600, 500).iter().all(|f| *f == (600, true)));
        assert!(
            lengths(40, 40, 500).iter().skip(1).all(|f| *f == (1080, true) || *f == (1040, true))
        );
    }

    #[test]
    fn long_groups_are_split_evenly() {
        let found = lengths(40, 10_000, 1000);
        assert!(found.iter().all(|f| (900..=1083).contains(&f.0)), "{found:?}");
        assert!(found.iter().filter(|f| f.1).count() >= 3, "each keyframe starts a fragment");
        let found = lengths(40, 1200, 500);
        // Two groups show that they are steady.
        assert!(found.iter().skip(4).all(|f| f.0 == 600), "{found:?}");
    }

    #[test]
    fn keyframes_at_will_do_not_make_fragments_short() {
        let mut cutter = Cutter::new(1000);
        for time in [0, 1200, 3040] {
            cutter.keyframe(time);
        }
        assert!(!cutter.cut(940, false, 40));
        assert!(cutter.cut(1000, false, 40));
    }

    #[test]
    fn keyframes_that_stop_coming_do_not_make_fragments_long() {
        let mut cutter = Cutter::new(1000);
        cutter.keyframe(0);
        cutter.keyframe(1000);
        cutter.keyframe(2000);
        assert!(!cutter.cut(1040, false, 40));
        assert!(cutter.cut(1080, false, 40));
    }
}
