//! How hot the processor is, and whether the board slows down or lacks power.

use crate::Machine;

/// Thermal zones looked at, at most.
const MAX_ZONES: usize = 64;
/// Zone types that mean the processor, in the order of preference.
const CPU_ZONES: [&str; 4] = ["cpu-thermal", "cpu_thermal", "x86_pkg_temp", "soc-thermal"];
/// Readings outside this range are a broken sensor (degrees Celsius).
const PLAUSIBLE_C: std::ops::RangeInclusive<f64> = -40.0..=150.0;

/// The processor's temperature in degrees Celsius; `None` where no sensor says. Without a zone of
/// the processor's own it is the hottest one.
pub fn temperature_c(machine: &Machine) -> Option<f64> {
    const CLASS: &str = "/sys/class/thermal";
    let zones: Vec<(String, f64)> = machine
        .names(CLASS)
        .into_iter()
        .filter(|name| name.starts_with("thermal_zone"))
        .take(MAX_ZONES)
        .filter_map(|name| {
            let millidegrees: i32 = machine.text(&format!("{CLASS}/{name}/temp"))?.parse().ok()?;
            let degrees = f64::from(millidegrees) / 1000.0;
            let kind = machine.text(&format!("{CLASS}/{name}/type")).unwrap_or_default();
            PLAUSIBLE_C.contains(&degrees).then_some((kind, degrees))
        })
        .collect();
    CPU_ZONES
        .iter()
        .find_map(|wanted| zones.iter().find(|(kind, _)| kind == wanted))
        .map(|(_, degrees)| *degrees)
        .or_else(|| zones.iter().map(|(_, degrees)| *degrees).max_by(f64::total_cmp))
}

/// What the firmware says about power and heat: now, and since the board was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Throttling {
    /// The supply voltage is too low now.
    pub under_voltage: bool,
    /// The clock is capped now.
    pub frequency_capped: bool,
    /// The processor is slowed down now.
    pub throttled: bool,
    /// The soft temperature limit acts now.
    pub soft_limit: bool,
    /// The supply voltage was too low since the start.
    pub under_voltage_since_start: bool,
    /// The processor was slowed down for any reason since the start.
    pub slowed_since_start: bool,
}

impl Throttling {
    /// Decodes the firmware's `get_throttled` word.
    pub fn from_word(word: u32) -> Self {
        let bit = |n: u32| word & (1 << n) != 0;
        Self {
            under_voltage: bit(0),
            frequency_capped: bit(1),
            throttled: bit(2),
            soft_limit: bit(3),
            under_voltage_since_start: bit(16),
            slowed_since_start: bit(17) || bit(18) || bit(19),
        }
    }

    /// Whether encoding in software is slower now than it should be.
    pub fn slowed(&self) -> bool {
        self.frequency_capped || self.throttled || self.soft_limit
    }
}

/// What the firmware says; `None` on boards that say nothing. Where the firmware's own file is
/// missing, the kernel's voltage monitor still knows about the supply.
pub fn throttling(machine: &Machine) -> Option<Throttling> {
    firmware_word(machine).map(Throttling::from_word).or_else(|| voltage_alarm(machine))
}

/// The firmware node hangs below the `soc` node, whose name differs between boards.
fn firmware_word(machine: &Machine) -> Option<u32> {
    const PLATFORM: &str = "/sys/devices/platform";
    let socs = machine.names(PLATFORM).into_iter().filter(|name| name.starts_with("soc"));
    for soc in socs {
        let dir = format!("{PLATFORM}/{soc}");
        let nodes = machine.names(&dir).into_iter().filter(|name| name.ends_with(":firmware"));
        for node in nodes {
            let Some(text) = machine.text(&format!("{dir}/{node}/get_throttled")) else { continue };
            let digits = text.trim_start_matches("0x");
            if let Ok(word) = u32::from_str_radix(digits, 16) {
                return Some(word);
            }
        }
    }
    None
}

/// `raspberrypi-hwmon` keeps its alarm until it is read.
fn voltage_alarm(machine: &Machine) -> Option<Throttling> {
    const CLASS: &str = "/sys/class/hwmon";
    let monitor = machine.names(CLASS).into_iter().find(|name| {
        machine.text(&format!("{CLASS}/{name}/name")).as_deref() == Some("rpi_volt")
    })?;
    let alarm = machine.text(&format!("{CLASS}/{monitor}/in0_lcrit_alarm"))? != "0";
    Some(Throttling {
        under_voltage: alarm,
        under_voltage_since_start: alarm,
        ..Throttling::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::Fake;

    fn zone(n: u32, kind: &str, temp: &str) -> [(String, String); 2] {
        let dir = format!("/sys/class/thermal/thermal_zone{n}");
        [(format!("{dir}/type"), kind.to_owned()), (format!("{dir}/temp"), temp.to_owned())]
    }

    fn measured(zones: &[[(String, String); 2]]) -> Option<f64> {
        let files: Vec<(&str, &str)> =
            zones.iter().flatten().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        temperature_c(&Fake::new(&files).machine())
    }

    #[test]
    fn the_processors_zone_is_preferred() {
        let pi = [zone(0, "cpu-thermal\n", "52850\n")];
        assert_eq!(measured(&pi), Some(52.85));
        let pc = [zone(0, "acpitz\n", "90000\n"), zone(1, "x86_pkg_temp\n", "45000\n")];
        assert_eq!(measured(&pc), Some(45.0));
        let unknown = [zone(0, "a\n", "30000\n"), zone(1, "b\n", "41000\n")];
        assert_eq!(measured(&unknown), Some(41.0));
    }

    #[test]
    fn no_sensor_and_broken_sensors_are_none() {
        assert_eq!(measured(&[]), None);
        assert_eq!(measured(&[zone(0, "cpu-thermal", "-274000")]), None);
        assert_eq!(measured(&[zone(0, "cpu-thermal", "hot")]), None);
    }

    #[test]
    fn the_firmware_word_is_found_under_either_name_of_the_soc() {
        for path in [
            "/sys/devices/platform/soc/soc:firmware/get_throttled",
            "/sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled",
        ] {
            let state = throttling(&Fake::new(&[(path, "50005\n")]).machine()).unwrap();
            assert!(state.under_voltage && state.throttled && state.slowed());
            assert!(state.under_voltage_since_start && state.slowed_since_start);
        }
        let quiet = Fake::new(&[("/sys/devices/platform/soc/soc:firmware/get_throttled", "0")]);
        assert_eq!(throttling(&quiet.machine()), Some(Throttling::default()));
        let past = Throttling::from_word(0x2_0000);
        assert!(past.slowed_since_start && !past.slowed());
    }

    #[test]
    fn the_voltage_monitor_stands_in_and_other_boards_say_nothing() {
        let hwmon = Fake::new(&[
            ("/sys/class/hwmon/hwmon0/name", "cpu_thermal"),
            ("/sys/class/hwmon/hwmon1/name", "rpi_volt"),
            ("/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1"),
        ]);
        assert!(throttling(&hwmon.machine()).unwrap().under_voltage);
        assert_eq!(throttling(&Fake::new(&[]).machine()), None);
    }
}
