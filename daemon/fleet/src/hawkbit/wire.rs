//! hawkBit's Direct Device Integration API, as much of it as a device needs.
//!
//! <https://eclipse.dev/hawkbit/rest-api/rootcontroller.html>; fields that are not read are
//! ignored, as the API asks for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
pub struct Link {
    pub href: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Links {
    pub deployment_base: Option<Link>,
    pub cancel_action: Option<Link>,
    pub confirmation_base: Option<Link>,
    pub config_data: Option<Link>,
}

#[derive(Deserialize)]
pub struct Polling {
    pub sleep: Option<String>,
}

#[derive(Deserialize)]
pub struct Config {
    pub polling: Option<Polling>,
}

/// Answer to a poll.
#[derive(Deserialize)]
pub struct Root {
    pub config: Option<Config>,
    #[serde(rename = "_links")]
    pub links: Option<Links>,
}

/// Answer of `deploymentBase/{action}` and `confirmationBase/{action}`.
#[derive(Deserialize)]
pub struct Action {
    pub id: String,
    #[serde(alias = "confirmation")]
    pub deployment: Deployment,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    pub download: Option<String>,
    pub update: Option<String>,
    pub maintenance_window: Option<String>,
    #[serde(default)]
    pub chunks: Vec<Chunk>,
}

#[derive(Deserialize)]
pub struct Chunk {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub artifacts: Vec<Artifact>,
}

#[derive(Deserialize)]
pub struct Hashes {
    pub sha256: Option<String>,
}

#[derive(Deserialize)]
pub struct Artifact {
    pub filename: String,
    pub hashes: Option<Hashes>,
    pub size: u64,
    #[serde(rename = "_links", default)]
    pub links: BTreeMap<String, Link>,
}

/// Answer of `confirmationBase`.
#[derive(Deserialize)]
pub struct Confirmations {
    #[serde(rename = "_links")]
    pub links: Option<Links>,
}

/// Answer of `cancelAction/{action}`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cancel {
    pub cancel_action: Stop,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stop {
    pub stop_id: String,
}

#[derive(Serialize)]
pub struct Feedback<'a> {
    pub id: &'a str,
    pub timestamp: u64,
    pub status: Status<'a>,
}

#[derive(Serialize)]
pub struct Status<'a> {
    pub execution: &'a str,
    pub result: Result<'a>,
    pub details: Vec<&'a str>,
}

#[derive(Serialize)]
pub struct Result<'a> {
    pub finished: &'a str,
}

#[derive(Serialize)]
pub struct Agreement<'a> {
    pub confirmation: &'a str,
    pub details: Vec<&'a str>,
}

#[derive(Serialize)]
pub struct Attributes<'a> {
    pub mode: &'a str,
    pub data: &'a BTreeMap<&'a str, String>,
}
