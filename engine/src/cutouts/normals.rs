//! Normal noise for whole batches of cutouts: millions of numbers an iteration.

use std::ffi::CStr;
use std::sync::OnceLock;

use tch::{Device, Kind, Tensor};
use vqfarm_core::rng::{Key, Stream};

use crate::device;

/// Standard normal numbers for cutouts shaped like `like` [N, …], each from its own stream.
///
/// On a CPU they are drawn by the host's code on as many threads as libtorch computes with; on
/// a GPU there, from the same words, so that nothing large crosses over. The two differ in the
/// last digits, as devices do.
pub fn normals(like: &Tensor, streams: &mut [Stream]) -> Tensor {
    let each = (like.numel() / streams.len().max(1)).max(1);
    if like.device() != Device::Cpu
        && let Some(numbers) = on_device(streams, each as i64, like.device())
    {
        return numbers.view_as(like);
    }
    let mut numbers = vec![0f32; like.numel()];
    let share = streams.len().div_ceil(tch::get_num_threads().max(1) as usize).max(1);
    std::thread::scope(|scope| {
        for (streams, numbers) in streams.chunks_mut(share).zip(numbers.chunks_mut(share * each)) {
            scope.spawn(move || {
                for (stream, out) in streams.iter_mut().zip(numbers.chunks_mut(each)) {
                    stream.fill_normal(out);
                }
            });
        }
    });
    Tensor::from_slice(&numbers).to_device(like.device()).view_as(like)
}

/// What [`Stream::fill_normal`] would fill in, [streams, each], computed by tensor operations.
/// None when the streams have not all drawn equally many numbers; none of them is moved on.
fn on_device(streams: &[Stream], each: i64, device: Device) -> Option<Tensor> {
    let drawn = streams.first()?.position().1;
    if streams.iter().any(|s| s.position().1 != drawn) {
        return None;
    }
    let keys: Vec<Key> = streams.iter().map(|s| s.position().0).collect();
    let iterations: Vec<i64> = keys.iter().map(|key| i64::from(key.iteration)).collect();
    let iterations = Tensor::from_slice(&iterations).to_device(device).view([-1, 1]);
    Some(DeviceKeys::new(&keys, device).normals(&iterations, drawn as i64, each))
}

/// Many streams' keys on a device, but for the iteration.
pub(super) struct DeviceKeys {
    /// Each int64 [streams, 1].
    cutout: Tensor,
    frame: Tensor,
    philox: [Tensor; 2],
}

impl DeviceKeys {
    pub fn new(keys: &[Key], device: Device) -> Self {
        let column = |of: &dyn Fn(&Key) -> u32| {
            let values: Vec<i64> = keys.iter().map(|k| i64::from(of(k))).collect();
            Tensor::from_slice(&values).to_device(device).view([-1, 1])
        };
        Self {
            cutout: column(&|k| k.cutout),
            frame: column(&|k| k.frame),
            philox: [column(&|k| k.philox_key()[0]), column(&|k| k.philox_key()[1])],
        }
    }

    /// As many standard normals of each stream, of an `iteration` (int64, [1] or [streams, 1]),
    /// after so many words were drawn: float32 [streams, each].
    pub fn normals(&self, iteration: &Tensor, drawn: i64, each: i64) -> Tensor {
        match self.cutout.device() {
            Device::Cuda(_) if compiles(self, iteration) => {
                match self.compiled(iteration, drawn, each) {
                    Ok(numbers) => numbers,
                    Err(_) => self.composed(iteration, drawn, each),
                }
            }
            _ => self.composed(iteration, drawn, each),
        }
    }

    /// By tensor operations, some two hundred that read and write all words each.
    fn composed(&self, iteration: &Tensor, drawn: i64, each: i64) -> Tensor {
        let pairs = (each + 1) / 2;
        let uniform = self.uniforms(iteration, drawn, 2 * pairs).view([-1, pairs, 2]);
        // 1 − u is never 0.
        let rest: Tensor = 1.0 - uniform.select(2, 0);
        let radius = (rest.log() * -2.0).sqrt();
        let angle = uniform.select(2, 1) * std::f64::consts::TAU;
        let numbers = Tensor::stack(&[&radius * angle.cos(), &radius * angle.sin()], 2);
        numbers.view([-1, 2 * pairs]).narrow(1, 0, each).contiguous()
    }

    /// By one program on a CUDA device.
    fn compiled(&self, iteration: &Tensor, drawn: i64, each: i64) -> Result<Tensor, String> {
        // Double holds every 32-bit number.
        let options = (Kind::Double, self.cutout.device());
        let place = Tensor::arange(each, options).unsqueeze(0);
        let drawn = Tensor::full([1, 1], drawn, options);
        let identity = [iteration, &self.cutout, &self.frame, &self.philox[0], &self.philox[1]]
            .map(|column| column.view([-1, 1]).to_kind(Kind::Double));
        let mut inputs = vec![&place, &drawn];
        inputs.extend(&identity);
        Ok(device::each(NORMAL, c"vqfarm_normal", &inputs)?.to_kind(Kind::Float))
    }

    /// The same of [`Stream::uniform`].
    pub fn uniforms(&self, iteration: &Tensor, drawn: i64, each: i64) -> Tensor {
        let (first, skip) = (drawn / 4, drawn % 4);
        let blocks = (skip + each + 3) / 4;
        let words = self.words(iteration, first, blocks).narrow(1, skip, each);
        // 24 bits a number, exact in float32.
        words.bitwise_right_shift_tensor_scalar(8).to_kind(Kind::Float) / (1 << 24) as f64
    }

    /// The streams' 32-bit words from block `first` on, int64 [streams, 4·blocks]: Philox4x32-10 as
    /// in [`vqfarm_core::rng`], with 64-bit integers for the products.
    fn words(&self, iteration: &Tensor, first: i64, blocks: i64) -> Tensor {
        const LOW: i64 = 0xFFFF_FFFF;
        let options = (Kind::Int64, self.cutout.device());
        let block = Tensor::arange_start(first, first + blocks, options).unsqueeze(0);
        let own = |column: &Tensor| column.shallow_clone();
        let mut counter = [block, iteration.view([-1, 1]), own(&self.cutout), own(&self.frame)];
        let mut key = [own(&self.philox[0]), own(&self.philox[1])];
        let high =
            |product: &Tensor| product.bitwise_right_shift_tensor_scalar(32).bitwise_and_(LOW);
        for _ in 0..10 {
            let [c0, c1, c2, c3] = counter;
            let (p0, p1) = (c0 * 0xD251_1F53_i64, c2 * 0xCD9E_8D57_i64);
            counter = [
                high(&p1).bitwise_xor_tensor(&(c1.bitwise_xor_tensor(&key[0]))),
                p1.bitwise_and(LOW),
                high(&p0).bitwise_xor_tensor(&(c3.bitwise_xor_tensor(&key[1]))),
                p0.bitwise_and(LOW),
            ];
            let [k0, k1] = key;
            key =
                [(k0 + 0x9E37_79B9_i64).bitwise_and(LOW), (k1 + 0xBB67_AE85_i64).bitwise_and(LOW)];
        }
        let shape = [self.cutout.size()[0], blocks];
        let counter = counter.map(|word| word.expand(shape, false));
        Tensor::stack(&counter, 2).view([shape[0], -1])
    }
}

/// The program of [`DeviceKeys::compiled`].
const NORMAL: &CStr = match CStr::from_bytes_with_nul(
    concat!(include_str!("../../cuda/normal.cuh"), "\0").as_bytes(),
) {
    Ok(text) => text,
    Err(_) => c"",
};

/// Whether the program compiles here and does what the tensor operations do; tried once.
fn compiles(keys: &DeviceKeys, iteration: &Tensor) -> bool {
    static COMPILES: OnceLock<bool> = OnceLock::new();
    let tried = || {
        let compiled = keys.compiled(iteration, 1, 9).ok()?;
        let apart = (compiled - keys.composed(iteration, 1, 9)).abs().max();
        Some(apart.f_double_value(&[]).ok()? < 1e-5)
    };
    *COMPILES.get_or_init(|| tried().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compiles the program for the host.
    #[test]
    fn the_program_for_a_gpu_draws_what_the_host_draws() {
        let folder = tempfile::tempdir().unwrap();
        let [source, program] = ["normal.cpp", "normal"].map(|name| folder.path().join(name));
        let main = r#"
            #include <cmath>
            #include <cstdio>
            #include <cstdlib>
            PROGRAM
            int main(int, char** a) {
              for (int i = 0; i < 9; i++)
                printf("%.9g\n", vqfarm_normal<double>(i, atof(a[1]), atof(a[2]), atof(a[3]),
                                                       atof(a[4]), atof(a[5]), atof(a[6])));
            }"#;
        let main = main.replace("PROGRAM", include_str!("../../cuda/normal.cuh"));
        std::fs::write(&source, main).unwrap();
        let mut compile = std::process::Command::new("c++");
        compile.arg("-O1").arg(&source).arg("-o").arg(&program);
        assert!(compile.status().unwrap().success());
        for drawn in [0, 1, 6] {
            for mut stream in streams(drawn) {
                let (key, _) = stream.position();
                let [key0, key1] = key.philox_key();
                let identity = [drawn as u32, key.iteration, key.cutout, key.frame, key0, key1];
                let output = std::process::Command::new(&program)
                    .args(identity.map(|word| word.to_string()))
                    .output()
                    .unwrap();
                let text = String::from_utf8(output.stdout).unwrap();
                let there: Vec<f32> = text.lines().map(|line| line.parse().unwrap()).collect();
                let mut here = [0f32; 9];
                stream.fill_normal(&mut here);
                assert_eq!(there.len(), here.len());
                for (a, b) in there.iter().zip(here) {
                    assert!((a - b).abs() < 2e-6, "{there:?} for {here:?}");
                }
            }
        }
    }
    use vqfarm_core::rng::Purpose;

    fn streams(drawn: usize) -> Vec<Stream> {
        let key = Key::new(0xFEDC_BA98_7654_3210, Purpose::CutoutNoise).frame(7).iteration(9);
        let of_cutout = |cutout| {
            let mut stream = key.cutout(cutout).stream();
            (0..drawn).for_each(|_| {
                stream.word();
            });
            stream
        };
        [0, 1, u32::MAX].map(of_cutout).into()
    }

    #[test]
    fn tensors_draw_what_the_host_draws() {
        for drawn in [0, 1, 6] {
            for each in [1, 2, 7, 5000] {
                let there = on_device(&streams(drawn), each, Device::Cpu).unwrap();
                let mut here = streams(drawn);
                let like = Tensor::zeros([3, each], (Kind::Float, Device::Cpu));
                let apart = (there - normals(&like, &mut here)).abs().max().double_value(&[]);
                assert!(apart < 2e-6, "{apart} for {each} numbers after {drawn} words");
            }
        }
    }

    #[test]
    fn streams_at_different_places_are_left_to_the_host() {
        let mut uneven = streams(1);
        uneven[2].word();
        assert!(on_device(&uneven, 4, Device::Cpu).is_none());
    }
}
