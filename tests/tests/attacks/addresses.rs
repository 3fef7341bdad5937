//! Addresses where a job has the names of files: whoever can make the farm ask for them reaches what
//! only the farm's machines reach.

use std::net::TcpListener;

use serde_json::{Value, json};
use vqfarm_tests::farm::{film, sweep};

use crate::{Asset, failure, farm, hand_in, resolved, with_field};

/// Where a listener is that nobody may come to, in all the ways that it can be written.
fn disguises(port: u16) -> Vec<String> {
    let hosts = [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "2130706433",
        "0x7f.1",
        "good.example@127.0.0.1",
    ];
    let here = hosts.iter().map(|host| format!("http://{host}:{port}/a.png"));
    let others = [
        &format!("//127.0.0.1:{port}/a.png"),
        &format!("tcp://127.0.0.1:{port}"),
        &format!("concat:http://127.0.0.1:{port}/a.png"),
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/hostname",
        "/etc/hostname",
        "s3://other/secret.png",
        "../../models/names/tiny-clip.json",
        "assets/../job.json",
    ];
    here.chain(others.map(str::to_owned)).collect()
}

/// A field that names a file, and a job file with an address in it.
type Field = (&'static str, fn(&str) -> String);

const FIELDS: [Field; 6] = [
    ("render.init.image", |url| with_field(&format!("init = {{ image = \"{url}\" }}"))),
    ("render.mask", |url| with_field(&format!("mask = \"{url}\""))),
    ("render.image_prompts", |url| {
        with_field(&format!("image_prompts = [{{ image = \"{url}\" }}]"))
    }),
    ("sweep.axes.init.image", |url| format!("{}init.image = [\"{url}\"]\n", sweep(1, 2))),
    ("sweep.axes.mask", |url| format!("{}mask = [\"{url}\"]\n", sweep(1, 2))),
    ("output.video.soundtrack", |url| {
        format!("{}\n[output.video]\nsoundtrack = \"{url}\"\n", film(2))
    }),
];

#[test]
fn addresses_in_place_of_files_are_asked_by_nobody() {
    let farm = farm();
    let _one = farm.worker("one", &[]);
    let trap = TcpListener::bind("127.0.0.1:0").expect("a port");
    trap.set_nonblocking(true).expect("a socket");
    let port = trap.local_addr().expect("bound").port();
    for url in &disguises(port) {
        for (field, job) in FIELDS {
            farm.write("job.toml", &job(url));
            let ran = farm.vqfarm(&["submit", "job.toml"]);
            assert_eq!(ran.status, 2, "{field} = {url}: {ran:?}");
            assert!(ran.stderr.contains(field), "{field} = {url}: {}", ran.stderr);
        }
        // Past the command, which stops most of these itself.
        for (field, value) in [
            ("/render/init", json!({ "image": url })),
            ("/render/mask", json!(url)),
            ("/render/image_prompts", json!([{ "image": url }])),
            ("/sweep/axes/mask", json!([url])),
            ("/output/video/soundtrack", json!(url)),
        ] {
            let mut job: Value = serde_json::from_str(&resolved(&sweep(1, 2))).expect("JSON");
            put(&mut job, field, value);
            let refused = hand_in(&farm, job.to_string(), &[]).expect_err("an address");
            let told = format!("{refused:?}");
            let name = field.rsplit('/').next().expect("a name");
            assert!(told.contains(name), "{field} = {url}: {told}");
        }
    }
    assert!(farm.stored.jobs().is_empty(), "nothing was stored");
    // A list of addresses in a sound's clothes: ffmpeg by itself looks behind such a head.
    let list = format!("ID3\x04\0\0\0\0\0\0#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:{port}/a.ts\n");
    let sound = Asset::new(list.into_bytes(), "mp3");
    let job = format!("{}\n[output.video]\nsoundtrack = \"{}\"\n", film(2), sound.key);
    let id = hand_in(&farm, resolved(&job), &[sound]).expect("it looks like a sound");
    let told = failure(&farm, &id);
    assert!(told.contains("soundtrack"), "{told}");
    let came = trap.accept().map(|(_, from)| from);
    assert!(came.is_err(), "somebody asked: {came:?}");
}

/// Sets a field, whatever is around it.
fn put(job: &mut Value, pointer: &str, value: Value) {
    let names = pointer.split('/').skip(1);
    let place = names.fold(job, |place, name| &mut place[name]);
    *place = value;
}
