//! What is shown while a command waits for the end of a request: each failed attempt as a note; on a terminal also a line
//! that tells what the request does now.

use std::{
    convert::Infallible,
    io::{IsTerminal, stderr},
    pin::pin,
    time::{Duration, SystemTime},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use uuid::Uuid;

use super::request_text;
use crate::{
    api::{
        client::Client,
        event_stream::{Event, EventStream},
        progress::Progress,
        request::{Request, Status},
    },
    output,
};

/// A request that ends sooner is not followed: there is nothing to show.
const FOLLOW_DELAY: Duration = Duration::from_millis(500);
/// The pause before a stream that was lost is opened again. Nothing depends on it.
const REOPEN_PAUSE: Duration = Duration::from_secs(5);
/// How often the line is drawn again, which counts the seconds.
const DRAW_INTERVAL: Duration = Duration::from_secs(1);

/// Waits for `waiting`, and shows meanwhile what happens to the request.
pub(super) async fn beside<T>(client: &Client, id: Uuid, waiting: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        done = waiting => done,
        never = follow(client, id) => match never {},
    }
}

async fn follow(client: &Client, id: Uuid) -> Infallible {
    sleep(FOLLOW_DELAY).await;
    let mut display = Display::new();
    let mut clock = interval(DRAW_INTERVAL);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Whoever waits reports that the service is away.
        if let Ok(mut events) = client.events_once(id).await {
            while let Some(event) = next_event(&mut events, &display, &mut clock).await {
                display.take(event);
                display.draw(SystemTime::now());
            }
        }
        sleep(REOPEN_PAUSE).await;
    }
}

/// The next event; until it comes the line is drawn again and again.
async fn next_event(
    events: &mut EventStream,
    display: &Display,
    clock: &mut Interval,
) -> Option<Event> {
    let mut next = pin!(events.next());
    loop {
        tokio::select! {
            event = &mut next => return event,
            _ = clock.tick() => display.draw(SystemTime::now()),
        }
    }
}

/// What was shown of a request.
struct Display {
    /// Hidden without a terminal.
    line: ProgressBar,
    request: Option<Request>,
    progress: Option<Progress>,
    /// The run and the number of the attempt whose failure was noted last.
    noted: Option<(u64, u64)>,
}

impl Display {
    fn new() -> Self {
        let target = match stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let style = ProgressStyle::with_template("{wide_msg}").expect("the template is valid");
        let line = ProgressBar::with_draw_target(None, target).with_style(style);
        Self { line, request: None, progress: None, noted: None }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Progress(progress) => self.progress = Some(progress),
            Event::Status(request) => {
                let attempt = (request.details.run, request.details.attempts);
                let failure = request_text::failed_attempt(&request, SystemTime::now());
                if let Some(note) = failure.filter(|_| self.noted != Some(attempt)) {
                    self.line.suspend(|| output::note(note));
                    self.noted = Some(attempt);
                }
                self.progress = Progress::of(&request);
                self.request = Some(*request);
            }
        }
    }

    fn draw(&self, now: SystemTime) {
        let Some(request) = &self.request else { return };
        let text = match request.status {
            Status::Processing => request_text::work(request, self.progress.as_ref()),
            Status::Queued => match request_text::awaited_attempt(request, now) {
                Some(awaited) => format!("waiting: {awaited}"),
                None => "waiting for a worker".to_owned(),
            },
            _ => return self.line.finish_and_clear(),
        };
        self.line.set_message(text);
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        self.line.finish_and_clear();
    }
}
