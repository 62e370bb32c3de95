//! Tables for people, JSON arrays for programs, printed line by line as the items come.

use crate::{arguments::Format, exit::Failure, output};

/// A table, or a JSON array with an item on each line.
pub(super) struct Table {
    format: Format,
    /// How many items stand there so far.
    printed: u64,
}

impl Table {
    /// Nothing so far.
    pub(super) fn new(format: Format) -> Self {
        Self { format, printed: 0 }
    }

    /// Prints an item; the header stands above the first one.
    pub(super) fn print(
        &mut self,
        header: &str,
        text: impl FnOnce() -> String,
        json: &str,
    ) -> Result<(), Failure> {
        let first = self.printed == 0;
        self.printed += 1;
        match self.format {
            Format::Text => {
                if first {
                    output::line(header)?;
                }
                output::line(text())
            }
            Format::Json => {
                let before = if first { '[' } else { ',' };
                output::line(format!("{before}{}", output::one_line(json)))
            }
        }
    }

    /// Ends it, and says how many items stand there. A table without any has no header either.
    pub(super) fn end(self) -> Result<u64, Failure> {
        if self.format == Format::Json {
            output::line(if self.printed == 0 { "[]" } else { "]" })?;
        }
        Ok(self.printed)
    }
}
