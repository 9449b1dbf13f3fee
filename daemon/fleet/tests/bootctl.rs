//! The real `lucid-bootctl` on a directory, as RAUC calls it, and the initrd's choice beside it.

// Helpers of these tests are part of them.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

use lucid_fleet::boot::{Slot, autoboot, env};

/// The folder of what goes onto an image.
const IMAGE_BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../image-build");

struct Device {
    dir: tempfile::TempDir,
    backend: &'static str,
}

impl Device {
    fn new(backend: &'static str) -> Self {
        let device = Self { dir: tempfile::tempdir().unwrap(), backend };
        device.boot("A");
        device.ok(&["init", "--default", "A"]);
        device
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// The kernel was started with this slot.
    fn boot(&self, slot: &str) {
        std::fs::write(self.path("cmdline"), format!("quiet rauc.slot={slot}\n")).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lucid-bootctl"));
        command
            .args(arguments)
            .env("LUCID_BOOT_CONFIG", self.dir.path())
            .env("LUCID_BOOT_COMMAND_LINE", self.path("cmdline"))
            .env("LUCID_BOOT_BACKEND", self.backend);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    #[track_caller]
    fn fails(&self, arguments: &[&str], code: i32) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// The initrd's choice, made by a shell.
    fn select(&self, shell: &[&str]) -> (String, bool) {
        let script = format!(
            ". {IMAGE_BUILD}/initrd/select-slot.sh; lucid_select_slot '{}'",
            self.dir.path().display()
        );
        let output =
            Command::new(shell[0]).args(&shell[1..]).arg("-c").arg(script).output().unwrap();
        let slot = String::from_utf8(output.stdout).unwrap().trim_end().to_owned();
        (slot, output.status.success())
    }
}

#[test]
fn rauc_s_verbs_go_through_an_update_and_back() {
    for backend in ["tryboot", "initrd"] {
        let device = Device::new(backend);
        assert_eq!(device.ok(&["get-current"]), "A");
        assert_eq!(device.ok(&["get-primary"]), "A");
        assert_eq!(device.ok(&["get-state", "A"]), "good");
        assert_eq!(device.ok(&["get-state", "B"]), "bad");
        // As RAUC installs.
        device.ok(&["set-state", "B", "bad"]);
        device.ok(&["set-primary", "B"]);
        assert_eq!(device.ok(&["get-primary"]), "B");
        assert_eq!(device.ok(&["get-state", "B"]), "good");
        let argument = device.ok(&["reboot-argument"]);
        assert_eq!(argument, if backend == "tryboot" { "0 tryboot" } else { "" });
        // As the new system confirms.
        device.boot("B");
        device.ok(&["set-state", "B", "good"]);
        assert_eq!(device.ok(&["get-primary"]), "B");
        let status: serde_json::Value = serde_json::from_str(&device.ok(&["status"])).unwrap();
        assert_eq!(status["default"], "B");
        assert_eq!(status["on_trial"], false);
        let file = std::fs::read(device.path(autoboot::FILE)).unwrap();
        let default = autoboot::parse(&file).unwrap().default;
        assert_eq!(default, if backend == "tryboot" { Slot::B } else { Slot::A });
    }
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    let device = Device::new("initrd");
    assert!(device.fails(&["set-primary", "C"], 64).contains("A or B"));
    assert!(device.fails(&["set-state", "A", "bad"], 1).contains("known to work"));
    assert!(device.fails(&["init", "--default", "B"], 1).contains("--force"));
    std::fs::write(device.path("cmdline"), "quiet\n").unwrap();
    assert!(device.fails(&["get-current"], 1).contains("rauc.slot=A"));
    std::fs::remove_file(device.path(env::FILE)).unwrap();
    assert!(device.fails(&["get-primary"], 1).contains("lucid-bootctl init"));
}

#[test]
fn a_system_on_trial_is_confirmed_by_its_self_test_alone() {
    let device = Device::new("initrd");
    let verdict = device.path("self-test");
    let confirm = ["confirm", "--wait-s", "0", "--verdict", verdict.to_str().unwrap()];
    assert!(device.ok(&confirm).contains("default already"));
    device.ok(&["set-primary", "B"]);
    assert_eq!(device.select(&["sh"]), ("B".into(), true));
    device.boot("B");
    assert!(device.fails(&confirm, 1).contains("no verdict"));
    std::fs::write(&verdict, "failed: nothing was anchored\n").unwrap();
    assert!(device.fails(&confirm, 1).contains("nothing was anchored"));
    assert_eq!(device.ok(&["get-primary"]), "A", "not confirmed");
    std::fs::write(&verdict, "passed\n").unwrap();
    device.ok(&confirm);
    assert_eq!(device.ok(&["get-primary"]), "B");
}

#[test]
fn a_system_on_trial_is_given_up_with_a_reason() {
    let device = Device::new("tryboot");
    device.ok(&["set-primary", "B"]);
    device.boot("B");
    let file = device.path("reason");
    let file = file.to_str().unwrap();
    device.ok(&["fall-back", "--reason", "no network", "--reason-file", file]);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "no network");
    assert_eq!(device.ok(&["get-state", "B"]), "bad");
    assert_eq!(device.ok(&["get-primary"]), "A");
    device.boot("A");
    assert!(device.ok(&["fall-back"]).contains("nothing to fall back from"));
}

/// Without a reason of its own it names what failed, and a service that systemd starts again for
/// ever: that one is never found in the state `failed`.
#[test]
fn a_system_on_trial_that_is_given_up_names_its_units() {
    let all = "Id=lucid.service\nActiveState=activating\nNRestarts=7\n\n\
               Id=dbus.service\nActiveState=active\nNRestarts=0\n\n\
               Id=data.mount\nActiveState=failed\n\nId=basic.target\nActiveState=active\n";
    let named = "on the new system these units failed: data.mount; these ended and were started \
                 again: lucid.service (7 times)";
    let nothing = "the new system did not confirm itself in time";
    for (told, reason) in [(all, named), ("", nothing)] {
        let device = Device::new("initrd");
        device.ok(&["set-primary", "B"]);
        device.boot("B");
        let script = device.path("script");
        std::fs::write(&script, format!("#!/bin/sh\nprintf '%b' '{told}'\n")).unwrap();
        // By another process: what this one has open for writing may not be run.
        let mut install = Command::new("install");
        install.args(["-m", "755"]).arg(script);
        assert!(install.arg(device.path("systemctl")).status().unwrap().success());
        let file = device.path("reason");
        let output = device
            .command(&["fall-back", "--reason-file", file.to_str().unwrap()])
            .env("PATH", device.dir.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(std::fs::read_to_string(file).unwrap(), reason);
    }
}

/// Every state of the file, through the shells an initrd may have: what the shell takes is what
/// the format says, and a trial is taken once.
#[test]
fn the_initrd_chooses_as_the_format_says() {
    let device = Device::new("initrd");
    let shells: [&[&str]; 2] = [&["busybox", "sh"], &["dash"]];
    for shell in shells {
        for default in ["A", "B"] {
            for tried in ["-", "A", "B"] {
                for health in ["0", "1", "t"] {
                    let text = format!(
                        "lucid-boot=1\ndefault={default}\ntry={tried}\n\
                         good_a={health}\ngood_b={health}\n# a comment\n"
                    );
                    std::fs::write(device.path(env::FILE), &text).unwrap();
                    let takes = tried != "-" && health != "0";
                    let expected = if takes { tried } else { default };
                    assert_eq!(device.select(shell), (expected.into(), true), "{shell:?} {text}");
                    let after = std::fs::read_to_string(device.path(env::FILE)).unwrap();
                    let struck = text.replace(&format!("try={tried}"), "try=-");
                    assert_eq!(after, struck, "one byte and no other");
                    assert_eq!(device.select(shell), (default.into(), true), "tried once");
                }
            }
        }
        for damaged in ["", "default=B\n", "lucid-boot=2\ndefault=B\ntry=-\ngood_a=1\ngood_b=1\n"] {
            std::fs::write(device.path(env::FILE), damaged).unwrap();
            assert_eq!(device.select(shell), ("A".into(), false), "{damaged:?}");
        }
    }
}

#[test]
fn the_image_s_boot_files_are_those_of_init() {
    let read = |name: &str| {
        std::fs::read_to_string(Path::new(IMAGE_BUILD).join("boot-config").join(name)).unwrap()
    };
    assert_eq!(read(env::FILE), env::text(Slot::A));
    assert_eq!(read(autoboot::FILE), autoboot::text(Slot::A));
}
