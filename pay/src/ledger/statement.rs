//! A payee's statement: one line per payout, each saying why it was paid or why not yet; as CSV and
//! as HTML to print.

use super::{Account, Ledger};
use crate::payout::book::{Book, State};
use crate::payout::types::{Address, Millis, PayoutId, Usdt};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

/// One payout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The payout.
    pub payout: PayoutId,
    /// When it was asked for.
    pub at: Millis,
    /// The request's reason.
    pub reason: String,
    /// Credits and their rate, for a node's reward.
    pub credits: Option<(u64, Usdt)>,
    /// What was asked.
    pub gross: Usdt,
    /// Fee kept, of rows.
    pub fee: Usdt,
    /// What reached the payee, of rows.
    pub net: Usdt,
    /// The state's name.
    pub state: &'static str,
    /// Why it is in that state.
    pub why: String,
    /// Its last transaction, in hex.
    pub transaction: String,
}

/// A payee's payouts asked for in a span of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The payee, as shown to people.
    pub payee: String,
    /// The lines, oldest first.
    pub lines: Vec<Line>,
}

impl Statement {
    /// The payouts of `payee` asked for in `from..to`. `name` is how the payee is shown.
    pub fn new(
        ledger: &Ledger,
        book: &Book,
        payee: Address,
        name: &str,
        (from, to): (Millis, Millis),
    ) -> Self {
        let mut sums: HashMap<PayoutId, (u64, u64)> = HashMap::new();
        for row in ledger.rows() {
            let Some(id) = row.payout else { continue };
            match (row.debit, row.credit) {
                (Account::UnderWay, Account::Wallet) => sums.entry(id).or_default().0 += row.amount,
                (Account::UnderWay, Account::Fees) => sums.entry(id).or_default().1 += row.amount,
                _ => {}
            }
        }
        let mut lines: BTreeMap<(Millis, PayoutId), Line> = BTreeMap::new();
        for (id, payout) in &book.payouts {
            let at = payout.history.first().map_or(0, |change| change.at);
            if payout.request.payee != payee || at < from || at >= to {
                continue;
            }
            let (net, fee) = sums.get(id).copied().unwrap_or_default();
            let credits = payout.request.credits.as_ref();
            lines.insert(
                (at, *id),
                Line {
                    payout: *id,
                    at,
                    reason: payout.request.reason.clone(),
                    credits: credits.map(|credits| (credits.credits, credits.rate)),
                    gross: payout.request.amount,
                    fee: Usdt::from_units(fee).unwrap_or(Usdt::MAX),
                    net: Usdt::from_units(net).unwrap_or(Usdt::MAX),
                    state: payout.state().name(),
                    why: match payout.state() {
                        State::Confirmed => "paid".to_owned(),
                        _ => format!("not yet: {}", payout.cause()),
                    },
                    transaction: payout
                        .attempts
                        .last()
                        .map(ToString::to_string)
                        .unwrap_or_default(),
                },
            );
        }
        Self { payee: name.to_owned(), lines: lines.into_values().collect() }
    }

    /// Gross, fee and net of all lines.
    pub fn totals(&self) -> (Usdt, Usdt, Usdt) {
        self.lines.iter().fold(<(Usdt, Usdt, Usdt)>::default(), |mut sum, line| {
            sum.0 = sum.0.saturating_add(line.gross);
            sum.1 = sum.1.saturating_add(line.fee);
            sum.2 = sum.2.saturating_add(line.net);
            sum
        })
    }

    fn cells(line: &Line) -> [String; 11] {
        let (credits, rate) = line
            .credits
            .map(|(credits, rate)| (credits.to_string(), rate.fixed()))
            .unwrap_or_default();
        [
            line.payout.to_string(),
            line.at.to_string(),
            line.reason.clone(),
            credits,
            rate,
            line.gross.fixed(),
            line.fee.fixed(),
            line.net.fixed(),
            line.state.to_owned(),
            line.why.clone(),
            line.transaction.clone(),
        ]
    }

    /// RFC 4180, with a header and a total. A cell that a spreadsheet would run is kept text.
    pub fn csv(&self) -> String {
        let mut text = format!("{}\r\n", COLUMNS.join(","));
        for line in &self.lines {
            let cells: Vec<String> = Self::cells(line).iter().map(|cell| quote(cell)).collect();
            let _ = write!(text, "{}\r\n", cells.join(","));
        }
        let (gross, fee, net) = self.totals();
        let [gross, fee, net] = [gross, fee, net].map(Usdt::fixed);
        let _ = write!(text, "total,,,,,{gross},{fee},{net},,,\r\n");
        text
    }

    /// A page to print.
    pub fn html(&self) -> String {
        let payee = escape(&self.payee);
        let mut text = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Statement of {payee}\
             </title><style>body{{font:11pt sans-serif}}table{{border-collapse:collapse}}\
             td,th{{border:1px solid #999;padding:2pt 4pt;text-align:left;\
             overflow-wrap:anywhere}}</style><h1>Statement</h1><p>Payee {payee}</p><table><tr>"
        );
        for column in COLUMNS {
            let _ = write!(text, "<th>{column}</th>");
        }
        text.push_str("</tr>");
        for line in &self.lines {
            text.push_str("<tr>");
            for cell in Self::cells(line) {
                let _ = write!(text, "<td>{}</td>", escape(&cell));
            }
            text.push_str("</tr>");
        }
        let (gross, fee, net) = self.totals();
        let [gross, fee, net] = [gross, fee, net].map(Usdt::fixed);
        let _ = write!(
            text,
            "<tr><th colspan=\"5\">total</th><th>{gross}</th><th>{fee}</th><th>{net}</th>\
             <th colspan=\"3\"></th></tr></table></html>"
        );
        text
    }
}

const COLUMNS: [&str; 11] = [
    "payout",
    "requested_ms",
    "reason",
    "credits",
    "rate_usdt",
    "gross_usdt",
    "fee_usdt",
    "net_usdt",
    "state",
    "why",
    "transaction",
];

fn quote(cell: &str) -> String {
    let runs = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let cell = if runs { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_text_in_both_forms() {
        assert_eq!(quote("=1+1"), "'=1+1");
        assert_eq!(quote("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(escape("<script>&\""), "&lt;script&gt;&amp;&quot;");
    }
}
