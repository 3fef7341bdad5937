//! Augmentation in training: what the loop's cutouts do to a picture, all at once and cheap.

use tch::{Kind, Tensor};

/// Share of the pictures that are more than pooled. A perceptor that mostly sees whole pictures
/// learns where things belong, and its gradient says so.
const SHAKEN: f64 = 0.25;

/// Images [B, 3, H, W] in [0, 1] to cutouts [B, 3, side, side]: most as the whole picture
/// pooled, the others as the whole or a crop, turned, tilted, shifted and scaled, colours
/// shaken, parts erased; all with noise. Draws from libtorch's generator, which the caller seeds.
pub fn cutouts(images: &Tensor, side: i64) -> Tensor {
    let options = (Kind::Float, images.device());
    let batch = images.size()[0];
    let uniform = |low: f64, high: f64| -> Tensor {
        Tensor::rand([batch, 1, 1], options) * (high - low) + low
    };
    let happens =
        |p: f64| -> Tensor { Tensor::rand([batch, 1, 1], options).lt(p).to_kind(Kind::Float) };

    // A pooled picture is what `latest` shows; a sharp one is what crops show.
    let pooled: Tensor = (images.adaptive_avg_pool2d([side, side])
        + images.adaptive_max_pool2d([side, side]).0)
        / 2.0;
    let sharp = images.upsample_bilinear2d([side, side], false, None, None);
    let soft = happens(0.5).unsqueeze(-1);
    let x: Tensor = &soft * &pooled + (1.0 - &soft) * sharp;

    // Homography from cutout to picture, [B, 3, 3]: rotation, scale, shift, perspective.
    let warped = happens(0.8);
    let angle = uniform(-0.26, 0.26) * &warped;
    let crop = happens(0.4);
    let scale: Tensor = uniform(0.45, 1.0) * &crop + uniform(0.9, 1.15) * (1.0 - &crop);
    let stretch = uniform(-0.12, 0.12) * &warped;
    let room: Tensor = 1.0 - &scale;
    let room = room.clamp_min(0.12);
    let (dx, dy): (Tensor, Tensor) = (uniform(-1.0, 1.0) * &room, uniform(-1.0, 1.0) * &room);
    let tilt = || -> Tensor { uniform(-0.35, 0.35) * happens(0.6) * (1.0 - &crop) };
    let (px, py) = (tilt(), tilt());
    let (sin, cos) = (angle.sin(), angle.cos());
    let row = |a: &Tensor, b: &Tensor, c: &Tensor| Tensor::cat(&[a, b, c], 2);
    let (sx, sy): (Tensor, Tensor) = (&scale * (1.0 + &stretch), &scale * (1.0 - &stretch));
    let homography = Tensor::cat(
        &[
            row(&(&sx * &cos), &(-&sx * &sin), &dx),
            row(&(&sy * &sin), &(&sy * &cos), &dy),
            row(&px, &py, &px.ones_like()),
        ],
        1,
    );
    let line = Tensor::linspace(-1.0 + 1.0 / side as f64, 1.0 - 1.0 / side as f64, side, options);
    let grid = Tensor::meshgrid_indexing(&[&line, &line], "xy");
    let points = Tensor::stack(&[&grid[0], &grid[1], &grid[0].ones_like()], -1).view([1, -1, 3]);
    let mapped = points.matmul(&homography.transpose(1, 2));
    let depth = mapped.narrow(2, 2, 1).clamp_min(0.25);
    let grid = (mapped.narrow(2, 0, 2) / depth).view([batch, side, side, 2]);
    let x = x.grid_sampler(&grid, 0, 0, false);

    // Colour: brightness, contrast and saturation by about a tenth.
    let shake = |r: f64| uniform(-r, r).unsqueeze(-1);
    let grey = x.mean_dim([1i64].as_slice(), true, Kind::Float);
    let x: Tensor = &grey + (&x - &grey) * (1.0 + shake(0.12));
    let x: Tensor = (&x - 0.5) * (1.0 + shake(0.1)) + 0.5 + shake(0.07);

    // One rectangle of zeros.
    let (cx, cy) = (uniform(-1.0, 1.0), uniform(-1.0, 1.0));
    let (rx, ry) = (uniform(0.15, 0.5), uniform(0.15, 0.5));
    let outside = (line.view([1, 1, -1]) - cx)
        .abs()
        .gt_tensor(&rx)
        .logical_or(&(line.view([1, -1, 1]) - cy).abs().gt_tensor(&ry));
    let keep = outside.to_kind(Kind::Float).maximum(&(1.0 - happens(0.35)));
    let x: Tensor = x * keep.unsqueeze(1);

    let x = x.where_self(&happens(SHAKEN).unsqueeze(1).gt(0.5), &pooled);

    let noise = x.randn_like() * uniform(0.0, 0.1).unsqueeze(-1);
    (x + noise).clamp(-0.2, 1.2)
}
