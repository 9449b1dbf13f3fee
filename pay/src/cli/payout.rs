//! `lucid-pay payout`: everything goes through the socket of the running process.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use lucid_pay_api::{
    Approval, Batch, BatchRequest, BatchSummary, Estimate, KycApproval, MicroUsdt, Payout,
    PayoutKind, PayoutPage, PayoutRequest, PayoutState, Refusal, Route, StatementFormat, Why,
    route,
};
use serde::de::DeserializeOwned;

use super::exit::{Exit, coded};
use super::{Context, block_on, output};

/// Longest file of a batch or an approval, in bytes.
const FILE_BYTES_MAX: usize = lucid_pay_api::REQUEST_BYTES_MAX;

/// Longest amount that is worth repeating in an error, in bytes.
const AMOUNT_BYTES_MAX: usize = 24;

/// Asks for payouts and shows where they stand.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Asks for a payout; asking again with the same key is asking once
    Request(Request),
    /// What a payout would cost; nothing is recorded
    Estimate(Request),
    /// Asks for all payouts of a JSON file, or none: {"idempotency_key": …, "payouts": […]}
    Batch {
        /// The file; - is standard input
        file: PathBuf,
        /// Who asks for those that do not say it
        #[arg(long)]
        by: Option<String>,
    },
    /// Lists the batches, or shows one
    Batches {
        /// Id of a batch
        id: Option<String>,
    },
    /// Lists payouts, newest first
    List {
        /// Only those in this state
        #[arg(long)]
        state: Option<String>,
        /// Only those of this payee
        #[arg(long)]
        payee: Option<String>,
        /// Only those of this batch
        #[arg(long)]
        batch: Option<String>,
        /// Most rows, 1 to 500
        #[arg(long, default_value_t = 100)]
        limit: u32,
        /// Continue after this payout
        #[arg(long)]
        after: Option<String>,
    },
    /// Shows a payout and every state it took
    Show {
        /// Its id
        id: String,
    },
    /// A second person's yes
    Approve {
        /// Its id
        id: String,
        /// Who approves; must not be who asked
        #[arg(long)]
        by: Option<String>,
    },
    /// Ends a payout for which nothing is signed
    Reject {
        /// Its id
        id: String,
        /// Why
        #[arg(long)]
        reason: String,
        /// Who rejects
        #[arg(long)]
        by: Option<String>,
    },
    /// Lets a failed payout be tried again
    Retry {
        /// Its id
        id: String,
        /// Who lets it
        #[arg(long)]
        by: Option<String>,
    },
    /// Why is this waiting?
    Why {
        /// Its id
        id: String,
    },
    /// The statement of a month
    Statements {
        /// Month as YYYY-MM, in UTC [default: this month]
        #[arg(long)]
        month: Option<String>,
        /// Only this payee
        #[arg(long)]
        payee: Option<String>,
        /// Form
        #[arg(long, default_value = "csv")]
        format: Format,
    },
}

/// Form of a statement.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Format {
    /// RFC 4180
    Csv,
    /// A page to print
    Html,
    /// JSON
    Json,
}

/// One request.
#[derive(Debug, Args)]
pub struct Request {
    /// Payee's address
    #[arg(long)]
    payee: String,
    /// USDT, such as 12.5
    #[arg(long)]
    amount: String,
    /// Why it is paid; stands in the statement
    #[arg(long)]
    reason: String,
    /// Stands for this payout for ever; choose it before asking
    #[arg(long)]
    key: String,
    /// BLAKE3 or SHA-256 of what it is paid for, 64 hexadecimal digits
    #[arg(long)]
    evidence: Option<String>,
    /// Way the money takes: direct, router or kyc
    #[arg(long, default_value = "direct", value_parser = ["direct", "router", "kyc"])]
    route: String,
    /// JSON file with the compliance key's approval
    #[arg(long, value_name = "FILE")]
    kyc: Option<PathBuf>,
    /// Who asks
    #[arg(long)]
    by: Option<String>,
}

/// Who acts on the command line when nobody is named: the user.
pub fn by(given: Option<String>) -> String {
    let user = || std::env::var("USER").unwrap_or_else(|_| "operator".to_owned());
    given.unwrap_or_else(user)
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    use std::io::Read;
    let shown = path.display();
    let unfit = |text: String| coded(Exit::Data, format!("{shown}: {text}"));
    let mut reader: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(path).map_err(|error| unfit(error.to_string()))?)
    };
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    reader.by_ref().take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(unfit(format!("longer than {FILE_BYTES_MAX} bytes; send several batches")));
    }
    serde_json::from_slice(&bytes).map_err(|error| unfit(error.to_string()))
}

impl Request {
    fn build(self) -> anyhow::Result<PayoutRequest> {
        let amount: MicroUsdt = match self.amount.parse() {
            Ok(amount) => amount,
            Err(_) if self.amount.len() > AMOUNT_BYTES_MAX => {
                return Err(coded(Exit::Data, "--amount: too long; write USDT such as 12.5"));
            }
            Err(error) => return Err(coded(Exit::Data, format!("--amount: {error}"))),
        };
        let kyc: Option<KycApproval> = self.kyc.as_deref().map(read).transpose()?;
        Ok(PayoutRequest {
            idempotency_key: self.key,
            payee: self.payee,
            amount_micro: amount,
            reason: self.reason,
            evidence_hash: self.evidence,
            wallet: None,
            route: match self.route.as_str() {
                "router" => Route::Router,
                "kyc" => Route::Kyc,
                _ => Route::Direct,
            },
            kind: PayoutKind::Payment,
            basis: None,
            kyc,
            requested_by: Some(by(self.by)),
        })
    }
}

/// A text as it stands in a path or query, everything odd escaped.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'-' | b'_' | b'.' => out.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn word(state: PayoutState) -> String {
    let value = serde_json::to_value(state).ok();
    value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn show(context: &Context, payout: &Payout) -> anyhow::Result<Exit> {
    output::show(context.json, payout, || {
        let mut text = format!(
            "{}  {}  to {}\n{} since {}: {}\n{}",
            payout.id,
            payout.amount_micro,
            payout.payee,
            word(payout.state),
            lucid_pay::ledger::utc(payout.since_ms),
            payout.cause,
            payout.reason
        );
        if let Some(txid) = &payout.txid {
            text.push_str(&format!("\ntransaction {txid}"));
        }
        if let Some(burned) = payout.fee_sun {
            text.push_str(&format!("\nburned {burned}"));
        }
        if let Some(used) = &payout.used {
            text.push_str(&format!(
                "\nenergy {} ({} burned for it), bandwidth {} ({} burned for it)",
                used.energy, used.energy_sun, used.bandwidth, used.bandwidth_sun
            ));
        }
        for step in &payout.steps {
            let at = lucid_pay::ledger::utc(step.at_ms);
            text.push_str(&format!("\n  {at}  {:9}  {}", word(step.state), step.cause));
        }
        text
    })?;
    Ok(Exit::Success)
}

fn batch(context: &Context, batch: &Batch) -> anyhow::Result<Exit> {
    output::show(context.json, batch, || {
        format!("{}\n{}", summary(&batch.summary), rows(&batch.items))
    })?;
    Ok(Exit::Success)
}

fn summary(batch: &BatchSummary) -> String {
    format!(
        "batch {}: {} of {} confirmed, {} failed, {} of {}",
        batch.id,
        batch.confirmed,
        batch.payouts,
        batch.failed,
        batch.confirmed_micro,
        batch.total_micro
    )
}

fn rows(payouts: &[Payout]) -> String {
    let rows: Vec<_> = payouts
        .iter()
        .map(|payout| {
            vec![
                payout.id.clone(),
                word(payout.state),
                payout.amount_micro.to_string(),
                payout.payee.clone(),
                payout.cause.clone(),
            ]
        })
        .collect();
    output::table(&["payout", "state", "amount", "payee", "because"], &rows)
}

/// Does it.
pub fn run(context: &Context, command: Command) -> anyhow::Result<Exit> {
    let client = context.client();
    let path = |id: &str, rest: &str| format!("{}/{}{rest}", route::PAYOUTS, escaped(id));
    block_on(async {
        match command {
            Command::Request(request) => {
                let payout: Payout = client.post(route::PAYOUTS, &request.build()?).await?;
                show(context, &payout)
            }
            Command::Estimate(request) => {
                let found: Estimate = client.post(route::ESTIMATE, &request.build()?).await?;
                output::show(context.json, &found, || {
                    let mut text = format!(
                        "reaches the payee {}\nfee kept {}\nenergy {}, bandwidth {}, burned {}",
                        found.net_micro,
                        found.fee_micro,
                        found.energy,
                        found.bandwidth,
                        found.burned_sun
                    );
                    if found.needs_approval {
                        text.push_str("\na second person must approve it");
                    }
                    if let Some(why) = &found.held_because {
                        text.push_str(&format!("\nit would wait: {why}"));
                    }
                    text
                })?;
                Ok(Exit::Success)
            }
            Command::Batch { file, by: who } => {
                let mut asked: BatchRequest = read(&file)?;
                // Whoever asks must not be the second person, so it must be known who that is.
                let by = by(who);
                for payout in &mut asked.payouts {
                    payout.requested_by.get_or_insert_with(|| by.clone());
                }
                let found: Batch = client.post(route::BATCHES, &asked).await?;
                batch(context, &found)
            }
            Command::Batches { id: Some(id) } => {
                let path = format!("{}/{}", route::BATCHES, escaped(&id));
                let found: Batch = client.get(&path).await?;
                batch(context, &found)
            }
            Command::Batches { id: None } => {
                let found: Vec<BatchSummary> = client.get(route::BATCHES).await?;
                output::show(context.json, &found, || {
                    found.iter().map(|batch| summary(batch) + "\n").collect()
                })?;
                Ok(Exit::Success)
            }
            Command::List { state, payee, batch, limit, after } => {
                let mut query = format!("{}?limit={limit}", route::PAYOUTS);
                for (name, text) in
                    [("state", state), ("payee", payee), ("batch", batch), ("after", after)]
                {
                    if let Some(text) = text {
                        query.push_str(&format!("&{name}={}", escaped(&text)));
                    }
                }
                let found: PayoutPage = client.get(&query).await?;
                output::show(context.json, &found, || rows(&found.payouts))?;
                Ok(Exit::Success)
            }
            Command::Show { id } => {
                let payout: Payout = client.get(&path(&id, "")).await?;
                show(context, &payout)
            }
            Command::Approve { id, by: who } => {
                let by = by(who);
                let payout: Payout = client.post(&path(&id, "/approve"), &Approval { by }).await?;
                show(context, &payout)
            }
            Command::Reject { id, reason, by: who } => {
                let refusal = Refusal { by: by(who), reason };
                let payout: Payout = client.post(&path(&id, "/refuse"), &refusal).await?;
                show(context, &payout)
            }
            Command::Retry { id, by: who } => {
                let by = by(who);
                let payout: Payout = client.post(&path(&id, "/retry"), &Approval { by }).await?;
                show(context, &payout)
            }
            Command::Why { id } => {
                let why: Why = client.get(&path(&id, "/why")).await?;
                output::show(context.json, &why, || {
                    let until = why
                        .until_ms
                        .map(|at| format!("\nUntil {} at the latest.", lucid_pay::ledger::utc(at)));
                    format!(
                        "{}: {}\nNext: {}{}",
                        word(why.state),
                        why.because,
                        why.next,
                        until.unwrap_or_default()
                    )
                })?;
                Ok(Exit::Success)
            }
            Command::Statements { month, payee, format } => {
                let now = lucid_pay::service::now_ms();
                let month = month.unwrap_or_else(|| lucid_pay::ledger::Month::of(now).to_string());
                let format = match format {
                    _ if context.json => StatementFormat::Json,
                    Format::Csv => StatementFormat::Csv,
                    Format::Html => StatementFormat::Html,
                    Format::Json => StatementFormat::Json,
                };
                let format = serde_json::to_value(format)?;
                let mut query = format!(
                    "{}?month={}&format={}",
                    route::STATEMENTS,
                    escaped(&month),
                    format.as_str().unwrap_or_default()
                );
                if let Some(payee) = payee {
                    query.push_str(&format!("&payee={}", escaped(&payee)));
                }
                let (_, text) = client.get_raw(&query).await?;
                output::print(&String::from_utf8_lossy(&text))?;
                Ok(Exit::Success)
            }
        }
    })
}
