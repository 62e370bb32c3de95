//! The HTTP side of Slowlane: accepts requests, publishes them to the broker, consumes their results, and
//! returns them by id.
//!
//! The modules follow the way of a request: in by `api`, out by [`dispatch`], back by [`consumers`]. [`events`]
//! and [`webhooks`] tell that it has ended, `views` is what clients see of it, `dashboard` shows it to people, and `bulk_driver` does actions on
//! many of them. [`verify`]
//! finds requests whose message is missing, [`doctor`] what is configured wrongly, and [`why`] tells why a request has not
//! ended. [`app`] builds and stops all.

pub mod allowed_hosts;
mod api;
pub mod app;
mod bulk_driver;
pub mod config;
pub mod consumers;
mod dashboard;
pub mod dispatch;
pub mod doctor;
pub mod events;
mod http_server;
pub mod metrics;
pub mod retention;
#[cfg(test)]
mod samples;
mod shared_answer;
pub mod verify;
mod views;
pub mod webhooks;
pub mod why;

pub use api::openapi::generate as generate_openapi;
