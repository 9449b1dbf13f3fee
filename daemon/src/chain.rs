//! The chain of this device: opened, or founded at the first start.

use lucid_capture::archive::Archive;
use lucid_capture::catalogue::AnchorHeights;
use lucid_capture::check::{CheckReport, Damage};
use lucid_chain::AnchorProof;
use lucid_chain_node::{
    Config, Node, NodeError, Production, check, found, genesis, rebuild_indexes, session_heights,
    system_clock,
};
use lucid_evidence::{PublicKey, SessionId, SigningKey};
use lucid_store::Store;
use std::collections::BTreeSet;
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

/// What the catalogue says stands on the chain, against the chain in `store`: adds to `report` the
/// sessions of which something is not there. One that a kept proof proves to be on a chain this one
/// took the place of is a note.
///
/// # Errors
/// When chain or catalogue cannot be read.
pub fn check_anchors(
    report: &mut CheckReport,
    archive: &Archive,
    store: &Arc<dyn Store>,
) -> anyhow::Result<()> {
    let chain = genesis(store)?.map(|genesis| genesis.hash());
    let mut sessions = Vec::new();
    archive.catalogue().for_each_session(|session| {
        if session.anchor != AnchorHeights::default() {
            sessions.push(session);
        }
    })?;
    for session in sessions {
        let (id, anchor) = (session.id, &session.anchor);
        let mut wanted: BTreeSet<u64> =
            [anchor.open, anchor.close, anchor.tombstone].into_iter().flatten().collect();
        wanted.extend(archive.catalogue().checkpoints(id)?.iter().filter_map(|point| point.height));
        let there = session_heights(store, &id)?;
        let missing: Vec<String> =
            wanted.difference(&there).map(|height| height.to_string()).collect();
        if missing.is_empty() {
            continue;
        }
        let missing = match &missing[..] {
            [first, .., last] => format!("{first} to {last}, {} in all,", missing.len()),
            few => few.concat(),
        };
        let kept = archive.catalogue().proof(id)?;
        let kept = kept.and_then(|proof| AnchorProof::from_bytes(&proof).ok()?.verify(&id).ok());
        match (kept.filter(|kept| kept.closed.is_some()), chain) {
            (Some(kept), Some(chain)) if kept.chain != chain => report.notes.push(format!(
                "session {id} stands on chain {}, which is not this one; its kept proof verifies",
                kept.chain
            )),
            (kept, _) => {
                let kept = if kept.is_some() { "; its kept proof verifies" } else { "" };
                let what = format!("its anchors in blocks {missing} are not in the chain{kept}");
                report.damage.push(damage(what, Some(id)));
            }
        }
    }
    Ok(())
}

fn damage(what: String, session: Option<SessionId>) -> Damage {
    Damage { what, session, wall_us: None, stream_us: None, quarantined: None }
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
