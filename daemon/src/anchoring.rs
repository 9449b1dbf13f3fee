//! Carries what the recorder makes to the chain, and what the chain took back to the catalogue.
//!
//! What must be anchored is derived from the catalogue, so nothing is lost when the daemon or the
//! chain stops between two steps: a session is looked at again until all of it is in blocks. The
//! same content makes the same transaction, so sending one twice changes nothing.

use lucid_capture::archive::{Archive, ArchiveError};
use lucid_capture::catalogue::{AnchorHeights, SessionRecord, SessionState, StoredCheckpoint};
use lucid_capture::recorder::Anchor;
use lucid_chain::transaction::{Body, SessionClose, SessionOpen, Tombstone};
use lucid_chain::{Transaction, TxId};
use lucid_chain_node::{NewBlock, Node, SessionStatus, SubmitError};
use lucid_evidence::manifest::{Manifest, SignedManifest};
use lucid_evidence::{PublicKey, SessionId, SignedCheckpoint};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// What a transaction is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Open(SessionId),
    Checkpoint(SessionId, u64),
    Close(SessionId),
    Tombstone(SessionId),
}

impl About {
    fn session(self) -> SessionId {
        match self {
            About::Open(id)
            | About::Checkpoint(id, _)
            | About::Close(id)
            | About::Tombstone(id) => id,
        }
    }
}

/// Hears of sessions that changed on the chain.
pub type Listener = Box<dyn Fn(&SessionRecord) + Send + Sync>;

/// Stands between recorder and chain.
pub struct Anchoring {
    archive: Arc<Archive>,
    node: Node,
    device: PublicKey,
    waiting: Mutex<HashMap<TxId, About>>,
    /// Sessions of which something is not in a block yet.
    unfinished: Mutex<BTreeSet<SessionId>>,
    changed: Listener,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Anchoring {
    /// Between `archive` and `node`; `changed` hears of sessions whose place on the chain changed.
    pub fn new(archive: Arc<Archive>, node: Node, changed: Listener) -> Arc<Self> {
        let device = archive.keys().device().public();
        let (waiting, unfinished) = Default::default();
        Arc::new(Anchoring { archive, node, device, waiting, unfinished, changed })
    }

    /// Makes ready for this chain what was begun on one that is lost: sessions that are not closed
    /// on a chain, of which the catalogue says that they were opened on one, and this one does not
    /// know them. Their places there are forgotten, which the session's record and the log say;
    /// they are then opened, checkpointed and closed here. Blocks; called at the start, before
    /// sessions cut by a crash are closed, so that their manifests count no block of a lost chain.
    ///
    /// # Errors
    /// When the catalogue cannot be read or written.
    pub fn renew_lost(&self) -> Result<usize, ArchiveError> {
        let mut opened = Vec::new();
        self.archive.catalogue().for_each_session(|session| {
            if !is_finished(&session) && session.anchor.open.is_some() {
                opened.push(session);
            }
        })?;
        let mut renewed = 0;
        for session in opened {
            match self.node.session(&session.id) {
                Ok(None) => {}
                Ok(Some(_)) => continue,
                Err(error) => {
                    tracing::error!(session = %session.id, %error, "the chain cannot be read");
                    continue;
                }
            }
            self.renew(&session)?;
            renewed += 1;
        }
        Ok(renewed)
    }

    fn renew(&self, session: &SessionRecord) -> Result<(), ArchiveError> {
        let (id, catalogue) = (session.id, self.archive.catalogue());
        for point in catalogue.checkpoints(id)?.into_iter().filter(|point| point.height.is_some()) {
            catalogue.put_checkpoint(id, &StoredCheckpoint { height: None, ..point })?;
        }
        // A manifest counts the blocks of its checkpoints. It was never anchored, so that one
        // without the lost ones may take its place.
        if let Some(signed) = catalogue.manifest(id)?
            && !signed.manifest().checkpoint_heights.is_empty()
        {
            let manifest = Manifest { checkpoint_heights: Vec::new(), ..signed.manifest().clone() };
            catalogue.put_manifest(&manifest.sign(self.archive.keys().device()), |_| {})?;
        }
        let chain = &self.node.chain().to_string()[..8];
        let why = format!("the chain it was opened on is lost; it is put on chain {chain} anew");
        tracing::warn!(session = %id, why, "declared again");
        // Last: until this is stored, the next start does all of it again.
        catalogue.update_session(id, |session| {
            session.anchor = AnchorHeights::default();
            session.enter(session.state, now_us(), why);
        })?;
        Ok(())
    }

    /// After the node was opened anew: notes what is in blocks, and sends again what waited, which
    /// the node has forgotten. Blocks.
    pub fn reopened(&self) {
        self.look_up();
        lock(&self.waiting).clear();
        self.send_all();
    }

    /// Looks through the catalogue for what is not in a block, and sends it. Blocks; called once at
    /// the start.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub fn catch_up(&self) -> Result<usize, ArchiveError> {
        let mut found = Vec::new();
        self.archive.catalogue().for_each_session(|session| {
            if !is_finished(&session) {
                found.push(session.id);
            }
        })?;
        let count = found.len();
        lock(&self.unfinished).extend(found);
        self.send_all();
        Ok(count)
    }

    /// Whether everything of `session` is in blocks.
    pub fn is_anchored(&self, session: SessionId) -> bool {
        !lock(&self.unfinished).contains(&session)
    }

    /// Follows the chain until stopped.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        use tokio::sync::broadcast::error::RecvError;
        let mut blocks = self.node.subscribe();
        loop {
            let block = tokio::select! {
                () = stop.cancelled() => return,
                block = blocks.recv() => block,
            };
            let this = Arc::clone(&self);
            let work = match block {
                Ok(block) => tokio::task::spawn_blocking(move || this.note(&block)),
                Err(RecvError::Lagged(_)) => tokio::task::spawn_blocking(move || this.look_up()),
                Err(RecvError::Closed) => return,
            };
            if let Err(error) = work.await {
                tracing::error!(%error, "anchoring");
            }
        }
    }

    /// Writes down what a block took, and sends what still waits to be sent. Blocks.
    pub fn note(&self, block: &NewBlock) {
        for id in &block.transactions {
            let about = lock(&self.waiting).remove(id);
            if let Some(about) = about {
                self.mark(about, block.height);
            }
        }
        for (id, why) in &block.refused {
            if let Some(about) = lock(&self.waiting).remove(id) {
                tracing::warn!(session = %about.session(), %why, "the chain refused what waited");
            }
        }
        self.send_all();
    }

    /// After blocks were missed: asks the chain for each transaction that waits.
    fn look_up(&self) {
        let waiting: Vec<(TxId, About)> =
            lock(&self.waiting).iter().map(|(id, about)| (*id, *about)).collect();
        for (id, about) in waiting {
            match self.node.transaction(&id) {
                Ok(Some(included)) => {
                    lock(&self.waiting).remove(&id);
                    self.mark(about, included.height);
                }
                Ok(None) => {}
                Err(error) => tracing::error!(%error, "the chain cannot be read"),
            }
        }
        self.send_all();
    }

    fn send_all(&self) {
        let sessions: Vec<SessionId> = lock(&self.unfinished).iter().copied().collect();
        for id in sessions {
            self.send(id);
        }
    }

    /// Sends what is missing of a session, in its order.
    fn send(&self, id: SessionId) {
        if let Err(error) = self.try_send(id) {
            tracing::error!(session = %id, %error, "what must be anchored cannot be read");
        }
    }

    fn try_send(&self, id: SessionId) -> Result<(), ArchiveError> {
        let session = self.archive.session(id)?;
        if is_finished(&session) {
            lock(&self.unfinished).remove(&id);
            return Ok(());
        }
        let (chain, device, key) = (self.node.chain(), self.device, self.archive.keys().device());
        if session.anchor.open.is_none() {
            let (session_key, time_us, policy) =
                (session.session_key, session.start_us, session.policy);
            let body = SessionOpen { chain, session: id, session_key, device, time_us, policy };
            self.submit(About::Open(id), Transaction::sign(Body::SessionOpen(body), key));
        }
        for point in self.archive.catalogue().checkpoints(id)? {
            // The chain takes none over an empty tree, which older versions signed.
            if point.height.is_none()
                && point.tree_size > 0
                && session.anchor.close.is_none()
                && let Ok(signed) = SignedCheckpoint::verify(&point.signed, &session.session_key)
            {
                let about = About::Checkpoint(id, point.tree_size);
                self.submit(about, Transaction::checkpoint(&signed));
            }
        }
        if session.anchor.close.is_none()
            && let Some(manifest) = self.archive.catalogue().manifest(id)?
        {
            self.close(&session, &manifest);
        }
        if session.state == SessionState::Deleted && session.anchor.tombstone.is_none() {
            let deleted = session.transitions.iter().rfind(|t| t.state == SessionState::Deleted);
            let reason = deleted.map(|t| clip(&t.reason)).unwrap_or_default();
            let time_us = deleted.map_or(session.start_us, |t| t.at_us);
            let body = Tombstone { chain, session: id, device, reason, time_us };
            self.submit(About::Tombstone(id), Transaction::sign(Body::Tombstone(body), key));
        }
        Ok(())
    }

    /// Sends the closing, which counts the checkpoints that the chain took or is about to take.
    fn close(&self, session: &SessionRecord, manifest: &SignedManifest) {
        let id = session.id;
        let Some(checkpoints) = self.node.checkpoints(&id) else {
            match self.node.session(&id) {
                // Taken before a crash, and the catalogue does not know yet.
                Ok(Some(SessionStatus::Closed(closed))) if closed.manifest == manifest.hash() => {
                    self.mark(About::Close(id), closed.closed);
                }
                Ok(_) => {}
                Err(error) => tracing::error!(session = %id, %error, "the chain cannot be read"),
            }
            return;
        };
        let body = SessionClose {
            chain: self.node.chain(),
            session: id,
            device: self.device,
            manifest: manifest.hash(),
            tree_size: manifest.manifest().tree_size,
            root: manifest.manifest().root,
            time_us: session.ended.map_or(session.start_us, |ended| ended.at_us),
            checkpoints,
        };
        let key = self.archive.keys().device();
        self.submit(About::Close(id), Transaction::sign(Body::SessionClose(body), key));
    }

    fn submit(&self, about: About, transaction: Transaction) {
        let id = transaction.id();
        if lock(&self.waiting).contains_key(&id) {
            return;
        }
        // Noted first: a block may take it before this returns.
        lock(&self.waiting).insert(id, about);
        match self.node.submit(transaction) {
            Ok(_) => {}
            Err(SubmitError::Refused(refusal)) => {
                lock(&self.waiting).remove(&id);
                match self.node.transaction(&id) {
                    // Taken before a crash, and the catalogue does not know yet.
                    Ok(Some(included)) => self.mark(about, included.height),
                    _ => tracing::warn!(session = %about.session(), %refusal, "the chain refused"),
                }
            }
            Err(error) => {
                lock(&self.waiting).remove(&id);
                tracing::info!(session = %about.session(), %error, "the chain takes it later");
            }
        }
    }

    /// Writes down that something is in the block at `height`.
    fn mark(&self, about: About, height: u64) {
        let id = about.session();
        let result = match about {
            About::Checkpoint(_, size) => self.mark_checkpoint(id, size, height).map(|()| None),
            _ => self.mark_session(about, height).map(Some),
        };
        match result {
            Ok(Some(session)) => {
                if is_finished(&session) {
                    lock(&self.unfinished).remove(&id);
                }
                (self.changed)(&session);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(session = %id, %error, "the place on the chain was not stored");
            }
        }
    }

    fn mark_session(&self, about: About, height: u64) -> Result<SessionRecord, ArchiveError> {
        let now = now_us();
        let proved = match about {
            About::Close(id) | About::Tombstone(id) => self.keep_proof(id),
            _ => false,
        };
        Ok(self.archive.catalogue().update_session(about.session(), |session| match about {
            About::Open(_) => session.anchor.open = Some(height),
            About::Tombstone(_) => session.anchor.tombstone = Some(height),
            About::Close(_) => {
                session.anchor.close = Some(height);
                if session.state == SessionState::Stored {
                    session.enter(SessionState::Anchored, now, format!("in block {height}"));
                    if proved {
                        session.enter(SessionState::Completed, now, "its proof is complete");
                    }
                }
            }
            About::Checkpoint(..) => {}
        })?)
    }

    /// Keeps the proof of a session beside it, so that it outlives this chain's database. Says
    /// whether there is one.
    fn keep_proof(&self, id: SessionId) -> bool {
        let proof = match self.node.prove(&id) {
            Ok(proof) => proof.to_bytes(),
            Err(error) => {
                tracing::error!(session = %id, %error, "the session cannot be proved");
                return false;
            }
        };
        match self.archive.catalogue().put_proof(id, &proof) {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!(session = %id, bytes = proof.len(), "proof too long to keep")
            }
            Err(error) => tracing::warn!(session = %id, %error, "the proof was not kept"),
        }
        true
    }

    fn mark_checkpoint(&self, id: SessionId, size: u64, height: u64) -> Result<(), ArchiveError> {
        let all = self.archive.catalogue().checkpoints(id)?;
        if let Some(point) = all.into_iter().find(|point| point.tree_size == size) {
            let point = StoredCheckpoint { height: Some(height), ..point };
            self.archive.catalogue().put_checkpoint(id, &point)?;
        }
        Ok(())
    }

    fn changed(&self, id: SessionId) {
        lock(&self.unfinished).insert(id);
        self.send(id);
    }
}

/// Whether nothing of the session is left to anchor.
fn is_finished(session: &SessionRecord) -> bool {
    let closed = session.anchor.close.is_some();
    match session.state {
        SessionState::Deleted => session.anchor.tombstone.is_some(),
        _ => closed,
    }
}

fn now_us() -> u64 {
    lucid_chain_node::system_clock()()
}

/// The chain's limit of a tombstone's reason.
fn clip(reason: &str) -> String {
    let mut end = reason.len().min(lucid_chain::transaction::REASON_MAX_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}

impl Anchor for Anchoring {
    fn knows(&self, session: SessionId) -> bool {
        match self.node.session(&session) {
            Ok(known) => known.is_some(),
            // Not to be read is not to be free.
            Err(error) => {
                tracing::error!(%session, %error, "the chain cannot be read");
                true
            }
        }
    }

    fn opened(&self, session: &SessionRecord) {
        self.changed(session.id);
    }

    fn checkpoint(&self, session: SessionId, _: &SignedCheckpoint) {
        self.changed(session);
    }

    fn closed(&self, manifest: &SignedManifest) {
        self.changed(manifest.manifest().session);
    }

    fn deleted(&self, session: &SessionRecord) {
        self.changed(session.id);
    }
}
