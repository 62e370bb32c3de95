//! The testbed keeps its own promises.

mod guardian;
mod node;
mod postgres;
mod proxy;
mod shared_node;
