//! The page at `/`: what happens now and what happened, for people, in HTML that the server renders.
//!
//! Each page has a handler, which reads what it needs through `api`, and functions that make HTML of it. All state of a
//! page is in its URL. Links are relative, so that the page works behind a proxy that adds a prefix.

mod actions;
mod assets;
mod banners;
mod bulk;
mod chart;
mod failed;
mod format;
mod layout;
mod live;
mod missing;
mod overview;
mod payload;
mod request;
mod request_list;
mod respond;
mod submit;
mod workers;

use actix_web::{Resource, Route, web};

use crate::api::http::resource::{on_get, on_get_and_post, on_post};

/// What answers at all other addresses. It needs the same.
pub(crate) fn missing() -> Route {
    web::to(missing::page)
}

/// All paths with their handlers, in the order in which they are matched. They need the state of the API as application
/// data.
pub(crate) fn resources() -> Vec<(&'static str, Resource)> {
    vec![
        on_get(overview::PATH, overview::page),
        on_get(request_list::PATH, request_list::page),
        on_get(request_list::FIND, request_list::find),
        on_get(failed::PATH, failed::page),
        on_get(workers::PATH, workers::page),
        on_get_and_post(submit::PATH, submit::page, submit::submit),
        on_get_and_post(bulk::PATH, bulk::dry_run, bulk::begin),
        on_get(bulk::RUN_PATH, bulk::page),
        on_post(bulk::STOP_PATH, bulk::stop),
        on_get(live::PATH, live::stream),
        on_get(assets::PATH, assets::file),
        on_get(request::PATH, request::page),
        on_get(request::RESULT_PATH, request::result),
        on_post(actions::PATH, actions::act),
    ]
}
