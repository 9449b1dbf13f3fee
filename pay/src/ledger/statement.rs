//! Statements: one line per payout, each saying why it was paid or why not yet; as CSV and as HTML
//! to print.
//!
//! A payout stands in the month in which it took the state it is in. So every payout is in exactly
//! one month, and the line of one that is over never moves.

use super::{Account, Ledger, Month};
use crate::payout::book::{Book, State};
use crate::payout::types::{Address, Credits, Millis, PayoutId, Usdt};
use crate::tron::Sun;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

/// One payout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The payout.
    pub payout: PayoutId,
    /// Who gets it.
    pub payee: Address,
    /// When it was asked for.
    pub requested: Millis,
    /// When it took the state it is in.
    pub since: Millis,
    /// The request's reason.
    pub reason: String,
    /// Credits and their rate, for a node's reward.
    pub credits: Option<Credits>,
    /// What was asked.
    pub gross: Usdt,
    /// Fee kept, of rows.
    pub fee: Usdt,
    /// What reached the payee, of rows.
    pub net: Usdt,
    /// TRX burned.
    pub burned: Sun,
    /// Where it stands.
    pub state: State,
    /// Why it is in that state.
    pub why: String,
    /// Its last transaction, in hex.
    pub transaction: String,
}

/// The payouts of a month, of one payee or of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The month.
    pub month: Month,
    /// The payee, or all.
    pub payee: Option<Address>,
    /// The lines, oldest first.
    pub lines: Vec<Line>,
}

impl Statement {
    /// The payouts that took their present state in `month`.
    pub fn new(ledger: &Ledger, book: &Book, payee: Option<Address>, month: Month) -> Self {
        let (from, to) = month.span();
        let mut sums: HashMap<PayoutId, (u64, u64)> = HashMap::new();
        for row in ledger.rows() {
            let Some(id) = row.payout else { continue };
            match (row.debit, row.credit) {
                (Account::UnderWay, Account::Wallet) => sums.entry(id).or_default().0 += row.amount,
                (Account::UnderWay, Account::Fees) => sums.entry(id).or_default().1 += row.amount,
                _ => {}
            }
        }
        let mut lines: BTreeMap<(Millis, u64), Line> = BTreeMap::new();
        for (id, payout) in &book.payouts {
            let since = payout.history.last().map_or(0, |change| change.at);
            let request = &payout.request;
            if payee.is_some_and(|payee| payee != request.payee) || since < from || since >= to {
                continue;
            }
            let (net, fee) = sums.get(id).copied().unwrap_or_default();
            let line = Line {
                payout: *id,
                payee: request.payee,
                requested: payout.history.first().map_or(0, |change| change.at),
                since,
                reason: request.reason.clone(),
                credits: request.credits.clone(),
                gross: request.amount,
                fee: Usdt::from_units(fee).unwrap_or(Usdt::MAX),
                net: Usdt::from_units(net).unwrap_or(Usdt::MAX),
                burned: Sun::from_units(payout.burned_sun.unwrap_or(0)).unwrap_or(Sun::MAX),
                state: payout.state(),
                why: match payout.state() {
                    State::Confirmed => format!("paid: {}", payout.cause()),
                    State::Failed => format!("not paid: {}", payout.cause()),
                    _ => format!("not yet: {}", payout.cause()),
                },
                transaction: payout.attempts.last().map(ToString::to_string).unwrap_or_default(),
            };
            lines.insert((since, payout.number), line);
        }
        Self { month, payee, lines: lines.into_values().collect() }
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

    fn cells(line: &Line) -> [String; 14] {
        let (credits, rate) = line
            .credits
            .as_ref()
            .map(|credits| (credits.credits.to_string(), credits.rate.to_string()))
            .unwrap_or_default();
        [
            line.payout.to_string(),
            line.payee.to_string(),
            super::month::utc(line.requested),
            super::month::utc(line.since),
            line.reason.clone(),
            credits,
            rate,
            line.gross.to_string(),
            line.fee.to_string(),
            line.net.to_string(),
            line.burned.to_string(),
            line.state.name().to_owned(),
            line.why.clone(),
            line.transaction.clone(),
        ]
    }

    fn total_cells(&self) -> [String; 4] {
        let (gross, fee, net) = self.totals();
        let burned: Sun = self.lines.iter().map(|line| line.burned).sum();
        [gross.to_string(), fee.to_string(), net.to_string(), burned.to_string()]
    }

    /// RFC 4180, with a header and a total. A cell that a spreadsheet would run is kept text.
    pub fn csv(&self) -> String {
        let mut text = format!("{}\r\n", COLUMNS.join(","));
        for line in &self.lines {
            let cells: Vec<String> = Self::cells(line).iter().map(|cell| quote(cell)).collect();
            let _ = write!(text, "{}\r\n", cells.join(","));
        }
        let _ = write!(text, "total,,,,,,,{},,,\r\n", self.total_cells().join(","));
        text
    }

    /// A page to print.
    pub fn html(&self) -> String {
        let payee = self.payee.map_or("all payees".to_owned(), |payee| payee.to_string());
        let (payee, month) = (escape(&payee), self.month);
        let mut text = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <title>Statement {month}, {payee}</title><style>\
             @page{{size:A4 landscape;margin:12mm}}body{{font:9pt sans-serif}}\
             table{{border-collapse:collapse;width:100%}}td,th{{border:1px solid #999;\
             padding:2pt 4pt;text-align:left;vertical-align:top;overflow-wrap:anywhere}}\
             tr{{break-inside:avoid}}thead{{display:table-header-group}}</style></head><body>\
             <h1>Statement {month}</h1><p>Payee: {payee}. Times are UTC; a payout stands in the \
             month in which it took its present state.</p><table><thead><tr>"
        );
        for column in COLUMNS {
            let _ = write!(text, "<th>{}</th>", column.replace('_', " "));
        }
        text.push_str("</tr></thead><tbody>");
        for line in &self.lines {
            text.push_str("<tr>");
            for cell in Self::cells(line) {
                let _ = write!(text, "<td>{}</td>", escape(&cell));
            }
            text.push_str("</tr>");
        }
        text.push_str("<tr><th colspan=\"7\">total</th>");
        for cell in self.total_cells() {
            let _ = write!(text, "<th>{cell}</th>");
        }
        text.push_str("<th colspan=\"3\"></th></tr></tbody></table></body></html>\n");
        text
    }
}

const COLUMNS: [&str; 14] = [
    "payout",
    "payee",
    "requested_utc",
    "since_utc",
    "reason",
    "credits",
    "rate_usdt",
    "gross_usdt",
    "fee_usdt",
    "net_usdt",
    "burned_trx",
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
