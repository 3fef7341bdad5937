//! What cannot be a film is refused in words, and what was there stays.

use std::fs;

use serde_json::{Value, json};
use vqfarm_worker::stitch::StitchError;
use vqfarm_worker::stitch::film::check;

use crate::reel::{Reel, SIZE};

#[tokio::test]
async fn a_damaged_frame_is_named_before_anything_is_written() {
    let reel = Reel::new(SIZE).await;
    let victim = reel.folder.path().join("frames/000007.png");
    let whole = fs::read(&victim).unwrap();
    fs::write(&victim, &whole[..whole.len() / 2]).unwrap();
    for codec in ["h264", "gif", "png"] {
        let (refused, told) = reel.stitch(json!({ "codec": codec })).await;
        let named = matches!(&refused, Err(StitchError::Damaged(frames)) if *frames == [7]);
        assert!(named, "{codec}: {refused:?}");
        assert!(told.is_empty(), "{codec}: nothing was begun: {told:?}");
        assert!(reel.out().is_empty(), "{codec}");
    }
    fs::write(&victim, whole).unwrap();
    let film = reel.film(json!({})).await;
    let before = fs::read(&film).unwrap();
    fs::remove_file(&victim).unwrap();
    assert!(reel.stitch(json!({ "crf": 40 })).await.0.is_err());
    assert!(fs::read(&film).unwrap() == before, "the older film stays");
}

#[tokio::test]
async fn a_failing_ffmpeg_is_heard_and_leaves_nothing() {
    let reel = Reel::new(SIZE).await;
    let bad = json!({ "pixel_format": "nonsense" });
    let refused = reel.stitch(bad.clone()).await.0.unwrap_err().to_string();
    assert!(refused.contains("ffmpeg ended with") && refused.contains("nonsense"), "{refused}");
    assert!(reel.out().is_empty(), "{:?}", reel.out());
    // Nor is anything rendered for such a film.
    let refused = check(&reel.job(bad)).await.unwrap_err().to_string();
    assert!(refused.contains("nonsense"), "{refused}");
    for codec in ["h264", "hevc", "av1", "vp9", "prores", "webp", "gif", "png"] {
        check(&reel.job(json!({ "codec": codec }))).await.unwrap();
    }
    check(&reel.job(json!({ "codec": "png", "interpolate_to": 24 }))).await.unwrap();
    assert!(reel.out().is_empty(), "{:?}", reel.out());
}

#[tokio::test]
async fn a_soundtrack_that_is_none_is_refused_before_and_after_rendering() {
    let reel = Reel::new(SIZE).await;
    let short = reel.sing("0.5*sin(2*PI*440*t)", 1.0, "ogg").await;
    let list = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n";
    let silent = reel.film(json!({})).await;
    let silent = reel.store(&fs::read(silent).unwrap()).await;
    fs::remove_dir_all(reel.folder.path().join("out")).unwrap();
    let disguised = reel.store(&[b"ID3\x04\0\0\0\0\0\0".as_slice(), list].concat()).await;
    let wav = reel.store(b"RIFF\xFF\xFF\0\0WAVEfmt and no more").await;
    let text = reel.store(list).await;
    let damaged = reel.store(b"fLaC").await;
    fs::write(reel.folder.path().join(&damaged), b"fLaC, altered").unwrap();
    let with = |song: &str| json!({ "soundtrack": song });
    let cases: [(Value, &str); 7] = [
        (json!({ "soundtrack": short, "soundtrack_start": 3.5 }), "it ends before second 3.5"),
        (with(&silent), "matches no streams"),
        (with(&disguised), "ffmpeg says"),
        (with(&wav), "ffmpeg says"),
        (with(&text), "it is none of MP3"),
        (with(&damaged), "it is damaged"),
        (with("assets/none.mp3"), "is not in storage"),
    ];
    for (video, said) in cases {
        let before = check(&reel.job(video.clone())).await.unwrap_err().to_string();
        let after = reel.stitch(video).await.0.unwrap_err().to_string();
        assert!(before.contains(said) && after.contains(said), "{said}: {before} / {after}");
        assert!(!before.contains("hostname"), "{before}");
    }
    assert!(reel.out().is_empty(), "{:?}", reel.out());
}
