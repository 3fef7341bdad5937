//! `vqfarm top`: the farm on a terminal, alive.
//!
//! [`event`]s change the [`app::App`], which [`view`] draws; the tasks of [`link`] and
//! [`details`] bring events and carry out what the App orders.

mod app;
mod details;
mod event;
mod keys;
mod link;
mod picture;
mod terminal;
#[cfg(test)]
mod tests;
mod view;

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use crossterm::event::{Event as Input, EventStream};
use futures::StreamExt;
use ratatui::layout::Size;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use self::app::App;
use self::event::Event;
use self::picture::Painter;
use self::terminal::Screen;
use super::client::{ConnectArgs, Farm};
use super::{Outcome, version};
use crate::failure::Failure;

const KEYS: &str = "\
Keys: ↑ ↓ choose, Tab goes to the workers and back, p pauses and resumes, c cancels (asks first),
+ and - change the priority, r tries failed tasks again, d drains a worker, ? lists all, q quits.

Pictures: kitty, iTerm2 and sixel terminals show the newest frame as it is, all others in coloured
half blocks. It needs 60 columns and 16 lines, and works over ssh.";

/// Watch and steer the farm on a terminal: jobs, workers, tasks, logs, the newest frame
///
/// Goes on by itself when the coordinator restarts.
#[derive(Debug, Args)]
#[command(after_help = KEYS)]
pub struct TopArgs {
    /// Show no pictures: less to send over a slow line
    #[arg(long)]
    no_images: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

pub async fn top(args: TopArgs) -> Outcome {
    // What is wrong with the address or the token is told while there still is a plain terminal.
    let mut farm = args.connect.connect().await?;
    let first = link::overview(&mut farm).await.map_err(|s| args.connect.explain(s))?;
    // It stands there again when the screen is given back.
    version::tell(&first.status.version);
    let mut screen = Screen::take()?;
    let painter = (!args.no_images).then(Painter::new);
    let size = screen.terminal.size().context("cannot ask the terminal for its size")?;
    let mut app = App::new(size, painter.is_some());
    app.update(Event::Overview(Box::new(first)));
    run(&mut screen, app, farm, args.connect, painter).await?;
    Ok(ExitCode::SUCCESS)
}

/// Draws and listens until somebody quits.
async fn run(
    screen: &mut Screen,
    mut app: App,
    farm: Farm,
    connect: ConnectArgs,
    painter: Option<Painter>,
) -> Result<(), Failure> {
    let (events, mut happened) = mpsc::unbounded_channel();
    let (wishes, wished) = watch::channel(app.wish());
    let mut tasks = JoinSet::new();
    tasks.spawn(link::look(farm.clone(), connect.clone(), events.clone()));
    tasks.spawn(details::follow(farm.clone(), wished, painter, events.clone()));
    let mut inputs = EventStream::new();
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to signals")?;
    while !app.quit {
        screen.terminal.draw(|frame| view::draw(&app, frame)).context("cannot draw")?;
        let event = tokio::select! {
            event = happened.recv() => event,
            input = inputs.next() => match input {
                Some(input) => of_input(input.context("cannot read the keyboard")?),
                // The terminal is gone.
                None => return Ok(()),
            },
            _ = terminate.recv() => return Ok(()),
            Some(Err(panic)) = tasks.join_next() => {
                return Err(anyhow!("a part of the cockpit ended: {panic}").into());
            }
        };
        let Some(event) = event else { continue };
        if let Some(order) = app.update(event) {
            tasks.spawn(link::carry_out(farm.clone(), connect.clone(), order, events.clone()));
        }
        wishes.send_if_modified(|wish| {
            let now = app.wish();
            let changed = *wish != now;
            *wish = now;
            changed
        });
    }
    Ok(())
}

fn of_input(input: Input) -> Option<Event> {
    match input {
        Input::Key(key) => Some(Event::Key(key)),
        Input::Resize(width, height) => Some(Event::Resize(Size { width, height })),
        _ => None,
    }
}
