//! Report of `setup`: a table with a row for each exchange, queue and binding.

use std::process::ExitCode;

use comfy_table::{Table, presets};
use pipeline::topology::{Binding, Queue};

use crate::output;

/// A queue's binding as text.
pub(crate) fn binding(queue: &Queue, binding: &Binding) -> String {
    let (name, Binding { exchange, routing_key }) = (&queue.name, binding);
    match routing_key.as_str() {
        "" => format!("{exchange} → {name}"),
        key => format!("{exchange} → {name} (key {key})"),
    }
}

/// What was found or done, one row for each object.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<[String; 3]>,
    differs: bool,
}

impl Report {
    /// Adds an object that is declared as expected.
    pub(crate) fn add(&mut self, kind: &str, name: &str, state: &str) {
        self.rows.push([kind.to_owned(), name.to_owned(), state.to_owned()]);
    }

    /// Adds an object that is missing or different.
    pub(crate) fn differs(&mut self, kind: &str, name: &str, state: &str) {
        self.differs = true;
        self.add(kind, name, state);
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["KIND", "NAME", "STATE"]);
        table.add_rows(&self.rows);
        output::print(table);
    }

    /// 1 if anything differs.
    pub(crate) fn exit(&self) -> ExitCode {
        ExitCode::from(u8::from(self.differs))
    }
}
