//! What this machine is and can: board, cameras, encoder. Asked off the async threads, since
//! drivers and GStreamer take their time.

use std::sync::Arc;

use lucid_capture::{EncoderNote, EncoderPlan, HardwareEncoder, SourceError};
use lucid_hw::camera::CameraKind;
use lucid_hw::thermal::{self, Throttling};
use tokio::sync::OnceCell;

/// A source that could be added.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its address.
    pub uri: String,
    /// Its name for people.
    pub name: String,
    /// `v4l2`, `libcamera`, `screen` or `demo`.
    pub kind: &'static str,
    /// What the operator should know; empty when there is nothing to say.
    pub note: String,
}

/// The machine, with what does not change found out once.
#[derive(Clone, Default)]
pub struct Machine {
    encoders: Arc<OnceCell<EncoderPlan>>,
}

/// How warm the machine is.
pub struct Heat {
    /// The processor, in degrees Celsius, where a sensor says.
    pub temperature_c: Option<f64>,
    /// What the firmware says about power and heat, where it says anything.
    pub throttling: Option<Throttling>,
}

impl Machine {
    /// The encoders of this machine, probed at the first call.
    ///
    /// # Errors
    /// When GStreamer does not start; asked again at the next call.
    pub async fn encoders(&self) -> Result<EncoderPlan, SourceError> {
        let plan = self.encoders.get_or_try_init(|| blocking(probe)).await?;
        Ok(plan.clone())
    }

    /// What would encode raw pictures, for people: `None` when nothing is installed.
    pub async fn encoder_note(&self) -> Option<EncoderNote> {
        match self.encoders().await {
            Ok(plan) => plan.video,
            Err(error) => Some(EncoderNote {
                name: "none".into(),
                hardware: false,
                passthrough: false,
                reason: error.to_string(),
            }),
        }
    }

    /// The cameras attached now, those libcamera knows besides, and the demo picture.
    ///
    /// # Errors
    /// When GStreamer does not start.
    pub async fn discover(&self) -> Result<Vec<Found>, SourceError> {
        blocking(discover).await
    }

    /// How warm it is now.
    pub async fn heat(&self) -> Heat {
        let read = || {
            let machine = lucid_hw::Machine::here();
            Ok(Heat {
                temperature_c: thermal::temperature_c(&machine),
                throttling: thermal::throttling(&machine),
            })
        };
        blocking(read).await.unwrap_or(Heat { temperature_c: None, throttling: None })
    }
}

fn probe() -> Result<EncoderPlan, SourceError> {
    let report = lucid_hw::encoders();
    let hardware = match report.chosen {
        Some(encoder) => HardwareEncoder::Usable {
            device: encoder.device.to_string_lossy().into_owned(),
            name: encoder.name,
        },
        None => HardwareEncoder::None { reason: report.reason },
    };
    lucid_capture::probe_encoders(&hardware, None)
}

fn discover() -> Result<Vec<Found>, SourceError> {
    let mut found: Vec<Found> = lucid_hw::cameras()
        .into_iter()
        .map(|camera| Found {
            uri: camera.uri,
            name: camera.name,
            kind: match camera.kind {
                CameraKind::V4l2 => "v4l2",
                CameraKind::Libcamera => "libcamera",
            },
            note: camera.note,
        })
        .collect();
    for camera in lucid_capture::libcamera_cameras()? {
        let uri = camera.uri.to_string();
        if found.iter().all(|known| known.uri != uri) {
            found.push(Found { uri, name: camera.name, kind: "libcamera", note: String::new() });
        }
    }
    found.push(Found {
        uri: "test://".into(),
        name: "Demo picture".into(),
        kind: "demo",
        note: "a drawn picture with a clock, for trying Lucid without a camera".into(),
    });
    Ok(found)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(SourceError::Framework { detail: error.to_string() }))
}
