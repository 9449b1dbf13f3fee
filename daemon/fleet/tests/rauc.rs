//! A real RAUC on a bus of its own, with files as slots and the real `lucid-bootctl` behind it.
//!
//! RAUC reads a verity bundle through the kernel's device mapper, which build machines and
//! containers often lack. There its installation is seen to fail in RAUC's words, and the way to
//! the slots is gone with a plain bundle, which the device's own `system.conf` refuses.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use lucid_fleet::boot::{Backend, Slot, Slots};
use lucid_fleet::disk::Directory;
use lucid_fleet::rauc::{Rauc, RaucError};

const IMAGE_BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../image-build");
const ROOT_BYTES: usize = 400_000;

struct Device {
    dir: tempfile::TempDir,
    children: Vec<Child>,
    address: String,
}

impl Drop for Device {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _gone_already = child.kill();
            let _gone_already = child.wait();
        }
    }
}

fn run(dir: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(dir).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}; see scripts/deps"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// The device's own configuration with this device's places in it.
fn system_conf(at: &Path, plain: bool) -> String {
    let conf = fs::read_to_string(format!("{IMAGE_BUILD}/rauc/system.conf")).unwrap();
    let place = |name: &str| at.join(name).to_str().unwrap().to_owned();
    let mut conf = conf
        .replace("/usr/bin/lucid-bootctl", &place("backend"))
        .replace("/etc/rauc/keyring.pem", &place("cert.pem"))
        .replace("/var/lib/rauc", &place("rauc"))
        .replace("/dev/disk/by-partlabel/", &place(""));
    // The oldest RAUC in Debian 12 has one file for what later ones keep in a directory.
    conf = conf.replace("data-directory=", "statusfile=");
    conf = conf.replace(
        &format!("statusfile={}", place("rauc")),
        &format!("statusfile={}\nmountprefix={}", place("status.raucs"), place("mnt"),),
    );
    if plain {
        conf = conf.replace("bundle-formats=-plain\n", "");
    }
    conf
}

impl Device {
    /// A device that runs A. `plain` lets RAUC take plain bundles, for this test alone.
    fn start(plain: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().to_path_buf();
        let write = |name: &str, text: &str| fs::write(at.join(name), text).unwrap();
        for directory in ["boot-config", "mnt", "content", "rauc"] {
            fs::create_dir(at.join(directory)).unwrap();
        }
        for file in ["autoboot.txt", "lucid-boot.env"] {
            let from = Path::new(IMAGE_BUILD).join("boot-config").join(file);
            fs::copy(from, at.join("boot-config").join(file)).unwrap();
        }
        for slot in ["root-a", "root-b", "boot-a", "boot-b"] {
            fs::File::create(at.join(slot)).unwrap().set_len(1 << 20).unwrap();
        }
        write("cmdline", "quiet rauc.slot=A\n");
        let backend = format!(
            "#!/bin/sh\nexport LUCID_BOOT_BACKEND=tryboot LUCID_BOOT_CONFIG='{0}/boot-config'\n\
             export LUCID_BOOT_COMMAND_LINE='{0}/cmdline'\nexec '{1}' \"$@\"\n",
            at.display(),
            env!("CARGO_BIN_EXE_lucid-bootctl"),
        );
        write("backend", &backend);
        fs::set_permissions(at.join("backend"), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["", "other-"] {
            let (key, cert) = (format!("{name}key.pem"), format!("{name}cert.pem"));
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
                    &key,
                    "-out",
                    &cert,
                ],
            );
        }
        write("system.conf", &system_conf(&at, plain));
        let mut device = Self { dir, children: Vec::new(), address: String::new() };
        device.start_bus();
        device.start_rauc();
        device
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn start_bus(&mut self) {
        let conf = format!(
            "<busconfig><type>custom</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context=\"default\"><allow send_destination=\"*\"/>\
             <allow receive_sender=\"*\"/><allow own=\"*\"/></policy></busconfig>",
            self.path("bus").display()
        );
        fs::write(self.path("bus.conf"), conf).unwrap();
        let mut bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", self.path("bus.conf").display()))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        self.children.push(bus);
        self.address = address.trim_end().to_owned();
    }

    fn start_rauc(&mut self) {
        let log = fs::File::create(self.path("rauc.log")).unwrap();
        let rauc = Command::new("rauc")
            .args(["service", "--override-boot-slot=A", "--conf"])
            .arg(self.path("system.conf"))
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.address)
            .stderr(log.try_clone().unwrap())
            .stdout(log)
            .spawn()
            .unwrap();
        self.children.push(rauc);
    }

    /// RAUC, once it has its name on the bus.
    async fn rauc(&self) -> Rauc {
        let bus = zbus::connection::Builder::address(self.address.as_str()).unwrap();
        let bus = bus.build().await.unwrap();
        let names = zbus::fdo::DBusProxy::new(&bus).await.unwrap();
        use futures_util::StreamExt;
        let mut owned = names.receive_name_owner_changed().await.unwrap();
        let name = "de.pengutronix.rauc";
        while !names.name_has_owner(name.try_into().unwrap()).await.unwrap() {
            owned.next().await.unwrap();
        }
        Rauc::connect(Some(&self.address)).await.unwrap()
    }

    /// A bundle of random partitions.
    fn bundle(&self, name: &str, format: &str, version: &str, key: &str) -> PathBuf {
        let content = self.path("content");
        let random = |file: &str, bytes: usize| {
            let mut from = fs::File::open("/dev/urandom").unwrap();
            let mut buffer = vec![0; bytes];
            from.read_exact(&mut buffer).unwrap();
            fs::write(content.join(file), buffer).unwrap();
        };
        random("root.img", ROOT_BYTES);
        random("boot.vfat", 100_000);
        let manifest = format!(
            "[update]\ncompatible=lucid-rpi5\nversion={version}\n[bundle]\nformat={format}\n\
             [image.root]\nfilename=root.img\n[image.boot]\nfilename=boot.vfat\n"
        );
        fs::write(content.join("manifest.raucm"), manifest).unwrap();
        let (cert, key) = (format!("--cert={key}cert.pem"), format!("--key={key}key.pem"));
        run(self.dir.path(), "rauc", &["bundle", &cert, &key, "content", name]);
        self.path(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("rauc.log")).unwrap()
    }

    fn boots(&self, current: Slot) -> lucid_fleet::boot::Status {
        let disk = Directory::new(self.path("boot-config"));
        Slots::new(&disk, Backend::Tryboot, Some(current)).status().unwrap()
    }
}

#[tokio::test]
async fn a_bundle_goes_through_rauc_into_the_other_slot_and_is_confirmed() {
    let device = Device::start(true);
    let rauc = device.rauc().await;
    assert_eq!(rauc.compatible().await.unwrap(), "lucid-rpi5");
    let bundle = device.bundle("new.raucb", "plain", "2.0.0", "");
    let inside = rauc.inspect(&bundle).await.unwrap();
    assert_eq!(
        (inside.compatible.as_str(), inside.version.to_string()),
        ("lucid-rpi5", "2.0.0".into(),)
    );
    let seen = Mutex::new(Vec::new());
    let installed = rauc.install(&bundle, |percent| seen.lock().unwrap().push(percent)).await;
    installed.unwrap_or_else(|error| panic!("{error}\n{}", device.log()));
    let seen = seen.into_inner().unwrap();
    assert!(seen.len() > 3 && seen.is_sorted(), "{seen:?}");
    assert!(seen.first() < Some(&100) && seen.last() == Some(&100), "{seen:?}");
    let written = fs::read(device.path("root-b")).unwrap();
    let meant = fs::read(device.path("content/root.img")).unwrap();
    assert!(
        written[..ROOT_BYTES] == meant[..],
        "what is in the slot is not what was in the bundle"
    );
    // It waits for its trial, and is not the default.
    let status = device.boots(Slot::A);
    assert_eq!((status.default, status.trial), (Slot::A, Some(Slot::B)));
    assert_eq!(rauc.primary().await.unwrap(), "root.1");
    let slots = rauc.slots().await.unwrap();
    let named = |name: &str| slots.iter().find(|slot| slot.name == name).unwrap();
    assert_eq!(named("root.0").state, "booted");
    assert_eq!(named("root.1").version.as_deref(), Some("2.0.0"));
    assert_eq!(named("root.1").bootname.as_deref(), Some("B"));
    // The old system calls it off.
    rauc.mark("bad", "other").await.unwrap();
    let status = device.boots(Slot::A);
    assert_eq!((status.default, status.trial), (Slot::A, None));
    // The last system that works is not given up, whoever asks.
    let refused = rauc.mark("bad", "booted").await.unwrap_err();
    assert!(matches!(refused, RaucError::Refused(_)), "{refused:?}");
    assert_eq!(device.boots(Slot::A).default, Slot::A);
}

#[tokio::test]
async fn what_is_not_to_be_trusted_is_refused_in_rauc_s_words_and_changes_nothing() {
    let device = Device::start(false);
    let rauc = device.rauc().await;
    let before = (fs::read(device.path("root-b")).unwrap(), device.boots(Slot::A));
    // Signed by somebody else.
    let foreign = device.bundle("foreign.raucb", "verity", "2.0.0", "other-");
    let error = rauc.inspect(&foreign).await.unwrap_err();
    assert!(matches!(error, RaucError::Refused(_)), "{error:?}");
    let error = rauc.install(&foreign, |_| {}).await.unwrap_err();
    assert!(error.to_string().contains("signature"), "{error}");
    // Well signed, and then changed in its middle or cut short.
    let whole = device.bundle("whole.raucb", "verity", "2.0.0", "");
    let bytes = fs::read(&whole).unwrap();
    let cut = device.path("cut.raucb");
    fs::write(&cut, &bytes[..bytes.len() - 4096]).unwrap();
    rauc.inspect(&cut).await.unwrap_err();
    // The format whose content is checked only once, before it is used.
    let plain = device.bundle("plain.raucb", "plain", "2.0.0", "");
    let error = rauc.install(&plain, |_| {}).await.unwrap_err().to_string();
    assert!(error.contains("plain"), "{error}");
    // Nothing there at all.
    rauc.inspect(&device.path("absent.raucb")).await.unwrap_err();
    assert!(rauc.idle().await.unwrap());
    assert_eq!((fs::read(device.path("root-b")).unwrap(), device.boots(Slot::A)), before);
    // And one that is right, where the kernel can check it block by block.
    match rauc.install(&whole, |_| {}).await {
        Ok(()) => assert_eq!(device.boots(Slot::A).trial, Some(Slot::B)),
        Err(error) => {
            assert!(error.to_string().contains("/dev/mapper"), "{error}");
            assert_eq!(device.boots(Slot::A), before.1);
        }
    }
}

#[tokio::test]
async fn rauc_that_ends_in_the_middle_is_noticed() {
    let mut device = Device::start(true);
    let rauc = device.rauc().await;
    let bundle = device.bundle("new.raucb", "plain", "2.0.0", "");
    // The backend holds RAUC up until it is gone.
    fs::write(device.path("backend"), "#!/bin/sh\nexec sleep 20\n").unwrap();
    let mut service = device.children.pop().unwrap();
    let installing = rauc.install(&bundle, |_| {});
    tokio::pin!(installing);
    let started = async {
        while rauc.idle().await.unwrap() {
            tokio::task::yield_now().await;
        }
        service.kill().unwrap();
        service.wait().unwrap();
    };
    let (ended, ()) = tokio::join!(&mut installing, started);
    assert!(matches!(ended.unwrap_err(), RaucError::Gone));
}

#[tokio::test]
async fn a_machine_without_rauc_says_so() {
    let mut device = Device::start(false);
    let mut service = device.children.pop().unwrap();
    service.kill().unwrap();
    service.wait().unwrap();
    let rauc = Rauc::connect(Some(&device.address)).await.unwrap();
    let error = rauc.compatible().await.unwrap_err();
    assert!(error.to_string().contains("rauc.service"), "{error}");
    let gone = format!("unix:path={}", device.path("no-bus").display());
    assert!(matches!(Rauc::connect(Some(&gone)).await, Err(RaucError::Unreachable(_))));
}
