//! The testbed itself: nodes, databases, processes and the proxy do what they promise.

mod guardian;
mod node;
mod postgres;
mod proxy;
mod shared_node;
