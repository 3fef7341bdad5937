//! Every frame is in the film, in its place, as it was.

use std::fs;
use std::io::{BufReader, Read};

use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, DynamicImage, RgbImage};
use serde_json::json;
use vqfarm_core::event::Event;
use zip::ZipArchive;

use crate::reel::{FRAMES, Reel, SIZE, assert_shows, decode, facts, probe, psnr};

const CODECS: [(&str, &str, &str); 6] = [
    ("h264", "h264", "yuv420p"),
    ("hevc", "hevc", "yuv420p"),
    ("av1", "av1", "yuv420p"),
    ("vp9", "vp9", "yuv420p"),
    ("prores", "prores", "yuv422p10le"),
    ("gif", "gif", "bgra"),
];

const ALL: [u64; FRAMES as usize] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];

/// Names and bytes of a ZIP, in its order.
fn unzip(file: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let mut zip = ZipArchive::new(fs::File::open(file).unwrap()).unwrap();
    let count = zip.len();
    let file = |n| {
        let mut entry = zip.by_index(n).unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.name().to_owned(), bytes)
    };
    (0..count).map(file).collect()
}

fn png(bytes: &[u8]) -> RgbImage {
    image::load_from_memory(bytes).unwrap().to_rgb8()
}

/// An animated WebP, which ffmpeg writes but cannot read: its pictures and its milliseconds.
fn read_webp(file: &std::path::Path) -> (Vec<RgbImage>, u32) {
    let decoder = WebPDecoder::new(BufReader::new(fs::File::open(file).unwrap())).unwrap();
    let frames = decoder.into_frames().collect_frames().unwrap();
    let lasts = frames.iter().map(|frame| frame.delay().numer_denom_ms().0).sum();
    let picture = |frame: image::Frame| DynamicImage::ImageRgba8(frame.into_buffer()).to_rgb8();
    (frames.into_iter().map(picture).collect(), lasts)
}

#[tokio::test]
async fn every_codec_shows_every_frame_at_its_size_and_rate() {
    let reel = Reel::new(SIZE).await;
    for (codec, name, format) in CODECS {
        let film = reel.film(json!({ "codec": codec })).await;
        let streams = probe(&film);
        assert_eq!(streams.len(), 1, "{codec}");
        let names = ["codec_name", "width", "height", "pix_fmt", "r_frame_rate", "nb_read_frames"];
        assert_eq!(facts(&streams[0], names), [name, "64", "48", format, "6/1", "12"], "{codec}");
        if codec != "gif" {
            let colour = ["color_space", "color_primaries", "color_transfer", "color_range"];
            let told = facts(&streams[0], colour);
            assert_eq!(told, ["bt709", "bt709", "bt709", "tv"], "{codec}");
        }
        assert_shows(&reel, &decode(&film, SIZE), &ALL, codec);
    }
    let (shown, lasts) = read_webp(&reel.film(json!({ "codec": "webp" })).await);
    assert!((1_980..=2_020).contains(&lasts), "{lasts} ms");
    assert_shows(&reel, &shown, &ALL, "webp");
}

#[tokio::test]
async fn a_sequence_holds_the_stored_frames_byte_for_byte() {
    let reel = Reel::new(SIZE).await;
    let film = reel.film(json!({ "codec": "png" })).await;
    assert!(film.ends_with("out/frames.zip"));
    let files = unzip(&film);
    assert_eq!(files.len(), FRAMES as usize);
    for (n, (name, bytes)) in files.iter().enumerate() {
        assert_eq!(*name, format!("{n:06}.png"));
        assert!(*bytes == fs::read(reel.folder.path().join("frames").join(name)).unwrap());
    }
}

#[tokio::test]
async fn an_odd_size_gets_an_even_one_where_the_codec_asks_for_it() {
    let size = (63, 47);
    let reel = Reel::new(size).await;
    for (codec, ..) in CODECS {
        let film = reel.film(json!({ "codec": codec })).await;
        let size = if codec == "gif" { size } else { (64, 48) };
        let wanted = [size.0, size.1].map(|side| side.to_string());
        assert_eq!(facts(&probe(&film)[0], ["width", "height"]), wanted, "{codec}");
        assert_shows(&reel, &decode(&film, size), &ALL, codec);
    }
    let (shown, _) = read_webp(&reel.film(json!({ "codec": "webp" })).await);
    assert_eq!(shown[0].dimensions(), size);
    assert_shows(&reel, &shown, &ALL, "webp");
}

#[tokio::test]
async fn a_film_goes_back_and_is_repeated() {
    let reel = Reel::new(SIZE).await;
    let mut order: Vec<u64> = (0..FRAMES).chain((1..FRAMES - 1).rev()).collect();
    order.extend(order.clone());
    let again = |codec: &str| json!({ "codec": codec, "ping_pong": true, "repeat": 2 });
    let film = reel.film(again("h264")).await;
    assert_shows(&reel, &decode(&film, SIZE), &order, "h264");
    let files = unzip(&reel.film(again("png")).await);
    let shown: Vec<RgbImage> = files.iter().map(|(_, bytes)| png(bytes)).collect();
    assert_shows(&reel, &shown, &order, "png");
    assert_eq!(files.last().unwrap().0, format!("{:06}.png", order.len() - 1));
}

#[tokio::test]
async fn labels_are_written_into_the_lower_edge_alone() {
    let reel = Reel::new(SIZE).await;
    let files = unzip(&reel.film(json!({ "codec": "png", "labels": true })).await);
    let film = reel.film(json!({ "codec": "h264", "labels": true })).await;
    let shown = decode(&film, SIZE);
    for (n, source) in reel.pictures.iter().enumerate() {
        for labelled in [&png(&files[n].1), &shown[n]] {
            let part = |picture: &RgbImage, top, height| {
                image::imageops::crop_imm(picture, 0, top, SIZE.0, height).to_image()
            };
            assert!(psnr(&part(labelled, 0, 30), &part(source, 0, 30)) > 30.0, "frame {n}");
            assert!(psnr(&part(labelled, 36, 12), &part(source, 36, 12)) < 15.0, "frame {n}");
        }
    }
}

#[tokio::test]
async fn frames_in_between_change_the_rate_and_not_the_length() {
    let reel = Reel::new(SIZE).await;
    for codec in ["h264", "vp9", "png"] {
        let film = reel.film(json!({ "codec": codec, "interpolate_to": 24 })).await;
        let shown = if codec == "png" {
            unzip(&film).iter().map(|(_, bytes)| png(bytes)).collect()
        } else {
            let stream = &probe(&film)[0];
            let told = facts(stream, ["r_frame_rate", "nb_read_frames"]);
            assert_eq!(told, ["24/1", "48"], "{codec}");
            decode(&film, SIZE)
        };
        assert_eq!(shown.len(), 48, "{codec}");
        for (n, source) in reel.pictures.iter().enumerate() {
            let ratio = psnr(&shown[4 * n], source);
            assert!(ratio > 28.0, "{codec}: frame {n} is there: {ratio:.1} dB");
        }
    }
    let slow = reel.film(json!({ "interpolate_to": 3, "ping_pong": true })).await;
    assert_eq!(facts(&probe(&slow)[0], ["r_frame_rate", "nb_read_frames"]), ["3/1", "11"]);
}

#[tokio::test]
async fn the_same_frames_give_the_same_file() {
    let reel = Reel::new(SIZE).await;
    for codec in ["h264", "hevc", "vp9", "prores", "gif", "webp", "png"] {
        let one = fs::read(reel.film(json!({ "codec": codec })).await).unwrap();
        let two = fs::read(reel.film(json!({ "codec": codec })).await).unwrap();
        assert!(one == two, "{codec}");
    }
}

#[tokio::test]
async fn stitching_tells_how_far_it_is() {
    let reel = Reel::new(SIZE).await;
    for codec in ["h264", "gif", "png"] {
        let (stitched, told) = reel.stitch(json!({ "codec": codec, "repeat": 3 })).await;
        stitched.unwrap();
        let shown = if codec == "gif" { FRAMES } else { 3 * FRAMES };
        assert_eq!(told.first(), Some(&Event::Stitching { done: 0, of: shown }), "{codec}");
        assert_eq!(told.last(), Some(&Event::Stitching { done: shown, of: shown }), "{codec}");
        let done: Vec<u64> = told
            .iter()
            .map(|event| match event {
                Event::Stitching { done, of } if *of == shown => *done,
                other => panic!("{codec}: {other:?}"),
            })
            .collect();
        assert!(done.is_sorted(), "{codec}: {done:?}");
    }
}

#[tokio::test]
async fn without_a_fitting_gpu_the_film_is_encoded_as_ever_and_says_so() {
    let reel = Reel::new(SIZE).await;
    // So small a picture is refused by the encoders of all GPUs.
    for codec in ["h264", "hevc", "av1"] {
        let (stitched, told) = reel.stitch(json!({ "codec": codec, "hardware": true })).await;
        stitched.unwrap();
        let warnings: Vec<&String> = told
            .iter()
            .filter_map(|event| match event {
                Event::Warning { message } => Some(message),
                _ => None,
            })
            .collect();
        assert_eq!(warnings.len(), 1, "{told:?}");
        let named = warnings[0].contains(&format!("{codec}_nvenc"));
        assert!(named && warnings[0].contains("without a GPU"), "{warnings:?}");
        let film = reel.folder.path().join("out/video.mp4");
        assert_shows(&reel, &decode(&film, SIZE), &ALL, codec);
    }
}
