//! The commands for developers.

mod demo;
mod dev;
