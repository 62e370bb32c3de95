//! Log lines and exits of all programs, as one stream of events.

use serde_json::Value;
use testbed::Process;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// An event of a program.
pub(super) struct Event {
    /// The program's name on the console.
    pub(super) program: &'static str,
    pub(super) kind: EventKind,
}

pub(super) enum EventKind {
    /// A log line.
    Log(Value),
    /// A line that is no JSON, as that of a panic.
    OtherLine(String),
    /// The program has ended.
    Exit,
}

/// Collects the events of several programs.
pub(super) struct LogEvents {
    sender: UnboundedSender<Event>,
    receiver: UnboundedReceiver<Event>,
}

impl LogEvents {
    pub(super) fn new() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { sender, receiver }
    }

    /// Follows a program from its first line to its exit.
    pub(super) fn follow(&self, program: &'static str, process: &Process) {
        let (mut lines, sender) = (process.follow(), self.sender.clone());
        tokio::spawn(async move {
            while let Some(line) = lines.next().await {
                let kind =
                    serde_json::from_str(&line).map_or(EventKind::OtherLine(line), EventKind::Log);
                let _ = sender.send(Event { program, kind });
            }
            let _ = sender.send(Event { program, kind: EventKind::Exit });
        });
    }

    /// Waits for the next event. There is always a sender, so the stream does not end.
    pub(super) async fn next(&mut self) -> Event {
        match self.receiver.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}
