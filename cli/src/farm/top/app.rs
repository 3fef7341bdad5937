//! What the cockpit knows and shows: plain state that events change. No I/O happens here.

use ratatui::crossterm::event::KeyEventKind;
use ratatui::layout::{Rect, Size};
use vqfarm_proto::v1::{Counts, Job, JobState, Log, Reason, TaskMapResponse, Worker, WorkerState};

use super::event::{Detail, Event, Order, Overview, Picture, Wish};
use super::keys::{Command, command};
use super::view;
use crate::farm::show;

/// The list that the arrow keys move in, and whose logs are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Focus {
    #[default]
    Jobs,
    Workers,
}

/// What lies over everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dialog {
    Help,
    Confirm { question: String, order: Order },
}

/// What is told at the bottom until the next key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub text: String,
    pub bad: bool,
}

/// The way to the coordinator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Link {
    #[default]
    Up,
    /// For how long, and what the last attempt said.
    Down { since: String, reason: String },
}

#[derive(Default)]
pub struct App {
    pub overview: Overview,
    pub detail: Detail,
    pub picture: Option<Picture>,
    /// Whether pictures are shown at all.
    pub images: bool,
    pub link: Link,
    pub focus: Focus,
    pub dialog: Option<Dialog>,
    pub notice: Option<Notice>,
    /// Lines by which the logs are scrolled back from their end.
    pub scroll: usize,
    pub quit: bool,
    size: Size,
    /// By id, so that a list may change around what is chosen.
    job: Option<String>,
    worker: Option<String>,
    /// Of the chosen job, where somebody chose one.
    layer: Option<String>,
}

impl App {
    pub fn new(size: Size, images: bool) -> Self {
        Self { size, images, ..Self::default() }
    }

    /// Takes note of what happened; answers with what is to be done about it.
    pub fn update(&mut self, event: Event) -> Option<Order> {
        match event {
            Event::Key(key) if key.kind == KeyEventKind::Release => (),
            Event::Key(key) => {
                self.notice = None;
                return match (command(key), self.dialog.take()) {
                    (answer, Some(dialog)) => self.answer(answer, dialog),
                    (Some(command), None) => self.obey(command),
                    (None, None) => None,
                };
            }
            Event::Resize(size) => self.size = size,
            Event::Overview(overview) => {
                self.link = Link::Up;
                self.see(*overview);
            }
            Event::Detail(detail) => self.detail = *detail,
            Event::Picture(picture) => self.picture = Some(picture),
            Event::Lost { reason, since } => {
                self.link = Link::Down { since: show::span(since), reason };
            }
            Event::Told(Ok(text)) => self.notice = Some(Notice { text, bad: false }),
            Event::Told(Err(text)) => self.notice = Some(Notice { text, bad: true }),
        }
        None
    }

    /// A key while a dialog is open. Whatever is not a yes is a no.
    fn answer(&mut self, key: Option<Command>, dialog: Dialog) -> Option<Order> {
        match dialog {
            Dialog::Confirm { order, .. } if key == Some(Command::Yes) => Some(order),
            _ => None,
        }
    }

    fn obey(&mut self, command: Command) -> Option<Order> {
        match command {
            Command::Up => self.step(-1),
            Command::Down => self.step(1),
            Command::OtherList => {
                self.scroll = 0;
                self.focus = match self.focus {
                    Focus::Jobs => Focus::Workers,
                    Focus::Workers => Focus::Jobs,
                };
            }
            Command::EarlierLayer => self.turn(-1),
            Command::LaterLayer => self.turn(1),
            Command::ScrollUp => self.scroll = self.scroll.saturating_add(view::PAGE),
            Command::ScrollDown => self.scroll = self.scroll.saturating_sub(view::PAGE),
            Command::Drain => return self.drain(),
            Command::Help => self.dialog = Some(Dialog::Help),
            Command::Quit => self.quit = true,
            Command::Close | Command::Yes => (),
            about_a_job => return self.order(about_a_job),
        }
        None
    }

    /// What is ordered about the chosen job.
    fn order(&mut self, command: Command) -> Option<Order> {
        let Some(job) = self.job().cloned() else {
            self.complain("there is no job");
            return None;
        };
        let Job { id, name, priority, .. } = &job;
        let (id, priority) = (id.clone(), *priority);
        let order = match command {
            Command::Retry => Order::Retry { job: id },
            _ if job.state().is_final() => {
                self.complain(&format!("{name} is {} already", job.state().word()));
                return None;
            }
            Command::PauseOrResume if job.state() == JobState::Paused => Order::Resume { job: id },
            Command::PauseOrResume => Order::Pause { job: id },
            Command::Raise => Order::Priority { job: id, priority: priority.saturating_add(1) },
            Command::Lower => Order::Priority { job: id, priority: priority.saturating_sub(1) },
            Command::Cancel => {
                let left = job.total();
                let left = left.tasks - left.done;
                let question = format!(
                    "Cancel {name} ({})? {} will not be done; what is done stays.",
                    show::short(&id),
                    show::count(left, "task"),
                );
                self.dialog = Some(Dialog::Confirm { question, order: Order::Cancel { job: id } });
                return None;
            }
            _ => return None,
        };
        Some(order)
    }

    fn drain(&mut self) -> Option<Order> {
        if self.focus != Focus::Workers {
            self.complain("choose a worker first: Tab, then ↑ and ↓");
            return None;
        }
        let Some(worker) = self.worker() else {
            self.complain("there is no worker");
            return None;
        };
        let undo = worker.state() == WorkerState::Draining;
        Some(Order::Drain { worker: worker.id.clone(), undo })
    }

    fn complain(&mut self, text: &str) {
        self.notice = Some(Notice { text: text.into(), bad: true });
    }

    /// Jobs that are not over come first, then the newest; workers that are lost come last.
    fn see(&mut self, mut overview: Overview) {
        overview.jobs.sort_by_key(|job| (job.state().is_final(), -job.submitted));
        overview.workers.sort_by_key(|worker| worker.state() == WorkerState::Lost);
        self.overview = overview;
        if self.job_row().is_none() {
            self.choose_job(self.overview.jobs.first().map(|job| job.id.clone()));
        }
        if self.worker_row().is_none() {
            self.worker = self.overview.workers.first().map(|worker| worker.id.clone());
        }
    }

    fn choose_job(&mut self, job: Option<String>) {
        if self.job != job {
            self.job = job;
            self.layer = None;
            self.scroll = 0;
        }
    }

    /// Moves in the list that has the focus.
    fn step(&mut self, by: isize) {
        let moved = |row: Option<usize>, length: usize| {
            row.map(|row| row.saturating_add_signed(by).min(length.saturating_sub(1)))
        };
        match self.focus {
            Focus::Jobs => {
                let row = moved(self.job_row(), self.overview.jobs.len());
                let job = row.and_then(|row| self.overview.jobs.get(row));
                self.choose_job(job.map(|job| job.id.clone()));
            }
            Focus::Workers => {
                let row = moved(self.worker_row(), self.overview.workers.len());
                let worker = row.and_then(|row| self.overview.workers.get(row));
                self.worker = worker.map(|worker| worker.id.clone());
                self.scroll = 0;
            }
        }
    }

    /// Moves between the layers of the chosen job.
    fn turn(&mut self, by: isize) {
        let Some(job) = self.job() else { return };
        let shown = self.layer_shown();
        let at = job.layers.iter().position(|layer| layer.name == shown).unwrap_or(0);
        let at = at.saturating_add_signed(by).min(job.layers.len().saturating_sub(1));
        self.layer = job.layers.get(at).map(|layer| layer.name.clone());
    }

    pub fn job_row(&self) -> Option<usize> {
        let job = self.job.as_ref()?;
        self.overview.jobs.iter().position(|other| other.id == *job)
    }

    pub fn worker_row(&self) -> Option<usize> {
        let worker = self.worker.as_ref()?;
        self.overview.workers.iter().position(|other| other.id == *worker)
    }

    /// The chosen job.
    pub fn job(&self) -> Option<&Job> {
        self.overview.jobs.get(self.job_row()?)
    }

    /// The chosen worker.
    pub fn worker(&self) -> Option<&Worker> {
        self.overview.workers.get(self.worker_row()?)
    }

    /// The layer of the map: that which somebody chose, else the first one that is not done.
    pub fn layer_shown(&self) -> String {
        if let Some(layer) = &self.layer {
            return layer.clone();
        }
        let Some(job) = self.job() else { return String::new() };
        let open = |counts: Option<Counts>| counts.is_some_and(|c| c.done < c.tasks);
        let layer = job.layers.iter().find(|layer| open(layer.counts)).or(job.layers.first());
        layer.map_or_else(String::new, |layer| layer.name.clone())
    }

    /// What must be known for what is shown.
    pub fn wish(&self) -> Wish {
        let panes = view::panes(Rect::from(self.size), self.images);
        let map = view::map_area(panes.map);
        let worker = (self.focus == Focus::Workers).then(|| self.worker.clone()).flatten();
        Wish {
            job: self.job.clone(),
            layer: self.layer_shown(),
            parts: u32::from(map.width) * u32::from(map.height),
            worker,
            room: panes.preview.map(view::inside).map(Rect::as_size),
        }
    }

    /// The newest frame of the chosen job, if it is here.
    pub fn picture_shown(&self) -> Option<&Picture> {
        self.picture.as_ref().filter(|picture| Some(&picture.job) == self.job.as_ref())
    }

    /// What was found out about the chosen job, not about the one that was chosen before.
    fn detail_shown(&self) -> Option<&Detail> {
        Some(&self.detail).filter(|detail| detail.of.job == self.job)
    }

    /// The map of the layer that is shown.
    pub fn map_shown(&self) -> Option<&TaskMapResponse> {
        let detail = self.detail_shown().filter(|detail| detail.of.layer == self.layer_shown());
        detail?.map.as_ref()
    }

    /// Why tasks of the chosen job wait.
    pub fn reasons_shown(&self) -> &[Reason] {
        self.detail_shown().map(|detail| detail.reasons.as_slice()).unwrap_or_default()
    }

    /// Logs of the chosen job or worker, whichever list has the focus.
    pub fn logs_shown(&self) -> &[Log] {
        let worker = self.wish().worker;
        let detail = match worker {
            Some(_) => Some(&self.detail),
            None => self.detail_shown(),
        };
        let detail = detail.filter(|detail| detail.of.worker == worker);
        detail.map(|detail| detail.logs.as_slice()).unwrap_or_default()
    }
}
