//! What a verification found, and the verdict that follows.

/// The four verdicts, in the order in which they outrank each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// All that is there is proved and nothing is missing.
    Valid,
    /// Cannot be judged: no anchor, an unknown chain or version, an expectation not met.
    Unverifiable,
    /// Something the manifest counts is missing.
    Incomplete,
    /// Something contradicts a hash, a signature or an order.
    Tampered,
}

impl Verdict {
    /// The exit code of `lucid verify`.
    pub fn exit_code(self) -> u8 {
        match self {
            Verdict::Valid => 0,
            Verdict::Tampered => 10,
            Verdict::Incomplete => 11,
            Verdict::Unverifiable => 12,
        }
    }

    /// The verdict's stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Tampered => "tampered",
            Verdict::Incomplete => "incomplete",
            Verdict::Unverifiable => "unverifiable",
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The check's stable name, for instance `manifest-signature`.
    pub check: &'static str,
    /// What it means for the verdict.
    pub verdict: Verdict,
    /// What was found, in plain words.
    pub text: String,
}

/// The findings of a verification in the order they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings(Vec<Finding>);

/// Findings kept of one check that fails again and again; the rest are counted.
pub const REPEATS_MAX: usize = 20;

impl Findings {
    /// Adds a finding.
    pub fn add(&mut self, check: &'static str, verdict: Verdict, text: impl Into<String>) {
        let same = self.0.iter().filter(|f| f.check == check && f.verdict == verdict).count();
        if same < REPEATS_MAX {
            self.0.push(Finding { check, verdict, text: text.into() });
        } else if same == REPEATS_MAX {
            self.0.push(Finding { check, verdict, text: "and more of the same".into() });
        }
    }

    /// Adds a check that passed.
    pub fn pass(&mut self, check: &'static str, text: impl Into<String>) {
        self.add(check, Verdict::Valid, text);
    }

    /// Adds all findings of another verification.
    pub fn extend(&mut self, other: Findings) {
        self.0.extend(other.0);
    }

    /// The findings.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// Whether `check` was made and nothing was found against it.
    pub fn passed(&self, check: &str) -> bool {
        let mut made = self.0.iter().filter(|f| f.check == check).peekable();
        made.peek().is_some() && made.all(|f| f.verdict == Verdict::Valid)
    }

    /// The worst of the findings; nothing checked is not a pass.
    pub fn verdict(&self) -> Verdict {
        self.0.iter().map(|f| f.verdict).max().unwrap_or(Verdict::Unverifiable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_finding_decides_and_none_is_no_pass() {
        let mut findings = Findings::default();
        assert_eq!(findings.verdict(), Verdict::Unverifiable);
        findings.pass("a", "fine");
        assert_eq!(findings.verdict(), Verdict::Valid);
        findings.add("b", Verdict::Incomplete, "missing");
        findings.add("c", Verdict::Unverifiable, "unknown");
        assert_eq!(findings.verdict(), Verdict::Incomplete);
        findings.add("a", Verdict::Tampered, "changed");
        assert_eq!(findings.verdict().exit_code(), 10);
        assert!(!findings.passed("a") && !findings.passed("d"));
    }

    #[test]
    fn repeats_are_bounded() {
        let mut findings = Findings::default();
        for n in 0..1000 {
            findings.add("chunk", Verdict::Tampered, format!("chunk {n}"));
        }
        assert_eq!(findings.iter().count(), REPEATS_MAX + 1);
    }
}
