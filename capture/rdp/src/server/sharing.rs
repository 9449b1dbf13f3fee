//! The clipboard of one connection: the state machine, and the desktop's side of it.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::clipboard::selection::{News, Order, Selection};
use super::clipboard::{Clipboard, Effect};
use crate::policy::Policy;
use crate::session::RunningDesktop;

/// A clipboard in use.
#[derive(Debug)]
pub struct Sharing {
    /// What decides.
    pub clipboard: Clipboard,
    selection: Selection,
    news: mpsc::Receiver<News>,
}

impl Sharing {
    /// Begins; none when the desktop's clipboard cannot be had, which is no reason to end a
    /// session.
    pub fn begin(desktop: &RunningDesktop, policy: Arc<Policy>, now_us: u64) -> Option<Self> {
        let connected = Selection::connect(desktop);
        let connected =
            connected.inspect_err(|error| tracing::warn!(%error, "no clipboard for a client"));
        let (selection, news) = connected.ok()?;
        let clipboard = Clipboard::new(policy, desktop.files.is_some(), now_us);
        Some(Sharing { clipboard, selection, news })
    }

    /// Hands on an order. One that is not taken leaves its program waiting, nothing else.
    pub fn order(&self, order: Order) {
        if !self.selection.send(order) {
            tracing::warn!("the clipboard of a desktop hangs");
        }
    }
}

/// What the desktop tells next; never, where there is no clipboard or no more of it.
pub async fn news(sharing: &mut Option<Sharing>) -> News {
    if let Some(one) = sharing {
        if let Some(news) = one.news.recv().await {
            return news;
        }
        // The desktop is gone, which others tell.
        *sharing = None;
    }
    std::future::pending().await
}

/// What is said to the client first.
pub fn greeting() -> Vec<Effect> {
    Clipboard::begin()
}
