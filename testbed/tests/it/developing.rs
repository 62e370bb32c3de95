//! The commands for developers.

mod dev;
