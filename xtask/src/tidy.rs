//! The shape of the files: what a reader may rely on in every one of them.

use std::path::Path;

use anyhow::Context;

use crate::Finding;

/// A Rust file longer than this is worth another look (lines).
const LONG_LINES: usize = 500;
/// A Rust file longer than this must be split (lines).
const MAX_LINES: usize = 800;
/// Widest line of a Rust file (characters).
const MAX_COLUMNS: usize = 100;
/// A word this long (URL, hash, key) cannot be wrapped and excuses its line (characters).
const UNBREAKABLE: usize = 60;
/// Directories that hold nothing of ours.
const SKIPPED_DIRS: &[&str] =
    &[".git", "target", "node_modules", "dist", "corpus", "artifacts", "test-results", "data"];
/// Endings of files whose words are checked.
const TEXT_ENDINGS: &[&str] =
    &["rs", "ts", "tsx", "svelte", "css", "html", "md", "toml", "sh", "yml", "yaml", "service"];
/// The only folder where `unsafe` may stand.
const UNSAFE_FOLDER: &str = "hw/";
/// Words that mark unfinished work. Spelled in halves so that this file passes its own check.
const MARKERS: &[&str] =
    &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];
/// Absolute paths that exist on one machine only.
const PRIVATE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp/", "wt")];

/// One file: path relative to the workspace root, and text.
pub type File = (String, String);

/// Reads every text file of the tree at `root`; generated directories are skipped.
pub fn read_files(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        let entries =
            std::fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() {
                if !SKIPPED_DIRS.contains(&name.as_str()) {
                    open.push(path);
                }
                continue;
            }
            let ending = path.extension().map(|e| e.to_string_lossy().into_owned());
            let known = ending.is_some_and(|ending| TEXT_ENDINGS.contains(&ending.as_str()));
            let script = path
                .parent()
                .is_some_and(|p| p.ends_with("scripts") || p.ends_with(Path::new(".ci")));
            if known || script || name == "Makefile" {
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("{} is not readable text", path.display()))?;
                let relative = path.strip_prefix(root).unwrap_or(&path);
                files.push((relative.display().to_string(), text));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Files that are allowed but worth another look.
pub fn long_files(files: &[File]) -> Vec<String> {
    files
        .iter()
        .filter(|(path, _)| path.ends_with(".rs"))
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| (LONG_LINES + 1..=MAX_LINES).contains(lines))
        .map(|(path, lines)| format!("{path}: {lines} lines, look whether it is two files"))
        .collect()
}

/// Checks files; `roots` are the root files of crates with the names of their packages.
pub fn check_files(files: &[File], roots: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in files {
        check_words(path, text, &mut findings);
        if path.ends_with(".rs") {
            check_rust(path, text, &mut findings);
        }
    }
    for (path, package) in roots {
        if path.starts_with(UNSAFE_FOLDER) {
            continue;
        }
        let forbids = files
            .iter()
            .any(|(file, text)| file == path && text.contains("#![forbid(unsafe_code)]"));
        if !forbids {
            let what = format!("root of {package} lacks #![forbid(unsafe_code)]");
            findings.push(Finding::new(path, what));
        }
    }
    findings
}

/// Checks that manifests take the workspace's lints.
pub fn check_manifests(manifests: &[File]) -> Vec<Finding> {
    manifests
        .iter()
        .filter(|(_, text)| !text.contains("[lints]\nworkspace = true"))
        .map(|(path, _)| Finding::new(path, "lacks `[lints] workspace = true`"))
        .collect()
}

fn check_words(path: &str, text: &str, findings: &mut Vec<Finding>) {
    for (number, line) in text.lines().enumerate() {
        let place = || format!("{path}:{}", number + 1);
        for marker in MARKERS {
            if has_word(line, marker) {
                findings
                    .push(Finding::new(place(), format!("{marker}: finish it or leave it out")));
            }
        }
        for private in PRIVATE_PATHS {
            if has_path(line, private) {
                let what = format!("{private} is a path of one machine");
                findings.push(Finding::new(place(), what));
            }
        }
    }
}

fn check_rust(path: &str, text: &str, findings: &mut Vec<Finding>) {
    if !text.trim_start().starts_with("//!") {
        findings.push(Finding::new(path, "must open with //! saying what the file is for"));
    }
    let lines = text.lines().count();
    if lines > MAX_LINES {
        findings.push(Finding::new(path, format!("{lines} lines, at most {MAX_LINES}; split it")));
    }
    let may_be_unsafe = path.starts_with(UNSAFE_FOLDER);
    for (number, line) in text.lines().enumerate() {
        let place = || format!("{path}:{}", number + 1);
        let columns = line.chars().count();
        let breakable = line.split_whitespace().all(|word| word.chars().count() < UNBREAKABLE);
        if columns > MAX_COLUMNS && breakable {
            let what = format!("{columns} columns, at most {MAX_COLUMNS}");
            findings.push(Finding::new(place(), what));
        }
        let code = code_of(line);
        if !may_be_unsafe && has_word(&code, "unsafe") {
            findings.push(Finding::new(place(), "unsafe may stand in hw only"));
        }
        if code.contains("#[ignore") {
            findings.push(Finding::new(place(), "a test that never runs proves nothing"));
        }
    }
}

/// The line without its comment and without what stands in quotes. Strings over several lines are
/// not followed; that errs towards a finding, never away from one.
fn code_of(line: &str) -> String {
    let mut code = String::new();
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '\'' if !quoted && chars.peek() == Some(&'"') => {
                chars.next();
            }
            '"' => quoted = !quoted,
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            _ if quoted => {}
            _ => code.push(c),
        }
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Whether `path` starts a path in the line, and is not the middle of a longer one.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| is_word(c) || matches!(c, '.' | '-' | '/' | '}' | ')' | '*'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn finds(path: &str, text: &str, expected: &[&str]) {
        let found = check_files(&[(path.into(), text.into())], &[]);
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), expected.len(), "{lines:#?}");
        for (line, words) in lines.iter().zip(expected) {
            assert!(line.contains(words), "{words:?} is not in {line:?}");
        }
    }

    #[test]
    fn a_clean_file_passes() {
        finds("store/src/a.rs", "//! Says why.\n\nfn f() {}\n", &[]);
    }

    #[test]
    fn a_rust_file_says_what_it_is_for() {
        finds("store/src/a.rs", "fn f() {}\n", &["must open with //!"]);
        finds("docs/a.md", "# A\n", &[]);
    }

    #[test]
    fn length_and_width_are_bounded() {
        finds("a.rs", &format!("//! x\n{}", "\n".repeat(MAX_LINES)), &["801 lines"]);
        finds("a.rs", &format!("//! x\n{}", "\n".repeat(MAX_LINES - 1)), &[]);
        finds("a.rs", &format!("//! {}\n", "ab ".repeat(40)), &["columns, at most 100"]);
        let long_url = format!("//! https://example.org/{}\n", "a".repeat(90));
        finds("a.rs", &long_url, &[]);
        let files = vec![("a.rs".to_owned(), "\n".repeat(LONG_LINES + 1))];
        assert_eq!(long_files(&files).len(), 1);
    }

    #[test]
    fn unsafe_stands_in_hw_only() {
        let text = "//! x\nfn f() { unsafe { g() } }\n";
        finds("store/src/a.rs", text, &["store/src/a.rs:2: unsafe"]);
        finds("hw/src/a.rs", text, &[]);
        let words = "//! unsafe\n#![forbid(unsafe_code)]\nlet s = \"unsafe\"; // unsafe\n";
        finds("store/src/a.rs", words, &[]);
        finds("a.rs", "//! x\nlet c = '\"'; unsafe { g() }\n", &["a.rs:2: unsafe"]);
    }

    #[test]
    fn tests_run_and_work_is_finished() {
        finds("a.rs", "//! x\n#[ignore = \"slow\"]\n", &["never runs"]);
        let marker = format!("# {}: later\n", MARKERS[0]);
        finds("Makefile", &marker, &["finish it"]);
        finds("a.md", &format!("{}S are words\n", MARKERS[0]), &[]);
    }

    #[test]
    fn paths_of_one_machine_are_refused() {
        let private = PRIVATE_PATHS[0];
        finds("a.md", &format!("see {private}x\n"), &["path of one machine"]);
        finds("a.md", &format!("see https://example.org{private}x\n"), &[]);
        finds("a.md", &format!("see docs{private}x\n"), &[]);
    }

    #[test]
    fn crate_roots_forbid_unsafe() {
        let files: Vec<File> = vec![
            ("store/src/lib.rs".into(), "//! x\n".into()),
            ("chain/src/lib.rs".into(), "//! x\n#![forbid(unsafe_code)]\n".into()),
        ];
        let roots: Vec<(String, String)> = vec![
            ("store/src/lib.rs".into(), "lucid-store".into()),
            ("chain/src/lib.rs".into(), "lucid-chain".into()),
            ("hw/src/lib.rs".into(), "lucid-hw".into()),
        ];
        let found = check_files(&files, &roots);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].place, "store/src/lib.rs");
    }

    #[test]
    fn manifests_take_the_workspace_lints() {
        let manifests: Vec<File> = vec![
            ("a/Cargo.toml".into(), "[lints]\nworkspace = true\n".into()),
            ("b/Cargo.toml".into(), "[package]\n".into()),
        ];
        let found = check_manifests(&manifests);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "b/Cargo.toml");
    }
}
