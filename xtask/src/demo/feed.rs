//! Everything the programs say, in one stream.

use serde_json::Value;
use testbed::Process;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Something that happened on the stage.
pub(super) struct Event {
    /// The name of the program on the screen.
    pub(super) who: &'static str,
    pub(super) what: What,
}

pub(super) enum What {
    /// A log line.
    Logged(Value),
    /// A line that is no log line, as that of a panic.
    Said(String),
    /// The program has ended.
    Ended,
}

/// Gathers what programs say.
pub(super) struct Feed {
    sender: UnboundedSender<Event>,
    receiver: UnboundedReceiver<Event>,
}

impl Feed {
    pub(super) fn new() -> Self {
        let (sender, receiver) = unbounded_channel();
        Self { sender, receiver }
    }

    /// Follows a program from its first line to its end.
    pub(super) fn follow(&self, who: &'static str, process: &Process) {
        let (mut lines, sender) = (process.follow(), self.sender.clone());
        tokio::spawn(async move {
            while let Some(line) = lines.next().await {
                let what = serde_json::from_str(&line).map_or(What::Said(line), What::Logged);
                let _ = sender.send(Event { who, what });
            }
            let _ = sender.send(Event { who, what: What::Ended });
        });
    }

    /// The next event. There is no end to them: the feed itself could still add some.
    pub(super) async fn next(&mut self) -> Event {
        match self.receiver.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}
