//! The life of one session's connection: `step(event, now) -> effects`.
//!
//! A session begins when its first client has signed in, and ends once. In between clients may
//! lose their connection and come back within the grace time, be replaced by another client of the
//! owner, or hand over to another owner: the session, its id and its recording go on. Time comes in
//! as an argument; the driver calls [`Controller::step`] with [`Input::Tick`] when
//! [`Controller::due_us`] says so.

use std::fmt;

/// Names one client connection within the process; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientId(pub u64);

/// In which state a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// A client is there and has not signed in.
    Connecting,
    /// Signed in; the notice is shown and not accepted yet.
    Connected,
    /// The worker works.
    Active,
    /// Connected, no input for the idle time.
    Idle,
    /// No client; the worker may come back within the grace time.
    Disconnected,
    /// Over, for good.
    Terminated,
}

impl State {
    /// All states, in the order of their codes.
    pub const ALL: [State; 6] = [
        State::Connecting,
        State::Connected,
        State::Active,
        State::Idle,
        State::Disconnected,
        State::Terminated,
    ];

    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Connecting => "connecting",
            State::Connected => "connected",
            State::Active => "active",
            State::Idle => "idle",
            State::Disconnected => "disconnected",
            State::Terminated => "terminated",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The worker signed out or the session command ended.
    LoggedOut,
    /// Nobody came back within the grace time.
    GraceOver,
    /// The notice was refused, or not accepted in time.
    NoticeRefused,
    /// An operator ended it.
    Operator,
    /// Its policy is not the anchored one.
    Void,
    /// The desktop's X server or the recording ended.
    DesktopLost,
    /// Signing in took too long.
    SignInTimeout,
    /// Longest length reached.
    TooLong,
    /// The device was stopped.
    Shutdown,
}

impl Ending {
    /// The stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Ending::LoggedOut => "logged out",
            Ending::GraceOver => "nobody came back in time",
            Ending::NoticeRefused => "notice not accepted",
            Ending::Operator => "ended by an operator",
            Ending::Void => "policy is not the anchored one",
            Ending::DesktopLost => "desktop lost",
            Ending::SignInTimeout => "sign-in took too long",
            Ending::TooLong => "longest length reached",
            Ending::Shutdown => "the device was stopped",
        }
    }
}

/// How long things may take, microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// From the first byte until signed in.
    pub sign_in_us: u64,
    /// For accepting the notice.
    pub notice_us: u64,
    /// Without input until the session counts as idle.
    pub idle_us: u64,
    /// For coming back after a connection is lost.
    pub grace_us: u64,
    /// Between keep-alives to a client that says nothing.
    pub keep_alive_us: u64,
    /// Without any sign of a client until its connection counts as dead.
    pub dead_us: u64,
    /// Longest session.
    pub longest_us: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            sign_in_us: 30_000_000,
            notice_us: 120_000_000,
            idle_us: 300_000_000,
            grace_us: 600_000_000,
            keep_alive_us: 10_000_000,
            dead_us: 35_000_000,
            longest_us: 24 * 3_600_000_000,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A client signed in as `user`; credentials were checked before.
    SignedIn {
        /// The client.
        client: ClientId,
        /// Its user.
        user: String,
    },
    /// The client accepted the notice.
    NoticeAccepted(ClientId),
    /// The client refused the notice.
    NoticeRefused(ClientId),
    /// A key or the pointer.
    Activity(ClientId),
    /// Any other sign that the client is there.
    Alive(ClientId),
    /// The client's connection ended.
    Closed(ClientId),
    /// An operator gives the session to another user.
    Transfer {
        /// The new owner.
        to: String,
    },
    /// An end from outside.
    End(Ending),
    /// Time has passed.
    Tick,
}

/// What the driver must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Record that this state was entered.
    Entered(State),
    /// Show the notice to the client; nothing of the desktop before it is accepted.
    ShowNotice(ClientId),
    /// Send the desktop to the client and take its input.
    Attach(ClientId),
    /// The session goes on with a client that came back.
    Resumed(ClientId),
    /// Another client took over.
    TakenOver {
        /// Who had it.
        from: ClientId,
        /// Who has it.
        by: ClientId,
    },
    /// Another user owns the session.
    Transferred {
        /// Who had it.
        from: String,
        /// Who has it.
        to: String,
    },
    /// Close the client's connection and say why.
    Close(ClientId, &'static str),
    /// Send a keep-alive to the client.
    KeepAlive(ClientId),
    /// Turn the client away; the session is not affected.
    Refuse(ClientId, &'static str),
    /// Release all keys and buttons that are held down in the desktop.
    ReleaseInput,
    /// Close the recording; nothing comes after.
    End(Ending),
}

/// A client that is in possession of the session.
#[derive(Debug, Clone, Copy)]
struct Client {
    id: ClientId,
    accepted: bool,
    /// Since when it is signed in.
    since_us: u64,
    seen_us: u64,
    kept_us: u64,
}

/// The state machine of one session.
#[derive(Debug, Clone)]
pub struct Controller {
    timing: Timing,
    state: State,
    owner: Option<String>,
    client: Option<Client>,
    began_us: u64,
    /// Last input of the worker.
    input_us: u64,
    /// Since when there is no client.
    lost_us: u64,
}

impl Controller {
    /// A session whose first client is about to sign in.
    pub fn new(timing: Timing, now_us: u64) -> Self {
        Controller {
            timing,
            state: State::Connecting,
            owner: None,
            client: None,
            began_us: now_us,
            input_us: now_us,
            lost_us: now_us,
        }
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Who owns the session; none before the first client signed in.
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// The client in possession.
    pub fn client(&self) -> Option<ClientId> {
        self.client.map(|client| client.id)
    }

    /// Whether this client's input reaches the desktop and it sees the desktop.
    pub fn is_attached(&self, client: ClientId) -> bool {
        self.client.is_some_and(|one| one.id == client && one.accepted)
    }

    /// When [`Input::Tick`] is due, microseconds of the caller's clock; none when the session is
    /// over.
    pub fn due_us(&self) -> Option<u64> {
        let t = &self.timing;
        let longest = self.began_us.saturating_add(t.longest_us);
        let next = match (self.state, &self.client) {
            (State::Terminated, _) => return None,
            (State::Connecting, _) => self.began_us.saturating_add(t.sign_in_us),
            (_, None) => self.lost_us.saturating_add(t.grace_us),
            (state, Some(client)) => {
                let quiet = client.seen_us.max(client.kept_us).saturating_add(t.keep_alive_us);
                let dead = client.seen_us.saturating_add(t.dead_us);
                let notice = match client.accepted {
                    false => client.since_us.saturating_add(t.notice_us),
                    true => u64::MAX,
                };
                let idle = match state {
                    State::Active => self.input_us.saturating_add(t.idle_us),
                    _ => u64::MAX,
                };
                quiet.min(dead).min(notice).min(idle)
            }
        };
        Some(next.min(longest))
    }

    /// Takes what happened at `now_us`, microseconds of a clock that never jumps.
    pub fn step(&mut self, input: Input, now_us: u64) -> Vec<Effect> {
        let mut effects = Vec::new();
        if self.state == State::Terminated {
            if let Input::SignedIn { client, .. } = input {
                effects.push(Effect::Refuse(client, "the session is over"));
            }
            return effects;
        }
        match input {
            Input::SignedIn { client, user } => self.signed_in(client, user, now_us, &mut effects),
            Input::NoticeAccepted(client) => self.accepted(client, now_us, &mut effects),
            Input::NoticeRefused(client) => {
                if self.client() == Some(client) {
                    self.end(Ending::NoticeRefused, &mut effects);
                }
            }
            Input::Activity(client) => {
                self.seen(client, now_us);
                if self.is_attached(client) {
                    self.input_us = now_us;
                    self.enter(State::Active, &mut effects);
                }
            }
            Input::Alive(client) => self.seen(client, now_us),
            Input::Closed(client) => {
                if self.client() == Some(client) {
                    self.lost(now_us, &mut effects);
                }
            }
            Input::Transfer { to } => self.transfer(to, now_us, &mut effects),
            Input::End(ending) => self.end(ending, &mut effects),
            Input::Tick => self.tick(now_us, &mut effects),
        }
        effects
    }

    fn enter(&mut self, state: State, effects: &mut Vec<Effect>) {
        if self.state != state {
            self.state = state;
            effects.push(Effect::Entered(state));
        }
    }

    fn seen(&mut self, id: ClientId, now_us: u64) {
        if let Some(client) = self.client.as_mut().filter(|client| client.id == id) {
            client.seen_us = client.seen_us.max(now_us);
        }
    }

    fn signed_in(&mut self, id: ClientId, user: String, now_us: u64, effects: &mut Vec<Effect>) {
        if self.client() == Some(id) {
            // One connection signs in once; a second time would have it take over from itself.
            return;
        }
        match &self.owner {
            Some(owner) if *owner != user => {
                effects.push(Effect::Refuse(id, "the session belongs to another user"));
                return;
            }
            Some(_) => {}
            None => self.owner = Some(user),
        }
        let before = self.client.replace(Client {
            id,
            accepted: false,
            since_us: now_us,
            seen_us: now_us,
            kept_us: now_us,
        });
        if let Some(before) = before {
            effects.push(Effect::ReleaseInput);
            effects.push(Effect::TakenOver { from: before.id, by: id });
            effects.push(Effect::Close(before.id, "another client took the session over"));
        } else if self.state == State::Disconnected {
            effects.push(Effect::Resumed(id));
        }
        self.enter(State::Connected, effects);
        // Whoever comes, comes back or takes over is told anew that the session is recorded.
        effects.push(Effect::ShowNotice(id));
    }

    fn accepted(&mut self, id: ClientId, now_us: u64, effects: &mut Vec<Effect>) {
        self.seen(id, now_us);
        let Some(client) = self.client.as_mut().filter(|client| client.id == id) else { return };
        if client.accepted {
            return;
        }
        client.accepted = true;
        self.input_us = now_us;
        effects.push(Effect::Attach(id));
        self.enter(State::Active, effects);
    }

    fn lost(&mut self, now_us: u64, effects: &mut Vec<Effect>) {
        self.client = None;
        self.lost_us = now_us;
        effects.push(Effect::ReleaseInput);
        self.enter(State::Disconnected, effects);
    }

    fn transfer(&mut self, to: String, now_us: u64, effects: &mut Vec<Effect>) {
        let Some(from) = self.owner.clone().filter(|owner| *owner != to) else { return };
        self.owner = Some(to.clone());
        effects.push(Effect::Transferred { from, to });
        if let Some(client) = self.client {
            effects.push(Effect::Close(client.id, "the session was given to another user"));
            self.lost(now_us, effects);
        }
    }

    fn end(&mut self, ending: Ending, effects: &mut Vec<Effect>) {
        if let Some(client) = self.client.take() {
            effects.push(Effect::ReleaseInput);
            effects.push(Effect::Close(client.id, ending.as_str()));
        }
        self.enter(State::Terminated, effects);
        effects.push(Effect::End(ending));
    }

    fn tick(&mut self, now_us: u64, effects: &mut Vec<Effect>) {
        let t = self.timing;
        let over = |since: u64, length: u64| now_us >= since.saturating_add(length);
        if over(self.began_us, t.longest_us) {
            return self.end(Ending::TooLong, effects);
        }
        if self.state == State::Connecting {
            if over(self.began_us, t.sign_in_us) {
                self.end(Ending::SignInTimeout, effects);
            }
            return;
        }
        let Some(client) = self.client.as_mut() else {
            if over(self.lost_us, t.grace_us) {
                self.end(Ending::GraceOver, effects);
            }
            return;
        };
        if over(client.seen_us, t.dead_us) {
            effects.push(Effect::Close(client.id, "no sign of the client"));
            return self.lost(now_us, effects);
        }
        if !client.accepted && over(client.since_us, t.notice_us) {
            return self.end(Ending::NoticeRefused, effects);
        }
        if over(client.seen_us.max(client.kept_us), t.keep_alive_us) {
            client.kept_us = now_us;
            effects.push(Effect::KeepAlive(client.id));
        }
        if self.state == State::Active && over(self.input_us, t.idle_us) {
            self.enter(State::Idle, effects);
        }
    }
}

#[cfg(test)]
mod tests;
