//! Which crate may need which. The table is the design; a new crate without a row is refused, so
//! that somebody decides what it may know.

use crate::Finding;
use crate::model::{Kind, Workspace};

/// What one member may not reach.
struct Row {
    /// Name of the member.
    member: &'static str,
    /// Members it may need directly, in any kind. Everything else of ours is forbidden.
    ours: &'static [&'static str],
    /// Packages it may not reach, not even through others. A trailing `*` matches any ending.
    never: &'static [&'static str],
    /// Why, for the person who meets the error.
    because: &'static str,
}

/// Sockets and runtimes: what a pure crate must not reach.
const IMPURE: &[&str] =
    &["tokio", "async-std", "smol", "mio", "socket2", "sled", "axum", "hyper", "gstreamer*"];

const ROWS: &[Row] = &[
    Row {
        member: "lucid-settings",
        ours: &[],
        never: &["tokio", "sled", "axum", "hyper", "gstreamer*", "ed25519-dalek", "k256"],
        because: "every process reads its settings by it, so it knows none of them",
    },
    Row {
        member: "lucid-evidence",
        ours: &[],
        never: IMPURE,
        because: "evidence is bytes in, bytes out: a court must be able to build it alone",
    },
    Row {
        member: "lucid-store",
        ours: &[],
        never: &["tokio", "axum", "gstreamer*"],
        because: "store knows keys and bytes and nothing of the domain",
    },
    Row {
        member: "lucid-hw",
        ours: &[],
        never: &["tokio", "sled", "axum", "gstreamer*"],
        because: "hw is the only crate with unsafe code and stays small enough to audit",
    },
    Row {
        member: "lucid-capture",
        ours: &["lucid-evidence", "lucid-store", "lucid-hw"],
        never: &["lucid-chain*", "lucid-pay*", "tron-*", "axum", "hyper"],
        because: "capture records; it knows neither the chain, nor money, nor HTTP",
    },
    Row {
        member: "lucid-desktop",
        ours: &[],
        never: &[
            "tokio",
            "mio",
            "socket2",
            "sled",
            "axum",
            "hyper",
            "rustls",
            "x11rb",
            "gstreamer*",
        ],
        because: "its program is root: it starts and ends desktops and knows nothing else",
    },
    Row {
        member: "lucid-rdp",
        ours: &["lucid-desktop", "lucid-capture", "lucid-evidence", "lucid-store", "lucid-hw"],
        never: &["lucid-chain*", "lucid-pay*", "tron-*", "axum"],
        because: "recorded desktops know neither the chain nor money",
    },
    Row {
        member: "lucid-chain",
        ours: &["lucid-evidence"],
        never: IMPURE,
        because: "the ledger is a pure state machine: step(event, now) -> effects",
    },
    Row {
        member: "lucid-chain-node",
        ours: &["lucid-chain", "lucid-evidence", "lucid-store"],
        never: &["lucid-capture", "lucid-rdp", "lucid-pay*", "tron-*", "gstreamer*"],
        because: "a node drives the ledger; recordings and money are not its business",
    },
    Row {
        member: "lucid-pay-api",
        ours: &[],
        never: &["tron-*", "ed25519-dalek", "k256", "sled"],
        because: "the payment interface holds no key and no TRON type",
    },
    Row {
        member: "tron-protobuf",
        ours: &[],
        never: &["tokio", "sled"],
        because: "TRON messages are types and nothing else",
    },
    Row {
        member: "lucid-pay",
        ours: &["lucid-settings", "lucid-pay-api", "tron-protobuf"],
        never: &["lucid-chain*", "lucid-capture", "lucid-store", "lucid-evidence", "lucid"],
        because: "the payment process knows payouts, not blocks and not recordings",
    },
    Row {
        member: "lucid",
        ours: &[
            "lucid-settings",
            "lucid-evidence",
            "lucid-store",
            "lucid-hw",
            "lucid-capture",
            "lucid-rdp",
            "lucid-desktop",
            "lucid-chain",
            "lucid-chain-node",
            "lucid-fleet",
            "lucid-pay-api",
        ],
        never: &["tron-*", "lucid-pay"],
        because: "the daemon meets the payment process on a socket and never sees a TRON type",
    },
    Row {
        member: "lucid-fleet",
        ours: &[],
        never: &["tron-*", "sled", "axum", "gstreamer*"],
        because: "updates know slots and bundles, not recordings, blocks or money",
    },
    Row {
        member: "tron-node",
        ours: &["tron-protobuf"],
        never: &["lucid*", "sled", "gstreamer*"],
        because: "the simulated TRON node is for anybody; it checks payments from outside",
    },
    Row {
        member: "lucid-tests",
        ours: &["*"],
        never: &[],
        because: "tests may stand on everything",
    },
    Row {
        member: "xtask",
        ours: &[],
        never: &["tokio"],
        because: "the checks must build when nothing else does",
    },
];

/// Packages only some members may name in their manifest.
struct Owned {
    /// Package name; a trailing `*` matches any ending.
    package: &'static str,
    /// Members that may name it in any kind.
    by: &'static [&'static str],
    /// Members that may name it for their tests.
    in_tests: &'static [&'static str],
}

const OWNED: &[Owned] = &[
    Owned { package: "sled", by: &["lucid-store", "lucid-pay"], in_tests: &[] },
    Owned {
        package: "gstreamer*",
        // The tests' camera is a real RTSP server; nothing ships from that crate.
        by: &["lucid-capture", "lucid-rdp", "lucid-tests"],
        in_tests: &[],
    },
    Owned { package: "rppal", by: &["lucid-hw"], in_tests: &[] },
    Owned { package: "gpiocdev", by: &["lucid-hw"], in_tests: &[] },
    Owned { package: "tron-protobuf", by: &["lucid-pay"], in_tests: &["lucid-tests"] },
];

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

fn any(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// Every edge the table forbids.
pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in workspace.members() {
        let name = package.name.as_str();
        let Some(row) = ROWS.iter().find(|row| row.member == name) else {
            findings.push(Finding::new(name, "no row in xtask/src/edges.rs; decide its edges"));
            continue;
        };
        let mut named: Vec<(&str, Kind)> =
            package.edges.iter().map(|edge| (edge.to.as_str(), edge.kind)).collect();
        named.sort_unstable();
        named.dedup();
        for (to, kind) in named {
            let ours = workspace.packages.get(to).is_some_and(|target| target.member);
            // A test may use the tests' own camera, network and fixtures, and payments a node.
            let support = kind == Kind::Dev
                && (to == "lucid-tests" || (to, name) == ("tron-node", "lucid-pay"));
            if ours && !support && !any(row.ours, to) {
                findings.push(Finding::new(name, format!("may not need {to}: {}", row.because)));
            }
            for owned in OWNED.iter().filter(|owned| matches(owned.package, to)) {
                let allowed = owned.by.contains(&name)
                    || (kind == Kind::Dev && owned.in_tests.contains(&name));
                if !allowed {
                    let owners = owned.by.join(", ");
                    findings.push(Finding::new(name, format!("only {owners} may name {to}")));
                }
            }
        }
        for (to, way) in workspace.reach(name, false) {
            if any(row.never, &to) {
                let way = way.join(" -> ");
                let what = format!("may not reach {to} ({way}): {}", row.because);
                findings.push(Finding::new(name, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model;
    use serde_json::{Value, json};

    /// Metadata of a workspace with the given members and edges `(from, to, kind)`. Packages that
    /// are only pointed at come from outside.
    fn metadata(members: &[&str], edges: &[(&str, &str, Option<&str>)]) -> Value {
        let mut names: Vec<&str> = members.to_vec();
        names.extend(edges.iter().flat_map(|(from, to, _)| [*from, *to]));
        names.sort_unstable();
        names.dedup();
        let packages: Vec<Value> = names
            .iter()
            .map(|name| {
                json!({"id": format!("id:{name}"), "name": name, "license": "MIT",
                       "manifest_path": format!("/x/{name}/Cargo.toml"), "targets": []})
            })
            .collect();
        let nodes: Vec<Value> = names
            .iter()
            .map(|name| {
                let deps: Vec<Value> = edges
                    .iter()
                    .filter(|(from, ..)| from == name)
                    .map(|(_, to, kind)| {
                        json!({"pkg": format!("id:{to}"), "dep_kinds": [{"kind": kind}]})
                    })
                    .collect();
                json!({"id": format!("id:{name}"), "deps": deps})
            })
            .collect();
        let members: Vec<String> = members.iter().map(|name| format!("id:{name}")).collect();
        json!({"packages": packages, "workspace_members": members, "resolve": {"nodes": nodes}})
    }

    fn findings(members: &[&str], edges: &[(&str, &str, Option<&str>)]) -> Vec<String> {
        let workspace = model::parse(&metadata(members, edges)).unwrap();
        check(&workspace).iter().map(ToString::to_string).collect()
    }

    #[track_caller]
    fn refused(members: &[&str], edges: &[(&str, &str, Option<&str>)], words: &[&str]) {
        let found = findings(members, edges);
        assert_eq!(found.len(), 1, "{found:#?}");
        for word in words {
            assert!(found[0].contains(word), "{word:?} is not in {:?}", found[0]);
        }
    }

    #[test]
    fn the_designed_edges_pass() {
        let members =
            &["lucid-evidence", "lucid-store", "lucid-capture", "lucid-chain", "lucid-tests"];
        let found = findings(
            members,
            &[
                ("lucid-evidence", "blake3", None),
                ("lucid-store", "sled", None),
                ("lucid-capture", "lucid-evidence", None),
                ("lucid-capture", "gstreamer-app", None),
                ("lucid-chain", "lucid-evidence", None),
                ("lucid-tests", "gstreamer", Some("dev")),
                ("lucid-tests", "lucid-store", None),
            ],
        );
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn evidence_stands_alone_in_every_kind() {
        let members = &["lucid-evidence", "lucid-store"];
        for kind in [None, Some("dev"), Some("build")] {
            let edge = ("lucid-evidence", "lucid-store", kind);
            refused(members, &[edge], &["lucid-evidence", "lucid-store", "alone"]);
        }
    }

    #[test]
    fn only_store_names_sled() {
        refused(
            &["lucid-chain-node"],
            &[("lucid-chain-node", "sled", None)],
            &["only lucid-store"],
        );
        refused(&["lucid"], &[("lucid", "sled", Some("dev"))], &["only lucid-store", "sled"]);
    }

    #[test]
    fn gstreamer_is_named_by_capture_and_by_tests_only() {
        refused(&["lucid"], &[("lucid", "gstreamer", None)], &["only lucid-capture"]);
        // The tests' crate is for tests: what ships may not stand on it.
        refused(
            &["lucid-capture", "lucid-tests"],
            &[("lucid-capture", "lucid-tests", None)],
            &["may not need lucid-tests"],
        );
    }

    #[test]
    fn a_forbidden_edge_is_found_through_others() {
        refused(
            &["lucid-chain"],
            &[("lucid-chain", "innocent", None), ("innocent", "tokio", None)],
            &["lucid-chain -> innocent -> tokio"],
        );
        let capture = &["lucid-capture", "lucid-hw"];
        refused(
            capture,
            &[
                ("lucid-capture", "lucid-hw", None),
                ("lucid-hw", "glue", None),
                ("glue", "hyper", None),
            ],
            &["lucid-capture -> lucid-hw -> glue -> hyper"],
        );
    }

    #[test]
    fn what_only_a_dependency_tests_with_is_not_reached() {
        let edges = &[("lucid-chain", "innocent", None), ("innocent", "tokio", Some("dev"))];
        assert!(findings(&["lucid-chain"], edges).is_empty());
    }

    #[test]
    fn money_and_evidence_never_meet() {
        refused(
            &["lucid", "tron-protobuf"],
            &[("lucid", "wallet", None), ("wallet", "tron-client", None)],
            &["lucid -> wallet -> tron-client"],
        );
        let found = findings(&["lucid-pay", "lucid-chain"], &[("lucid-pay", "lucid-chain", None)]);
        assert_eq!(found.len(), 2, "as a member and as a reach: {found:#?}");
    }

    #[test]
    fn payments_reach_no_recording_and_the_daemon_no_tron_node() {
        for to in ["lucid-chain", "lucid-capture", "lucid-store", "lucid-evidence"] {
            // Directly, and through something innocent.
            let found = findings(&["lucid-pay", to], &[("lucid-pay", to, None)]);
            assert!(found.iter().any(|line| line.contains("may not need")), "{to}: {found:#?}");
            refused(
                &["lucid-pay", to],
                &[("lucid-pay", "innocent", None), ("innocent", to, None)],
                &["lucid-pay -> innocent", to, "not blocks and not recordings"],
            );
        }
        let through_the_interface =
            &[("lucid", "lucid-pay-api", None), ("lucid-pay-api", "tron-client", None)];
        let found = findings(&["lucid", "lucid-pay-api"], through_the_interface);
        let way = "lucid -> lucid-pay-api -> tron-client";
        assert!(found.iter().any(|line| line.contains(way)), "{found:#?}");
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        refused(&["lucid-extra"], &[], &["lucid-extra", "no row"]);
    }

    /// The same through cargo itself, on a workspace written to disk.
    #[test]
    fn a_real_workspace_with_a_forbidden_edge_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let package = |name: &str| {
            format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n")
        };
        write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"chain\", \"capture\"]\n");
        write("capture/Cargo.toml", &package("lucid-capture"));
        write("capture/src/lib.rs", "//! x\n");
        let edge = "[dependencies]\nlucid-capture = { path = \"../capture\" }\n";
        write("chain/Cargo.toml", &format!("{}{edge}", package("lucid-chain")));
        write("chain/src/lib.rs", "//! x\n");
        let lock = "version = 4\n\n[[package]]\nname = \"lucid-capture\"\nversion = \"0.1.0\"\n\n\
                    [[package]]\nname = \"lucid-chain\"\nversion = \"0.1.0\"\n\
                    dependencies = [\n \"lucid-capture\",\n]\n";
        write("Cargo.lock", lock);
        let found = check(&model::load(dir.path()).unwrap());
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(found[0].place, "lucid-chain");
        assert!(found[0].what.starts_with("may not need lucid-capture"), "{}", found[0].what);
    }
}
