//! The testbed keeps its own promises.

mod leash;
mod node;
mod postgres;
mod proxy;
mod shared_node;
