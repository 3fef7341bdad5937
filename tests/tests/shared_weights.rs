//! Workers on one machine have a model's weights in memory once, whichever of them dies.

use std::fs;

use half::f16;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use vqfarm_tests::farm::{Farm, Setup, Worker, sweep, until};

/// A model of this test's own, as other tests' workers share theirs with whoever asks: in float16, as
/// it is published, so that nobody can use it as it lies in the file.
fn push_own_model(farm: &Farm) {
    let file = fs::read(farm.path("clip.safetensors")).expect("the tiny model");
    let tensors = SafeTensors::deserialize(&file).expect("safetensors");
    let nudge = (std::process::id() % 10_000) as f32 * 1e-6;
    let halves = |tensor: TensorView| {
        let numbers = tensor.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
        let bytes: Vec<u8> = numbers.flat_map(|x| f16::from_f32(x + nudge).to_le_bytes()).collect();
        (tensor.shape().to_vec(), bytes)
    };
    let halves: Vec<_> =
        tensors.tensors().into_iter().map(|(name, tensor)| (name, halves(tensor))).collect();
    let views = halves.iter().map(|(name, (shape, bytes))| {
        (name, TensorView::new(safetensors::Dtype::F16, shape.clone(), bytes).expect("a shape"))
    });
    let path = farm.path("own.safetensors");
    let file = safetensors::serialize(views, None).expect("tensors can be written");
    fs::write(&path, file).expect("a file can be written");
    farm.vqfarm_ok(&["models", "import", &path.to_string_lossy(), "--name", "own-clip"]);
    farm.vqfarm_ok(&["models", "push", "own-clip"]);
}

/// Has a worker that no other stands in for render two cells, and sees that they are as they should
/// be. Cells of other `iterations` than before: the farm does not render the same ones twice.
fn render(farm: &Farm, name: &str, iterations: u32, flags: &[&str]) -> Worker {
    let worker = farm.worker(name, &[&["--tags", name], flags].concat());
    let job = sweep(2, iterations).replace("tiny-clip", "own-clip");
    let job = farm.submit(&format!("{job}\n[requires]\ntags = [\"{name}\"]\n"), 2);
    farm.prove(&job);
    worker
}

fn joined(worker: &Worker) -> bool {
    let words = ["by another process", "own-clip"];
    worker.process.log().lines().any(|line| words.iter().all(|word| line.contains(word)))
}

/// Names under which processes of this machine offer weights.
fn offered() -> Vec<String> {
    let sockets = fs::read_to_string("/proc/net/unix").expect("the system tells its sockets");
    // Sockets that listen have this flag; those of who got the weights have the name as well.
    let listening = sockets.lines().filter(|line| line.contains(" 00010000 "));
    let names = listening.filter_map(|line| line.split_once(" @vqfarm/weights/"));
    names.map(|(_, name)| name.to_owned()).collect()
}

#[test]
fn workers_share_weights_and_keep_them_when_one_is_killed() {
    let farm = Farm::new(Setup::default());
    push_own_model(&farm);
    let mut one = render(&farm, "one", 2, &[]);
    assert!(!joined(&one), "nobody had it before");
    let names = offered();
    assert!(!names.is_empty());
    let two = render(&farm, "two", 3, &[]);
    assert!(joined(&two), "{}", two.process.log());
    one.process.kill();
    // The second offers what the first made.
    until("the weights are offered again", || {
        let now = offered();
        names.iter().all(|name| now.contains(name)).then_some(())
    });
    let three = render(&farm, "three", 4, &[]);
    assert!(joined(&three), "{}", three.process.log());
    // Who wants none of this has its own, and the same pictures.
    let alone = render(&farm, "alone", 5, &["--share-weights", "off"]);
    assert!(!joined(&alone));
}
