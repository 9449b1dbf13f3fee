//! How long the way to a client and back is ([MS-RDPBCGR] 2.2.14): asked now and then over the
//! message channel, where a client joined it.
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-rdpbcgr/

use std::time::{Duration, Instant};

use ironrdp_core::{decode, encode_vec};
use ironrdp_pdu::mcs::SendDataIndication;
use ironrdp_pdu::rdp::autodetect::{
    AutoDetectReqPdu, AutoDetectRequest, AutoDetectResponse, AutoDetectRspPdu,
};
use ironrdp_pdu::x224::X224;

/// Shortest time between two questions.
const ASK_INTERVAL: Duration = Duration::from_secs(5);

/// The questions to one client.
#[derive(Debug)]
pub struct RoundTrip {
    /// The server's own MCS channel.
    user: u16,
    /// None for a client that does not answer.
    channel: Option<u16>,
    sequence: u16,
    asked: Option<Instant>,
    answered: bool,
}

impl RoundTrip {
    /// For a client that answers over `channel`, or not at all.
    pub fn new(user: u16, channel: Option<u16>) -> Self {
        RoundTrip { user, channel, sequence: 0, asked: None, answered: true }
    }

    /// Appends the next question to `out`, if it is time for one.
    pub fn ask(&mut self, now: Instant, out: &mut Vec<u8>) {
        let Some(channel_id) = self.channel else { return };
        if self.asked.is_some_and(|asked| now.duration_since(asked) < ASK_INTERVAL) {
            return;
        }
        self.sequence = self.sequence.wrapping_add(1);
        let question = AutoDetectReqPdu::new(AutoDetectRequest::rtt_continuous(self.sequence));
        let Ok(question) = encode_vec(&question) else { return };
        let indication =
            SendDataIndication { initiator_id: self.user, channel_id, user_data: question.into() };
        let Ok(bytes) = encode_vec(&X224(indication)) else { return };
        out.extend_from_slice(&bytes);
        (self.asked, self.answered) = (Some(now), false);
    }

    /// Takes what came over an MCS channel; gives the time if it answers the last question.
    pub fn answer(&mut self, channel: u16, bytes: &[u8], now: Instant) -> Option<Duration> {
        if self.channel != Some(channel) || self.answered {
            return None;
        }
        let answer = decode::<AutoDetectRspPdu>(bytes).ok()?.response;
        let AutoDetectResponse::RttResponse { sequence_number } = answer else { return None };
        if sequence_number != self.sequence {
            return None;
        }
        self.answered = true;
        self.asked.map(|asked| now.duration_since(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_the_last_question_counts_and_once() {
        let mut trip = RoundTrip::new(1002, Some(1005));
        let (start, mut out) = (Instant::now(), Vec::new());
        trip.ask(start, &mut out);
        assert!(!out.is_empty());
        let length = out.len();
        trip.ask(start + Duration::from_secs(4), &mut out);
        assert_eq!(out.len(), length, "asked again at once");
        let said = |sequence_number| {
            let answer = AutoDetectResponse::RttResponse { sequence_number };
            encode_vec(&AutoDetectRspPdu::new(answer)).unwrap()
        };
        let later = start + Duration::from_millis(30);
        assert_eq!(trip.answer(1005, &said(9), later), None);
        assert_eq!(trip.answer(1004, &said(1), later), None);
        assert_eq!(trip.answer(1005, b"nonsense", later), None);
        assert_eq!(trip.answer(1005, &said(1), later), Some(Duration::from_millis(30)));
        assert_eq!(trip.answer(1005, &said(1), later), None);
        let mut silent = RoundTrip::new(1002, None);
        out.clear();
        silent.ask(start, &mut out);
        assert!(out.is_empty());
    }
}
