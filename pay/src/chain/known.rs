//! Addresses that must not be paid by mistake.

use crate::tron::Address;

/// What older documents called the staking contract, in base58check.
pub const NOT_A_STAKING_CONTRACT: &str = "TLyqzVGLV1srkB7dToTAEqgDSfPtXRJZYH";
/// The same as the 20 bytes contracts use.
const NOT_A_STAKING_CONTRACT_EVM: [u8; 20] = [
    0x78, 0xc8, 0x42, 0xee, 0x63, 0xb2, 0x53, 0xf8, 0xf0, 0xd2, 0x95, 0x5b, 0xbc, 0x58, 0x2c, 0x66,
    0x1a, 0x07, 0x8c, 0x9d,
];

/// Why nothing may be sent to an address, where that is known.
pub fn refusal(to: Address) -> Option<&'static str> {
    if *to.evm() == NOT_A_STAKING_CONTRACT_EVM {
        return Some(
            "older documents called it the staking contract, but it is a super representative's \
             own account: what is sent there is lost. TRON stakes by transactions, without a \
             contract",
        );
    }
    if to.evm().iter().all(|byte| *byte == 0) {
        return Some("nobody has its key: what is sent there is destroyed");
    }
    None
}

/// "1 representative" or "3 representatives".
pub(super) fn representatives(count: usize) -> String {
    match count {
        1 => "1 representative".to_owned(),
        many => format!("{many} representatives"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_the_older_documents_is_refused() {
        let address: Address = NOT_A_STAKING_CONTRACT.parse().unwrap();
        assert!(refusal(address).unwrap().contains("staking contract"));
        assert!(refusal(Address::from_evm([0; 20])).is_some());
        assert_eq!(refusal(Address::from_evm([1; 20])), None);
    }
}
