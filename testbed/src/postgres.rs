//! PostgreSQL: found on the machine or unpacked beside the project, and run as private servers.
//!
//! A server listens on a free port of 127.0.0.1 only, asks for a password that was made for it, and
//! writes to disk as a real one does (`fsync`), since it is there to be killed.

mod access;
mod install;
mod pooler;
mod server;
mod shared_server;
mod unprivileged;

pub use access::Access;
pub use install::Install;
pub use pooler::{PoolMode, Pooler};
pub use server::Server;
pub use shared_server::{SERVER_VARIABLE, database};
