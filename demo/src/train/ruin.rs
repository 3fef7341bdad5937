//! Wrong pictures with the right colours.
//!
//! A loop can please a perceptor with smears of the right colours at about the right places.
//! A perceptor that has seen such smears as wrong answers asks for the subject itself.

use tch::{Kind, Tensor};

/// Images [B, 3, H, W] with their shapes destroyed, each in one of three ways: pulled about,
/// blurred away, or cut into tiles that are shuffled. H and W must be multiples of four.
/// Draws from libtorch's generator.
pub fn ruin(images: &Tensor) -> Tensor {
    let way = Tensor::rand([images.size()[0], 1, 1, 1], (Kind::Float, images.device()));
    let pulled = pull(images);
    let blurred = blur(&pulled);
    let rest = blurred.where_self(&way.lt(0.7), &shuffle(images));
    pulled.where_self(&way.lt(0.45), &rest)
}

/// Moves pixels by up to about a third of the picture, smoothly.
fn pull(images: &Tensor) -> Tensor {
    let size = images.size();
    let (batch, height, width) = (size[0], size[2], size[3]);
    let options = (Kind::Float, images.device());
    let field = Tensor::randn([batch, 2, 5, 5], options) * 0.3;
    let field = field.upsample_bicubic2d([height, width], true, None, None).permute([0, 2, 3, 1]);
    let line = |n: i64| Tensor::linspace(-1.0, 1.0, n, options);
    let grid = Tensor::meshgrid_indexing(&[line(width), line(height)], "xy");
    let straight = Tensor::stack(&[&grid[0], &grid[1]], -1);
    // Borders are reflected, so that no new edges arise.
    images.grid_sampler(&(field + straight), 0, 2, true)
}

fn blur(images: &Tensor) -> Tensor {
    let size = images.size();
    images.adaptive_avg_pool2d([7, 7]).upsample_bicubic2d([size[2], size[3]], false, None, None)
}

/// Four by four tiles in another order, the same for the batch.
fn shuffle(images: &Tensor) -> Tensor {
    let size = images.size();
    let (batch, height, width) = (size[0], size[2] / 4, size[3] / 4);
    let order = Tensor::randperm(16, (Kind::Int64, images.device()));
    images
        .view([batch, 3, 4, height, 4, width])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([batch, 16, 3, height, width])
        .index_select(1, &order)
        .view([batch, 4, 4, 3, height, width])
        .permute([0, 3, 1, 4, 2, 5])
        .reshape(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_keep_their_pixels() {
        tch::manual_seed(4);
        let x = Tensor::rand([2, 3, 16, 16], (Kind::Float, tch::Device::Cpu));
        let y = shuffle(&x);
        assert!(x != y);
        assert_eq!(x.flatten(0, -1).sort(0, false).0, y.flatten(0, -1).sort(0, false).0);
        assert_eq!(ruin(&x).size(), x.size());
    }
}
