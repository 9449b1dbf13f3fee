//! Licences of everything that is linked: all must allow distribution under
//! `Apache-2.0 OR MIT`, so that whoever receives a device receives the same rights.

use crate::Finding;
use crate::model::Workspace;

/// What every member says.
const OURS: &str = "Apache-2.0 OR MIT";

/// Permissive licences, by SPDX id.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "BlueOak-1.0.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Packages whose licence is none of the above, each with the reason it is accepted.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Members that do not carry the project's licence, and packages under a licence not allowed.
pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in workspace.packages.values() {
        let licence = package.licence.as_deref();
        if package.member {
            if licence != Some(OURS) {
                let what = format!("licence is {licence:?}, must be {OURS:?}");
                findings.push(Finding::new(&package.name, what));
            }
            continue;
        }
        let excepted = EXCEPTIONS.iter().any(|(name, _)| *name == package.name);
        if !excepted && !licence.is_some_and(allowed) {
            let what = format!("licence {licence:?} is not among the allowed ones");
            findings.push(Finding::new(&package.name, what));
        }
    }
    findings
}

/// Whether an SPDX expression (`OR`, `AND`, `WITH`, parentheses, the old `/`) leaves a choice of
/// allowed licences only. What does not parse is not allowed.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    either(&mut rest).unwrap_or(false) && rest.is_empty()
}

fn either(rest: &mut &[&str]) -> Option<bool> {
    let mut ok = both(rest)?;
    while rest.first() == Some(&"OR") {
        *rest = &rest[1..];
        ok |= both(rest)?;
    }
    Some(ok)
}

fn both(rest: &mut &[&str]) -> Option<bool> {
    let mut ok = one(rest)?;
    while rest.first() == Some(&"AND") {
        *rest = &rest[1..];
        ok &= one(rest)?;
    }
    Some(ok)
}

fn one(rest: &mut &[&str]) -> Option<bool> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    if *first == "(" {
        let ok = either(rest)?;
        let (closing, tail) = rest.split_first()?;
        *rest = tail;
        return (*closing == ")").then_some(ok);
    }
    if rest.first() == Some(&"WITH") {
        // An exception only widens what the licence allows.
        *rest = rest.get(2..)?;
    }
    Some(ALLOWED.contains(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Package;

    #[test]
    fn expressions_are_judged_as_spdx_means_them() {
        for good in [
            "MIT",
            "MIT/Apache-2.0",
            "MIT OR GPL-3.0-only",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception OR MIT",
            "CC0-1.0 OR Apache-2.0 OR Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(allowed(good), "{good}");
        }
        for bad in ["", "GPL-3.0-only", "MIT AND AGPL-3.0-only", "(MIT", "MIT OR", "MIT MIT"] {
            assert!(!allowed(bad), "{bad}");
        }
    }

    #[test]
    fn a_member_without_the_project_licence_and_a_copyleft_package_are_refused() {
        let mut workspace = Workspace::default();
        let mut add = |name: &str, licence: Option<&str>, member: bool| {
            let licence = licence.map(str::to_owned);
            let package = Package { name: name.into(), licence, member, ..Package::default() };
            workspace.packages.insert(name.into(), package);
        };
        add("lucid-a", Some(OURS), true);
        add("lucid-b", None, true);
        add("free", Some("ISC"), false);
        add("copyleft", Some("GPL-3.0-or-later"), false);
        add("unsaid", None, false);
        let places: Vec<String> = check(&workspace).into_iter().map(|f| f.place).collect();
        assert_eq!(places, ["copyleft", "lucid-b", "unsaid"]);
    }
}
