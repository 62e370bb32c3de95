//! The testbed itself: nodes, databases, processes and the proxy do what they promise.

mod guardian;
mod node;
mod peers;
mod postgres;
mod proxy;
mod shared_node;
