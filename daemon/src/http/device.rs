//! What the device says about itself.

use axum::Json;
use axum::extract::State;
use lucid_capture::EncoderNote;
use lucid_hw::board::BoardKind;
use lucid_hw::thermal::Throttling;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::App;
use super::problem::ProblemDocument;
use crate::auth::SignedIn;

/// The endpoint.
pub fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read))
}

/// What makes H.264 of raw pictures.
#[derive(Serialize, ToSchema)]
pub struct Encoder {
    /// `camera`, `file` or an encoder's name, such as `x264enc`.
    name: String,
    /// Only where a hardware encoder of this board does the work.
    hardware: bool,
    /// Why this one.
    reason: String,
}

impl From<EncoderNote> for Encoder {
    fn from(note: EncoderNote) -> Self {
        Self { name: note.name, hardware: note.hardware, reason: note.reason }
    }
}

#[derive(Serialize, ToSchema)]
struct BoardView {
    model: String,
    raspberry_pi: bool,
    /// A Raspberry Pi 5 has no H.264 encoder.
    lacks_h264_encoder: bool,
}

#[derive(Serialize, ToSchema)]
struct DeviceView {
    name: String,
    software_version: &'static str,
    /// Hash of the key that signs recordings.
    device_fingerprint: String,
    /// Hash of the chain's first block; null before there is one.
    chain_genesis: Option<String>,
    board: BoardView,
    encoder: Option<Encoder>,
    temperature_c: Option<f64>,
    /// What the firmware complains of; empty when of nothing, null where it says nothing.
    throttled: Option<Vec<&'static str>>,
    /// SHA-256 of the HTTPS certificate, as browsers show it.
    tls_fingerprint: Option<String>,
}

/// The device: name, version, identities, board, encoder, heat.
#[utoipa::path(get, path = "/device", tag = "device",
    responses((status = 200, body = DeviceView),
        (status = 401, body = ProblemDocument, content_type = "application/problem+json")))]
async fn read(State(app): State<App>, _: SignedIn) -> Json<DeviceView> {
    let board = lucid_hw::board();
    let heat = app.machine.heat().await;
    Json(DeviceView {
        name: app.config.name.clone(),
        software_version: env!("CARGO_PKG_VERSION"),
        device_fingerprint: app.device.fingerprint(),
        chain_genesis: app.device.chain_genesis(),
        encoder: app.machine.encoder_note().await.map(Encoder::from),
        temperature_c: heat.temperature_c,
        throttled: heat.throttling.map(complaints),
        tls_fingerprint: app.device.tls_fingerprint().map(ToString::to_string),
        board: BoardView {
            raspberry_pi: BoardKind::is_raspberry_pi(board.kind),
            lacks_h264_encoder: BoardKind::lacks_h264_encoder(board.kind),
            model: board.model,
        },
    })
}

fn complaints(throttling: Throttling) -> Vec<&'static str> {
    [
        (throttling.under_voltage, "the supply voltage is too low"),
        (throttling.frequency_capped, "the clock is capped"),
        (throttling.throttled, "the processor is slowed down"),
        (throttling.soft_limit, "the soft temperature limit acts"),
        (throttling.under_voltage_since_start, "the supply voltage was too low since the start"),
        (throttling.slowed_since_start, "the processor was slowed down since the start"),
    ]
    .into_iter()
    .filter_map(|(is_so, text)| is_so.then_some(text))
    .collect()
}
