//! Every operation on the boot files, cut after every write, with everything a cut may leave.

use super::env::Health;
use super::*;
use crate::disk::cut::CutDisk;

const BACKENDS: [Backend; 2] = [Backend::Tryboot, Backend::Initrd];
/// What a cut may leave is drawn this often.
const SEEDS: u64 = 24;

fn image() -> CutDisk {
    let (env, autoboot) = (env::text(Slot::A), autoboot::text(Slot::A));
    CutDisk::new(&[(env::FILE, env.as_bytes()), (autoboot::FILE, autoboot.as_bytes())])
}

/// What a start does: the firmware's or the initrd's choice. `tryboot` is the firmware's flag.
fn start(disk: &CutDisk, backend: Backend, tryboot: bool) -> Slot {
    match backend {
        Backend::Tryboot => {
            let autoboot = autoboot::load(disk).unwrap();
            if tryboot { autoboot.trial } else { autoboot.default }
        }
        Backend::Initrd => {
            let env = env::load(disk).unwrap();
            let tried = env.trial.filter(|slot| env.health(*slot) != Health::Bad);
            env::set_trial(disk, None).unwrap();
            tried.unwrap_or(env.default)
        }
    }
}

fn slots(disk: &CutDisk, backend: Backend, current: Slot) -> Slots<'_> {
    Slots::new(disk, backend, Some(current))
}

/// B is written and waits for its trial.
fn installed(backend: Backend) -> CutDisk {
    let disk = image();
    slots(&disk, backend, Slot::A).mark_bad(Slot::B).unwrap();
    slots(&disk, backend, Slot::A).set_primary(Slot::B).unwrap();
    disk
}

/// B runs on trial.
fn tried(backend: Backend) -> CutDisk {
    let disk = installed(backend);
    assert_eq!(start(&disk, backend, true), Slot::B);
    disk
}

#[test]
fn a_new_image_boots_a_and_says_that_b_is_empty() {
    for backend in BACKENDS {
        let disk = CutDisk::default();
        slots(&disk, backend, Slot::A).init(Slot::A, false).unwrap();
        let status = slots(&disk, backend, Slot::A).status().unwrap();
        assert_eq!((status.default, status.trial, status.on_trial), (Slot::A, None, false));
        assert_eq!((status.health_a, status.health_b), (Health::Good, Health::Bad));
        let again = slots(&disk, backend, Slot::A).init(Slot::A, false).unwrap_err();
        assert!(again.to_string().contains("--force"), "{again}");
        slots(&disk, backend, Slot::A).init(Slot::B, true).unwrap();
        assert_eq!(start(&disk, backend, false), Slot::B);
    }
}

#[test]
fn an_installed_system_is_started_once_and_stays_only_when_confirmed() {
    for backend in BACKENDS {
        // Not confirmed: the start after it is the old system again.
        let disk = tried(backend);
        assert!(slots(&disk, backend, Slot::B).status().unwrap().on_trial);
        assert_eq!(start(&disk, backend, false), Slot::A);
        // Confirmed: from then on it is the default, and A is what would be tried.
        let disk = tried(backend);
        slots(&disk, backend, Slot::B).mark_good(Slot::B).unwrap();
        let status = slots(&disk, backend, Slot::B).status().unwrap();
        assert_eq!((status.default, status.trial, status.on_trial), (Slot::B, None, false));
        assert_eq!((status.health_a, status.health_b), (Health::Good, Health::Good));
        assert_eq!(start(&disk, backend, false), Slot::B);
        // And back, B to A.
        slots(&disk, backend, Slot::B).mark_bad(Slot::A).unwrap();
        slots(&disk, backend, Slot::B).set_primary(Slot::A).unwrap();
        assert_eq!(slots(&disk, backend, Slot::B).primary().unwrap(), Slot::A);
        assert_eq!(start(&disk, backend, true), Slot::A);
        slots(&disk, backend, Slot::A).mark_good(Slot::A).unwrap();
        assert_eq!(start(&disk, backend, false), Slot::A);
    }
}

#[test]
fn only_the_pi_needs_a_reboot_with_an_argument_and_only_while_a_trial_waits() {
    let argument =
        |disk: &CutDisk, backend| slots(disk, backend, Slot::A).reboot_argument().unwrap();
    assert_eq!(argument(&image(), Backend::Tryboot), None);
    assert_eq!(argument(&installed(Backend::Tryboot), Backend::Tryboot), Some("0 tryboot"));
    assert_eq!(argument(&installed(Backend::Initrd), Backend::Initrd), None);
    let disk = installed(Backend::Tryboot);
    slots(&disk, Backend::Tryboot, Slot::A).set_primary(Slot::A).unwrap();
    assert_eq!(argument(&disk, Backend::Tryboot), None, "called off");
}

#[test]
fn the_last_system_that_is_known_to_work_is_never_marked_bad() {
    for backend in BACKENDS {
        let disk = image();
        let refused = slots(&disk, backend, Slot::A).mark_bad(Slot::A).unwrap_err();
        assert!(matches!(refused, BootError::LastGood { slot: Slot::A, .. }), "{refused}");
        // An untried system is no reason to give up the running one.
        let disk = installed(backend);
        slots(&disk, backend, Slot::A).mark_bad(Slot::A).unwrap_err();
        // On trial, the default is what one would fall back to.
        let disk = tried(backend);
        slots(&disk, backend, Slot::B).mark_bad(Slot::A).unwrap_err();
        assert_eq!(start(&disk, backend, false), Slot::A);
        // With two that work, the running one may be given up.
        let disk = tried(backend);
        slots(&disk, backend, Slot::B).mark_good(Slot::B).unwrap();
        slots(&disk, backend, Slot::B).mark_bad(Slot::B).unwrap();
        assert_eq!(start(&disk, backend, false), Slot::A);
    }
}

#[test]
fn a_bad_system_is_not_tried() {
    for backend in BACKENDS {
        let disk = installed(backend);
        slots(&disk, backend, Slot::A).mark_bad(Slot::B).unwrap();
        let status = slots(&disk, backend, Slot::A).status().unwrap();
        assert_eq!((status.trial, status.health_b), (None, Health::Bad));
        assert_eq!(slots(&disk, backend, Slot::A).reboot_argument().unwrap(), None);
    }
}

type Operation = fn(&Slots<'_>) -> Result<(), BootError>;

/// Cuts `operation` after every step, with many things a cut may leave, and checks each time:
/// what starts is among `may_start`, and the operation, asked again, reaches what it reaches
/// without a cut. Returns how many cuts were made.
fn cut_everywhere(
    prepare: fn(Backend) -> CutDisk,
    current: Slot,
    operation: Operation,
    may_start: &[Slot],
) -> usize {
    let mut cuts = 0;
    for backend in BACKENDS {
        let whole = prepare(backend);
        operation(&slots(&whole, backend, current)).unwrap();
        let goal = slots(&whole, backend, current).status().unwrap();
        let goal_files = [env::load(&whole).unwrap()];
        let goal_autoboot = autoboot::load(&whole).unwrap();
        for step in 0.. {
            let disk = prepare(backend);
            disk.cut_after(step);
            let done = operation(&slots(&disk, backend, current)).is_ok();
            if done && !disk.is_cut() {
                break;
            }
            for seed in 0..SEEDS {
                cuts += 1;
                let after = disk.restart(seed);
                let started = start(&after.restart(0), backend, false);
                assert!(may_start.contains(&started), "{backend:?}: cut {step} starts {started}");
                operation(&slots(&after, backend, current)).unwrap();
                assert_eq!(slots(&after, backend, current).status().unwrap(), goal);
                assert_eq!([env::load(&after).unwrap()], goal_files);
                assert_eq!(autoboot::load(&after).unwrap(), goal_autoboot);
            }
        }
    }
    cuts
}

#[test]
fn a_cut_at_any_write_leaves_a_device_that_boots_and_can_go_on() {
    let a_bad: Operation = |slots| slots.mark_bad(Slot::B);
    let mut cuts = cut_everywhere(
        |_| image(),
        Slot::A,
        |slots| slots.set_primary(Slot::B),
        &[Slot::A, Slot::B],
    );
    // Writing to B begins: B may not be started any more, whatever waited.
    cuts += cut_everywhere(installed, Slot::A, a_bad, &[Slot::A, Slot::B]);
    cuts +=
        cut_everywhere(installed, Slot::A, |slots| slots.set_primary(Slot::A), &[Slot::A, Slot::B]);
    // B runs on trial and confirms itself: both boot.
    let confirm: Operation = |slots| slots.mark_good(Slot::B);
    cuts += cut_everywhere(tried, Slot::B, confirm, &[Slot::A, Slot::B]);
    // B runs on trial and gives up: only A may start.
    cuts += cut_everywhere(tried, Slot::B, |slots| slots.mark_bad(Slot::B), &[Slot::A]);
    assert!(cuts > 500, "{cuts} cuts are too few to mean anything");
}

/// While RAUC writes to B, no cut may start it: `set-state B bad` comes first and holds.
#[test]
fn a_half_written_system_is_never_started() {
    for backend in BACKENDS {
        for seed in 0..SEEDS {
            let disk = installed(backend);
            slots(&disk, backend, Slot::A).mark_bad(Slot::B).unwrap();
            let after = disk.restart(seed);
            let argument = slots(&after, backend, Slot::A).reboot_argument().unwrap();
            assert_eq!(argument, None, "nobody sets the flag");
            assert_eq!(start(&after, backend, false), Slot::A);
        }
    }
}

#[test]
fn files_that_do_not_read_are_named_with_what_would_be_right() {
    let good = env::text(Slot::A);
    for (wrong, word) in [
        (String::new(), "five lines"),
        (good.replace("lucid-boot=1", "lucid-boot=2"), "five lines"),
        (good.replace("default=A", "default=C"), "default"),
        (good.replace("try=-", "try=x"), "try"),
        (good.replace("good_b=0", "good_b=2"), "good_b"),
    ] {
        let error = env::parse(wrong.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("lucid-boot.env") && error.contains(word), "{error}");
    }
    let good = autoboot::text(Slot::A);
    for (wrong, word) in [
        (good.replace("tryboot_a_b=1\n", ""), "tryboot_a_b"),
        (good.replace("boot_partition=2", "boot_partition=12"), "boot_partition"),
        (good.replace("boot_partition=2\n", ""), "[all]"),
        (good.replace("[tryboot]\n", "[none]\n"), "[tryboot]"),
    ] {
        let error = autoboot::parse(wrong.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("autoboot.txt") && error.contains(word), "{error}");
    }
    let disk = CutDisk::new(&[(env::FILE, &[b'x'; 600])]);
    assert!(env::load(&disk).unwrap_err().to_string().contains("512"));
}

#[test]
fn a_hand_written_autoboot_is_changed_in_place_and_keeps_its_words() {
    let text = "# mine\r\n[all]\r\n tryboot_a_b=1\r\n  boot_partition=2 \r\n[tryboot]\r\n\
                boot_partition=3";
    let (env, file) = (env::text(Slot::A), text.as_bytes());
    let disk = CutDisk::new(&[(env::FILE, env.as_bytes()), (autoboot::FILE, file)]);
    autoboot::set_default(&disk, Slot::B).unwrap();
    let after = disk.read(autoboot::FILE, 600).unwrap().unwrap();
    let expected = text.replace("=2 ", "=X ").replace("=3", "=2").replace("=X ", "=3 ");
    assert_eq!(String::from_utf8(after).unwrap(), expected);
}

#[test]
fn the_kernel_command_line_names_the_slot() {
    let slot = Slot::of_command_line;
    assert_eq!(slot("root=/dev/x rauc.slot=B quiet"), Some(Slot::B));
    assert_eq!(slot("rauc.slot=A rauc.slot=B"), Some(Slot::B));
    assert_eq!(slot("rauc.slot=C"), None);
    assert_eq!(slot("quiet"), None);
}
