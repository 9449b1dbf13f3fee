//! Which board this is, from the device tree, the firmware's revision code or the PC's DMI table.
//!
//! The board's serial number is left alone on purpose: the device key is the identity, and a
//! recording should not carry more of its owner than it must.

use std::fmt;

use crate::Machine;

/// What is known about the board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// The name its maker gave it, such as `Raspberry Pi 5 Model B Rev 1.0`; `unknown board` when
    /// the system does not say.
    pub model: String,
    /// Raspberry Pi's revision code (new style, such as `0xc04170`), where the board has one.
    pub revision: Option<u32>,
    /// The kind, as far as Lucid treats kinds differently.
    pub kind: BoardKind,
}

/// Boards that Lucid knows something about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BoardKind {
    /// BCM2712: Pi 5, 500, Compute Module 5. GPIO on RP1; no H.264 encoder.
    RaspberryPi5,
    /// BCM2711: Pi 4, 400, Compute Module 4. H.264 encoder up to 1080p30.
    RaspberryPi4,
    /// BCM2835 to BCM2837: everything before, and the Zeros.
    RaspberryPiOlder,
    /// Another board or PC.
    Other,
}

impl BoardKind {
    /// Whether it is a Raspberry Pi of any generation.
    pub fn is_raspberry_pi(self) -> bool {
        self != Self::Other
    }

    /// Whether the board is known to lack an H.264 encoder, whatever its drivers look like.
    pub fn lacks_h264_encoder(self) -> bool {
        self == Self::RaspberryPi5
    }
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.model)
    }
}

impl Board {
    /// Reads the board from the kernel's files.
    pub fn read(machine: &Machine) -> Self {
        let compatible = machine.text("/proc/device-tree/compatible").unwrap_or_default();
        let model = machine
            .text("/proc/device-tree/model")
            .or_else(|| dmi_model(machine))
            .unwrap_or_else(|| "unknown board".to_owned());
        let revision = machine.text("/proc/cpuinfo").as_deref().and_then(revision_in);
        let kind = kind_of_compatible(&compatible)
            .or_else(|| revision.and_then(kind_of_revision))
            .unwrap_or(BoardKind::Other);
        Self { model, revision, kind }
    }
}

/// The device tree lists the board's and the chip's names, separated by zero bytes.
fn kind_of_compatible(compatible: &str) -> Option<BoardKind> {
    compatible.split('\0').find_map(|name| match name {
        "brcm,bcm2712" => Some(BoardKind::RaspberryPi5),
        "brcm,bcm2711" => Some(BoardKind::RaspberryPi4),
        "brcm,bcm2835" | "brcm,bcm2836" | "brcm,bcm2837" => Some(BoardKind::RaspberryPiOlder),
        _ => None,
    })
}

/// `Revision : c04170` in `/proc/cpuinfo`.
fn revision_in(cpuinfo: &str) -> Option<u32> {
    let line = cpuinfo.lines().find(|line| line.starts_with("Revision"))?;
    let (_, value) = line.split_once(':')?;
    u32::from_str_radix(value.trim(), 16).ok()
}

/// New-style codes carry the processor in bits 12 to 15.
/// See "Raspberry Pi revision codes" in Raspberry Pi's documentation.
fn kind_of_revision(revision: u32) -> Option<BoardKind> {
    const NEW_STYLE: u32 = 1 << 23;
    if revision & NEW_STYLE == 0 {
        return None;
    }
    match (revision >> 12) & 0xf {
        0..=2 => Some(BoardKind::RaspberryPiOlder),
        3 => Some(BoardKind::RaspberryPi4),
        4 => Some(BoardKind::RaspberryPi5),
        _ => None,
    }
}

fn dmi_model(machine: &Machine) -> Option<String> {
    let vendor = machine.text("/sys/class/dmi/id/sys_vendor");
    let product = machine.text("/sys/class/dmi/id/product_name");
    match (vendor, product) {
        (Some(vendor), Some(product)) => Some(format!("{vendor} {product}")),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    #[track_caller]
    fn check(files: &[(&str, &str)], model: &str, kind: BoardKind) -> Board {
        let board = Board::read(&Fake::new(files).machine());
        assert_eq!((board.model.as_str(), board.kind), (model, kind));
        board
    }

    #[test]
    fn raspberry_pis_are_known_by_their_device_tree() {
        let board = check(
            &[
                ("/proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0"),
                ("/proc/device-tree/compatible", "raspberrypi,5-model-b\0brcm,bcm2712\0"),
                ("/proc/cpuinfo", "processor\t: 0\nRevision\t: c04170\nSerial\t: 00\n"),
            ],
            "Raspberry Pi 5 Model B Rev 1.0",
            BoardKind::RaspberryPi5,
        );
        assert_eq!(board.revision, Some(0xc0_4170));
        assert!(board.kind.lacks_h264_encoder());
        check(
            &[
                ("/proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
                ("/proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0"),
            ],
            "Raspberry Pi 4 Model B Rev 1.4",
            BoardKind::RaspberryPi4,
        );
        check(
            &[
                ("/proc/device-tree/model", "Raspberry Pi Zero 2 W Rev 1.0"),
                ("/proc/device-tree/compatible", "raspberrypi,model-zero-2-w\0brcm,bcm2837"),
            ],
            "Raspberry Pi Zero 2 W Rev 1.0",
            BoardKind::RaspberryPiOlder,
        );
    }

    #[test]
    fn the_revision_code_stands_in_for_a_missing_device_tree() {
        let pi5 = [("/proc/cpuinfo", "Revision : c04170\n")];
        check(&pi5, "unknown board", BoardKind::RaspberryPi5);
        check(
            &[("/proc/cpuinfo", "Revision : c03114\n")],
            "unknown board",
            BoardKind::RaspberryPi4,
        );
        check(&[("/proc/cpuinfo", "Revision : 000e\n")], "unknown board", BoardKind::Other);
        check(&[("/proc/cpuinfo", "Revision : zz\n")], "unknown board", BoardKind::Other);
    }

    #[test]
    fn a_pc_and_a_machine_that_says_nothing() {
        let board = check(
            &[
                ("/sys/class/dmi/id/sys_vendor", "QEMU\n"),
                ("/sys/class/dmi/id/product_name", "Standard PC\n"),
            ],
            "QEMU Standard PC",
            BoardKind::Other,
        );
        assert!(!board.kind.is_raspberry_pi());
        check(&[], "unknown board", BoardKind::Other);
    }
}
