//! What ffmpeg is told: raw pictures in, a whole file out. Nothing of it comes from a user but
//! numbers and checked names.

use vqfarm_core::video::{Codec, Video};

use super::sound::Sound;
use super::{file_name, sequence};

/// What ffmpeg is to make of raw pictures.
pub(super) struct Recipe<'a> {
    pub video: &'a Video,
    /// Width and height of the pictures.
    pub size: (u32, u32),
    /// Pictures a second.
    pub fps: f64,
    /// How many pictures come.
    pub count: u64,
    pub sound: Option<Sound>,
    /// The encoder of the GPU, where it shall encode.
    pub nvenc: Option<&'static str>,
}

/// SVT-AV1 takes no smaller pictures.
const LEAST_OF_SVT: u32 = 64;

impl Recipe<'_> {
    /// The same of one picture alone.
    pub fn of_one(&self) -> Recipe<'_> {
        Recipe { count: 1, sound: None, ..*self }
    }

    /// Everything but the program's name; files are named as in the film's folder.
    pub fn arguments(&self) -> Vec<String> {
        let mut all = words("-hide_banner -loglevel error -nostdin -y");
        all.extend(self.inputs());
        let filters = self.filters();
        if !filters.is_empty() {
            all.extend(["-vf".into(), filters.join(",")]);
        }
        all.extend(self.encoder());
        all.extend(self.sound_encoder());
        // The same frames give the same file.
        all.extend(words("-fflags +bitexact -flags:v +bitexact -flags:a +bitexact"));
        all.extend(words("-map_metadata -1 -map_chapters -1"));
        if self.video.codec.key().ends_with(".mp4") {
            // Plays before it is loaded to its end.
            all.extend(words("-movflags +faststart"));
        }
        all.push(match self.video.codec {
            Codec::Png => sequence::NAMES.into(),
            codec => file_name(codec).into(),
        });
        all
    }

    fn inputs(&self) -> Vec<String> {
        let ((width, height), fps) = (self.size, self.fps);
        let mut all = words(&format!(
            "-protocol_whitelist pipe -f rawvideo -pix_fmt rgb24 -video_size {width}x{height} \
             -framerate {fps} -i pipe:0"
        ));
        if let Some(sound) = &self.sound {
            all.extend(sound.input().map(str::to_owned));
            all.extend(words("-map 0:v:0 -map 1:a:0"));
        }
        all
    }

    fn filters(&self) -> Vec<String> {
        let mut filters = Vec::new();
        if let Some(rate) = self.video.interpolate_to {
            // It needs frames behind the last one to go on to the film's end; what is made up
            // there is cut off. (`-frames:v` would cut the sound off too.)
            let length = self.video.length(self.count, self.fps);
            filters.push("tpad=stop_mode=clone:stop=2".into());
            filters.push(format!("minterpolate=fps={rate}:mi_mode=mci:mc_mode=aobmc:vsbmc=1"));
            filters.push(format!("trim=end_frame={length}"));
        }
        if matches!(self.video.codec, Codec::Webp | Codec::Png) {
            return filters;
        }
        // Most codecs keep colour for pairs of pixels: an odd side gets one more, as the last.
        let (right, bottom) = (self.size.0 % 2, self.size.1 % 2);
        if right + bottom > 0 {
            filters.push(format!("pad=iw+{right}:ih+{bottom}"));
            filters.push(format!("fillborders=right={right}:bottom={bottom}:mode=smear"));
        }
        filters.push("scale=out_color_matrix=bt709:out_range=tv".into());
        // Not the encoder's options of these names: ProRes does not heed them.
        let colour = "color_primaries=bt709:color_trc=bt709:colorspace=bt709:range=tv";
        filters.push(format!("setparams={colour}"));
        filters
    }

    fn encoder(&self) -> Vec<String> {
        let video = self.video;
        let crf = |usual: u8| video.crf.unwrap_or(usual);
        let tag = if video.codec == Codec::Hevc { " -tag:v hvc1" } else { "" };
        let (encoder, format) = match (video.codec, self.nvenc) {
            (Codec::H264 | Codec::Hevc | Codec::Av1, Some(name)) => {
                // nvenc counts as x264 does, whatever the codec; its 0 would mean something else.
                let quality = match video.codec {
                    Codec::Av1 => u32::from(crf(28)) * 51 / 63,
                    Codec::Hevc => crf(20).into(),
                    _ => crf(17).into(),
                };
                let quality = quality.max(1);
                let rate = "-rc vbr -b:v 0";
                (format!("-c:v {name} -preset p6 {rate} -cq {quality}{tag}"), "yuv420p")
            }
            (Codec::H264, _) => (format!("-c:v libx264 -preset slow -crf {}", crf(17)), "yuv420p"),
            (Codec::Hevc, _) => {
                let quiet = "-x265-params log-level=error";
                let encoder = format!("-c:v libx265 -preset medium -crf {}{tag} {quiet}", crf(20));
                (encoder, "yuv420p")
            }
            (Codec::Av1, _) if self.size.0.min(self.size.1) < LEAST_OF_SVT => {
                (format!("-c:v libaom-av1 -cpu-used 6 -b:v 0 -crf {}", crf(28)), "yuv420p")
            }
            (Codec::Av1, _) => (format!("-c:v libsvtav1 -preset 6 -crf {}", crf(28)), "yuv420p"),
            (Codec::Vp9, _) => {
                (format!("-c:v libvpx-vp9 -b:v 0 -crf {} -row-mt 1", crf(28)), "yuv420p")
            }
            (Codec::Prores, _) => {
                ("-c:v prores_ks -profile:v 3 -vendor apl0".into(), "yuv422p10le")
            }
            (Codec::Webp, _) => {
                let repeat = video.repeat.unwrap_or(0);
                (format!("-c:v libwebp_anim -quality 85 -loop {repeat}"), "yuv420p")
            }
            (Codec::Png, _) => ("-c:v png -f image2 -start_number 0".into(), "rgb24"),
            // Made without ffmpeg.
            (Codec::Gif, _) => ("-c:v gif".into(), "pal8"),
        };
        let mut all = words(&encoder);
        all.extend(["-pix_fmt".into(), video.pixel_format.as_deref().unwrap_or(format).into()]);
        all
    }

    fn sound_encoder(&self) -> Vec<String> {
        let Some(sound) = &self.sound else { return Vec::new() };
        let encoder = match self.video.codec {
            Codec::Vp9 => "-c:a libopus -b:a 160k",
            // For cutting.
            Codec::Prores => "-c:a pcm_s16le",
            _ => "-c:a aac -b:a 192k",
        };
        let mut all = vec!["-af".into(), sound.filters(self.count as f64 / self.fps)];
        all.extend(words(encoder));
        all
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}
