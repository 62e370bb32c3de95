//! What tests share: the system under test with its verbs, load, databases, servers.

pub(crate) mod database;
pub(crate) mod documents;
pub(crate) mod endpoint;
pub(crate) mod event_stream;
pub(crate) mod faulty;
pub(crate) mod foreign_worker;
pub(crate) mod http_call;
pub(crate) mod https;
pub(crate) mod load;
pub(crate) mod posting;
pub(crate) mod processor_health;
pub(crate) mod processors;
pub(crate) mod requests;
pub(crate) mod scrape;
pub(crate) mod slowlane;
pub(crate) mod stack;
pub(crate) mod wait;
