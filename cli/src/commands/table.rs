//! Tables for people and JSON arrays for programs, printed item by item.

use std::io;

use crate::{arguments::Format, output, text};

/// A table, or a JSON array with an item on each line, of a limited length.
pub(super) struct Table {
    format: Format,
    header: &'static str,
    /// How many items have been printed.
    printed: u64,
    limit: u64,
}

/// What is said below a list that was cut off.
pub(super) fn more(listed: u64) -> String {
    format!("{listed} of more; --all for the rest")
}

impl Table {
    /// An empty table for up to `limit` items.
    pub(super) fn new(format: Format, header: &'static str, limit: u64) -> Self {
        Self { format, header, printed: 0, limit }
    }

    /// Prints an item, the first one below the header. Returns whether there is room for more.
    pub(super) fn print(&mut self, row: impl FnOnce() -> String, json: &str) -> io::Result<bool> {
        let first = self.printed == 0;
        match self.format {
            Format::Text => {
                if first {
                    output::line(self.header)?;
                }
                output::line(row())?;
            }
            Format::Json => {
                let separator = if first { '[' } else { ',' };
                output::line(format!("{separator}{}", text::one_line(json)))?;
            }
        }
        self.printed += 1;
        Ok(self.printed < self.limit)
    }

    /// Ends the table and returns how many items it has. An empty table has no header either.
    pub(super) fn end(self) -> io::Result<u64> {
        if self.format == Format::Json {
            output::line(if self.printed == 0 { "[]" } else { "]" })?;
        }
        Ok(self.printed)
    }
}
