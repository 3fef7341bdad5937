//! Files made to do harm, or broken in ways that careless readers fall for. Each is refused with an
//! error that names the file and the reason.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::pickle::{self, Pickle};
use common::zip::{self, Entry};
use vqfarm_weights::read_bytes;

const NAME: &str = "some/evil.ckpt";

/// The reason for which a file is refused.
fn refusal(bytes: &[u8]) -> String {
    let message = read_bytes(Path::new(NAME), bytes).unwrap_err().to_string();
    let reason = message.strip_prefix(&format!("{NAME}: "));
    reason.unwrap_or_else(|| panic!("does not begin with the file: {message}")).to_owned()
}

fn assert_refused(bytes: &[u8], because: &str) {
    let reason = refusal(bytes);
    assert!(reason.contains(because), "`{because}` is not said in: {reason}");
}

/// A `torch.save` archive of a pickle and storages.
fn archive(pickle: Pickle, storages: &[(&str, &[u8])]) -> Vec<u8> {
    let mut entries = vec![Entry::new("evil/data.pkl", pickle.stop())];
    for (key, bytes) in storages {
        entries.push(Entry::new(&format!("evil/data/{key}"), bytes.to_vec()));
    }
    zip::write(&entries)
}

/// A state dict with one tensor of two rows and two columns, by default.
struct Tensor {
    class: &'static str,
    len: i64,
    offset: i64,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

impl Default for Tensor {
    fn default() -> Self {
        Self { class: "FloatStorage", len: 4, offset: 0, shape: vec![2, 2], strides: vec![2, 1] }
    }
}

impl Tensor {
    fn archive(&self) -> Vec<u8> {
        let bytes: Vec<u8> = (0..4u8).flat_map(|x| f32::from(x).to_le_bytes()).collect();
        archive(self.pickle(), &[("0", &bytes)])
    }

    fn pickle(&self) -> Pickle {
        Pickle::new().dict(&[("w", &|p| {
            p.tensor(self.class, "0", self.len, self.offset, &self.shape, &self.strides)
        })])
    }
}

#[test]
fn the_builders_make_files_that_load() {
    let checkpoint = read_bytes(Path::new(NAME), &Tensor::default().archive()).unwrap();
    assert_eq!(checkpoint.state.get("w").unwrap().to_f32(), [0., 1., 2., 3.]);
    let transposed = Tensor { strides: vec![1, 2], ..Tensor::default() };
    let checkpoint = read_bytes(Path::new(NAME), &transposed.archive()).unwrap();
    assert_eq!(checkpoint.state.get("w").unwrap().to_f32(), [0., 2., 1., 3.]);
    let column = Tensor { offset: 1, shape: vec![2], strides: vec![2], ..Tensor::default() };
    let checkpoint = read_bytes(Path::new(NAME), &column.archive()).unwrap();
    assert_eq!(checkpoint.state.get("w").unwrap().to_f32(), [1., 3.]);
}

#[test]
fn a_pickle_that_would_run_code_is_refused_by_what_it_names() {
    let calls = [
        ("os", "system"),
        ("posix", "system"),
        ("subprocess", "check_output"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "__import__"),
        ("__builtin__", "getattr"),
        ("runpy", "run_path"),
        ("shutil", "rmtree"),
        ("socket", "create_connection"),
        ("webbrowser", "open"),
        ("torch.hub", "load"),
        ("numpy.testing._private.utils", "runstring"),
    ];
    for (module, name) in calls {
        let global = format!("{module}.{name}");
        let call = || Pickle::new().global(module, name).str("echo hello").tuple1().op(b"R");
        // In place of the state dict, inside it, and named without a call.
        assert_refused(&archive(call(), &[]), &global);
        assert_refused(&archive(Pickle::new().dict(&[("w", &|_| call())]), &[]), &global);
        assert_refused(&archive(Pickle::new().global(module, name), &[]), &global);
        // By the name taken from the stack, as protocol 4 does, and as an old-style instance.
        let stacked = Pickle::new().str(module).str(name).op(b"\x93").op(b")R");
        assert_refused(&archive(stacked, &[]), &global);
        let instance = Pickle::new().op(format!("(i{module}\n{name}\n").as_bytes());
        assert_refused(&archive(instance, &[]), &global);
        // Bare, and as the first pickle of an old stream.
        assert_refused(&call().stop(), &global);
        assert_refused(format!("c{module}\n{name}\n(S'id'\ntR.").as_bytes(), &global);
    }
    let walking = Pickle::new().str("torch.serialization").str("os.system").op(b"\x93");
    assert_refused(&archive(walking, &[]), "os.system");
}

#[test]
fn unknown_classes_are_kept_as_names_and_do_no_harm() {
    let pickle = Pickle::new().dict(&[
        ("callback", &|p| p.global("my.own", "Callback").op(b")\x81}b")),
        ("state_dict", &|p| p.inner(Tensor::default().pickle())),
        ("hyper_parameters", &|p| p.global("argparse", "Namespace").op(b")R")),
    ]);
    let bytes: [u8; 16] = [0; 16];
    let checkpoint = read_bytes(Path::new(NAME), &archive(pickle, &[("0", &bytes)])).unwrap();
    assert_eq!(checkpoint.state.names().collect::<Vec<_>>(), ["w"]);
}

#[test]
fn tensors_outside_their_storage_are_refused() {
    let cases = [
        Tensor { shape: vec![3, 2], ..Tensor::default() },
        Tensor { offset: 1, ..Tensor::default() },
        Tensor { offset: -1, ..Tensor::default() },
        Tensor { offset: i64::MAX, ..Tensor::default() },
        Tensor { shape: vec![-2, 2], ..Tensor::default() },
        Tensor { strides: vec![-2, 1], ..Tensor::default() },
        Tensor { strides: vec![i64::MAX, 1], ..Tensor::default() },
        Tensor { strides: vec![1], ..Tensor::default() },
        // A product that overflows, and overlapping windows that would fill the memory.
        Tensor { shape: vec![1 << 32, 1 << 32], strides: vec![0, 0], ..Tensor::default() },
        Tensor { shape: vec![1 << 40], strides: vec![0], ..Tensor::default() },
        Tensor { len: -4, ..Tensor::default() },
    ];
    for case in cases {
        assert_refused(&case.archive(), "tensor `w`");
    }
}

#[test]
fn storages_of_another_size_than_promised_are_refused() {
    for len in [5, 3, 1 << 40, i64::MAX] {
        let shape = vec![2];
        let case = Tensor { len, shape, strides: vec![1], ..Tensor::default() };
        let reason = refusal(&case.archive());
        assert!(reason.contains("data/0") || reason.contains("storage `0`"), "{reason}");
    }
    assert_refused(&archive(Tensor::default().pickle(), &[]), "no entry `evil/data/0`");
    let quantised = Tensor { class: "QInt8Storage", ..Tensor::default() };
    assert_refused(&quantised.archive(), "QInt8Storage");
}

#[test]
fn nesting_sharing_and_size_of_a_pickle_cost_no_more_than_its_bytes() {
    let deep = [vec![b']'; 500_000], vec![b'a'; 499_999]].concat();
    assert_refused(&archive(Pickle::new().op(&deep), &[]), "no state dict");
    // Each tuple holds the one before it twice: 2^100 000 leaves if anyone counted.
    let sharing = [b")".to_vec(), b"2\x86".repeat(100_000)].concat();
    assert_refused(&archive(Pickle::new().op(&sharing), &[]), "no state dict");
    // A dictionary that contains itself as its state dict.
    let cycle = Pickle::new().op(b"}q\x00").str("state_dict").op(b"h\x00s");
    assert_refused(&archive(cycle, &[]), "no state dict");
    assert_refused(
        &archive(Pickle::new().op(&b"N0".repeat(5_000_000)), &[]),
        "values in its pickle",
    );
    // Lengths far beyond the end.
    for claim in [
        &b"X\xff\xff\xff\xff"[..],
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x8b\xff\xff\xff\x7f",
    ] {
        assert_refused(&archive(Pickle::new().op(claim), &[]), "damaged pickle");
    }
    for nonsense in
        [&b"R"[..], b"t", b"0", b"s", b"h\x05", b"(0a", b"\x82\x01", b"\xff", b"}(u", b"NNs"]
    {
        let reason = refusal(&archive(Pickle::new().op(nonsense), &[]));
        assert!(reason.contains("pickle") || reason.contains("no state dict"), "{reason}");
    }
}

#[test]
fn scripted_modules_that_share_or_contain_themselves_end() {
    let module = |p: Pickle| p.global("__torch__.m", "M").op(b")\x81");
    let cycle = module(Pickle::new()).op(b"q\x00}").str("child").op(b"h\x00sb");
    assert_refused(&archive(cycle, &[]), "nesting of modules");
    // Each module holds the one before it twice.
    let mut sharing = module(Pickle::new()).op(b"q\x00}b0");
    for _ in 0..40 {
        sharing = module(sharing).op(b"}").str("a").op(b"h\x00s").str("b").op(b"h\x00sbq\x000");
    }
    assert_refused(&archive(sharing.op(b"h\x00"), &[]), "number of modules");
}

#[test]
fn zips_with_path_tricks_are_refused() {
    for name in
        ["../evil", "evil/../../x", "/etc/passwd", "C:\\x", "evil\\x", "evil/./x", "a\0b", ""]
    {
        let entries = [
            Entry::new("evil/data.pkl", Tensor::default().pickle().stop()),
            Entry::new(name, vec![]),
        ];
        assert_refused(&zip::write(&entries), "is not a plain path");
    }
    let long = Entry::new(&"x".repeat(5000), vec![]);
    assert_refused(&zip::write(&[long]), "is not a plain path");
}

#[test]
fn zips_that_contradict_themselves_are_refused() {
    let pkl = || Entry::new("evil/data.pkl", Tensor::default().pickle().stop());
    let refused = |entries: &[Entry], because: &str| assert_refused(&zip::write(entries), because);
    refused(&[pkl(), pkl()], "occurs twice");
    refused(&[Entry { crc: Some(1), ..pkl() }], "checksum");
    refused(&[Entry { flags: 1, ..pkl() }], "encrypted");
    refused(&[Entry { method: 8, ..pkl() }], "compressed");
    refused(&[Entry { size: Some(1 << 31), ..pkl() }], "overlaps");
    refused(&[Entry { size: Some(0xffff_ffff), ..pkl() }], "zip64");
    refused(&[Entry { local_name: Some("evil/data.pkX"), ..pkl() }], "contradicts");
    refused(&[Entry { header: Some(1 << 30), ..pkl() }], "truncated");
    // Two names for the same bytes.
    let same = Entry {
        header: Some(0),
        local_name: Some("evil/data.pkl"),
        ..Entry::new("evil/byteorder", vec![])
    };
    assert!(refusal(&zip::write(&[pkl(), same])).contains("contradicts"));
    refused(&[Entry::new("evil/other", vec![])], "not one of PyTorch's");
    refused(&[pkl(), Entry::new("more/data.pkl", vec![])], "not one of PyTorch's");
    refused(&[pkl(), Entry::new("evil/byteorder", b"big".to_vec())], "big-endian");
    refused(&[], "not one of PyTorch's");
}

#[test]
fn zip_end_records_that_point_elsewhere_are_refused() {
    let good = Tensor::default().archive();
    let end = good.len() - 22;
    for (at, value) in [(8, 3u16), (4, 1), (20, 1)] {
        let mut bad = good.clone();
        bad[end + at..end + at + 2].copy_from_slice(&value.to_le_bytes());
        refusal(&bad);
    }
    for at in [12, 16] {
        for value in [u32::MAX, u32::MAX - 1, good.len() as u32, 0] {
            let mut bad = good.clone();
            bad[end + at..end + at + 4].copy_from_slice(&value.to_le_bytes());
            refusal(&bad);
        }
    }
}

#[test]
fn zip64_archives_are_read_and_their_records_checked() {
    let good = zip::widen(Tensor::default().archive());
    assert!(read_bytes(Path::new(NAME), &good).is_ok());
    // The locator's pointer, then the record's count, length and position of the directory.
    let locator = good.len() - 22 - 20;
    let record = locator - 56;
    for at in [locator + 8, record + 32, record + 40, record + 48] {
        for value in [u64::MAX, good.len() as u64, 1 << 40, 0] {
            let mut bad = good.clone();
            bad[at..at + 8].copy_from_slice(&value.to_le_bytes());
            refusal(&bad);
        }
    }
}

#[test]
fn absurd_safetensors_headers_are_refused() {
    let file = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    let one = |dtype: &str, shape: &str, offsets: &str, data| {
        file(
            &format!(r#"{{"w":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#),
            data,
        )
    };
    assert!(read_bytes(Path::new(NAME), &one("F32", "[2]", "[0,8]", 8)).is_ok());
    for (bytes, because) in [
        (one("F32", "[2]", "[0,8]", 4), "truncated"),
        (one("F32", "[2]", "[0,8]", 12), "belong to no tensor"),
        (one("F32", "[3]", "[0,8]", 8), "does not fit"),
        (one("F32", "[4294967296,4294967296]", "[0,8]", 8), "does not fit"),
        (one("F32", "[2]", "[8,0]", 8), "data_offsets"),
        (one("F32", "[2]", "[4,12]", 12), "data_offsets"),
        (one("F32", "[2]", "[0,18446744073709551615]", 8), "truncated"),
        (one("F32", "[-2]", "[0,8]", 8), "damaged safetensors header"),
        (one("F8_E4M3", "[8]", "[0,8]", 8), "F8_E4M3"),
        (file(&"{\"a\":".repeat(2000), 0), "damaged safetensors header"),
        (
            file(
                r#"{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}"#,
                0,
            ),
            "occurs twice",
        ),
        (one("F32", &format!("[{}1]", "1,".repeat(16)), "[0,4]", 4), "17 dimensions"),
        (
            file(
                &format!(
                    r#"{{"{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}}}"#,
                    "w".repeat(513)
                ),
                0,
            ),
            "name of 513 bytes",
        ),
        (file("{not json}", 0), "damaged safetensors header"),
        ([&u64::MAX.to_le_bytes()[..], b"{}"].concat(), "limit"),
        ([&99_000_000u64.to_le_bytes()[..], b"{}"].concat(), "limit"),
        ([&16_000_000u64.to_le_bytes()[..], b"{}"].concat(), "truncated"),
    ] {
        assert_refused(&bytes, because);
    }
}

#[test]
fn old_streams_that_lie_about_their_storages_are_refused() {
    let good = pickle::legacy(Tensor::default().pickle(), &["0"], &[(4, &[0; 16])]);
    assert!(read_bytes(Path::new(NAME), &good).is_ok());
    let pickle = || Tensor::default().pickle();
    for (bytes, because) in [
        (pickle::legacy(pickle(), &["0"], &[(4, &[0; 12])]), "truncated"),
        (pickle::legacy(pickle(), &["0"], &[(1 << 50, &[0; 16])]), "length of storage"),
        (pickle::legacy(pickle(), &["0"], &[]), "truncated"),
        (pickle::legacy(pickle(), &["1"], &[(4, &[0; 16])]), "nothing refers to storage `1`"),
        (pickle::legacy(pickle(), &[], &[]), "storage `0` is not in the file"),
        (pickle::legacy(pickle(), &["0", "0"], &[(4, &[0; 16]), (4, &[0; 16])]), "occurs twice"),
        (good[..20].to_vec(), "pickle"),
    ] {
        assert_refused(&bytes, because);
    }
}

#[test]
fn other_files_are_recognised_as_such() {
    assert_refused(b"", "empty");
    assert_refused(b"<!DOCTYPE html>", "web page");
    assert_refused(b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer");
    assert_refused(b"\x89PNG\r\n\x1a\n", "expected safetensors");
    assert_refused(b"PK\x03\x04", "truncated");
    assert_refused(&Tensor::default().pickle().stop(), "bare pickle");
}
