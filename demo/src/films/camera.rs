//! Where the camera of a film goes from each frame to the next.

use anyhow::{Result, bail, ensure};
use vqfarm_core::animation::{Direction, Mode, Start, Timeline, WarpMethod};
use vqfarm_engine::similarity::Similarity;
use vqfarm_engine::warp::Motion;

/// What takes the points of the picture that the camera sees `share` of the way from a frame to
/// the next one to where they lie in that frame; none where the next frame begins a shot.
///
/// # Errors
/// The frame is the last one; the legacy method, whose steps are whole pixels.
pub fn between(timeline: &Timeline, frame: u64, share: f64) -> Result<Option<Similarity>> {
    let next = timeline.frame(frame + 1)?;
    let [width, height] = next.render.size;
    let size = (i64::from(width), i64::from(height));
    let zoom = &timeline.animation().zoom;
    let each = f64::from(zoom.frames_per_step);
    let base = |frame| zoom.depth(frame, timeline.len()).base;
    match (timeline.animation().mode, zoom.direction) {
        (Mode::Zoom, Direction::In) => {
            let nesting = timeline.nesting(base(frame))?;
            Ok(Some(Similarity::placing(&nesting, size, share / each)))
        }
        (Mode::Zoom, Direction::Out) => {
            let nesting = timeline.nesting(base(frame + 1))?;
            Ok(Some(Similarity::placing(&nesting, size, -share / each)))
        }
        (Mode::Feedback, _) => {
            let Start::Moved(step) = next.start else { return Ok(None) };
            ensure!(
                step.warp.method == WarpMethod::Subpixel,
                "the legacy method moves by whole pixels, not as its camera says"
            );
            Ok(Some(Similarity::moving(&Motion::from(&step.warp), size, share)))
        }
        (Mode::Video, _) => {
            bail!("a painted film has the camera of its source, which nobody knows")
        }
    }
}

/// Whether two moves differ by a hundredth of a pixel or less in a picture of a thousand.
pub fn alike(one: Similarity, other: Similarity) -> bool {
    let apart = |one: [f64; 2], other: [f64; 2]| (one[0] - other[0]).hypot(one[1] - other[1]);
    apart(one.a, other.a) < 1e-5 && apart(one.b, other.b) < 1e-2
}
