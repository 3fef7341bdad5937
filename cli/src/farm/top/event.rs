//! What happens to the cockpit, and what it asks for in return.

use std::time::Duration;

use ratatui::crossterm::event::KeyEvent;
use ratatui::layout::Size;
use ratatui_image::protocol::Protocol;
use vqfarm_proto::v1::{Job, Log, Reason, StatusResponse, TaskMapResponse, Worker};

/// Everything that changes what is shown.
pub enum Event {
    Key(KeyEvent),
    /// The terminal has this size now.
    Resize(Size),
    Overview(Box<Overview>),
    Detail(Box<Detail>),
    Picture(Picture),
    /// The coordinator does not answer, for so long already.
    Lost {
        reason: String,
        since: Duration,
    },
    /// What became of an order: a sentence, or why it was refused.
    Told(Result<String, String>),
}

/// The farm as a whole.
#[derive(Clone, Debug, Default)]
pub struct Overview {
    pub status: StatusResponse,
    pub jobs: Vec<Job>,
    pub workers: Vec<Worker>,
}

/// What was found out for a [`Wish`].
#[derive(Clone, Debug, Default)]
pub struct Detail {
    pub of: Wish,
    pub map: Option<TaskMapResponse>,
    /// Why tasks of the job wait.
    pub reasons: Vec<Reason>,
    pub logs: Vec<Log>,
}

/// The newest frame of a job, made ready for this terminal.
pub struct Picture {
    pub job: String,
    pub path: String,
    pub shown: Protocol,
}

/// What is looked at, so that only that much is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    pub job: Option<String>,
    /// Of the map; empty for the first.
    pub layer: String,
    /// Parts of the map.
    pub parts: u32,
    /// Whose logs are shown in place of the job's.
    pub worker: Option<String>,
    /// Room for the newest frame; none where it is not shown.
    pub room: Option<Size>,
}

/// Something to be done on the farm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    Pause {
        job: String,
    },
    Resume {
        job: String,
    },
    Cancel {
        job: String,
    },
    /// Failed tasks once more.
    Retry {
        job: String,
    },
    Priority {
        job: String,
        priority: i32,
    },
    Drain {
        worker: String,
        undo: bool,
    },
}
