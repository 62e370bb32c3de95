//! The kinds of work that come with the program.

mod command;
mod simulate;

pub use command::{Command, CommandLine, Guard};
pub use simulate::Simulate;

/// Which kind of work is done: `PROCESSOR`.
#[derive(Debug, Clone)]
pub enum Kind {
    /// [`Simulate`].
    Simulate,
    /// [`Command`], with this command.
    Command(CommandLine),
}
