//! Sound begins and ends with the film.

use serde_json::json;

use crate::reel::{RATE, Reel, SIZE, facts, hear, loudness, probe};

/// Seconds of the film.
const FILM: f64 = 2.0;
/// Half a second of silence, then a tone.
const LATE: &str = "gte(t\\,0.5)*0.5*sin(2*PI*440*t)";

#[tokio::test]
async fn every_container_has_sound_in_a_codec_that_it_takes() {
    let reel = Reel::new(SIZE).await;
    let song = reel.sing("0.5*sin(2*PI*440*t)", 5.0, "mp3").await;
    for (codec, name) in
        [("h264", "aac"), ("hevc", "aac"), ("av1", "aac"), ("vp9", "opus"), ("prores", "pcm_s16le")]
    {
        let film = reel.film(json!({ "codec": codec, "soundtrack": song })).await;
        let streams = probe(&film);
        assert_eq!(streams.len(), 2, "{codec}");
        assert_eq!(facts(&streams[0], ["nb_read_frames"]), ["12"], "{codec}");
        assert_eq!(facts(&streams[1], ["codec_type", "codec_name"]), ["audio", name], "{codec}");
        let sound = hear(&film);
        let lasts = sound.len() as f64 / RATE;
        assert!((lasts - FILM).abs() < 1.0 / 6.0, "{codec}: {lasts} s");
        assert!(loudness(&sound, 0.1, 1.4) > 0.2, "{codec}");
        // The end is faded out.
        assert!(loudness(&sound, 1.95, 2.0) < 0.07, "{codec}");
    }
}

#[tokio::test]
async fn every_kind_of_file_is_heard_from_its_start() {
    let reel = Reel::new(SIZE).await;
    for extension in ["mp3", "m4a", "mp4", "ogg", "opus", "flac", "wav", "mka", "webm"] {
        let song = reel.sing(LATE, 4.0, extension).await;
        let film = reel.film(json!({ "codec": "prores", "soundtrack": song })).await;
        let sound = hear(&film);
        assert!(loudness(&sound, 0.0, 0.4) < 0.01, "{extension}");
        assert!(loudness(&sound, 0.6, 1.4) > 0.2, "{extension}");
        let later = json!({ "codec": "prores", "soundtrack": song, "soundtrack_start": 0.5 });
        let sound = hear(&reel.film(later).await);
        assert!(loudness(&sound, 0.1, 0.4) > 0.2, "{extension}");
        assert!((sound.len() as f64 / RATE - FILM).abs() < 0.01, "{extension}");
    }
}

#[tokio::test]
async fn a_short_sound_ends_before_the_film_does() {
    let reel = Reel::new(SIZE).await;
    let song = reel.sing("0.5*sin(2*PI*440*t)", 1.0, "wav").await;
    let film = reel.film(json!({ "soundtrack": song })).await;
    assert_eq!(facts(&probe(&film)[0], ["nb_read_frames", "duration"]), ["12", "2.000000"]);
    let sound = hear(&film);
    assert!((sound.len() as f64 / RATE - 1.0).abs() < 0.05, "{}", sound.len());
    assert!(loudness(&sound, 0.9, 0.98) > 0.2, "it is not faded");
}

#[tokio::test]
async fn sound_lasts_as_long_as_a_film_that_is_repeated_or_smoothed() {
    let reel = Reel::new(SIZE).await;
    let song = reel.sing("0.5*sin(2*PI*440*t)", 9.0, "flac").await;
    let twice = json!({ "soundtrack": song, "repeat": 2, "interpolate_to": 24 });
    let film = reel.film(twice.clone()).await;
    assert_eq!(facts(&probe(&film)[0], ["nb_read_frames"]), ["96"]);
    let lasts = hear(&film).len() as f64 / RATE;
    assert!((lasts - 2.0 * FILM).abs() < 1.0 / 24.0, "{lasts} s");
    let first = std::fs::read(&film).unwrap();
    assert!(first == std::fs::read(reel.film(twice).await).unwrap(), "the same file");
}
