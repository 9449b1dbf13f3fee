//! Puts a page that says so in place of the web page when that has not been built, so that the
//! daemon builds without Node.

use std::path::Path;
use std::{fs, io};

const PLACEHOLDER: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
    <title>Lucid</title>\n<h1>Lucid</h1>\n\
    <p>This binary was built without its web page. The API is at <code>/api/v1</code>.\n\
    Build the page with <code>make web</code> and the daemon again.</p>\n</html>\n";

fn main() -> io::Result<()> {
    let dist = Path::new("web/dist");
    let index = dist.join("index.html");
    if !index.exists() {
        fs::create_dir_all(dist)?;
        fs::write(&index, PLACEHOLDER)?;
    }
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}
