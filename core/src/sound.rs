//! The kinds of files that a film's soundtrack may be, told by their first bytes.

/// What a soundtrack comes in; what lies inside is for ffmpeg to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoundFormat {
    Mp3,
    /// M4A, MP4, QuickTime.
    Mp4,
    /// Vorbis or Opus.
    Ogg,
    Flac,
    Wav,
    /// MKA, MKV, WebM.
    Matroska,
}

impl SoundFormat {
    pub const ALL: [Self; 6] =
        [Self::Mp3, Self::Mp4, Self::Ogg, Self::Flac, Self::Wav, Self::Matroska];

    /// For messages.
    pub const NAMES: &str = "MP3, M4A/MP4, Ogg (Opus), FLAC, WAV and MKA/WebM";

    /// What a file that begins like this is; the first 12 bytes decide.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'I', b'D', b'3', ..] => Some(Self::Mp3),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(Self::Mp4),
            [b'O', b'g', b'g', b'S', ..] => Some(Self::Ogg),
            [b'f', b'L', b'a', b'C', ..] => Some(Self::Flac),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Self::Wav),
            [0x1A, 0x45, 0xDF, 0xA3, ..] => Some(Self::Matroska),
            [0xFF, second, third, ..] if is_mp3_frame(*second, *third) => Some(Self::Mp3),
            _ => None,
        }
    }

    /// How the names of such files end in storage.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp3 => "mp3",
            Self::Mp4 => "m4a",
            Self::Ogg => "ogg",
            Self::Flac => "flac",
            Self::Wav => "wav",
            Self::Matroska => "mka",
        }
    }
}

/// Whether these bytes, after 0xFF, go on as the header of an MPEG layer III frame.
fn is_mp3_frame(second: u8, third: u8) -> bool {
    let (version, layer) = (second >> 3 & 3, second >> 1 & 3);
    let (bitrate, rate) = (third >> 4, third >> 2 & 3);
    second >> 5 == 0b111 && version != 1 && layer == 1 && bitrate != 15 && rate != 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sounds_are_told_from_everything_else() {
        let known: [(&[u8], SoundFormat); 8] = [
            (b"ID3\x04\0\0\0\0\0\0\0\0", SoundFormat::Mp3),
            (b"\xFF\xFB\x90\x64", SoundFormat::Mp3),
            (b"\0\0\0\x1CftypM4A \0\0\0\0", SoundFormat::Mp4),
            (b"OggS\0\x02", SoundFormat::Ogg),
            (b"fLaC\0\0\0\x22", SoundFormat::Flac),
            (b"RIFF\x24\x08\0\0WAVEfmt ", SoundFormat::Wav),
            (b"\x1A\x45\xDF\xA3\x01", SoundFormat::Matroska),
            (b"\xFF\xF3\x40\xC4", SoundFormat::Mp3),
        ];
        for (bytes, format) in known {
            assert_eq!(SoundFormat::of(bytes), Some(format), "{bytes:?}");
        }
        let others: [&[u8]; 8] = [
            b"",
            b"\xFF",
            b"#EXTM3U\nhttp://host/x.ts",
            b"ffconcat version 1.0\nfile /etc/passwd",
            b"RIFF\x24\x08\0\0WEBPVP8 ",
            b"GIF89a picture",
            // AAC without a container, JPEG.
            b"\xFF\xF1\x50\x80",
            b"\xFF\xD8\xFF\xE0",
        ];
        for bytes in others {
            assert_eq!(SoundFormat::of(bytes), None, "{bytes:?}");
        }
    }
}
