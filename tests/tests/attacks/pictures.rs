//! Pictures that a few kilobytes bring along and that fill the memory when they are decoded.

use std::fs;
use std::io::Write;

use png::text_metadata::ITXtChunk;
use vqfarm_core::keys;
use vqfarm_core::record::FRAME_INFO;
use vqfarm_tests::farm::{Process, sweep};

use crate::{Asset, failure, farm, hand_in, resolved, with_field};

const MIB: u64 = 1 << 20;

/// The most memory that a process has had, in bytes.
fn peak(process: &Process) -> u64 {
    let path = format!("/proc/{}/status", process.pid().as_raw_nonzero());
    let text = fs::read_to_string(path).expect("the process lives");
    let line = text.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    let kib: String = line.chars().filter(char::is_ascii_digit).collect();
    kib.parse::<u64>().expect("a number") << 10
}

/// A PNG of these sides whose pixels never come.
fn head(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    drop(encoder.write_header().expect("a header"));
    // Signature and head.
    bytes.truncate(8 + 25);
    bytes.extend(b"\0\0\0\x10IDAT");
    bytes
}

/// A whole PNG of one colour, which is a thousandth of its pixels.
fn flat(side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    let mut writer = encoder.write_header().expect("a header");
    let mut stream = writer.stream_writer().expect("a stream");
    let row = vec![127; 4 * side as usize];
    (0..side).for_each(|_| stream.write_all(&row).expect("a row"));
    stream.finish().expect("all rows");
    drop(writer);
    bytes
}

/// A small picture with 400 MiB of a colour profile.
fn with_profile() -> Vec<u8> {
    let mut info = png::Info::with_size(1, 1);
    info.icc_profile = Some(vec![0; 400 << 20].into());
    let mut bytes = Vec::new();
    let writer = png::Encoder::with_info(&mut bytes, info).expect("sound").write_header();
    let mut writer = writer.expect("a header");
    writer.write_image_data(&[0]).expect("a pixel");
    writer.finish().expect("the end");
    bytes
}

/// A picture as the farm makes them but for 256 MiB of text.
fn with_text() -> Vec<u8> {
    let mut text = ITXtChunk::new(FRAME_INFO, " ".repeat(256 << 20));
    text.compressed = true;
    text.compress_text().expect("compressed");
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 32, 32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header().expect("a header");
    writer.write_text_chunk(&text).expect("written");
    writer.write_image_data(&[0; 3 * 32 * 32]).expect("pixels");
    writer.finish().expect("the end");
    bytes
}

fn begins_with(picture: &Asset) -> String {
    resolved(&with_field(&format!("init = {{ image = \"{}\" }}", picture.key)))
}

#[test]
fn pictures_that_grow_cost_their_own_job_only() {
    let farm = farm();
    let one = farm.worker("one", &[]);
    let before = peak(&one.process);
    // What the coordinator can tell by the head is not even stored.
    for (bomb, because) in
        [(head(16_384, 16_384), "512 MiB"), (head(60_000, 60_000), "16384 a side")]
    {
        let file = Asset::new(bomb, "png");
        let refused = hand_in(&farm, begins_with(&file), &[file]).expect_err(because);
        assert!(refused.fields[0].to_string().contains(because), "{refused:?}");
    }
    assert!(farm.stored.jobs().is_empty(), "nothing was stored");
    // A profile that grows is left out, there and in the worker.
    let file = Asset::new(with_profile(), "png");
    let size = file.bytes.len() as u64;
    assert!(size < 2 * MIB, "{size} bytes on their way");
    let id = hand_in(&farm, begins_with(&file), &[file]).expect("the picture is well");
    assert_eq!(farm.vqfarm(&["wait", &id, "--timeout", "600"]).status, 0);
    let taken = [&farm.coordinator.process, &one.process].map(peak);
    assert!(taken[0] < 250 * MIB, "the coordinator took {} MiB", taken[0] / MIB);
    assert!(taken[1] - before < 250 * MIB, "the worker took {} MiB", (taken[1] - before) / MIB);
    // What only the pixels tell ends in the worker, which lives on.
    let file = Asset::new(head(11_000, 11_000), "png");
    let id = hand_in(&farm, begins_with(&file), &[file]).expect("its head is well");
    let told = failure(&farm, &id);
    assert!(told.contains("cannot be used"), "{told}");
    // Large ones are taken, and take some times their pixels: as bytes, as numbers, shrunken.
    let side = 8_000;
    let file = Asset::new(flat(side), "png");
    let size = file.bytes.len() as u64;
    assert!(size < 8 * MIB, "{size} bytes on their way");
    let id = hand_in(&farm, begins_with(&file), &[file]).expect("large");
    let ran = farm.vqfarm(&["wait", &id, "--timeout", "600"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let taken = peak(&one.process).saturating_sub(before);
    let pixels = 4 * u64::from(side) * u64::from(side);
    assert!(taken < 5 * pixels, "the worker took {} MiB", taken / MIB);
    farm.prove(&farm.submit(&sweep(2, 5), 2));
}

#[test]
fn frames_that_another_put_there_are_no_frames() {
    let farm = farm();
    let one = farm.worker("one", &[]);
    let job = farm.submit(&sweep(2, 5), 2);
    farm.prove(&job);
    let before = peak(&one.process);
    for bytes in [with_text(), head(30_000, 30_000)] {
        let size = bytes.len() as u64;
        assert!(size < 2 * MIB, "{size} bytes on their way");
        farm.stored.put(job.id, &keys::frame(1), bytes);
        let answer = farm.json(&["stitch", &job.id.to_string(), "--json"]);
        let id = answer["job"]["id"].as_str().expect("a job");
        let told = failure(&farm, id);
        assert!(told.contains("missing or damaged, the first is frame 1"), "{told}");
        let taken = peak(&one.process).saturating_sub(before);
        assert!(taken < 100 * MIB, "the worker took {} MiB", taken / MIB);
    }
}
