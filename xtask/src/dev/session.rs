//! A session of `dev`: shows all events, and starts the worker again when it ends or its files change.

use std::{path::Path, time::Duration};

use anyhow::Result;
use pipeline::{
    backoff::Backoff,
    log_messages::{CONSUMING, STOPPING},
};
use tokio::time::{Instant, sleep_until};

use super::{watch::Changes, work::Work};
use crate::{
    console,
    interrupt::Interrupt,
    system::{
        display::{Display, how_ended},
        launch::Launch,
        log_events::{Event, EventKind},
        programs::{Programs, WEB},
    },
};

/// The worker's name on the console.
const WORKER: &str = "worker";
/// How long a worker whose files have changed may take to end before it is killed.
const RESTART_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the programs may finish what they do. Their own settings end it sooner, and so does a second Ctrl-C.
const STOP_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// Running programs, and a worker that is kept running.
pub(super) struct Session {
    programs: Programs,
    launch: Launch,
    display: Display,
    work: Work,
    changes: Changes,
    worker: Worker,
    /// Pauses before a worker that has ended is started again.
    backoff: Backoff,
}

struct Worker {
    started: Instant,
    consuming: bool,
    state: State,
}

enum State {
    Runs,
    /// It was told to end, since its files have changed, and is killed at this time.
    Restarts {
        kill_at: Instant,
    },
    /// It has ended, and is started again at this time.
    Ended {
        start_at: Instant,
    },
}

impl Session {
    /// Starts the worker.
    pub(super) fn start(programs: Programs, launch: Launch, work: Work, changes: Changes) -> Self {
        let worker = Worker { started: Instant::now(), consuming: false, state: State::Runs };
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));
        let display = Display::of_accepted();
        let mut session = Self { programs, launch, display, work, changes, worker, backoff };
        console::step(WORKER, session.work.description());
        session.start_worker();
        session
    }

    /// The base URL of the web service.
    pub(super) fn url(&self) -> String {
        self.programs.url()
    }

    /// Whether the work is the user's own, which may take other data than text.
    pub(super) fn has_own_work(&self) -> bool {
        self.work.is_own()
    }

    /// Shows events and keeps the worker running until an interrupt. Fails if the web service ends.
    pub(super) async fn run_until(&mut self, interrupt: &mut Interrupt) -> Result<()> {
        loop {
            let due = self.worker.due();
            tokio::select! {
                () = interrupt.received() => return Ok(()),
                event = self.programs.next_event() => self.handle(&event).await?,
                file = self.changes.next() => self.file_changed(&file),
                () = wait_for(due) => self.start_worker(),
            }
        }
    }

    /// Stops the programs, which finish the requests in flight.
    pub(super) async fn drain(&mut self) -> Result<()> {
        let text = "stopping: what is in work is finished; Ctrl-C again stops at once";
        console::step("dev", text);
        let Self { programs, display, .. } = self;
        let show = |event: &Event| {
            display.event(event);
            Ok(())
        };
        programs.stop(STOP_TIMEOUT, show).await.map(drop)
    }

    async fn handle(&mut self, event: &Event) -> Result<()> {
        match &event.kind {
            EventKind::Exit if event.program == WEB => {
                let process = self.programs.process(WEB);
                let status = process.wait().await?;
                return Err(process.error(&how_ended(status)));
            }
            EventKind::Exit => return self.worker_ended(event).await,
            EventKind::Outlived if event.program == WORKER => {
                return self.worker_outlived(event).await;
            }
            EventKind::Log(log) if event.program == WORKER => match log["message"].as_str() {
                Some(CONSUMING) => self.worker_consumes(),
                Some(STOPPING) => self.hand_back_at_once(),
                _ => {}
            },
            _ => {}
        }
        self.display.event(event);
        Ok(())
    }

    /// Several worker loops in one program are one worker here.
    fn worker_consumes(&mut self) {
        if !std::mem::replace(&mut self.worker.consuming, true) {
            let pid = self.programs.process(WORKER).pid();
            console::step(
                WORKER,
                format!("waits for requests {}", console::dimmed(format!("(pid {pid})"))),
            );
        }
    }

    /// A second signal makes a worker hand its requests back: they are to be done by what is in the files now.
    fn hand_back_at_once(&self) {
        if matches!(self.worker.state, State::Restarts { .. }) {
            self.programs.process(WORKER).terminate_group();
        }
    }

    fn file_changed(&mut self, file: &Path) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match self.worker.state {
            State::Runs => {
                self.display.program(WORKER, &format!("{name} has changed: restarting"));
                self.programs.process(WORKER).terminate_group();
                let kill_at = Instant::now() + RESTART_TIMEOUT;
                self.worker.state = State::Restarts { kill_at };
            }
            State::Restarts { .. } => {}
            State::Ended { .. } => {
                self.display.program(WORKER, &format!("{name} has changed: starting again"));
                self.backoff.reset();
                self.start_worker();
            }
        }
    }

    /// A worker that was told to end may still finish what it does.
    async fn worker_outlived(&mut self, event: &Event) -> Result<()> {
        match self.worker.state {
            State::Runs => self.worker_ended(event).await,
            State::Restarts { .. } | State::Ended { .. } => Ok(()),
        }
    }

    async fn worker_ended(&mut self, event: &Event) -> Result<()> {
        let process = self.programs.process(WORKER);
        if process.pid() != event.pid {
            return Ok(());
        }
        match self.worker.state {
            State::Runs => {}
            State::Restarts { .. } => {
                self.start_worker();
                return Ok(());
            }
            // This was said already.
            State::Ended { .. } => return Ok(()),
        }
        // What it leaves behind would go on consuming.
        process.kill_group();
        let (status, ran_for) = (process.wait().await?, self.worker.started.elapsed());
        let pause = self.backoff.next_pause_after(ran_for);
        self.worker.state = State::Ended { start_at: Instant::now() + pause };
        let (how, ran_for) = (how_ended(status), console::duration(ran_for));
        self.say_when(&format!("{how} after {ran_for}, see its last lines above"), pause);
        Ok(())
    }

    /// Starts the worker. That is tried again later if its program is not there, as while it is built.
    fn start_worker(&mut self) {
        let started = self.programs.start_worker(WORKER, self.work.program(&self.launch));
        let state = match started {
            Ok(_) => State::Runs,
            Err(error) => {
                let pause = self.backoff.next_pause();
                self.say_when(&format!("can't be started: {error:#}"), pause);
                State::Ended { start_at: Instant::now() + pause }
            }
        };
        self.worker = Worker { started: Instant::now(), consuming: false, state };
    }

    /// Says why the worker does not run, and when it is started again.
    fn say_when(&self, why: &str, pause: Duration) {
        let pause = console::duration(pause);
        let or = if self.changes.are_watched() { ", or when its file changes" } else { "" };
        self.display.program(WORKER, &format!("{why}; started again in {pause}{or}"));
    }
}

impl Worker {
    /// When it has to be started in place of what is there.
    fn due(&self) -> Option<Instant> {
        match self.state {
            State::Runs => None,
            State::Restarts { kill_at } => Some(kill_at),
            State::Ended { start_at } => Some(start_at),
        }
    }
}

/// Waits until this time; for ever if there is none.
async fn wait_for(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
