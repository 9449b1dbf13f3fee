//! The chain of this device: opened, or founded at the first start.

use lucid_capture::archive::Archive;
use lucid_capture::check::{CheckReport, Damage};
use lucid_chain::AnchorProof;
use lucid_chain_node::{
    Config, Node, NodeError, Production, check, found, genesis, rebuild_indexes, system_clock,
};
use lucid_evidence::{PublicKey, SessionId, SigningKey};
use lucid_store::Store;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The name of a device's own chain: people tell chains apart by their genesis hash.
fn name(key: &PublicKey) -> String {
    format!("lucid-{}", &key.fingerprint().to_string()[..8])
}

/// Opens the chain in `store`, or founds one of this device alone.
///
/// # Errors
/// When the chain cannot be read, or is driven by others than this device alone.
pub async fn start(
    archive: &Archive,
    store: Arc<dyn Store>,
    production: Production,
    stop: CancellationToken,
) -> Result<Node, NodeError> {
    let device = archive.keys().device();
    let read = Arc::clone(&store);
    let known = tokio::task::spawn_blocking(move || genesis(&read))
        .await
        .unwrap_or_else(|error| Err(NodeError::Task(error.to_string())))?;
    let genesis = match known {
        Some(genesis) => genesis,
        None => found(&name(&device.public()), &device.public(), system_clock()())?,
    };
    let key = SigningKey::from_seed(&device.seed());
    let config = Config { production, ..Config::default() };
    let (node, report) = Node::start(store, genesis, key, config, stop).await?;
    tracing::debug!(?report, "chain opened");
    Ok(node)
}

/// The proof that a session is on a chain: from the chain, or, where this cannot give it any more,
/// the one that was kept when the session was closed, if it still verifies.
pub fn proof(archive: &Archive, node: &Node, id: SessionId) -> Option<Vec<u8>> {
    let error = match node.prove(&id) {
        Ok(proof) => return Some(proof.to_bytes()),
        Err(error) => error,
    };
    let kept = archive.catalogue().proof(id).unwrap_or_else(|error| {
        tracing::error!(session = %id, %error, "the kept proof cannot be read");
        None
    })?;
    let verified = AnchorProof::from_bytes(&kept).is_ok_and(|proof| proof.verify(&id).is_ok());
    tracing::warn!(session = %id, %error, verified, "the chain has no proof, taking the one kept");
    verified.then_some(kept)
}

/// Checks the chain in `store` block by block and adds what is wrong to `report`, with the sessions
/// it touches. With `repair`, indexes that are missing are rebuilt from the blocks.
///
/// # Errors
/// When the chain cannot be read at all.
pub fn check_into(
    report: &mut CheckReport,
    store: &Arc<dyn Store>,
    repair: bool,
    progress: impl FnMut(u64, u64),
) -> Result<(), NodeError> {
    let damage = |what: String, session| Damage {
        what,
        session,
        wall_us: None,
        stream_us: None,
        quarantined: None,
    };
    let found = check(Arc::clone(store), progress)?;
    for problem in found.problems {
        let what = format!("chain, block {}: {}", problem.height, problem.text);
        match problem.sessions.is_empty() {
            true => report.damage.push(damage(what, None)),
            false => {
                let sessions = problem.sessions.into_iter().map(Some);
                report.damage.extend(sessions.map(|session| damage(what.clone(), session)));
            }
        }
    }
    if found.more_problems > 0 {
        let what = format!("chain: {} more blocks are damaged", found.more_problems);
        report.damage.push(damage(what, None));
    }
    if found.missing_indexes > 0 {
        let mut what =
            format!("chain: {} records of its indexes are missing", found.missing_indexes);
        if repair && rebuild_indexes(Arc::clone(store)).is_ok() {
            what += "; they are rebuilt from the blocks now";
        }
        report.damage.push(damage(what, None));
    }
    Ok(())
}
