//! The parameters of a chain, their bounds, and the one place where a change is checked against
//! them.

use lucid_evidence::cbor::{CborError, Decoder, Encoder};
use std::ops::RangeInclusive;

/// The largest number of nodes a pool can ever have.
pub const NODES_MAX: u32 = 100;

/// A parameter that nodes may change by vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameter {
    /// Time between blocks, milliseconds.
    BlockInterval,
    /// How long a proposer has before the next ranked one takes its turn, milliseconds.
    SlotTimeout,
    /// For how many blocks a node that proposed stands behind the others, blocks.
    Cooldown,
    /// For how long credits count, days.
    Window,
    /// How many nodes the pool takes, nodes.
    MaxNodes,
}

impl Parameter {
    /// All of them, in the order of their numbers.
    pub const ALL: [Parameter; 5] = [
        Parameter::BlockInterval,
        Parameter::SlotTimeout,
        Parameter::Cooldown,
        Parameter::Window,
        Parameter::MaxNodes,
    ];

    /// The number that stands for it in encodings.
    pub fn number(self) -> u64 {
        match self {
            Parameter::BlockInterval => 1,
            Parameter::SlotTimeout => 2,
            Parameter::Cooldown => 3,
            Parameter::Window => 4,
            Parameter::MaxNodes => 5,
        }
    }

    /// The parameter of a number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|parameter| parameter.number() == number)
    }

    /// Its name with its unit.
    pub fn name(self) -> &'static str {
        match self {
            Parameter::BlockInterval => "block_interval_ms",
            Parameter::SlotTimeout => "slot_timeout_ms",
            Parameter::Cooldown => "cooldown_blocks",
            Parameter::Window => "window_days",
            Parameter::MaxNodes => "max_nodes",
        }
    }

    /// The values it may take.
    pub fn bounds(self) -> RangeInclusive<u32> {
        match self {
            Parameter::BlockInterval => 1_000..=60_000,
            Parameter::SlotTimeout => 1_000..=10_000,
            Parameter::Cooldown => 8..=64,
            Parameter::Window => 3..=14,
            Parameter::MaxNodes => 1..=NODES_MAX,
        }
    }
}

/// A value outside the bounds of its parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "parameter {} is {value}; it must be from {} to {}",
    .parameter.name(), .parameter.bounds().start(), .parameter.bounds().end()
)]
pub struct OutOfBounds {
    /// Which parameter.
    pub parameter: Parameter,
    /// The value that was given.
    pub value: u32,
}

/// The parameters of a chain; every value is within its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    values: [u32; 5],
}

impl Default for Parameters {
    /// Blocks each 10 s, slots of 5 s, cooldown of 16 blocks, a window of 7 days, at most 100
    /// nodes.
    fn default() -> Self {
        Parameters { values: [10_000, 5_000, 16, 7, NODES_MAX] }
    }
}

impl Parameters {
    /// The value of a parameter, in the unit its name carries.
    pub fn get(&self, parameter: Parameter) -> u32 {
        self.values[parameter.number() as usize - 1]
    }

    /// The same parameters with one changed.
    pub fn with(mut self, parameter: Parameter, value: u32) -> Result<Self, OutOfBounds> {
        if !parameter.bounds().contains(&value) {
            return Err(OutOfBounds { parameter, value });
        }
        self.values[parameter.number() as usize - 1] = value;
        Ok(self)
    }

    /// Time between blocks, milliseconds.
    pub fn block_interval_ms(&self) -> u32 {
        self.get(Parameter::BlockInterval)
    }

    /// Time a proposer has, milliseconds.
    pub fn slot_timeout_ms(&self) -> u32 {
        self.get(Parameter::SlotTimeout)
    }

    /// The cooldown that applies among `nodes` nodes, blocks: the parameter, but at most one less
    /// than the nodes there are, so that somebody is always out of it.
    pub fn cooldown_among(&self, nodes: usize) -> usize {
        (self.get(Parameter::Cooldown) as usize).min(nodes.saturating_sub(1))
    }

    /// The credit window, hours.
    pub fn window_hours(&self) -> u64 {
        u64::from(self.get(Parameter::Window)) * 24
    }

    /// How many nodes the pool takes.
    pub fn max_nodes(&self) -> usize {
        self.get(Parameter::MaxNodes) as usize
    }

    pub(crate) fn encode(&self, e: &mut Encoder) {
        e.array(Parameter::ALL.len() as u64);
        for value in self.values {
            e.uint(u64::from(value));
        }
    }

    pub(crate) fn decode(d: &mut Decoder<'_>) -> Result<Self, CborError> {
        d.array_of("parameters", Parameter::ALL.len() as u64)?;
        let mut parameters = Parameters::default();
        for parameter in Parameter::ALL {
            let value = d.u32(parameter.name())?;
            parameters = parameters
                .with(parameter, value)
                .map_err(|error| d.value_error(parameter.name(), error))?;
        }
        Ok(parameters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_has_its_bounds() {
        for parameter in Parameter::ALL {
            let (low, high) = (*parameter.bounds().start(), *parameter.bounds().end());
            let defaults = Parameters::default();
            assert!(parameter.bounds().contains(&defaults.get(parameter)));
            for value in [low, high] {
                assert_eq!(defaults.with(parameter, value).unwrap().get(parameter), value);
            }
            for value in [low - 1, high + 1] {
                let error = defaults.with(parameter, value).unwrap_err();
                assert_eq!(error, OutOfBounds { parameter, value });
            }
            assert_eq!(Parameter::from_number(parameter.number()), Some(parameter));
        }
        assert_eq!(Parameter::from_number(6), None);
    }

    #[test]
    fn the_cooldown_leaves_somebody_free() {
        let parameters = Parameters::default();
        assert_eq!(parameters.cooldown_among(1), 0);
        assert_eq!(parameters.cooldown_among(4), 3);
        assert_eq!(parameters.cooldown_among(100), 16);
    }
}
