//! What the server publishes: one listening connection a process, made when it is first
//! needed. Workers listen for work only; whoever reads events listens for those, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ::redis::aio::{PubSubSink, PubSubStream};
use ::redis::{Msg, RedisError, cmd};
use futures::StreamExt;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::decode;
use super::link::Link;
use crate::{Event, QueueError};

/// Events that a slow reader may be behind.
const EVENTS: usize = 4096;
/// Where many wait for a task, about so many come for it at once.
const FIRST: f64 = 4.0;
/// How far those are apart at most.
const APART: Duration = Duration::from_millis(5);
/// The others come within this time, and not at all when they hear that it is taken.
const SPREAD: Duration = Duration::from_millis(500);
/// A subscription that is not confirmed by then has failed.
const LONGEST_SUBSCRIBE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What is known of the work that waits.
#[derive(Clone, Debug, Default)]
struct Work {
    /// Moments at which work appeared, as the server counts them.
    count: u64,
    /// Tasks that appeared and that nobody is known to have taken.
    tasks: u64,
    /// How often everyone was told to look.
    all: u64,
    /// When the next delayed task is due.
    due: Option<Instant>,
    /// Workers that may come for it.
    workers: u64,
}

/// What shall be listened to, and what is.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Listening {
    work: bool,
    events: bool,
}

pub(super) struct Feed {
    wanted: watch::Sender<Listening>,
    heard: watch::Sender<Listening>,
    work: watch::Sender<Work>,
    events: broadcast::Sender<Event>,
    /// Whether the first subscription to events has been waited for.
    awaited: AtomicBool,
}

impl Feed {
    /// Starts the task that listens; it ends when the feed is dropped.
    pub fn start(link: Arc<Link>, prefix: String) -> Arc<Self> {
        let feed = Arc::new(Self {
            wanted: watch::channel(Listening::default()).0,
            heard: watch::channel(Listening::default()).0,
            work: watch::channel(Work::default()).0,
            events: broadcast::channel(EVENTS).0,
            awaited: AtomicBool::new(false),
        });
        let listener = Listener { feed: Arc::downgrade(&feed), link, prefix };
        tokio::spawn(listener.run(feed.wanted.subscribe()));
        feed
    }

    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.want(|wanted| &mut wanted.events);
        self.events.subscribe()
    }

    fn want(&self, which: impl FnOnce(&mut Listening) -> &mut bool) {
        self.wanted.send_if_modified(|wanted| !std::mem::replace(which(wanted), true));
    }

    /// Waits, once, until what a reader of events has asked for is heard: it misses nothing
    /// that this process does from then on.
    pub async fn ready(&self, deadline: Instant) {
        if !self.wanted.borrow().events || self.awaited.load(Ordering::SeqCst) {
            return;
        }
        let mut heard = self.heard.subscribe();
        // Without a connection the caller's own call says what is wrong.
        let _ = timeout_at(deadline, heard.wait_for(|heard| heard.events)).await;
        self.awaited.store(true, Ordering::SeqCst);
    }

    /// Returns when there may be work that nobody was told of before `seen`.
    pub async fn wait_for_work(&self, seen: u64, at_most: Duration) {
        let deadline = Instant::now() + at_most;
        self.want(|wanted| &mut wanted.work);
        let mut heard = self.heard.subscribe();
        if timeout_at(deadline, heard.wait_for(|heard| heard.work)).await.is_err() {
            return;
        }
        let mut work = self.work.subscribe();
        let first = work.borrow_and_update().clone();
        if first.count != seen {
            return;
        }
        let mut come: Option<Instant> = None;
        loop {
            let now = work.borrow_and_update().clone();
            if now.count != first.count {
                if now.all != first.all {
                    // Told to look: nothing that others take makes up for it.
                    let come = Instant::now() + stagger(1, now.workers);
                    return sleep_until(come.min(deadline)).await;
                }
                come = match (now.tasks, come) {
                    (0, _) => None,
                    (_, Some(come)) => Some(come),
                    (tasks, None) => Some(Instant::now() + stagger(tasks, now.workers)),
                };
            }
            let due = now.due.filter(|_| now.count != first.count);
            let due = due.map(|due| due + stagger(1, now.workers));
            let until = [come, due].into_iter().flatten().fold(deadline, Instant::min);
            tokio::select! {
                () = sleep_until(until) => return,
                changed = work.changed() => if changed.is_err() { return },
            }
        }
    }
}

/// How long one of `workers` waits before it comes for one of `tasks` tasks.
fn stagger(tasks: u64, workers: u64) -> Duration {
    if tasks >= workers {
        return Duration::ZERO;
    }
    let share = FIRST * tasks.max(1) as f64 / workers as f64;
    if rand::random::<f64>() < share {
        return APART.mul_f64(rand::random());
    }
    SPREAD.mul_f64(0.2 + 0.8 * rand::random::<f64>())
}

struct Listener {
    feed: std::sync::Weak<Feed>,
    link: Arc<Link>,
    /// Of the farm's keys and channels.
    prefix: String,
}

impl Listener {
    async fn run(self, mut wanted: watch::Receiver<Listening>) {
        if wanted.wait_for(|wanted| *wanted != Listening::default()).await.is_err() {
            return;
        }
        let mut pause = FIRST_PAUSE;
        let mut before = Listening::default();
        while self.feed.strong_count() > 0 {
            let begun = Instant::now();
            match self.listen(&mut wanted, &mut before).await {
                Ok(()) => return,
                Err(error) => tracing::debug!(%error, "the queue's feed was cut off"),
            }
            if let Some(feed) = self.feed.upgrade() {
                feed.heard.send_replace(Listening::default());
            }
            if begun.elapsed() > LONGEST_PAUSE {
                pause = FIRST_PAUSE;
            }
            sleep(pause.mul_f64(0.5 + rand::random::<f64>())).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Listens until the connection breaks; `Ok` when nobody wants to hear any more.
    async fn listen(
        &self,
        wanted: &mut watch::Receiver<Listening>,
        before: &mut Listening,
    ) -> Result<(), RedisError> {
        let (mut sink, mut stream): (PubSubSink, PubSubStream) = self.link.listen().await?.split();
        let mut heard = Listening::default();
        loop {
            let want = *wanted.borrow_and_update();
            if want != heard {
                let deadline = Instant::now() + LONGEST_SUBSCRIBE;
                let subscribed = self.subscribe(&mut sink, heard, want, *before);
                timeout_at(deadline, subscribed).await.map_err(|_| {
                    RedisError::from((::redis::ErrorKind::Io, "no subscription in time"))
                })??;
                heard = want;
                *before = want;
            }
            tokio::select! {
                message = stream.next() => match (message, self.feed.upgrade()) {
                    (Some(message), Some(feed)) => hear(&feed, &message),
                    (_, None) => return Ok(()),
                    (None, _) => {
                        return Err((::redis::ErrorKind::Io, "the connection was closed").into());
                    }
                },
                changed = wanted.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    async fn subscribe(
        &self,
        sink: &mut PubSubSink,
        heard: Listening,
        want: Listening,
        before: Listening,
    ) -> Result<(), RedisError> {
        let Some(feed) = self.feed.upgrade() else { return Ok(()) };
        if want.work && !heard.work {
            sink.subscribe(format!("{}wake", self.prefix)).await?;
            // What came before the subscription is told by the count.
            let mut command = cmd("HGET");
            command.arg(format!("{}farm", self.prefix)).arg("work");
            let count = match self.link.ask(&command).await {
                Ok(::redis::Value::Nil) => Ok(0),
                Ok(count) => decode::int(&count).map(|count| u64::try_from(count).unwrap_or(0)),
                Err(error) => Err(error),
            };
            let count = count.map_err(|error: QueueError| {
                RedisError::from((::redis::ErrorKind::Io, "no count of work", error.to_string()))
            })?;
            feed.work.send_if_modified(|work| {
                let news = work.count != count;
                work.count = count;
                work.all += u64::from(news);
                news
            });
        }
        if want.events && !heard.events {
            sink.subscribe(format!("{}events", self.prefix)).await?;
            if before.events {
                // Nobody listening is fine.
                let _ = feed.events.send(Event::Gap);
            }
        }
        feed.heard.send_replace(want);
        Ok(())
    }
}

fn hear(feed: &Feed, message: &Msg) {
    let Ok(text) = std::str::from_utf8(message.get_payload_bytes()) else {
        tracing::warn!(channel = message.get_channel_name(), "not UTF-8");
        return;
    };
    let heard = if message.get_channel_name().ends_with(":wake") {
        hear_work(feed, text)
    } else {
        decode::events(text).map(|events| {
            for event in events {
                // Nobody listening is fine.
                let _ = feed.events.send(event);
            }
        })
    };
    if let Err(error) = heard {
        tracing::warn!(%error, "somebody else publishes on the queue's channels");
    }
}

/// `<count> <tasks or all> <ms until due> <workers>`, or `taken <count>`.
fn hear_work(feed: &Feed, text: &str) -> Result<(), QueueError> {
    let parts: Vec<&str> = text.split(' ').collect();
    match parts[..] {
        ["taken", _] => {
            feed.work.send_modify(|work| work.tasks = 0);
        }
        [count, tasks, due, workers] => {
            let (count, due): (u64, u64) = (decode::parse(count)?, decode::parse(due)?);
            let workers = decode::parse(workers)?;
            let more = if tasks == "all" { 0 } else { decode::parse(tasks)? };
            feed.work.send_modify(|work| {
                work.count = count;
                work.workers = workers;
                work.all += u64::from(tasks == "all");
                work.tasks = work.tasks.saturating_add(more);
                let passed = work.due.is_some_and(|due| due < Instant::now());
                if passed {
                    work.due = None;
                }
                if due > 0 {
                    let due = Instant::now() + Duration::from_millis(due);
                    work.due = Some(work.due.map_or(due, |known| known.min(due)));
                }
            });
        }
        _ => return Err(QueueError::Corrupt(format!("not a wake: {text:?}"))),
    }
    Ok(())
}
