//! The chain of this device: opened, or founded at the first start.

use lucid_capture::archive::Archive;
use lucid_chain_node::{Config, Node, NodeError, Production, found, genesis, system_clock};
use lucid_evidence::{PublicKey, SigningKey};
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
