//! The envelope: `Transaction`, its signed part `Transaction.raw`, and the contract within.

/// A transaction as it is broadcast.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Transaction {
    /// What is signed; its SHA-256 is the transaction's id.
    #[prost(message, optional, tag = "1")]
    pub raw_data: Option<Raw>,
    /// Signatures of 65 bytes each, every one over the id.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub signature: Vec<Vec<u8>>,
}

/// The signed part of a transaction.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Raw {
    /// Bytes 6 and 7 of the id of the reference block.
    #[prost(bytes = "vec", tag = "1")]
    pub ref_block_bytes: Vec<u8>,
    /// Unused by the network.
    #[prost(int64, tag = "3")]
    pub ref_block_num: i64,
    /// Bytes 8 to 15 of the id of the reference block.
    #[prost(bytes = "vec", tag = "4")]
    pub ref_block_hash: Vec<u8>,
    /// End of validity (ms since 1970).
    #[prost(int64, tag = "8")]
    pub expiration: i64,
    /// Unused by the network; kept, so that foreign bytes encode again as they came.
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub auths: Vec<Vec<u8>>,
    /// Memo.
    #[prost(bytes = "vec", tag = "10")]
    pub data: Vec<u8>,
    /// Exactly one on the network.
    #[prost(message, repeated, tag = "11")]
    pub contract: Vec<Contract>,
    /// Unused by the network.
    #[prost(bytes = "vec", tag = "12")]
    pub scripts: Vec<u8>,
    /// Chosen by the sender, not checked by nodes (ms since 1970).
    #[prost(int64, tag = "14")]
    pub timestamp: i64,
    /// Most energy may cost (sun).
    #[prost(int64, tag = "18")]
    pub fee_limit: i64,
}

/// One contract: number of its type and its message.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Contract {
    /// Number of the contract type.
    #[prost(int32, tag = "1")]
    pub r#type: i32,
    /// The message with the address of its type.
    #[prost(message, optional, tag = "2")]
    pub parameter: Option<Any>,
    /// Unused by the network.
    #[prost(bytes = "vec", tag = "3")]
    pub provider: Vec<u8>,
    /// Unused by the network.
    #[prost(bytes = "vec", tag = "4")]
    pub contract_name: Vec<u8>,
    /// Permission the signatures answer to; 0 is the owner's.
    #[prost(int32, tag = "5")]
    pub permission_id: i32,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Any {
    /// [`crate::TYPE_URL`] and the name of the message.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}
