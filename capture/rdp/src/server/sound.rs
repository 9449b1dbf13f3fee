//! Sound out of a desktop to a client ([MS-RDPEA]).
//!
//! Plain samples are offered and nothing else, which every client takes. The state machine is pure:
//! messages of the client and blocks of sound go in, messages to the client come out. A client that
//! never agrees is never sent anything.
//!
//! [MS-RDPEA]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-rdpea/

use ironrdp_core::{DecodeError, EncodeError, EncodeResult, decode, encode_vec};
use ironrdp_rdpsnd::pdu::{
    AudioFormat, ClientAudioFormatPdu, ClientAudioOutputPdu, ServerAudioFormatPdu,
    ServerAudioOutputPdu, TrainingPdu, Version, Wave2Pdu, WaveDataPdu, WaveFormat, WavePdu,
};

use crate::sound::{BLOCK_MAX_BYTES, CHANNELS, FRAME_BYTES, RATE_HZ, SAMPLE_BITS};

/// Longest message of a client, bytes: its list of formats.
pub const MAX_MESSAGE_BYTES: usize = 16 << 10;
/// What a client gives back to show that it listens.
const TRAINING: u16 = 0x4c55;

/// Why a message is not taken or not made.
#[derive(Debug, thiserror::Error)]
pub enum SoundError {
    /// No message of the sound channel.
    #[error("no message of the sound channel")]
    Decode(#[source] DecodeError),
    /// The encoder refuses.
    #[error("a message of the sound channel cannot be made")]
    Encode(#[source] EncodeError),
}

/// What the client agreed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Agreed {
    /// The format's place in the client's own list.
    format: u16,
    /// Whether it knows the newer message, which says when the sound was made.
    dated: bool,
    /// It has answered since.
    trained: bool,
}

/// The sound of one connection.
#[derive(Debug, Default)]
pub struct Sound {
    offered: bool,
    agreed: Option<Agreed>,
    block: u8,
}

impl Sound {
    /// What is offered to the client, the first time this is asked.
    ///
    /// # Errors
    /// When the encoder refuses, which it does for nothing this short.
    pub fn offer(&mut self) -> Result<Option<Vec<u8>>, SoundError> {
        if std::mem::replace(&mut self.offered, true) {
            return Ok(None);
        }
        let formats = vec![plain()];
        let pdu = ServerAudioFormatPdu { version: Version::V8, formats };
        encode(&ServerAudioOutputPdu::AudioFormat(pdu)).map(Some)
    }

    /// Takes a message of the client and gives the answer.
    ///
    /// # Errors
    /// What is no message of this channel.
    pub fn take(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, SoundError> {
        match decode(message).map_err(SoundError::Decode)? {
            ClientAudioOutputPdu::AudioFormat(client) if self.offered => {
                self.agreed = agree(&client);
                if self.agreed.is_none() {
                    tracing::debug!(formats = client.formats.len(), "a client takes no sound");
                    return Ok(None);
                }
                let training = TrainingPdu { timestamp: TRAINING, data: Vec::new() };
                encode(&ServerAudioOutputPdu::Training(training)).map(Some)
            }
            ClientAudioOutputPdu::TrainingConfirm(confirm) if confirm.timestamp == TRAINING => {
                if let Some(agreed) = &mut self.agreed {
                    agreed.trained = true;
                }
                Ok(None)
            }
            // How well it would like to hear, and that it has heard.
            _ => Ok(None),
        }
    }

    /// The messages that carry a block to the client, made at `time_ms`; none as long as it has not
    /// agreed.
    ///
    /// # Errors
    /// When the encoder refuses, which it does for nothing this long.
    pub fn wave(&mut self, block: &[u8], time_ms: u32) -> Result<Vec<Vec<u8>>, SoundError> {
        let Some(agreed) = self.agreed.filter(|agreed| agreed.trained) else {
            return Ok(Vec::new());
        };
        let [low, high, ..] = time_ms.to_le_bytes();
        let (timestamp, format_no) = (u16::from_le_bytes([low, high]), agreed.format);
        let mut messages = Vec::new();
        for block in block.chunks(BLOCK_MAX_BYTES) {
            let block_no = self.block;
            if agreed.dated {
                let (audio_timestamp, data) = (time_ms, block.into());
                let wave = Wave2Pdu { timestamp, format_no, block_no, audio_timestamp, data };
                messages.push(encode(&ServerAudioOutputPdu::Wave2(wave))?);
            } else if let Some((data_prefix, rest)) = block.split_first_chunk() {
                let audio_length = u16::try_from(block.len()).unwrap_or(u16::MAX);
                let data_prefix = *data_prefix;
                let wave = WavePdu { timestamp, format_no, block_no, data_prefix, audio_length };
                messages.push(encode(&ServerAudioOutputPdu::Wave(wave))?);
                let data = WaveDataPdu { data: rest.to_vec() };
                messages.push(encode_vec(&data).map_err(SoundError::Encode)?);
            }
            self.block = block_no.wrapping_add(1);
        }
        Ok(messages)
    }
}

fn encode(pdu: &ServerAudioOutputPdu<'_>) -> Result<Vec<u8>, SoundError> {
    let encoded: EncodeResult<_> = encode_vec(pdu);
    encoded.map_err(SoundError::Encode)
}

/// The one format.
fn plain() -> AudioFormat {
    let frame = u16::try_from(FRAME_BYTES).unwrap_or(u16::MAX);
    AudioFormat {
        format: WaveFormat::PCM,
        n_channels: CHANNELS,
        n_samples_per_sec: RATE_HZ,
        n_avg_bytes_per_sec: RATE_HZ * u32::from(frame),
        n_block_align: frame,
        bits_per_sample: SAMPLE_BITS,
        data: None,
    }
}

fn agree(client: &ClientAudioFormatPdu) -> Option<Agreed> {
    let wanted = plain();
    let format = client.formats.iter().position(|one| {
        one.format == wanted.format
            && one.n_channels == wanted.n_channels
            && one.n_samples_per_sec == wanted.n_samples_per_sec
            && one.bits_per_sample == wanted.bits_per_sample
    })?;
    let dated = client.version >= Version::V8;
    Some(Agreed { format: u16::try_from(format).ok()?, dated, trained: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ironrdp_rdpsnd::pdu::{AudioFormatFlags, TrainingConfirmPdu};

    fn formats(version: Version, formats: Vec<AudioFormat>) -> Vec<u8> {
        let pdu = ClientAudioFormatPdu {
            version,
            flags: AudioFormatFlags::ALIVE,
            formats,
            volume_left: 0,
            volume_right: 0,
            pitch: 0,
            dgram_port: 0,
        };
        encode_vec(&ClientAudioOutputPdu::AudioFormat(pdu)).unwrap()
    }

    fn confirm(timestamp: u16) -> Vec<u8> {
        let pdu = TrainingConfirmPdu { timestamp, pack_size: 0 };
        encode_vec(&ClientAudioOutputPdu::TrainingConfirm(pdu)).unwrap()
    }

    fn mono() -> AudioFormat {
        AudioFormat { n_channels: 1, ..plain() }
    }

    #[test]
    fn sound_goes_once_the_client_has_agreed_and_answered() {
        let mut sound = Sound::default();
        // Nobody has offered anything yet.
        assert_eq!(sound.take(&formats(Version::V8, vec![plain()])).unwrap(), None);
        let offer = sound.offer().unwrap().unwrap();
        assert_eq!(sound.offer().unwrap(), None);
        let offer: ServerAudioOutputPdu<'_> = decode(&offer).unwrap();
        assert!(
            matches!(offer, ServerAudioOutputPdu::AudioFormat(pdu) if pdu.formats == [plain()])
        );
        let block = [7; 4096];
        assert!(sound.wave(&block, 0).unwrap().is_empty());
        assert!(sound.take(&formats(Version::V8, vec![mono(), plain()])).unwrap().is_some());
        assert!(sound.wave(&block, 0).unwrap().is_empty());
        assert_eq!(sound.take(&confirm(1)).unwrap(), None);
        assert!(sound.wave(&block, 0).unwrap().is_empty());
        sound.take(&confirm(TRAINING)).unwrap();
        for block_no in [0, 1] {
            let waves = sound.wave(&block, 0x1_2345).unwrap();
            let [wave] = &waves[..] else { panic!("{}", waves.len()) };
            let ServerAudioOutputPdu::Wave2(wave) = decode(wave).unwrap() else { panic!() };
            assert_eq!((wave.block_no, wave.format_no), (block_no, 1));
            assert_eq!((wave.timestamp, wave.audio_timestamp), (0x2345, 0x1_2345));
            assert_eq!(&wave.data[..], block);
        }
    }

    #[test]
    fn older_clients_get_the_older_message_and_unfit_ones_nothing() {
        let mut sound = Sound::default();
        sound.offer().unwrap();
        assert_eq!(sound.take(&formats(Version::V8, vec![mono()])).unwrap(), None);
        sound.take(&confirm(TRAINING)).unwrap();
        assert!(sound.wave(&[0; 8], 0).unwrap().is_empty());

        sound.take(&formats(Version::V6, vec![plain()])).unwrap();
        sound.take(&confirm(TRAINING)).unwrap();
        let waves = sound.wave(&[1, 2, 3, 4, 5, 6, 7, 8], 9).unwrap();
        assert_eq!(waves.len(), 2);
        assert_eq!(waves[1], [0, 0, 0, 0, 5, 6, 7, 8]);
        // More than a block is several.
        assert_eq!(sound.wave(&[0; BLOCK_MAX_BYTES + 4], 9).unwrap().len(), 4);
        assert!(sound.wave(&[], 9).unwrap().is_empty());
        for garbage in [&[][..], &[7], &[7, 0, 255, 255], &[99, 0, 0, 0], &[0xff; 64]] {
            assert!(sound.take(garbage).is_err());
        }
    }
}
