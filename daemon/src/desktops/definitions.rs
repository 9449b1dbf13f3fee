//! Definitions: set up, changed, and removed, each with a port of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use lucid_rdp::desktop::DESKTOPS_MAX;
use lucid_rdp::session::Endpoint;

use super::entry::{Entry, check_retention, view_of};
use super::{
    Desktop, DesktopId, Desktops, DesktopsError, Known, NewDesktop, blocking, fill, launch, lock,
};
use crate::events::Topic;
use crate::http::time::now_us;

/// Ports that other programs may take away from under a new desktop before it is given up.
const PORTS_LOST_MAX: usize = 16;

impl Desktops {
    /// Sets a desktop up and opens its port. Blocks.
    ///
    /// # Errors
    /// The first field that does not fit, or what is full.
    pub fn create(&self, new: NewDesktop, owner: &str) -> Result<Desktop, DesktopsError> {
        self.on()?;
        new.definition.validate()?;
        launch::limits(&self.config, &new.limits).validate()?;
        check_retention(&new.retention)?;
        let _alone = lock(&self.change);
        let index = {
            let known = self.known();
            if known.desktops.len() >= DESKTOPS_MAX {
                return Err(DesktopsError::TooMany);
            }
            let name = &new.definition.name;
            if known.desktops.values().any(|e| e.desktop.definition.name == *name) {
                return Err(DesktopsError::NameTaken(name.clone()));
            }
            let used: Vec<u16> = known.desktops.values().map(|e| e.desktop.index).collect();
            free_index(&used)?
        };
        let id = DesktopId::random()?;
        let (port, listening) = self.take_port(&id)?;
        let desktop = Desktop {
            id,
            definition: new.definition,
            owner: owner.to_owned(),
            port,
            index,
            enabled: true,
            limits: new.limits,
            policy: new.policy,
            retention: new.retention,
            created_us: now_us(),
        };
        if let Err(error) = self.stored.put(&desktop) {
            self.close_port(&desktop.id);
            self.known().ports.give_back(port);
            return Err(error);
        }
        let mut entry = Entry::new(desktop.clone());
        entry.listening = listening.map(Ok);
        self.known().desktops.insert(desktop.id.clone(), entry);
        self.tell(&desktop.id);
        Ok(desktop)
    }

    /// Takes a port for a desktop and listens there, if the server runs. Another program may take
    /// a port between the look at it and that: then the next one is taken.
    fn take_port(&self, id: &DesktopId) -> Result<(u16, Option<SocketAddr>), DesktopsError> {
        let mut lost = Vec::new();
        loop {
            let at = self.config.address;
            let usable = |port| !lost.contains(&port) && self.bind(at, port).is_ok();
            let port = self.known().ports.take(usable)?;
            if lock(&self.server).is_none() {
                return Ok((port, None));
            }
            let endpoint = Endpoint::Desktop(id.to_string());
            match self.open_port(endpoint, (at, port).into()) {
                Ok(address) => return Ok((port, Some(address))),
                Err(why) if lost.len() < PORTS_LOST_MAX => {
                    tracing::info!(port, why, "a port was taken by another program");
                    self.known().ports.give_back(port);
                    lost.push(port);
                }
                Err(why) => {
                    self.known().ports.give_back(port);
                    return Err(DesktopsError::Failed(why));
                }
            }
        }
    }

    pub(super) fn close_port(&self, id: &DesktopId) {
        if let Some(server) = &*lock(&self.server) {
            let _ended = server.close(Endpoint::Desktop(id.to_string()));
        }
    }

    /// Whether a port can be listened on now.
    fn bind(&self, at: IpAddr, port: u16) -> std::io::Result<()> {
        TcpListener::bind((at, port))
            .or_else(|error| match at.is_unspecified() && at.is_ipv6() {
                true => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
                false => Err(error),
            })
            .map(drop)
    }

    /// Changes a desktop. What a running session stands on changes with its next session. Blocks.
    ///
    /// # Errors
    /// What does not fit, or from the index.
    pub fn change(
        &self,
        id: &DesktopId,
        change: impl FnOnce(&mut Desktop) -> Result<(), DesktopsError>,
    ) -> Result<Desktop, DesktopsError> {
        let _alone = lock(&self.change);
        let mut desktop = self.entry(id, |entry| entry.desktop.clone())?;
        change(&mut desktop)?;
        desktop.definition.validate()?;
        launch::limits(&self.config, &desktop.limits).validate()?;
        check_retention(&desktop.retention)?;
        let name = &desktop.definition.name;
        let taken = |known: &Known| {
            known
                .desktops
                .values()
                .any(|e| e.desktop.definition.name == *name && e.desktop.id != *id)
        };
        if taken(&self.known()) {
            return Err(DesktopsError::NameTaken(name.clone()));
        }
        self.stored.put(&desktop)?;
        self.entry(id, |entry| entry.desktop = desktop.clone())?;
        self.tell(id);
        Ok(desktop)
    }

    /// Ends a desktop with its session, revokes what opens it, and forgets it.
    ///
    /// # Errors
    /// [`DesktopsError::NoSuch`], or from the index.
    pub async fn remove(self: &Arc<Self>, id: &DesktopId) -> Result<Desktop, DesktopsError> {
        self.stop(id).await?;
        let (this, id) = (Arc::clone(self), id.clone());
        blocking(move || {
            let _alone = lock(&this.change);
            this.revoke_all(&id)?;
            this.stored.remove(&id)?;
            let mut known = this.known();
            let entry = known.desktops.remove(&id);
            let entry = entry.ok_or_else(|| DesktopsError::NoSuch("desktop", id.to_string()))?;
            known.ports.give_back(entry.desktop.port);
            drop(known);
            // Whoever looks again finds it gone.
            this.herald.events.publish(Topic::Desktop, &view_of(&entry));
            Ok(entry.desktop)
        })
        .await
    }
}

/// A number that no other desktop has, drawn by lot: desktops of another data directory on this
/// machine have numbers too, and what runs as one number's users belongs to one desktop.
fn free_index(used: &[u16]) -> Result<u16, DesktopsError> {
    let mut random = [0; 2];
    fill(&mut random)?;
    let most = u16::try_from(DESKTOPS_MAX).unwrap_or(u16::MAX);
    let first = u16::from_be_bytes(random) % most;
    let all = (0..most).map(|step| (first + step) % most);
    all.into_iter().find(|index| !used.contains(index)).ok_or(DesktopsError::TooMany)
}
