//! The command line, typed as users type it, against the whole system.

mod bulk;
mod failed;
mod fake;
mod https;
mod requests;
mod terminal;
