//! The command line `slowlane` against the whole system.

mod bulk;
mod closed_output;
mod doctor;
mod failed;
mod fake;
mod https;
mod requests;
mod status;
mod terminal;
mod verify;
mod waiting;
mod why;
