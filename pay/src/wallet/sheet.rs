//! The recovery sheet: one page of HTML to print, with the words numbered and as a QR code. It
//! needs no network, no script and no other file. Whoever holds the page holds the money.

use std::fmt::Write;

use qrcode::{Color, EcLevel, QrCode};
use zeroize::Zeroizing;

use super::record::{Secret, Wallet};
use crate::tron::{hex, key};

/// White modules around a QR code.
const QUIET_MODULES: usize = 4;
/// Room for the page, so that it does not leave copies behind by growing (bytes).
const PAGE_BYTES: usize = 128 * 1024;

/// Why there is no sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// Nothing to recover.
    #[error("a watch-only wallet has nothing to recover: print its address")]
    WatchOnly,
    /// Not a secret of ours.
    #[error("the secret does not fit a QR code")]
    Code,
}

/// The page. `secret` comes from [`super::Wallets::export`].
///
/// # Errors
/// For a watch-only wallet.
pub fn recovery_sheet(wallet: &Wallet, secret: &Secret) -> Result<Zeroizing<String>, SheetError> {
    let mut body = Zeroizing::new(String::with_capacity(PAGE_BYTES));
    match secret {
        Secret::None | Secret::Ledger(_) => return Err(SheetError::WatchOnly),
        Secret::Words { phrase, passphrase, account, index } => {
            body.push_str("<ol>");
            for word in phrase.split(' ') {
                body.push_str("<li>");
                escape(&mut body, word);
                body.push_str("</li>");
            }
            body.push_str("</ol>");
            let path = key::account_path(*account, *index);
            let _ = write!(body, "<p>BIP-39, English. Derivation path <code>");
            escape(&mut body, &path);
            body.push_str("</code>. ");
            body.push_str(if passphrase.is_empty() {
                "No BIP-39 passphrase.</p>"
            } else {
                "<strong>These words need a BIP-39 passphrase, which is not on this \
                 page.</strong></p>"
            });
            qr(&mut body, phrase, "The words as a QR code")?;
        }
        Secret::Key(private) => {
            let bytes = private.to_bytes();
            let digits = Zeroizing::new(hex::encode(&bytes[..]));
            body.push_str("<p>Private key, 64 hexadecimal digits in groups of 8:</p><ol>");
            for at in (0..digits.len()).step_by(8) {
                let _ = write!(body, "<li>{}</li>", &digits[at..at + 8]);
            }
            body.push_str("</ol>");
            qr(&mut body, &digits, "The key as a QR code")?;
        }
    }
    let mut page = Zeroizing::new(String::with_capacity(PAGE_BYTES));
    page.push_str(HEAD);
    page.push_str("<h1>Recovery sheet: ");
    escape(&mut page, wallet.name.as_str());
    let _ = write!(page, "</h1><p>TRON address <code>{}</code></p>", wallet.address);
    page.push_str(
        "<p class=\"warning\">Whoever reads this page can take all money of this wallet. Keep it \
         under lock, on paper only. Never photograph it, never type it into a web page.</p>",
    );
    page.push_str(&body);
    page.push_str(
        "<h2>Try it</h2><p>Import what stands above on another machine and compare the address, \
         before money is sent to it.</p></body></html>\n",
    );
    Ok(page)
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta name=\"referrer\" content=\"no-referrer\">\
<meta http-equiv=\"Content-Security-Policy\" \
content=\"default-src 'none'; style-src 'unsafe-inline'\">\
<title>Recovery sheet</title><style>\
@page{size:A4;margin:18mm}body{font:12pt/1.4 serif;max-width:174mm;margin:0 auto;color:#000;\
background:#fff}h1{font-size:18pt;overflow-wrap:anywhere}code,li{font-family:monospace}\
ol{columns:3;border:1px solid #000;padding:4mm 4mm 4mm 14mm}li{font-size:14pt;padding:1mm 0}\
.warning{border:2px solid #000;padding:3mm;font-weight:bold}svg{width:60mm;height:60mm}\
figure{margin:4mm 0;break-inside:avoid}</style></head><body>";

fn escape(page: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            c => page.push(c),
        }
    }
}

fn qr(page: &mut String, text: &str, caption: &str) -> Result<(), SheetError> {
    let code =
        QrCode::with_error_correction_level(text, EcLevel::M).map_err(|_| SheetError::Code)?;
    let width = code.width();
    let side = width + 2 * QUIET_MODULES;
    let _ = write!(
        page,
        "<figure><svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
         shape-rendering=\"crispEdges\" role=\"img\" aria-label=\"{caption}\"><path d=\""
    );
    let colors = Zeroizing::new(
        code.to_colors().into_iter().map(|color| color == Color::Dark).collect::<Vec<_>>(),
    );
    for (at, _) in colors.iter().enumerate().filter(|(_, dark)| **dark) {
        let (x, y) = (at % width + QUIET_MODULES, at / width + QUIET_MODULES);
        let _ = write!(page, "M{x} {y}h1v1h-1z");
    }
    let _ = write!(page, "\"/></svg><figcaption>{caption}</figcaption></figure>");
    Ok(())
}
