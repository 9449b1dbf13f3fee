//! The Yocto layer agrees with the tree it lies in: versions, crates, users, files, the bundle.
//!
//! Nothing here needs bitbake: names and numbers that stand in two places are compared.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;

use crate::Finding;

/// The layer, from the workspace root.
const LAYER: &str = "yocto/meta-lucid";
/// The list of crates that bitbake fetches.
pub const CRATES: &str = "yocto/meta-lucid/recipes-lucid/lucid/lucid-crates.inc";
/// Files outside the layer that it must agree with.
const TREE: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "image-build/deb-arm64",
    "image-build/overlay/usr/lib/lucid/persistent",
    "image-build/rauc/manifest.raucm",
    "image-build/rauc/system.conf",
    "image-build/rpi-image-gen/slot-shared.conf",
    "image-build/users",
    "systemd/90-lucid.preset",
    "systemd/lucid.sysusers",
];

/// What is compared: texts by their paths, and the paths that exist.
pub struct Tree {
    texts: BTreeMap<String, String>,
    exists: Box<dyn Fn(&str) -> bool>,
}

impl Tree {
    fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }

    /// Files of the layer whose path ends so.
    fn layer<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let ours = move |path: &str| path.starts_with(LAYER) && path.ends_with(ending);
        let files = self.texts.iter().filter(move |(path, _)| ours(path));
        files.map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// Reads the layer and what it is compared with.
///
/// # Errors
/// When a file of [`TREE`] or of the layer cannot be read.
pub fn load(root: &Path) -> anyhow::Result<Tree> {
    let mut texts = BTreeMap::new();
    let mut open = vec![root.join(LAYER)];
    let mut files: Vec<_> = TREE.iter().map(|file| root.join(file)).collect();
    while let Some(dir) = open.pop() {
        let entries = std::fs::read_dir(&dir);
        for entry in entries.with_context(|| format!("cannot list {}", dir.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path())
            } else {
                files.push(entry.path())
            }
        }
    }
    for file in files {
        let text = std::fs::read_to_string(&file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        texts.insert(file.strip_prefix(root).unwrap_or(&file).display().to_string(), text);
    }
    let root = root.to_path_buf();
    Ok(Tree { texts, exists: Box::new(move |path| root.join(path).exists()) })
}

/// The list of crates for bitbake, from `Cargo.lock`.
pub fn crates(lock: &str) -> String {
    let (mut uris, mut sums) = (String::new(), String::new());
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            let line =
                package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.map_or("", |value| value.trim_matches('"'))
        };
        // Those of the workspace have no source.
        if !field("source").contains("crates.io") {
            continue;
        }
        let (name, version) = (field("name"), field("version"));
        uris += &format!("    crate://crates.io/{name}/{version};name={name}-{version} \\\n");
        sums += &format!("SRC_URI[{name}-{version}.sha256sum] = \"{}\"\n", field("checksum"));
    }
    format!(
        "# Written by `cargo xtask yocto` from Cargo.lock.\n\nSRC_URI += \" \\\n{uris}\"\n\n{sums}"
    )
}

/// All that does not agree.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut wrong = |place: &str, what: String| findings.push(Finding::new(place, what));

    let version = package_version(tree.text("Cargo.toml"));
    let recipe = format!("{LAYER}/recipes-lucid/lucid/lucid_{version}.bb");
    let distro = format!("{LAYER}/conf/distro/lucid.conf");
    if !tree.texts.contains_key(&recipe) {
        wrong(LAYER, format!("the recipe is not of version {version}: rename it {recipe}"));
    }
    if assigned(tree.text(&distro), "DISTRO_VERSION") != Some(version) {
        wrong(&distro, format!("DISTRO_VERSION is not \"{version}\""));
    }
    if tree.text(CRATES) != crates(tree.text("Cargo.lock")) {
        wrong(CRATES, "is not of this Cargo.lock: run cargo xtask yocto".to_owned());
    }

    let recipe_text = tree.text(&recipe);
    let packages: Vec<_> = words_after(tree.text("image-build/deb-arm64"), "-p");
    let ours = assigned(recipe_text, "LUCID_CRATES").unwrap_or_default();
    if ours.split_whitespace().collect::<Vec<_>>() != packages {
        wrong(
            &recipe,
            format!("LUCID_CRATES is not {packages:?}, as image-build/deb-arm64 builds"),
        );
    }
    for (place, what) in users(tree, &recipe, recipe_text) {
        wrong(place, what);
    }
    for (place, what) in bundle(tree) {
        wrong(place, what);
    }
    for (path, text) in tree.layer("").filter(|(path, _)| !path.ends_with(".md")) {
        for file in named_files(text) {
            if !(tree.exists)(&file) {
                wrong(path, format!("names {file}, which is not there"));
            }
        }
    }
    let shared = "image-build/rpi-image-gen/slot-shared.conf";
    let kept = tree.text("image-build/overlay/usr/lib/lucid/persistent");
    for path in tree.text(shared).lines().filter_map(|line| line.strip_prefix("Path=")) {
        if !kept.lines().any(|line| line == path) {
            wrong(shared, format!("{path} is not kept by the image made of Debian"));
        }
    }
    findings
}

/// Users have the same numbers in every image, and are those of the units.
fn users<'a>(tree: &'a Tree, recipe: &'a str, text: &str) -> Vec<(&'a str, String)> {
    let numbered = users_of(tree.text("image-build/users"));
    let named = users_of(tree.text("systemd/lucid.sysusers"));
    let mut wrong = Vec::new();
    let names =
        |users: &[(String, String)]| users.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
    if names(&numbered) != names(&named) {
        wrong.push(("image-build/users", format!("has not the users {:?}", names(&named))));
    }
    for (name, id) in numbered {
        if !text.contains(&format!("--uid {id} --gid {name} ")) {
            wrong.push((recipe, format!("does not make {name} with the number {id}")));
        }
        if !text.contains(&format!("--gid {id} {name}")) {
            wrong.push((recipe, format!("does not make the group {name} with the number {id}")));
        }
    }
    wrong
}

/// A bundle of either origin fits a device of the other.
fn bundle(tree: &Tree) -> Vec<(&'static str, String)> {
    const RECIPE: &str = "yocto/meta-lucid/recipes-lucid/images/lucid-bundle.bb";
    const MANIFEST: &str = "image-build/rauc/manifest.raucm";
    let (recipe, manifest) = (tree.text(RECIPE), tree.text(MANIFEST));
    let mut wrong = Vec::new();
    let device = ini(tree.text("image-build/rauc/system.conf"));
    let compatible = device.get("system.compatible").copied().unwrap_or_default();
    let mut same = |key: &str, variable: &str, expected: Option<&str>| {
        let value = ini(manifest).get(key).copied();
        if expected.is_some() && value != expected {
            wrong.push((MANIFEST, format!("{key} is not {expected:?}")));
        }
        if assigned(recipe, variable) != value {
            wrong.push((RECIPE, format!("{variable} is not {value:?}, as {key} of {MANIFEST}")));
        }
    };
    same("update.compatible", "RAUC_BUNDLE_COMPATIBLE", Some(compatible));
    same("bundle.format", "RAUC_BUNDLE_FORMAT", None);
    same("meta.lucid.data-format", "RAUC_META_lucid[data-format]", None);
    same("meta.lucid.data-format-oldest", "RAUC_META_lucid[data-format-oldest]", None);
    for slot in ["root", "boot"] {
        same(&format!("image.{slot}.filename"), &format!("RAUC_SLOT_{slot}[rename]"), None);
        same(&format!("image.{slot}.adaptive"), &format!("RAUC_SLOT_{slot}[adaptive]"), None);
    }
    wrong
}

/// The version under `[workspace.package]`.
fn package_version(manifest: &str) -> &str {
    let section = manifest.split("[workspace.package]").nth(1).unwrap_or_default();
    section
        .lines()
        .find_map(|line| line.strip_prefix("version = "))
        .unwrap_or_default()
        .trim_matches('"')
}

/// What a line `NAME = "VALUE"` assigns.
fn assigned<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))?;
    Some(value.trim_matches('"'))
}

/// Each word that follows such a word.
fn words_after<'a>(text: &'a str, flag: &str) -> Vec<&'a str> {
    let words: Vec<_> = text.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == flag).map(|pair| pair[1]).collect()
}

/// Names and numbers of the lines `u NAME ID` of sysusers.
fn users_of(text: &str) -> Vec<(String, String)> {
    let users = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == "u").then_some(())?;
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    });
    users.collect()
}

/// `section.key` and value of each line of a file in sections.
fn ini(text: &str) -> BTreeMap<String, &str> {
    let mut section = "";
    let mut values = BTreeMap::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            values.insert(format!("{section}.{key}"), value);
        }
    }
    values
}

/// Files of the tree that a recipe names by a variable of its own.
fn named_files(text: &str) -> Vec<String> {
    let mut bases = vec![("${LUCID_SOURCE}".to_owned(), String::new())];
    for line in text.lines() {
        if let Some((name, value)) = line.split_once(" = \"${LUCID_SOURCE}/") {
            bases.push((format!("${{{name}}}"), format!("{}/", value.trim_end_matches('"'))));
        }
    }
    let mut files = Vec::new();
    for (variable, base) in bases {
        for rest in text.split(&format!("{variable}/")).skip(1) {
            let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "-_./".contains(c)));
            let name = &rest[..end.unwrap_or(rest.len())];
            files.push(format!("{base}{}", name.trim_end_matches(['/', '.'])));
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        load(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()).unwrap()
    }

    /// Changes a text of the real tree and says what is found then.
    fn with(path: &str, from: &str, to: &str) -> Vec<String> {
        let mut tree = tree();
        let text = tree.texts.get_mut(path).unwrap();
        assert!(text.contains(from), "{path} has no {from:?}");
        *text = text.replacen(from, to, 1);
        check(&tree).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_layer_agrees_with_the_tree() {
        assert_eq!(check(&tree()), []);
    }

    #[test]
    fn crates_are_those_of_the_registry() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n\
            source = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"ff\"\n\n\
            [[package]]\nname = \"ours\"\nversion = \"0.1.0\"\n";
        let text = crates(lock);
        assert!(text.contains("    crate://crates.io/a/1.0.0;name=a-1.0.0 \\\n\""), "{text}");
        assert!(text.contains("SRC_URI[a-1.0.0.sha256sum] = \"ff\""), "{text}");
        assert!(!text.contains("ours"), "{text}");
    }

    #[test]
    fn what_differs_is_named() {
        let cases = [
            (
                "Cargo.toml",
                "[workspace.package]\nversion = \"",
                "[workspace.package]\nversion = \"9",
                "recipe",
            ),
            ("Cargo.lock", "checksum = \"", "checksum = \"0", "cargo xtask yocto"),
            (
                "image-build/deb-arm64",
                "-p lucid-fleet",
                "-p lucid-fleet -p lucid-more",
                "LUCID_CRATES",
            ),
            ("image-build/users", "900", "910", "the number 910"),
            (
                "systemd/lucid.sysusers",
                "u     lucid-relay",
                "u     lucid-else",
                "has not the users",
            ),
            ("image-build/rauc/system.conf", "=lucid-rpi5", "=lucid-rpi6", "update.compatible"),
            ("image-build/rauc/manifest.raucm", "data-format=1", "data-format=2", "data-format"),
            (
                "image-build/rauc/manifest.raucm",
                "=root.img",
                "=root.squashfs",
                "RAUC_SLOT_root[rename]",
            ),
            ("image-build/rpi-image-gen/slot-shared.conf", "/lucid-pay", "/else", "is not kept"),
            (
                "yocto/meta-lucid/recipes-lucid/images/lucid-disk.bb",
                "${LUCID_BUILD}/boot-config",
                "${LUCID_BUILD}/boot-conf",
                "image-build/boot-conf, which is not there",
            ),
        ];
        for (path, from, to, said) in cases {
            let found = with(path, from, to);
            assert!(found.iter().any(|line| line.contains(said)), "{path}: {found:?}");
        }
    }
}
