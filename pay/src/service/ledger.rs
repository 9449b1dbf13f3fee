//! The Ledger at this machine, if this process was built for one.

use lucid_pay_api::{LedgerPresence, LedgerState};

fn state(presence: LedgerPresence, detail: impl Into<String>) -> LedgerState {
    LedgerState { presence, detail: detail.into(), app: None, custom_contracts: None }
}

/// What is plugged in. It blocks while the device answers.
#[cfg(feature = "ledger")]
pub(super) fn look() -> LedgerState {
    use crate::hardware::{Ledger, hid::UsbLedger};
    let device = match UsbLedger::open() {
        Ok(device) => device,
        Err(error) => return state(LedgerPresence::Absent, error.to_string()),
    };
    match Ledger::new(device).app() {
        Ok(app) => {
            let (major, minor, patch) = app.version;
            let detail = match app.custom_contracts {
                true => "its TRON app is open",
                false => {
                    "its TRON app is open; USDT can be signed, and contracts it does not know need \
                     its setting for custom contracts"
                }
            };
            LedgerState {
                app: Some(format!("{major}.{minor}.{patch}")),
                custom_contracts: Some(app.custom_contracts),
                ..state(LedgerPresence::Ready, detail)
            }
        }
        Err(error) => state(LedgerPresence::Closed, format!("open its TRON app: {error}")),
    }
}

/// What is plugged in.
#[cfg(not(feature = "ledger"))]
pub(super) fn look() -> LedgerState {
    let detail = "this lucid-pay was built without Ledger; sign at a machine whose lucid-pay has \
                  it (`--features ledger`), and bring the proposal back";
    state(LedgerPresence::NotBuilt, detail)
}
