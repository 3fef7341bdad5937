//! The farm's web page: by plain HTTP, and in a real browser.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};
use vqfarm_tests::browser::Browser;
use vqfarm_tests::farm::{FRAMES, Farm, RedisKind, Setup, film, sweep, token, until};

/// Somebody who asks for pages without a browser, and follows no redirect.
struct Client {
    agent: Agent,
    base: String,
    host: String,
    cookie: String,
}

struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Client {
    fn of(farm: &Farm) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).max_redirects(0);
        let agent = config.build().into();
        let host = farm.coordinator.web.to_string();
        Self { agent, base: format!("http://{host}"), host, cookie: String::new() }
    }

    fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[("accept", "text/html")])
    }

    fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut call = self.agent.get(format!("{}{path}", self.base)).header("host", &self.host);
        for (name, value) in headers {
            call = call.header(*name, *value);
        }
        Self::read(call.header("cookie", &self.cookie).call().unwrap())
    }

    fn post(&self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let mut call = self.agent.post(format!("{}{path}", self.base)).header("host", &self.host);
        for (name, value) in headers {
            call = call.header(*name, *value);
        }
        let call = call.header("cookie", &self.cookie);
        Self::read(call.send_form(form.iter().copied()).unwrap())
    }

    fn read(mut answer: Response<Body>) -> Answer {
        let body = answer.body_mut().read_to_vec().unwrap();
        Answer { status: answer.status().as_u16(), headers: answer.headers().clone(), body }
    }

    /// Logs in with a token; answers with the cookie's own words.
    fn log_in(&mut self, token: &str) -> String {
        let answer = self.post("/login", &[("token", token), ("next", "/jobs")], &[]);
        assert_eq!((answer.status, answer.header("location")), (303, "/jobs"));
        let set = answer.header("set-cookie").to_owned();
        self.cookie = set.split(';').next().unwrap().to_owned();
        set
    }
}

/// What a person writes into the job file's field.
fn write_job(browser: &mut Browser, toml: &str) {
    browser.value(&format!("document.querySelector('#job').value = {}", json!(toml)));
}

/// Waits until something holds, on whichever page the browser is then.
fn see(browser: &mut Browser, expression: &str) {
    until(expression, || browser.holds(expression).then_some(()));
}

const LOOK: &str = "document.querySelector('#state .state').textContent";

#[test]
fn a_job_is_submitted_watched_and_cancelled_in_the_page() {
    let farm = Farm::new(Setup::default());
    let page = format!("http://{}/submit", farm.coordinator.web);
    let Some(mut browser) = Browser::at(&page) else { return };
    let worker = farm.worker("one", &[]);

    // A mistake is shown where it stands, and what was written stays.
    write_job(&mut browser, &sweep(500, 20).replace("iterations", "iteratons"));
    browser.click("button[value=submit]");
    see(&mut browser, "document.querySelector('[role=alert]')?.textContent.includes('line 7')");
    assert!(browser.text("document.querySelector('#job').value").contains("iteratons"));
    assert!(farm.stored.jobs().is_empty());

    // A large one is asked about.
    write_job(&mut browser, &sweep(1001, 20));
    browser.click("button[value=submit]");
    see(&mut browser, "document.querySelector('[name=yes]') !== null");
    assert!(farm.stored.jobs().is_empty(), "it waits for a yes");

    // What it takes is said before.
    write_job(&mut browser, &sweep(500, 20));
    browser.click("button[value=check]");
    see(&mut browser, "document.querySelector('[role=status]')?.textContent.includes('500 cells')");
    assert!(farm.stored.jobs().is_empty(), "a check stores nothing");
    browser.click(".panel button[value=submit]");
    see(&mut browser, "location.pathname.startsWith('/jobs/')");
    see(&mut browser, "document.querySelectorAll('.sheet li').length === 200");
    let job = farm.stored.jobs()[0];

    // Pictures come without a reload.
    browser.value("window.before = true");
    let pictures =
        "[...document.querySelectorAll('.sheet img')].filter(i => i.naturalWidth === 32)";
    see(&mut browser, &format!("{pictures}.length >= 2"));
    see(&mut browser, "document.querySelector('.sheet img').alt.includes('seed ')");
    assert_eq!(browser.value("window.before"), true);
    assert_eq!(browser.text(LOOK), "running");

    browser.click("#do-cancel");
    see(&mut browser, "document.querySelector('h1')?.textContent === 'Cancel seeds?'");
    assert_eq!(farm.state(job), "running", "nothing is cancelled unasked");
    browser.click("form .danger, button.danger");
    see(&mut browser, &format!("location.pathname.startsWith('/jobs/') && {LOOK} === 'cancelled'"));
    assert_eq!(farm.state(job), "cancelled");
    let complaints = browser.complaints();
    // The browser notes the refused file of the beginning.
    let unexpected = complaints.iter().filter(|c| !c.to_string().contains("422"));
    assert_eq!(unexpected.count(), 0, "{complaints:?}");
    drop(worker);
}

#[test]
fn tokens_open_the_page_as_far_as_their_roles_reach() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let (viewer, first) = token("vera", "viewer", "2999-01-01T00:00:00Z");
    let (operator, second) = token("olga", "operator", "2999-01-01T00:00:00Z");
    fs::write(&file, [first, second].join("\n")).unwrap();
    let coordinator = vec!["--tokens".into(), file.display().to_string()];
    let farm = Farm::with_token(Setup { coordinator, ..Setup::default() }, &operator);
    let job = farm.submit(&sweep(3, 5), 3).id;
    let path = format!("/jobs/{job}");
    let mut client = Client::of(&farm);

    let answer = client.get(&path);
    let login = format!("/login?next=/jobs/{job}");
    assert_eq!((answer.status, answer.header("location")), (303, login.as_str()));
    let link = [("accept", "text/html"), ("sec-fetch-site", "cross-site")];
    let from_elsewhere = client.get_with(&path, &link);
    assert!(from_elsewhere.text().contains(&format!("content=\"0;url={path}\"")), "asks again");
    for closed in ["/events", "/jobs/x/frames/000000.png"] {
        assert_eq!(client.get_with(closed, &[]).status, 401, "{closed}");
    }
    let act = |client: &Client, what: &str| client.post(&format!("{path}/{what}"), &[], &[]).status;
    assert_eq!(act(&client, "pause"), 401);
    for wrong in ["vqf_guessed", "", "a b", "x\r\ny"] {
        let answer = client.post("/login", &[("token", wrong)], &[]);
        assert_eq!((answer.status, answer.header("set-cookie")), (401, ""), "{wrong:?}");
    }
    let away = client.post("/login", &[("token", &viewer), ("next", "//evil.example")], &[]);
    assert_eq!(away.header("location"), "/", "nobody is led away");

    let cookie = client.log_in(&viewer);
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "no {part} in {cookie}");
    }
    let seen = client.get(&path);
    assert_eq!(seen.status, 200);
    assert!(seen.text().contains("vera, viewer") && !seen.text().contains("do-"), "no buttons");
    assert!(!seen.text().contains(&viewer), "a token is in no page");
    for action in ["pause", "resume", "cancel", "retry", "priority", "stitch"] {
        let fields = [("priority", "5")];
        let answer = client.post(&format!("{path}/{action}"), &fields, &[]);
        assert_eq!(answer.status, 403, "{action}");
        assert!(answer.text().contains("vera is a viewer here"), "{}", answer.text());
    }
    assert_eq!(farm.state(job), "waiting", "nothing was done");

    client.log_in(&operator);
    assert!(client.get(&path).text().contains("do-pause"));
    assert_eq!((act(&client, "pause"), farm.state(job)), (303, "paused".into()));
    assert_eq!((act(&client, "resume"), farm.state(job)), (303, "waiting".into()));
    let answer = client.post(&format!("{path}/priority"), &[("priority", "high")], &[]);
    assert_eq!((answer.status, farm.job(job)["priority"].as_i64()), (400, Some(0)));
    client.post(&format!("{path}/priority"), &[("priority", "7")], &[]);
    assert_eq!(farm.job(job)["priority"], 7);
    let out = client.post("/logout", &[], &[]);
    assert!(out.header("set-cookie").contains("Max-Age=0"), "{}", out.header("set-cookie"));
    let log = farm.coordinator.process.log();
    assert!(!log.contains(&viewer) && !log.contains(&operator), "a token was logged");
}

#[test]
fn no_other_site_acts_on_the_farm_or_reads_it() {
    let farm = Farm::new(Setup::default());
    let job = farm.submit(&sweep(3, 5), 3).id;
    let mut client = Client::of(&farm);
    let pause = format!("/jobs/{job}/pause");
    let port = farm.coordinator.web.port();
    for foreign in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        assert_eq!(client.post(&pause, &[], &[foreign]).status, 403, "{foreign:?}");
    }
    assert_eq!(farm.state(job), "waiting");

    // A name of another site that leads to this machine is no name of the farm.
    for (host, status) in [("evil.example", 421), ("localhost", 200), ("[::1]", 200)] {
        client.host = format!("{host}:{port}");
        let answer = client.get("/");
        assert_eq!(answer.status, status, "{host}");
        let policy = answer.header("content-security-policy");
        for rule in ["default-src 'none'", "frame-ancestors 'none'", "script-src 'self'"] {
            assert!(policy.contains(rule), "no {rule} in {policy}");
        }
        assert!(!policy.contains("unsafe"));
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    client.host = format!("127.0.0.1:{port}");
    let own = format!("http://127.0.0.1:{port}");
    let own = [("origin", own.as_str()), ("sec-fetch-site", "same-origin")];
    assert_eq!(client.post(&pause, &[], &own).status, 303);
    assert_eq!(farm.state(job), "paused");

    for path in [
        "/jobs/nonsense",
        "/nowhere",
        "/static/x",
        &format!("/jobs/{job}/frames/000099.png"),
        &format!("/jobs/{job}/frames/..%2fcontrol.json"),
        &format!("/jobs/{job}/out/..%2f..%2fcontrol.json"),
        &format!("/jobs/{job}/out/%2e%2e"),
        &format!("/jobs/{job}/tasks/none/0"),
    ] {
        let status = client.get(path).status;
        assert!([400, 404].contains(&status), "{path}: {status}");
    }
    let large = "x".repeat(100 << 10);
    assert_eq!(client.post(&pause, &[("priority", &large)], &own).status, 413);
}

/// A sweep whose texts try to be more than text.
fn hostile() -> String {
    let texts = r#"["<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "a & b"]"#;
    sweep(2, 5)
        .replace("prompt = \"a red sun\"", "prompt = \"{thing}\"")
        .replace("[sweep.axes]", &format!("[sweep.axes]\nthing = {texts}"))
}

#[test]
fn the_page_is_for_every_eye_hand_and_ear() {
    let farm = Farm::new(Setup::default());
    let job = farm.submit(&hostile(), 6).id;
    let page = format!("http://{}/jobs/{job}", farm.coordinator.web);
    let Some(mut browser) = Browser::at(&page) else { return };

    // Texts are texts.
    let captions = browser.text("document.querySelector('.sheet').textContent");
    assert!(captions.contains("<script>alert(1)</script>"), "{captions}");
    assert!(captions.contains("<img src=x onerror=alert(2)>"), "{captions}");
    let scripts = browser.value("[...document.querySelectorAll('script')].length");
    assert_eq!(scripts, 1, "that of the page");

    // A screen reader finds its way.
    let said = browser.read_aloud();
    let has = |role: &str, name: &str| said.iter().any(|(r, n)| r == role && n.contains(name));
    for (role, name) in [
        ("main", ""),
        ("banner", ""),
        ("navigation", "Pages"),
        ("heading", "seeds"),
        ("button", "Pause"),
        ("link", "Cancel"),
        ("spinbutton", "Priority"),
        ("progressbar", "Progress"),
        ("image", "render: 6 ready"),
        ("status", ""),
    ] {
        assert!(has(role, name), "no {role} {name:?} in {said:?}");
    }

    // The keyboard reaches everything that acts.
    let mut reached = Vec::new();
    for _ in 0..20 {
        browser.press("Tab");
        let at = "(a => a.id || a.className || a.textContent)(document.activeElement)";
        reached.push(browser.text(at));
    }
    assert_eq!(reached[0], "skip");
    for id in ["do-pause", "priority", "do-priority", "do-cancel"] {
        assert!(reached.iter().any(|at| at == id), "{id} is not among {reached:?}");
    }
    browser.value("document.querySelector('#do-pause').focus()");
    browser.press("Enter");
    see(&mut browser, &format!("{LOOK} === 'paused'"));
    assert_eq!(farm.state(job), "paused");

    // Dark where the system is, light where it is not, and legible in both.
    for (scheme, is_dark) in [("dark", true), ("light", false)] {
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        browser.call("Emulation.setEmulatedMedia", media);
        let shot = image::load_from_memory(&browser.screenshot()).unwrap().into_rgb8();
        let corner = shot.get_pixel(4, shot.height() - 4).0;
        assert_eq!(corner.iter().all(|c| *c < 60), is_dark, "{scheme}: {corner:?}");
        assert_eq!(corner.iter().all(|c| *c > 200), !is_dark, "{scheme}: {corner:?}");
        let worst = browser.value(CONTRAST).as_f64().unwrap();
        assert!(worst >= 4.5, "{scheme}: text of a contrast of {worst}");
    }

    // A narrow telephone shows all of it without going sideways.
    for path in ["", "jobs", "workers", "submit", &format!("jobs/{job}")] {
        let size = json!({ "width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": true });
        browser.call("Emulation.setDeviceMetricsOverride", size);
        browser.go(&format!("http://{}/{path}", farm.coordinator.web));
        let wide = browser.value("document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= 360, "/{path} is {wide} wide");
    }
    assert!(browser.complaints().is_empty(), "{:?}", browser.complaints());
}

/// The least contrast between a text and what lies behind it, by WCAG's formula.
const CONTRAST: &str = r#"(() => {
  const rgb = (c) => c.match(/[\d.]+/g).map(Number);
  const light = (c) => {
    const [r, g, b] = c.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c.slice(0, 3);
    }
    return [255, 255, 255];
  };
  let worst = 21;
  for (const e of document.querySelectorAll("main *, header *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    if (!e.checkVisibility()) continue;
    const a = light(rgb(getComputedStyle(e).color).slice(0, 3)), b = light(behind(e));
    worst = Math.min(worst, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
  }
  return worst;
})()"#;

#[test]
fn a_film_is_played_from_anywhere_and_pictures_are_kept() {
    let farm = Farm::new(Setup::default());
    let _worker = farm.worker("one", &[]);
    let job = farm.submit(&film(3), FRAMES);
    assert_eq!(farm.wait(job.id).status, 0);
    let client = Client::of(&farm);
    let page = client.get(&format!("/jobs/{}", job.id)).text();
    let url = page.split('"').find(|part| part.contains("/out/video.mp4?v=")).unwrap().to_owned();
    assert!(page.contains(&format!("<video class=\"film\" src=\"{url}\"")), "{page}");
    let whole = client.get_with(&url, &[]);
    assert_eq!((whole.status, whole.header("content-type")), (200, "video/mp4"));
    assert_eq!(Some(&whole.body), farm.stored.get(job.id, "out/video.mp4").as_ref());
    let part = client.get_with(&url, &[("range", "bytes=100-299")]);
    let size = whole.body.len();
    assert_eq!(
        (part.status, part.header("content-range")),
        (206, &*format!("bytes 100-299/{size}"))
    );
    assert_eq!(part.body, whole.body[100..300]);
    let past = format!("bytes={size}-");
    assert_eq!(client.get_with(&url, &[("range", &past)]).status, 416);

    let frame = format!("/jobs/{}/frames/000003.png", job.id);
    let picture = client.get_with(&format!("{frame}?v=1"), &[]);
    assert_eq!((picture.status, picture.header("content-type")), (200, "image/png"));
    assert!(picture.header("cache-control").contains("immutable"));
    assert!(picture.header("cache-control").contains("private"));
    let tag = picture.header("etag").to_owned();
    assert_eq!(client.get_with(&frame, &[("if-none-match", &tag)]).status, 304);
    let head = client.agent.head(format!("{}{frame}", client.base)).call().unwrap();
    assert_eq!(head.headers()["content-length"], picture.body.len().to_string());
    // What a browser would run is for the disk.
    let table = client.get_with(&format!("/jobs/{}/out/scores.csv", job.id), &[]);
    assert!(table.header("content-disposition").starts_with("attachment"));
}

#[test]
fn an_open_page_goes_on_when_the_coordinator_is_back() {
    let mut farm = Farm::new(Setup { redis: RedisKind::Durable, ..Setup::default() });
    let job = farm.submit(&sweep(3, 5), 3).id;
    let page = format!("http://{}/jobs/{job}", farm.coordinator.web);
    let Some(mut browser) = Browser::at(&page) else { return };
    browser.value("window.before = true");
    farm.coordinator.process.kill();
    let lost = "document.querySelector('#link').textContent";
    see(&mut browser, &format!("{lost}.includes('does not answer')"));
    farm.restart_coordinator();
    see(&mut browser, &format!("{lost} === ''"));
    farm.vqfarm_ok(&["pause", &job.to_string()]);
    see(&mut browser, &format!("{LOOK} === 'paused'"));
    see(&mut browser, "document.querySelector('#do-resume') !== null");
    assert_eq!(browser.value("window.before"), true, "without a reload");
}

/// A stream of server-sent events, read as it comes.
fn events(farm: &Farm, path: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(farm.coordinator.web).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", farm.coordinator.web).unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while !line.contains("data: changed") {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0, "{path} ended");
    }
    stream
}

#[test]
fn event_streams_end_when_the_coordinator_stops() {
    let mut farm = Farm::new(Setup::default());
    let job = farm.submit(&sweep(3, 5), 3).id;
    let mut streams = [events(&farm, "/events"), events(&farm, &format!("/jobs/{job}/events"))];
    farm.coordinator.process.signal(Signal::TERM);
    for stream in &mut streams {
        let mut rest = String::new();
        stream.read_to_string(&mut rest).unwrap();
    }
    assert!(farm.coordinator.process.wait().success());
    let log = farm.coordinator.process.log();
    assert!(!log.contains("cut off"), "they ended by themselves: {log}");
}

#[test]
fn the_page_travels_by_tls_where_the_service_does() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let (secret, lines) = token("olga", "operator", "2999-01-01T00:00:00Z");
    fs::write(path("tokens.toml"), lines).unwrap();
    let flag = |flag: &str, name: &str| [flag.to_owned(), path(name).display().to_string()];
    let coordinator = [
        flag("--tls-cert", "cert.pem"),
        flag("--tls-key", "key.pem"),
        flag("--tokens", "tokens.toml"),
    ]
    .concat();
    let setup = Setup { coordinator, ..Setup::default() };
    let farm = Farm::with_ca_and_token(setup, path("cert.pem"), &secret);
    let mut client = Client::of(&farm);
    // Plain text is not answered.
    assert!(client.agent.get(format!("{}/login", client.base)).call().is_err());
    let cert = Certificate::from_pem(made.cert.pem().as_bytes()).unwrap().to_owned();
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[cert])).build();
    let config = Agent::config_builder().http_status_as_error(false).max_redirects(0);
    client.agent = config.tls_config(tls).build().into();
    client.base = format!("https://{}", client.host);
    assert_eq!(client.get("/login").status, 200);
    let cookie = client.log_in(&secret);
    assert!(cookie.contains("; Secure"), "{cookie}");
    assert!(client.get("/").text().contains("olga, operator"));
}
