//! The fault dial: what goes wrong, on which calls, how often.

use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault", deny_unknown_fields)]
pub enum Fault {
    /// The answer comes late.
    Latency {
        /// By how much, in milliseconds.
        ms: u64,
    },
    /// A status such as 429, 403 or 503 instead of an answer; the call is not executed.
    Status {
        /// The status.
        status: u16,
    },
    /// The call is executed and the connection breaks before the answer.
    LoseAnswer,
    /// The connection breaks and nothing is executed.
    LoseRequest,
    /// A broadcast is answered with this code; nothing is executed.
    Code {
        /// Name of the response code, such as `SERVER_BUSY`.
        code: String,
    },
    /// A broadcast is executed and yet answered with this code, as `OTHER_ERROR` may.
    ExecuteAndCode {
        /// Name of the response code.
        code: String,
    },
    /// A broadcast is answered with success and forgotten.
    Forget,
    /// Balances of TRX and the token are answered with this, in the smallest unit.
    Balance {
        /// The lie.
        amount: i64,
    },
    /// A receipt of another transaction is answered.
    WrongReceipt,
    /// `{}` is answered.
    Empty,
    /// Plain text is answered, with status 200.
    Garbage,
}

/// A fault and where it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Last part of the path, such as `broadcasthex`; all calls if absent.
    #[serde(default)]
    pub call: Option<String>,
    /// Only under `/walletsolidity/`, or only under `/wallet/`; both if absent.
    #[serde(default)]
    pub solid: Option<bool>,
    /// How often; for ever if absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// Calls left alone before.
    #[serde(default)]
    pub after: u32,
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: Fault,
}

/// All rules.
#[derive(Debug, Default)]
pub struct Dial {
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

impl Dial {
    /// The faults of one call; counts them.
    pub fn of(&mut self, call: &str, solid: bool) -> Vec<Fault> {
        let mut found = Vec::new();
        for rule in &mut self.rules {
            let here = rule.call.as_deref().is_none_or(|name| name == call)
                && rule.solid.is_none_or(|only| only == solid);
            if !here || rule.times == Some(0) {
                continue;
            }
            if rule.after > 0 {
                rule.after -= 1;
                continue;
            }
            rule.times = rule.times.map(|times| times - 1);
            found.push(rule.fault.clone());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_counts_and_keeps_to_its_calls() {
        let rules = r#"[{"call":"broadcasthex","times":2,"after":1,"fault":"lose-answer"},
                        {"solid":true,"fault":"status","status":503}]"#;
        let mut dial = Dial { rules: serde_json::from_str(rules).unwrap() };
        assert_eq!(dial.of("broadcasthex", false), []);
        assert_eq!(dial.of("getaccount", false), []);
        assert_eq!(dial.of("broadcasthex", false), [Fault::LoseAnswer]);
        assert_eq!(dial.of("broadcasthex", false), [Fault::LoseAnswer]);
        assert_eq!(dial.of("broadcasthex", false), []);
        assert_eq!(dial.of("getaccount", true), [Fault::Status { status: 503 }]);
    }
}
