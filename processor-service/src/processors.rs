//! The kinds of work that come with the program.

mod simulate;

pub use simulate::Simulate;
