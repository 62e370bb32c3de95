//! RabbitMQ: found on the machine or unpacked beside the project, and run as private nodes.

mod access;
mod config;
mod control;
mod install;
mod node;
mod unpack;
mod version;

pub use access::Access;
pub use control::Connection;
pub use install::Install;
pub use node::{Node, NodeOptions};
pub use version::Version;
