//! Switches of how sessions compute, beyond what a picture's settings say.

use std::str::FromStr;

/// How sessions compute. The defaults are what is quickest on each device; the switches serve
/// measuring, and whoever mistrusts one of them. Pictures change by rounding at most, but for
/// `composed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether the numbers of the next iterations are drawn before and lie on the device, instead
    /// of being brought there as they are needed. Left out: on a GPU. Without it there are no
    /// graphs either.
    pub ahead: Option<bool>,
    /// Whether consecutive augmentations that move pixels are sampled at once. Sharper than one
    /// after another, as the originals do it. Left out: on a GPU.
    pub composed: Option<bool>,
    /// Whether a GPU makes the draws of the cutouts itself ([`Options::ahead`] without the host); the
    /// host makes them where that fails or comes out otherwise. Left out: on a GPU.
    pub draws: Option<bool>,
    pub graphs: Graphs,
    /// Whether the decoder's norms and the swish after them are one operation
    /// ([`crate::net::can_fuse`]); for networks that are built with these options. Left out: where
    /// they can be.
    pub fused: Option<bool>,
    /// Whether the pictures of a batch are computed in two halves side by side, so that the decoder
    /// of one fills what the perceptor of the other leaves free. On a GPU only.
    pub halves: bool,
}

/// Whether iterations are captured as a CUDA graph, which the GPU repeats by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Graphs {
    /// Where it can be done and is worth it.
    #[default]
    Auto,
    Off,
}

impl FromStr for Options {
    type Err = String;

    /// `graphs=off,halves=on`: switches by name, `on`, `off` or `auto`; those left out are as by
    /// default.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut options = Self::default();
        for switch in text.split(',').map(str::trim).filter(|switch| !switch.is_empty()) {
            let (name, value) = switch.split_once('=').unwrap_or((switch, "on"));
            let value = match value {
                "on" => Some(true),
                "off" => Some(false),
                "auto" => None,
                _ => return Err(format!("{switch:?}: choose on, off or auto")),
            };
            match name {
                "ahead" => options.ahead = value,
                "composed" => options.composed = value,
                "draws" => options.draws = value,
                "graphs" if value == Some(false) => options.graphs = Graphs::Off,
                "graphs" => options.graphs = Graphs::Auto,
                "fused" => options.fused = value,
                "halves" => options.halves = value.unwrap_or_default(),
                _ => {
                    let known = "ahead, composed, draws, graphs, fused or halves";
                    return Err(format!("{switch:?}: choose {known}"));
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_read_by_name() {
        let read = |text: &str| text.parse::<Options>();
        assert_eq!(read("").unwrap(), Options::default());
        assert_eq!(read("graphs=off").unwrap().graphs, Graphs::Off);
        let several = read("halves, ahead=on,composed=off,draws=off,fused=off").unwrap();
        let (ahead, off) = (Some(true), Some(false));
        let wanted = Options {
            ahead,
            composed: off,
            draws: off,
            graphs: Graphs::Auto,
            fused: off,
            halves: true,
        };
        assert_eq!(several, wanted);
        assert!(read("graphs=perhaps").unwrap_err().contains("on, off or auto"));
        assert!(read("speed=on").unwrap_err().contains("fused or halves"));
    }
}
