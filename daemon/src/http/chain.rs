//! The endpoints of the chain.

use axum::Json;
use axum::extract::State;
use lucid_chain::{Block, TxId};
use lucid_chain_node::{Node, NodeError};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::extract::{Path, Query};
use super::problem::{Kind, Problem, ProblemDocument};
use super::sessions::blocking;
use super::time::Rfc3339;
use crate::auth::SignedIn;

/// Blocks of a page when `limit` is not given, and at most.
const LIMIT_DEFAULT: u64 = 100;
const LIMIT_MAX: u64 = 1000;

/// The endpoints.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(head))
        .routes(routes!(blocks))
        .routes(routes!(block))
        .routes(routes!(transaction))
}

#[derive(Serialize, ToSchema)]
struct Validator {
    /// Its public key, hexadecimal.
    id: String,
    power: u64,
}

#[derive(Serialize, ToSchema)]
struct HeadView {
    height: u64,
    id: String,
    /// Of the last block; of the founding before the first.
    time: Rfc3339,
    validators: Vec<Validator>,
    /// Nodes that signed the last block.
    witnesses: usize,
    genesis: String,
    /// The name the chain gives itself.
    name: String,
    /// Transactions that wait for a block.
    waiting: usize,
}

#[derive(Serialize, ToSchema)]
struct TransactionView {
    id: String,
    kind: &'static str,
    session_id: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct BlockView {
    height: u64,
    id: String,
    time: Rfc3339,
    previous: String,
    proposer: String,
    transactions: Vec<TransactionView>,
    /// Nodes that signed it; null while the block after it, which carries the signatures, is not
    /// there and it is not the head.
    witnesses: Option<usize>,
}

#[derive(Serialize, ToSchema)]
struct BlockList {
    items: Vec<BlockView>,
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct IncludedView {
    id: String,
    kind: &'static str,
    session_id: Option<String>,
    height: u64,
    place: u32,
    block: String,
    time: Rfc3339,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct BlocksQuery {
    /// 1 to 1000; 100 if absent.
    limit: Option<u64>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The last block and who could sign it.
#[utoipa::path(get, path = "/chain/head", tag = "chain",
    responses((status = 200, body = HeadView),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn head(State(app): State<App>, _: SignedIn) -> Json<HeadView> {
    let head = app.node.head();
    let validator = |key: &lucid_evidence::PublicKey| Validator { id: key.to_string(), power: 1 };
    Json(HeadView {
        height: head.height,
        id: head.id.to_string(),
        time: Rfc3339::from_us(head.time_us),
        validators: head.validators.keys().iter().map(validator).collect(),
        witnesses: head.witnesses,
        genesis: head.genesis.to_string(),
        name: head.name,
        waiting: head.waiting,
    })
}

/// Blocks, newest first. Old empty blocks that are no longer kept are left out.
#[utoipa::path(get, path = "/chain/blocks", tag = "chain", params(BlocksQuery),
    responses((status = 200, body = BlockList),
        (status = 422, body = ProblemDocument, content_type = "application/problem+json")))]
async fn blocks(
    State(app): State<App>,
    _: SignedIn,
    Query(query): Query<BlocksQuery>,
) -> Result<Json<BlockList>, Problem> {
    let limit = query.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::new(Kind::InvalidQuery, "`limit` is 1 to 1000"));
    }
    let below = match query.cursor.map(|cursor| cursor.parse::<u64>()) {
        None => u64::MAX,
        Some(Ok(height)) => height,
        Some(Err(_)) => {
            return Err(Problem::new(Kind::InvalidQuery, "`cursor` is not one of this list"));
        }
    };
    let list = blocking(&app, move |app| {
        let top = app.node.head().height.saturating_add(1).min(below);
        let least = top.saturating_sub(limit).max(1);
        let mut items = Vec::new();
        for height in (least..top).rev() {
            items.extend(find(&app.node, height)?);
        }
        let next_cursor = (least > 1).then(|| least.to_string());
        Ok(BlockList { items, next_cursor })
    });
    Ok(Json(list.await?))
}

/// One block.
#[utoipa::path(get, path = "/chain/blocks/{height}", tag = "chain",
    params(("height" = u64, Path)),
    responses((status = 200, body = BlockView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn block(
    State(app): State<App>,
    _: SignedIn,
    Path(height): Path<u64>,
) -> Result<Json<BlockView>, Problem> {
    let found = blocking(&app, move |app| find(&app.node, height)).await?;
    found.map(Json).ok_or_else(|| Problem::no_such("block", height))
}

/// One transaction and where it stands.
#[utoipa::path(get, path = "/chain/transactions/{id}", tag = "chain",
    params(("id" = String, Path)),
    responses((status = 200, body = IncludedView),
        (status = 404, body = ProblemDocument, content_type = "application/problem+json")))]
async fn transaction(
    State(app): State<App>,
    _: SignedIn,
    Path(id): Path<String>,
) -> Result<Json<IncludedView>, Problem> {
    let missing = || Problem::no_such("transaction in a block", &id);
    let wanted: TxId = id.parse().map_err(|_| missing())?;
    let found = blocking(&app, move |app| {
        app.node.transaction(&wanted).map_err(|error| Problem::internal("reading the chain", error))
    });
    let included = found.await?.ok_or_else(missing)?;
    Ok(Json(IncludedView {
        kind: included.transaction.kind().name(),
        session_id: included.transaction.body().session().map(ToString::to_string),
        height: included.height,
        place: included.place,
        block: included.block.to_string(),
        time: Rfc3339::from_us(included.time_us),
        id,
    }))
}

/// Time of a block, how many nodes signed it, and how many could have.
pub fn place(node: &Node, height: u64) -> Option<(u64, usize, usize)> {
    let block = node.block(height).ok()??;
    let head = node.head();
    let witnesses = witnesses(node, height)?;
    Some((block.header.time_us, witnesses, head.validators.count()))
}

fn witnesses(node: &Node, height: u64) -> Option<usize> {
    let head = node.head();
    if head.height == height {
        return Some(head.witnesses);
    }
    // The certificate of a block stands in the one after it.
    let next = node.block(height + 1).ok()??;
    next.last_commit.map(|certificate| certificate.signatures.len())
}

fn find(node: &Node, height: u64) -> Result<Option<BlockView>, Problem> {
    match node.block(height) {
        Ok(block) => Ok(block.map(|block| view(node, &block))),
        Err(NodeError::Forgotten { .. }) => Ok(None),
        Err(error) => Err(Problem::internal("reading the chain", error)),
    }
}

fn view(node: &Node, block: &Block) -> BlockView {
    let header = &block.header;
    BlockView {
        height: header.height,
        id: header.id().to_string(),
        time: Rfc3339::from_us(header.time_us),
        previous: header.previous.to_string(),
        proposer: header.proposer.to_string(),
        transactions: block
            .transactions
            .iter()
            .map(|transaction| TransactionView {
                id: transaction.id().to_string(),
                kind: transaction.kind().name(),
                session_id: transaction.body().session().map(ToString::to_string),
            })
            .collect(),
        witnesses: witnesses(node, header.height),
    }
}
