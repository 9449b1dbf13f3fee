//! `lucid-pay doctor`: looks for what keeps payments from working, and says what to do.

use lucid_pay::process::data_dir::DataDir;
use lucid_pay::process::harden;
use lucid_pay::service::now_ms;
use lucid_pay_api::{ClientError, NodeState, ProcessState, Status, route};
use serde::Serialize;

use super::exit::Exit;
use super::{Context, block_on, output};

/// One thing looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    /// `well`, `note` or `wrong`.
    state: &'static str,
    detail: String,
}

fn finding(what: &'static str, state: &'static str, detail: impl Into<String>) -> Finding {
    Finding { what, state, detail: detail.into() }
}

fn memory(context: &Context) -> Vec<Finding> {
    let dump = match harden::dumpable() {
        false => finding("core dumps", "well", "off"),
        true => finding("core dumps", "wrong", "this process can be dumped"),
    };
    let swap = match &context.hardened.swappable {
        None => finding("swap", "well", "memory is locked"),
        Some(why) => finding("swap", "note", why.clone()),
    };
    vec![dump, swap]
}

fn directory(context: &Context) -> Finding {
    match DataDir::open(&context.config) {
        Ok(dir) if dir.wallets().join("keyring").exists() => {
            finding("data directory", "well", dir.path.display().to_string())
        }
        Ok(dir) => finding(
            "data directory",
            "note",
            format!(
                "{} has no wallets; make one with `lucid-pay wallet create NAME`",
                dir.path.display()
            ),
        ),
        Err(error) => finding("data directory", "wrong", error.to_string()),
    }
}

async fn process(context: &Context) -> Vec<Finding> {
    let asked: Result<Status, ClientError> = context.client().get(route::STATUS).await;
    match asked {
        Ok(status) => {
            let state = if status.state == ProcessState::Ready { "well" } else { "wrong" };
            let detail = format!(
                "{:?} on {}; {} payouts open, {} wait for a second person{}",
                status.state,
                status.network,
                status.open_payouts,
                status.awaiting_approval,
                status.trouble.map(|why| format!("; {why}")).unwrap_or_default()
            );
            vec![finding("payment process", state, detail)]
        }
        Err(error @ ClientError::Down { .. }) => vec![finding(
            "payment process",
            "note",
            format!("{error}; start it with `lucid-pay serve`"),
        )],
        Err(error) => vec![finding("payment process", "wrong", error.to_string())],
    }
}

async fn nodes(context: &Context) -> Vec<Finding> {
    let nodes = match super::sandbox::nodes(context) {
        Ok(nodes) => nodes,
        Err(error) => return vec![finding("nodes", "wrong", error.to_string())],
    };
    let watch = nodes.watch(now_ms()).await;
    let mut found: Vec<Finding> = watch
        .nodes
        .iter()
        .map(|node| {
            let state = if node.state == NodeState::Healthy { "well" } else { "wrong" };
            let detail = format!(
                "{}: {:?}, head {:?}, solid {:?}{}",
                node.name,
                node.state,
                node.head.unwrap_or_default(),
                node.solid.unwrap_or_default(),
                node.trouble.as_ref().map(|why| format!("; {why}")).unwrap_or_default()
            );
            finding("node", state, detail)
        })
        .collect();
    for disagreement in &watch.disagreements {
        let detail = format!("about {}: {:?}", disagreement.about, disagreement.said);
        found.push(finding("nodes disagree", "wrong", detail));
    }
    found.push(match watch.clock_off_ms {
        None => finding("clock", "well", "agrees with the newest blocks"),
        Some(ms) => finding(
            "clock",
            "wrong",
            format!("{ms} ms off the newest blocks of all nodes; set it, or nothing is signed"),
        ),
    });
    if watch.nodes.len() < 2 {
        let detail = "only one node is asked: its honesty is trusted; configure a second one";
        found.push(finding("nodes", "note", detail));
    }
    found
}

/// Does it; fails when something is wrong.
pub fn run(context: &Context) -> anyhow::Result<Exit> {
    let mut found = memory(context);
    found.push(directory(context));
    block_on(async {
        found.extend(process(context).await);
        found.extend(nodes(context).await);
        Ok(())
    })?;
    output::show(context.json, &found, || {
        let rows: Vec<_> = found
            .iter()
            .map(|f| vec![f.state.to_owned(), f.what.to_owned(), f.detail.clone()])
            .collect();
        output::table(&["", "what", "found"], &rows)
    })?;
    let wrong = found.iter().any(|found| found.state == "wrong");
    Ok(if wrong { Exit::Failure } else { Exit::Success })
}
