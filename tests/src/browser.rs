//! A real browser: headless Chromium, told what to do through its DevTools pipe.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

const PROGRAMS: [&str; 4] =
    ["chromium-headless-shell", "chromium", "google-chrome", "chromium-browser"];

/// One page in a browser of its own. The browser ends with this value.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    session: String,
    last: u64,
    /// What the page complained of.
    complaints: Vec<Value>,
    _profile: TempDir,
}

/// The browser of this machine: `$VQFARM_BROWSER`, or one on PATH.
pub fn find() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("VQFARM_BROWSER") {
        return Some(named.into());
    }
    let paths = std::env::var_os("PATH")?;
    let all = || std::env::split_paths(&paths);
    PROGRAMS.iter().find_map(|name| all().map(|dir| dir.join(name)).find(|p| p.is_file()))
}

impl Browser {
    /// Opens a file.
    pub fn open(page: &Path) -> Option<Self> {
        Self::at(&format!("file://{}", page.display()))
    }

    /// Opens a page. Without a browser on this machine there is none, and that is said where
    /// nobody can overlook it.
    pub fn at(url: &str) -> Option<Self> {
        let Some(program) = find() else {
            // Not `eprintln!`, which a passing test keeps to itself.
            let _ = writeln!(
                std::io::stderr(),
                "\n\n  SKIPPED: no Chromium on this machine, so THE PAGES ARE NOT TESTED. \
                 `make browser` installs one;\n  VQFARM_BROWSER names one of your own.\n\n"
            );
            return None;
        };
        let profile = tempfile::tempdir().expect("a temporary folder");
        // The pipe is file 3 and 4 of the browser; a shell puts it there.
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>/dev/null 2>/dev/null"#)
            .arg(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("a shell starts");
        let to = child.stdin.take().expect("a pipe");
        let from = BufReader::new(child.stdout.take().expect("a pipe"));
        let (session, complaints) = (String::new(), Vec::new());
        let mut browser = Self { child, to, from, session, last: 0, complaints, _profile: profile };
        let window = json!({ "url": "about:blank", "width": 1200, "height": 900 });
        let target = browser.call("Target.createTarget", window)["targetId"].clone();
        let attach = json!({ "targetId": target, "flatten": true });
        let session = browser.call("Target.attachToTarget", attach)["sessionId"].clone();
        browser.session = session.as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Accessibility"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.go(url);
        Some(browser)
    }

    /// Opens another page.
    pub fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
        self.wait_for("document.readyState === 'complete'");
    }

    /// A command of the DevTools protocol and its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The same where the browser may refuse.
    fn ask(&mut self, method: &str, params: Value) -> Result<Value, Value> {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
        self.to.flush().expect("the browser listens");
        loop {
            let mut answer = Vec::new();
            self.from.read_until(0, &mut answer).expect("the browser answers");
            assert!(answer.pop().is_some(), "the browser ended before it answered {method}");
            let answer: Value = serde_json::from_slice(&answer).expect("it answers in JSON");
            if answer["id"] == self.last {
                let failed = !answer["error"].is_null();
                let part = if failed { "error" } else { "result" };
                let part = answer[part].clone();
                return if failed { Err(part) } else { Ok(part) };
            }
            if matches!(
                answer["method"].as_str(),
                Some("Runtime.exceptionThrown" | "Log.entryAdded" | "Runtime.consoleAPICalled")
            ) {
                self.complaints.push(answer["params"].clone());
            }
        }
    }

    /// The value of an expression on the page, once it is settled.
    pub fn value(&mut self, expression: &str) -> Value {
        let evaluate =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", evaluate);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result:#}");
        result["result"]["value"].clone()
    }

    pub fn text(&mut self, expression: &str) -> String {
        let value = self.value(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression}: {value}")).to_owned()
    }

    /// Waits until an expression holds, frame by frame of the page; for ten seconds at most.
    pub fn wait_for(&mut self, expression: &str) {
        let holds = self.value(&format!(
            "new Promise(done => {{ const end = performance.now() + 10000; const look = () => \
             ({expression}) ? done(true) : performance.now() > end ? done(false) : \
             setTimeout(look, 10); look(); }})"
        ));
        assert_eq!(holds, true, "{expression} never held");
    }

    /// Whether an expression holds now; it does not while one page makes way for another.
    pub fn holds(&mut self, expression: &str) -> bool {
        let evaluate = json!({ "expression": expression, "returnByValue": true });
        self.ask("Runtime.evaluate", evaluate).is_ok_and(|result| result["result"]["value"] == true)
    }

    /// Clicks what a selector finds, as a mouse does.
    pub fn click(&mut self, selector: &str) {
        let at = self.value(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{ block: \
             'center' }}); const r = e.getBoundingClientRect(); \
             return [r.x + r.width / 2, r.y + r.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let mouse = json!({
                "type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1,
            });
            self.call("Input.dispatchMouseEvent", mouse);
        }
    }

    /// Presses a key, as `ArrowRight`, `Enter` or `+`.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            "Tab" => 9,
            _ => 0,
        };
        let text = match key {
            "Enter" => "\r",
            key if key.chars().count() == 1 => key,
            _ => "",
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let press = json!({
                "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text,
            });
            self.call("Input.dispatchKeyEvent", press);
        }
    }

    /// Chooses an option of a `<select>`, with the events of a person's choice.
    pub fn choose(&mut self, selector: &str, label: &str) {
        let chosen = self.value(&format!(
            "(() => {{ const e = document.querySelector({selector:?}); \
             const o = [...e.options].find(o => o.label === {label:?}); if (!o) return false; \
             e.value = o.value; e.dispatchEvent(new Event('input', {{ bubbles: true }})); \
             return true; }})()"
        ));
        assert_eq!(chosen, true, "{selector} has no {label:?}");
    }

    /// Roles and names of what a screen reader finds on the page.
    pub fn read_aloud(&mut self) -> Vec<(String, String)> {
        let tree = self.call("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("a tree").iter();
        let said =
            |node: &Value, what: &str| node[what]["value"].as_str().unwrap_or_default().to_owned();
        nodes.filter(|n| n["ignored"] != true).map(|n| (said(n, "role"), said(n, "name"))).collect()
    }

    /// What the page complained of: exceptions, refused scripts, files that are not there.
    pub fn complaints(&self) -> &[Value] {
        &self.complaints
    }

    /// The visible part of the page as a PNG.
    pub fn screenshot(&mut self) -> Vec<u8> {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let data = shot["data"].as_str().expect("a picture");
        BASE64_STANDARD.decode(data).expect("base64")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers are in its process group.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
