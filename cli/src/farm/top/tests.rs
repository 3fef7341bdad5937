//! Screens as they are drawn, and what keys do; without any terminal or farm.

use std::time::Duration;

use image::DynamicImage;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::Size;
use ratatui_image::Resize;
use ratatui_image::picker::Picker;
use vqfarm_proto::v1::*;

use super::app::{App, Dialog};
use super::event::{Detail, Event, Order, Overview, Picture};
use super::view;

/// The farm's clock in all of these, in milliseconds.
const NOW: i64 = 1_000_000_000;

fn job(number: u32, name: &str, state: JobState, counts: Counts) -> Job {
    let stitch = Counts { tasks: 1, blocked: 1, ..Counts::default() };
    let layer = |name: &str, counts| Layer {
        name: name.into(),
        counts: Some(counts),
        dependency: "independent".into(),
        needs: None,
    };
    Job {
        id: format!("{number:032x}"),
        name: name.into(),
        user: "ada".into(),
        priority: 0,
        state: state.into(),
        submitted: NOW - 1000 * i64::from(number),
        finished: 0,
        layers: vec![layer("render", counts), layer("stitch", stitch)],
    }
}

fn worker(id: &str, state: WorkerState, busy: Option<f64>) -> Worker {
    Worker {
        version: "0.1.0".into(),
        disk: None,
        id: id.into(),
        state: state.into(),
        tags: vec![],
        memory: 16 << 30,
        loaded: vec!["demo-f8".into()],
        leased: 2,
        last_seen: NOW - 3000,
        busy,
    }
}

fn empty() -> Overview {
    let status = StatusResponse {
        word: "idle".into(),
        farm: "vqfarm".into(),
        now: NOW,
        ..StatusResponse::default()
    };
    Overview { status, ..Overview::default() }
}

fn busy() -> Overview {
    let running = Counts { tasks: 400, done: 130, leased: 8, ready: 262, ..Counts::default() };
    let failed = Counts { tasks: 12, done: 9, failed: 3, ..Counts::default() };
    let waiting = Counts { tasks: 40, ready: 40, ..Counts::default() };
    let done = Counts { tasks: 60, done: 60, ..Counts::default() };
    let mut overview = empty();
    overview.status.word = "working".into();
    overview.status.tasks = Some(running);
    overview.status.frames_an_hour = 1240.4;
    overview.status.seconds_left = 3900;
    overview.jobs = vec![
        job(4, "finished", JobState::Done, done),
        job(3, "broken", JobState::Failed, failed),
        job(2, "next, with quite a long name", JobState::Waiting, waiting),
        job(1, "boats", JobState::Running, running),
    ];
    overview.workers = vec![
        worker("gone", WorkerState::Lost, None),
        worker("gpu-1", WorkerState::Busy, Some(0.97)),
        worker("gpu-2", WorkerState::Draining, Some(0.5)),
    ];
    overview
}

/// The cockpit with a farm, and what is known of its chosen job.
fn app(size: (u16, u16), overview: Overview) -> App {
    let mut app = App::new(Size::from(size), true);
    app.update(Event::Overview(Box::new(overview)));
    app
}

fn detail(app: &App, parts: Vec<TaskMapPart>, reason: &str, log: &str) -> Event {
    let reason = Reason { kind: "busy".into(), text: reason.into(), ..Reason::default() };
    let log =
        Log { layer: "render".into(), index: 7, attempt: 2, text: log.into(), job: String::new() };
    Event::Detail(Box::new(Detail {
        of: app.wish(),
        map: Some(TaskMapResponse { layer: "render".into(), parts }),
        reasons: vec![reason],
        logs: vec![log],
    }))
}

/// Parts of ten tasks each, as a farm fills them.
fn parts() -> Vec<TaskMapPart> {
    let part = |at: u64| TaskMapPart {
        tasks: 10,
        done: match at {
            0..11 => 10,
            11 => 6,
            12 => 3,
            _ => 0,
        },
        leased: u64::from(at == 13),
        delayed: u64::from(at == 5),
        failed: u64::from(at == 3),
    };
    (0..40).map(part).collect()
}

const LOG: &str = "2026-01-02T03:04:05.678Z info  started worker=gpu-1\n\
                   2026-01-02T03:04:06.678Z warn  the store is slow and this line is rather long\n\
                   2026-01-02T03:04:07.678Z error \u{1b}[31mout of memory\u{1b}[0m\n";

fn picture(app: &App) -> Event {
    let room = app.wish().room.unwrap();
    let shade = |x, y| image::Rgb([8 * x as u8, 8 * y as u8, 99]);
    let image = DynamicImage::ImageRgb8(image::RgbImage::from_fn(32, 32, shade));
    let shown = Picker::halfblocks().new_protocol(image, room, Resize::Scale(None)).unwrap();
    let job = app.job().unwrap().id.clone();
    Event::Picture(Picture { job, path: "frames/000129.png".into(), shown })
}

fn press(app: &mut App, code: KeyCode) -> Option<Order> {
    app.update(Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn typed(app: &mut App, key: char) -> Option<Order> {
    press(app, KeyCode::Char(key))
}

fn screen(app: &App, size: (u16, u16)) -> String {
    let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
    terminal.draw(|frame| view::draw(app, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    assert!(buffer.content().iter().all(|cell| !cell.symbol().contains(char::is_control)));
    terminal.backend().to_string()
}

const SIZES: [(u16, u16); 2] = [(80, 24), (120, 40)];

/// Draws what `make` sets up, on both sizes.
fn snapshot(name: &str, make: impl Fn((u16, u16)) -> App) {
    for size in SIZES {
        let name = format!("{name}_{}x{}", size.0, size.1);
        insta::assert_snapshot!(name, screen(&make(size), size));
    }
}

fn busy_app(size: (u16, u16)) -> App {
    let mut app = app(size, busy());
    let event = detail(&app, parts(), "262 tasks wait; the worker that fits is busy", LOG);
    app.update(event);
    let event = picture(&app);
    app.update(event);
    app
}

#[test]
fn an_empty_farm() {
    snapshot("empty", |size| app(size, empty()));
}

#[test]
fn a_busy_farm() {
    snapshot("busy", busy_app);
}

#[test]
fn a_failed_job() {
    snapshot("failed", |size| {
        let mut app = busy_app(size);
        // Past the two that are alive.
        press(&mut app, KeyCode::Down);
        press(&mut app, KeyCode::Down);
        assert_eq!(app.job().unwrap().name, "broken");
        let part = |at: u64| TaskMapPart {
            tasks: 1,
            done: u64::from(at < 9),
            failed: u64::from(at >= 9),
            ..TaskMapPart::default()
        };
        let reason = "3 tasks failed for good: out of memory";
        let event = detail(&app, (0..12).map(part).collect(), reason, LOG);
        app.update(event);
        app
    });
}

#[test]
fn a_worker_is_chosen() {
    snapshot("worker", |size| {
        let mut app = busy_app(size);
        press(&mut app, KeyCode::Tab);
        press(&mut app, KeyCode::Down);
        app
    });
}

#[test]
fn a_lost_connection() {
    snapshot("lost", |size| {
        let mut app = busy_app(size);
        let reason = "http://127.0.0.1:7070: connection refused".into();
        app.update(Event::Lost { reason, since: Duration::from_secs(75) });
        app
    });
}

#[test]
fn a_question() {
    snapshot("confirm", |size| {
        let mut app = busy_app(size);
        typed(&mut app, 'c');
        app
    });
}

#[test]
fn the_help() {
    snapshot("help", |size| {
        let mut app = busy_app(size);
        typed(&mut app, '?');
        app
    });
}

#[test]
fn no_pictures_and_no_room() {
    let mut app = App::new(Size::new(80, 24), false);
    app.update(Event::Overview(Box::new(busy())));
    assert_eq!(app.wish().room, None);
    insta::assert_snapshot!("no_images_80x24", screen(&app, (80, 24)));
    for size in [(1, 1), (59, 24), (80, 15), (60, 16)] {
        app.update(Event::Resize(Size::from(size)));
        screen(&app, size);
    }
    assert!(screen(&app, (59, 24)).contains("too small"));
}

#[test]
fn keys_order_what_they_say() {
    let mut app = busy_app(SIZES[0]);
    let boats = format!("{:032x}", 1);
    assert_eq!(typed(&mut app, 'p'), Some(Order::Pause { job: boats.clone() }));
    assert_eq!(typed(&mut app, '+'), Some(Order::Priority { job: boats.clone(), priority: 1 }));
    assert_eq!(typed(&mut app, '-'), Some(Order::Priority { job: boats.clone(), priority: -1 }));
    let mut paused = busy();
    paused.jobs[3].state = JobState::Paused.into();
    app.update(Event::Overview(Box::new(paused)));
    assert_eq!(typed(&mut app, 'p'), Some(Order::Resume { job: boats.clone() }));
    assert_eq!(typed(&mut app, 'd'), None);
    assert!(app.notice.as_ref().is_some_and(|notice| notice.bad), "{:?}", app.notice);
    press(&mut app, KeyCode::Tab);
    assert_eq!(app.notice, None, "a key ends a notice");
    let drain = |worker: &str, undo| Some(Order::Drain { worker: worker.into(), undo });
    assert_eq!(typed(&mut app, 'd'), drain("gpu-1", false));
    press(&mut app, KeyCode::Down);
    assert_eq!(typed(&mut app, 'd'), drain("gpu-2", true));
}

#[test]
fn a_cancel_is_asked_about() {
    let mut app = busy_app(SIZES[0]);
    for no in ['n', 'q', 'p'] {
        assert_eq!(typed(&mut app, 'c'), None);
        assert!(matches!(app.dialog, Some(Dialog::Confirm { .. })));
        assert_eq!(typed(&mut app, no), None, "{no}");
        assert_eq!((&app.dialog, app.quit), (&None, false), "{no}");
    }
    typed(&mut app, 'c');
    let boats = format!("{:032x}", 1);
    assert_eq!(typed(&mut app, 'y'), Some(Order::Cancel { job: boats }));
    assert_eq!(typed(&mut app, 'y'), None, "only once");
    // What is over cannot be cancelled.
    for _ in 0..9 {
        press(&mut app, KeyCode::Down);
    }
    assert_eq!(app.job().unwrap().name, "finished");
    assert_eq!((typed(&mut app, 'c'), &app.dialog), (None, &None));
    assert!(app.notice.is_some());
    app.update(Event::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)));
    assert!(app.quit);
}

#[test]
fn what_is_chosen_stays_chosen() {
    let mut app = busy_app(SIZES[0]);
    press(&mut app, KeyCode::Down);
    let chosen = app.job().unwrap().name.clone();
    let wish = app.wish();
    assert_eq!(wish.job.as_deref(), Some(app.job().unwrap().id.as_str()));
    assert!(
        app.picture_shown().is_none() && app.map_shown().is_none() && app.logs_shown().is_empty()
    );
    press(&mut app, KeyCode::Up);
    assert!(app.picture_shown().is_some() && app.map_shown().is_some(), "it is still known");
    press(&mut app, KeyCode::Down);
    let mut more = busy();
    let counts = Counts { tasks: 1, ready: 1, ..Counts::default() };
    more.jobs.insert(0, job(0, "urgent", JobState::Waiting, counts));
    app.update(Event::Overview(Box::new(more)));
    assert_eq!(app.job().unwrap().name, chosen);
    assert_eq!(app.wish(), wish);
    // It is gone: the first one takes its place.
    app.update(Event::Overview(Box::new(Overview { jobs: busy().jobs.split_off(3), ..busy() })));
    assert_eq!(app.job().unwrap().name, "boats");
    app.update(Event::Overview(Box::new(empty())));
    assert!(app.job().is_none() && app.worker().is_none());
    for key in ['p', 'c', 'r', '+', 'd'] {
        assert_eq!(typed(&mut app, key), None, "{key}");
    }
}

#[test]
fn layers_are_leafed_through() {
    let mut app = busy_app(SIZES[0]);
    assert_eq!(app.layer_shown(), "render");
    press(&mut app, KeyCode::Right);
    press(&mut app, KeyCode::Right);
    assert_eq!(app.layer_shown(), "stitch");
    press(&mut app, KeyCode::Left);
    assert_eq!(app.wish().layer, "render");
}

#[test]
fn logs_scroll_no_further_than_they_go() {
    let mut app = busy_app(SIZES[0]);
    let end = screen(&app, SIZES[0]);
    for _ in 0..50 {
        press(&mut app, KeyCode::PageUp);
    }
    assert!(screen(&app, SIZES[0]).contains("render 7, attempt 2"));
    press(&mut app, KeyCode::PageDown);
    for _ in 0..50 {
        press(&mut app, KeyCode::PageDown);
    }
    assert_eq!(screen(&app, SIZES[0]), end);
}
