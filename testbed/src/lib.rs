//! Test support: private RabbitMQ nodes, a private PostgreSQL, the project's own programs as child processes, a proxy
//! that breaks the network on purpose, and an AMQP client that shares no code with the services.
//!
//! Two rules hold for everything here. Nothing outlives its owner: every child process has a guardian that kills it
//! even when the owner is killed with SIGKILL. Nothing leaves the machine: all listeners are on 127.0.0.1, and
//! children see a cleared environment, so no real broker can be reached by accident.

pub mod browser;
mod debian;
mod fifo;
pub mod foreign;
pub mod http;
pub mod media;
pub mod npm;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod program;
pub mod promtool;
pub mod proxy;
pub mod python;
pub mod rabbitmq;
pub mod raw_publisher;
pub mod redis;
pub mod shared_node;
pub mod tls;
pub mod workspace;

pub use fifo::Fifo;
pub use process::{Process, Signal};
pub use program::Program;
pub use proxy::Proxy;
pub use raw_publisher::RawPublisher;
