//! The workspace as the checks see it: packages, their edges and their licences, read once from
//! `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// How one package needs another, as in `cargo metadata`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Linked into what is shipped.
    Normal,
    /// Used by a build script.
    Build,
    /// Used by tests, benches and examples only.
    Dev,
}

/// One edge out of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Name of the package needed.
    pub to: String,
    /// How it is needed.
    pub kind: Kind,
}

/// One package, of the workspace or from a registry.
#[derive(Debug, Clone, Default)]
pub struct Package {
    /// Name as in its manifest.
    pub name: String,
    /// SPDX expression, when the manifest has one.
    pub licence: Option<String>,
    /// True for members of the workspace.
    pub member: bool,
    /// Direct dependencies after resolution.
    pub edges: Vec<Edge>,
    /// Path of `Cargo.toml`.
    pub manifest: PathBuf,
    /// Root files of the library and binary targets.
    pub roots: Vec<PathBuf>,
}

/// All packages by name. Versions of one name are merged: the rules speak of names.
#[derive(Debug, Clone, Default)]
pub struct Workspace {
    /// Packages by name.
    pub packages: BTreeMap<String, Package>,
}

/// Asks cargo for the metadata of the workspace at `root`, without the network and without
/// changing the lock file.
pub fn load(root: &Path) -> anyhow::Result<Workspace> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--format-version",
            "1",
            "--all-features",
            "--locked",
            "--manifest-path",
        ])
        .arg(root.join("Cargo.toml"))
        .output()
        .context("cannot start cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
    parse(&value)
}

/// Builds the model from the JSON of `cargo metadata --format-version 1`.
pub fn parse(metadata: &Value) -> anyhow::Result<Workspace> {
    let members: BTreeSet<&str> =
        array(metadata, "workspace_members")?.iter().filter_map(Value::as_str).collect();
    let mut names = BTreeMap::new();
    let mut workspace = Workspace::default();
    for package in array(metadata, "packages")? {
        let id = text(package, "id")?;
        let name = text(package, "name")?;
        names.insert(id, name);
        let entry = workspace.packages.entry(name.to_owned()).or_default();
        entry.name = name.to_owned();
        entry.member |= members.contains(id);
        entry.licence = package.get("license").and_then(Value::as_str).map(str::to_owned);
        entry.manifest = text(package, "manifest_path")?.into();
        entry.roots.extend(roots(package)?);
    }
    let nodes = metadata.get("resolve").context("no `resolve` in the metadata")?;
    for node in array(nodes, "nodes")? {
        let name = names.get(text(node, "id")?).context("a resolved node names no package")?;
        let Some(package) = workspace.packages.get_mut(*name) else { continue };
        for dependency in array(node, "deps")? {
            let to = names.get(text(dependency, "pkg")?).context("an edge names no package")?;
            for kind in array(dependency, "dep_kinds")? {
                let kind = match kind.get("kind").and_then(Value::as_str) {
                    None => Kind::Normal,
                    Some("build") => Kind::Build,
                    Some("dev") => Kind::Dev,
                    Some(other) => bail!("unknown dependency kind {other:?}"),
                };
                package.edges.push(Edge { to: (*to).to_owned(), kind });
            }
        }
    }
    Ok(workspace)
}

fn roots(package: &Value) -> anyhow::Result<Vec<PathBuf>> {
    let mut roots = Vec::new();
    for target in array(package, "targets")? {
        let kinds = array(target, "kind")?;
        if kinds.iter().filter_map(Value::as_str).any(|kind| kind == "lib" || kind == "bin") {
            roots.push(text(target, "src_path")?.into());
        }
    }
    Ok(roots)
}

fn array<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a Vec<Value>> {
    value.get(field).and_then(Value::as_array).with_context(|| format!("no array `{field}`"))
}

fn text<'a>(value: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    value.get(field).and_then(Value::as_str).with_context(|| format!("no text `{field}`"))
}

impl Workspace {
    /// The members, in the order of their names.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| package.member)
    }

    /// Everything `name` needs, directly or through others, with the way there. Dev edges count
    /// only where they leave `name` itself and `dev` is set: a dependency's tests are not built.
    pub fn reach(&self, name: &str, dev: bool) -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut open = vec![vec![name.to_owned()]];
        while let Some(way) = open.pop() {
            let Some(package) = way.last().and_then(|last| self.packages.get(last)) else {
                continue;
            };
            for edge in &package.edges {
                let counts = edge.kind != Kind::Dev || (dev && way.len() == 1);
                if !counts || edge.to == name || found.contains_key(&edge.to) {
                    continue;
                }
                let mut next = way.clone();
                next.push(edge.to.clone());
                found.insert(edge.to.clone(), next.clone());
                open.push(next);
            }
        }
        found
    }

    /// Path and text of every member's manifest.
    pub fn manifests(&self) -> anyhow::Result<Vec<(String, String)>> {
        self.members()
            .map(|package| {
                let path = &package.manifest;
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read {}", path.display()))?;
                Ok((path.display().to_string(), text))
            })
            .collect()
    }

    /// Root files of members, relative to `root`, with the name of their package.
    pub fn crate_roots(&self, root: &Path) -> Vec<(String, String)> {
        let relative = |path: &Path| path.strip_prefix(root).unwrap_or(path).display().to_string();
        self.members()
            .flat_map(|package| {
                package.roots.iter().map(move |path| (relative(path), package.name.clone()))
            })
            .collect()
    }
}
