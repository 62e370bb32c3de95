//! The processors that come with the program.
//!
//! A worker of your own can use them too, as a part of its work.

pub(crate) mod choice;
pub(crate) mod command;
pub(crate) mod http;
mod output;
pub(crate) mod simulate;
mod stopping;

pub use self::{
    command::{
        Command,
        command_line::{CommandLine, InvalidCommandLine},
        guard::Guard,
        pool::CommandPool,
    },
    http::{
        Http,
        client::NoCertificates,
        endpoint::{Endpoint, InvalidEndpoint},
    },
    simulate::Simulate,
};
