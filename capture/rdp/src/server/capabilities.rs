//! What we offer a client, and what we take from its answer ([MS-RDPBCGR] 2.2.7).
//!
//! [MS-RDPBCGR]: https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-rdpbcgr/

use ironrdp_pdu::rdp::capability_sets::{
    Bitmap, BitmapCodecs, BitmapDrawingFlags, CapabilitySet, CmdFlags, Codec, CodecProperty,
    EntropyBits, General, GeneralExtraFlags, Input, InputFlags, MultifragmentUpdate, Order,
    OrderFlags, OrderSupportExFlags, Pointer, RemoteFxContainer, SurfaceCommands, VirtualChannel,
    VirtualChannelFlags,
};

/// Largest fast-path update, all fragments together, that we ask the client to take, bytes. More
/// than 8 MiB makes mstsc hang up.
pub const MAX_UPDATE_BYTES: u32 = 8 << 20;
/// Shapes of the pointer a client is asked to keep.
const POINTER_CACHE: u16 = 32;

/// What we offer for a desktop of this size.
pub fn offered(width: u16, height: u16) -> Vec<CapabilitySet> {
    vec![
        CapabilitySet::General(General {
            extra_flags: GeneralExtraFlags::FASTPATH_OUTPUT_SUPPORTED,
            refresh_rect_support: true,
            suppress_output_support: true,
            ..General::default()
        }),
        CapabilitySet::Bitmap(Bitmap {
            pref_bits_per_pix: 32,
            desktop_width: width,
            desktop_height: height,
            desktop_resize_flag: true,
            drawing_flags: BitmapDrawingFlags::empty(),
        }),
        CapabilitySet::Order(Order::new(OrderFlags::empty(), OrderSupportExFlags::empty(), 0, 0)),
        CapabilitySet::SurfaceCommands(SurfaceCommands { flags: CmdFlags::all() }),
        CapabilitySet::Pointer(Pointer {
            color_pointer_cache_size: POINTER_CACHE,
            pointer_cache_size: POINTER_CACHE,
        }),
        CapabilitySet::Input(Input {
            input_flags: InputFlags::SCANCODES
                | InputFlags::MOUSEX
                | InputFlags::UNICODE
                | InputFlags::FASTPATH_INPUT
                | InputFlags::FASTPATH_INPUT_2,
            keyboard_layout: 0,
            keyboard_type: None,
            keyboard_subtype: 0,
            keyboard_function_key: 12,
            keyboard_ime_filename: String::new(),
        }),
        CapabilitySet::VirtualChannel(VirtualChannel {
            flags: VirtualChannelFlags::NO_COMPRESSION,
            chunk_size: None,
        }),
        CapabilitySet::MultiFragmentUpdate(MultifragmentUpdate {
            max_request_size: MAX_UPDATE_BYTES,
        }),
        CapabilitySet::BitmapCodecs(BitmapCodecs(vec![
            Codec {
                id: 0,
                property: CodecProperty::RemoteFx(RemoteFxContainer::ServerContainer(1)),
            },
            Codec {
                id: 0,
                property: CodecProperty::ImageRemoteFx(RemoteFxContainer::ServerContainer(1)),
            },
        ])),
    ]
}

/// How pictures go to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// RemoteFX in surface commands, under the client's number for it.
    RemoteFx {
        /// The client's codec identifier.
        codec: u8,
        /// RLGR3 rather than RLGR1.
        rlgr3: bool,
    },
    /// Plain pixels in surface commands.
    Surface,
    /// Bitmap updates, which every client takes.
    Bitmap,
}

/// What a client can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// How pictures go to it.
    pub coding: Coding,
    /// Largest update it puts together, bytes.
    pub max_update: usize,
}

/// Reads a client's answer. Without one it is taken for the plainest.
pub fn accepted(sets: &[CapabilitySet]) -> Accepted {
    let (mut surface, mut remote_fx) = (false, None);
    let mut max_update = MAX_UPDATE_BYTES;
    for set in sets {
        match set {
            CapabilitySet::SurfaceCommands(commands) => {
                surface = commands.flags.contains(CmdFlags::SET_SURFACE_BITS);
            }
            CapabilitySet::MultiFragmentUpdate(limit) => {
                max_update = limit.max_request_size.clamp(64 << 10, MAX_UPDATE_BYTES);
            }
            CapabilitySet::BitmapCodecs(BitmapCodecs(codecs)) => {
                remote_fx = codecs.iter().find_map(remote_fx_of).or(remote_fx);
            }
            _ => {}
        }
    }
    let coding = match (surface, remote_fx) {
        (true, Some((codec, rlgr3))) => Coding::RemoteFx { codec, rlgr3 },
        (true, None) => Coding::Surface,
        (false, _) => Coding::Bitmap,
    };
    Accepted { coding, max_update: usize::try_from(max_update).unwrap_or(64 << 10) }
}

fn remote_fx_of(codec: &Codec) -> Option<(u8, bool)> {
    let CodecProperty::RemoteFx(RemoteFxContainer::ClientContainer(client)) = &codec.property
    else {
        return None;
    };
    let entropy = client.caps_data.0.0.last().map(|set| set.entropy_bits);
    entropy.map(|bits| (codec.id, bits == EntropyBits::Rlgr3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ironrdp_pdu::rdp::capability_sets::client_codecs_capabilities;

    fn surface() -> CapabilitySet {
        CapabilitySet::SurfaceCommands(SurfaceCommands { flags: CmdFlags::all() })
    }

    #[test]
    fn a_client_gets_the_best_it_can_take() {
        let codecs = CapabilitySet::BitmapCodecs(client_codecs_capabilities(&[]).unwrap());
        assert_eq!(accepted(&[]).coding, Coding::Bitmap);
        assert_eq!(accepted(&[surface()]).coding, Coding::Surface);
        assert_eq!(accepted(std::slice::from_ref(&codecs)).coding, Coding::Bitmap);
        let best = accepted(&[codecs, surface()]).coding;
        assert!(matches!(best, Coding::RemoteFx { rlgr3: true, .. }), "{best:?}");
    }

    #[test]
    fn the_size_of_updates_stays_within_bounds() {
        for (said, taken) in [(0, 64 << 10), (1 << 20, 1 << 20), (u32::MAX, 8 << 20)] {
            let set = MultifragmentUpdate { max_request_size: said };
            assert_eq!(accepted(&[CapabilitySet::MultiFragmentUpdate(set)]).max_update, taken);
        }
    }
}
