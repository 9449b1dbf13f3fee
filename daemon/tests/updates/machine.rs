//! A device with two slots: a real RAUC on a bus of its own with files as slots, and the real
//! `lucid-bootctl` behind it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::{Daemon, Killed, begin_with};

const IMAGE_BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../image-build");

fn run(dir: &Path, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(dir).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; see scripts/deps"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// `lucid-bootctl` beside the daemon: built when only this package's tests were.
fn bootctl() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_lucid")).with_file_name("lucid-bootctl");
    if !path.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--locked", "-q", "-p", "lucid-fleet", "--bin", "lucid-bootctl"]);
        assert!(build.status().unwrap().success(), "lucid-bootctl does not build");
    }
    path
}

/// Two slots, a bus and RAUC.
pub struct Machine {
    dir: tempfile::TempDir,
    bootctl: PathBuf,
    address: String,
    rauc: Option<Killed>,
    _bus: Killed,
}

impl Machine {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_path_buf();
        for directory in ["boot-config", "mnt", "content", "power"] {
            fs::create_dir(at.join(directory)).unwrap();
        }
        for file in ["autoboot.txt", "lucid-boot.env"] {
            let from = Path::new(IMAGE_BUILD).join("boot-config").join(file);
            fs::copy(from, at.join("boot-config").join(file)).unwrap();
        }
        for slot in ["root-a", "root-b", "boot-a", "boot-b"] {
            fs::File::create(at.join(slot)).unwrap().set_len(1 << 20).unwrap();
        }
        let bootctl = bootctl();
        let backend = format!(
            "#!/bin/sh\nexport LUCID_BOOT_CONFIG='{0}/boot-config'\n\
             export LUCID_BOOT_COMMAND_LINE='{0}/cmdline'\nexec '{1}' \"$@\"\n",
            at.display(),
            bootctl.display(),
        );
        fs::write(at.join("backend"), backend).unwrap();
        fs::set_permissions(at.join("backend"), fs::Permissions::from_mode(0o755)).unwrap();
        run(
            &at,
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/O=Lucid tests/CN=signer",
                "-keyout",
                "key.pem",
                "-out",
                "cert.pem",
            ],
        );
        // The device's own configuration, but for verity, which needs the kernel's device mapper.
        let conf = fs::read_to_string(format!("{IMAGE_BUILD}/rauc/system.conf")).unwrap();
        let place = |name: &str| at.join(name).to_str().unwrap().to_owned();
        let status = format!("statusfile={}\nmountprefix={}", place("status"), place("mnt"));
        let conf = conf
            .replace("bundle-formats=-plain\n", "")
            .replace("data-directory=/var/lib/rauc", &status)
            .replace("/usr/bin/lucid-bootctl", &place("backend"))
            .replace("/etc/rauc/keyring.pem", &place("cert.pem"))
            .replace("/dev/disk/by-partlabel/", &place(""));
        fs::write(at.join("system.conf"), conf).unwrap();
        let bus_conf = format!(
            "<busconfig><type>custom</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\"/>\
             <allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            place("bus")
        );
        fs::write(at.join("bus.conf"), bus_conf).unwrap();
        let mut bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", place("bus.conf")))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let address = address.trim_end().to_owned();
        fs::write(at.join("cmdline"), "quiet rauc.slot=A\n").unwrap();
        let mut machine = Self { dir, bootctl, address, rauc: None, _bus: Killed(bus) };
        machine.start_rauc("A");
        machine
    }

    /// RAUC, as the system in a slot starts it.
    pub fn start_rauc(&mut self, slot: &str) {
        // The one before ends first: the name on the bus is one's alone.
        self.rauc = None;
        let log = fs::File::create(self.path(&format!("rauc-{slot}.log"))).unwrap();
        let rauc = Command::new("rauc")
            .arg("service")
            .arg(format!("--override-boot-slot={slot}"))
            .arg("--conf")
            .arg(self.path("system.conf"))
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.address)
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .unwrap();
        self.rauc = Some(Killed(rauc));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The firmware's or initrd's choice, and the kernel it starts.
    pub fn boot(&self) -> String {
        let script = format!(
            ". {IMAGE_BUILD}/initrd/select-slot.sh; lucid_select_slot '{}'",
            self.path("boot-config").display()
        );
        let slot = run(self.dir.path(), "sh", &["-c", &script]).trim().to_owned();
        fs::write(self.path("cmdline"), format!("rauc.slot={slot}\n")).unwrap();
        slot
    }

    /// The daemon as the system in `slot` starts it, with `more` settings of updates and variables.
    pub fn daemon(
        &self,
        data_dir: tempfile::TempDir,
        slot: &str,
        more: &str,
        variables: &[(&str, &str)],
    ) -> Daemon {
        let config = format!(
            "[updates]\nslot = {slot:?}\nboot_config = {:?}\n{more}\n\
             [system]\npower_requests = {:?}\n",
            self.path("boot-config"),
            self.path("power")
        );
        let file = self.path("lucid.toml");
        fs::write(&file, config).unwrap();
        // Both are in memory on a device, and new at each start.
        let _not_there_yet = fs::remove_file(data_dir.path().join("updates/self-test"));
        let _not_there_yet = fs::remove_file(self.path("power/reboot"));
        let options = ["--config", file.to_str().unwrap()];
        let bus = [("DBUS_SYSTEM_BUS_ADDRESS", self.address.as_str())];
        begin_with(data_dir, &options, &[&bus, variables].concat()).ready()
    }

    /// What `lucid-bootctl` says on this device.
    pub fn bootctl(&self, arguments: &[&str]) -> Output {
        Command::new(&self.bootctl)
            .args(arguments)
            .env("LUCID_BOOT_CONFIG", self.path("boot-config"))
            .env("LUCID_BOOT_COMMAND_LINE", self.path("cmdline"))
            .output()
            .unwrap()
    }

    /// What the confirming unit does: it waits for the daemon's verdict and acts on it.
    pub fn confirm(&self, daemon: &Daemon) -> Output {
        let verdict = daemon.data_dir.path().join("updates/self-test");
        self.bootctl(&["confirm", "--wait-s", "120", "--verdict", verdict.to_str().unwrap()])
    }

    /// SHA-256 of a bundle made here.
    pub fn sha256(&self, name: &str) -> String {
        run(self.dir.path(), "sha256sum", &[name])[..64].to_owned()
    }

    /// A signed bundle of random content.
    pub fn bundle(&self, name: &str, version: &str) -> Vec<u8> {
        for (file, bytes) in [("root.img", 200_000), ("boot.vfat", 50_000)] {
            let mut content = vec![0; bytes];
            fs::File::open("/dev/urandom").unwrap().read_exact(&mut content).unwrap();
            fs::write(self.path("content").join(file), content).unwrap();
        }
        let manifest = format!(
            "[update]\ncompatible=lucid-rpi5\nversion={version}\n[bundle]\nformat=plain\n\
             [image.root]\nfilename=root.img\n[image.boot]\nfilename=boot.vfat\n"
        );
        fs::write(self.path("content/manifest.raucm"), manifest).unwrap();
        let arguments = ["bundle", "--cert=cert.pem", "--key=key.pem", "content", name];
        run(self.dir.path(), "rauc", &arguments);
        fs::read(self.path(name)).unwrap()
    }
}
