//! RabbitMQ: found on the machine or unpacked beside the project, and run as private nodes.

mod access;
mod config;
mod control;
mod install;
mod node;
mod unpack;

pub use access::Access;
pub use control::Connection;
pub use install::{Install, Version};
pub use node::{Node, NodeOptions};
