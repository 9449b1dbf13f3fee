//! Processor time and memory of a server's processes.

use lucid_rdp::desktop::processes::parse_stat;

/// How the names of the programs that serve begin; what else runs is the desktop's.
const SERVERS: [&str; 7] =
    ["beside_xrdp", "Xvfb", "Xorg", "xrdp", "xrdp-sesman", "xrdp-chansrv", "xrdp-sesexec"];

#[derive(Debug, Clone, Copy)]
struct One {
    pid: u32,
    parent: u32,
    cpu_s: f64,
    resident: u64,
}

/// A process and what descends from it.
#[derive(Debug, Clone)]
pub struct Tree(Vec<(One, String)>);

impl Tree {
    /// The servers among the processes that descend from `roots`, and these themselves.
    pub fn of(roots: &[u32]) -> Self {
        let all = all();
        let mut members: Vec<u32> = roots.to_vec();
        let mut grown = true;
        while std::mem::take(&mut grown) {
            for (one, _) in &all {
                if members.contains(&one.parent) && !members.contains(&one.pid) {
                    members.push(one.pid);
                    grown = true;
                }
            }
        }
        let serves = |name: &str| SERVERS.iter().any(|server| name.starts_with(server));
        Tree(
            all.into_iter()
                .filter(|(one, name)| members.contains(&one.pid) && serves(name))
                .collect(),
        )
    }

    /// Processor time so far, seconds.
    pub fn cpu(&self) -> f64 {
        self.0.iter().map(|(one, _)| one.cpu_s).sum()
    }

    /// Resident memory, bytes, of those whose name begins so.
    pub fn resident(&self, name: &str) -> f64 {
        let named = self.0.iter().filter(|(_, found)| found.starts_with(name));
        named.map(|(one, _)| one.resident as f64).sum()
    }

    /// Who used how much, for people.
    pub fn describe(&self) -> String {
        let each = self.0.iter().map(|(one, name)| format!("{name} {:.2} s", one.cpu_s));
        each.collect::<Vec<_>>().join(", ")
    }
}

fn all() -> Vec<(One, String)> {
    let tick = rustix::param::clock_ticks_per_second() as f64;
    let page = rustix::param::page_size() as u64;
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let read = entries.filter_map(|entry| {
        let text = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let process = parse_stat(&text)?;
        let name = text.split_once('(')?.1.rsplit_once(')')?.0.to_owned();
        let parent = text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        let fields: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        // Its own only: children are counted themselves, programs on the desktop are not.
        let own: f64 = fields[11].parse::<f64>().ok()? + fields[12].parse::<f64>().ok()?;
        let resident = process.resident_pages * page;
        Some((One { pid: process.pid, parent, cpu_s: own / tick, resident }, name))
    });
    read.collect()
}
