//! Log lines and exits of all programs, as one stream of events.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    pin::pin,
};

use anyhow::{Context, Result};
use serde_json::Value;
use testbed::Process;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// An event of a program.
pub(crate) struct Event {
    /// The program's name on the console.
    pub(crate) program: &'static str,
    /// Which of the processes that ran under this name it was.
    pub(crate) pid: u32,
    pub(crate) kind: EventKind,
}

pub(crate) enum EventKind {
    /// A log line.
    Log(Value),
    /// A line that is no JSON object, as that of a panic.
    OtherLine(String),
    /// The program has ended, but others that it has started still hold its output.
    Outlived,
    /// The program has ended, and its last line was an event before.
    Exit,
}

/// Collects the events of several programs.
pub(crate) struct LogEvents {
    sender: UnboundedSender<Event>,
    receiver: UnboundedReceiver<Event>,
    folder: Option<PathBuf>,
}

impl LogEvents {
    /// Collects events, and keeps the lines they are made of in this folder, if there is one.
    pub(crate) fn new(folder: Option<PathBuf>) -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { sender, receiver, folder }
    }

    /// Follows a program from its first line to its exit.
    pub(crate) fn follow(&self, program: &'static str, process: &Process) -> Result<()> {
        let mut file =
            self.folder.as_deref().map(|folder| log_file(folder, program)).transpose()?;
        let (mut lines, outlived) = (process.follow(), process.outlived());
        let (sender, pid) = (self.sender.clone(), process.pid());
        tokio::spawn(async move {
            let (mut outlived, mut is_outlived) = (pin!(outlived), false);
            loop {
                let line = tokio::select! {
                    line = lines.next() => line,
                    () = &mut outlived, if !is_outlived => {
                        is_outlived = true;
                        let _ = sender.send(Event { program, pid, kind: EventKind::Outlived });
                        continue;
                    }
                };
                let Some(line) = line else { break };
                if let Some(file) = &mut file {
                    // A full disk is no reason to stop the display.
                    let _ = writeln!(file, "{line}");
                }
                let _ = sender.send(Event { program, pid, kind: kind(line) });
            }
            let _ = sender.send(Event { program, pid, kind: EventKind::Exit });
        });
        Ok(())
    }

    /// Waits for the next event. There is always a sender, so the stream does not end.
    pub(crate) async fn next(&mut self) -> Event {
        match self.receiver.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}

fn kind(line: String) -> EventKind {
    match serde_json::from_str::<Value>(&line) {
        Ok(log) if log.is_object() => EventKind::Log(log),
        _ => EventKind::OtherLine(line),
    }
}

/// The file that the lines of a program are added to.
fn log_file(folder: &Path, program: &str) -> Result<File> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let path = folder.join(format!("{program}.log"));
    let file = File::options().append(true).create(true).open(&path);
    file.with_context(|| format!("cannot write {}", path.display()))
}
