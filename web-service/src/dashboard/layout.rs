//! The frame of each page: head, navigation, banners, and the help for the keyboard.

use maud::{DOCTYPE, Markup, html};

use crate::dashboard::{
    assets::{ICON, SCRIPT, STYLE},
    banners::Banner,
};

/// The place of a page in the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Overview,
    Requests,
    Failed,
    Workers,
    Submit,
}

/// A page without its frame.
pub(super) struct Page<'a> {
    /// Its title, without the name of the program.
    pub(super) title: &'a str,
    /// Where it is in the navigation.
    pub(super) section: Section,
    /// The way from its address to `/`: `./` or `../`.
    pub(super) root: &'static str,
    /// What is wrong at present.
    pub(super) banners: Vec<Banner>,
    /// Its content.
    pub(super) body: Markup,
}

impl Section {
    const ALL: [(Self, &'static str, &'static str); 5] = [
        (Self::Overview, "Overview", ""),
        (Self::Requests, "Requests", "requests"),
        (Self::Failed, "Failed", "failed"),
        (Self::Workers, "Workers", "workers"),
        (Self::Submit, "Submit", "submit"),
    ];
}

/// The whole document.
pub(super) fn document(page: &Page) -> Markup {
    let Page { title, root, body, banners, .. } = page;
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Slowlane" }
                link rel="icon" type="image/svg+xml" href={ (root) "assets/" (ICON.name) };
                link rel="stylesheet" href={ (root) "assets/" (STYLE.name) };
                script type="module" src={ (root) "assets/" (SCRIPT.name) } {}
            }
            body data-live={ (root) "live" } {
                a.skip href="#main" { "Skip to the content" }
                (header(page))
                div #banners data-region="banners" {
                    @for banner in banners { (banner.markup(root)) }
                }
                main #main tabindex="-1" { (body) }
                div.hidden #announce role="status" {}
                (help())
                (confirmation())
            }
        }
    }
}

fn header(page: &Page) -> Markup {
    let root = page.root;
    html! {
        header.top {
            a.name href=(root) aria-label="Slowlane, overview" { span.mark aria-hidden="true" {} "Slowlane" }
            nav aria-label="Pages" {
                @for (section, label, path) in Section::ALL {
                    a href={ (root) (path) } aria-current=[(section == page.section).then_some("page")] { (label) }
                }
                a href={ (root) "docs" } { "API" }
            }
            form.find role="search" action={ (root) "find" } {
                input type="search" name="q" placeholder="Request id" aria-label="Find a request by its id"
                    autocomplete="off" spellcheck="false" aria-keyshortcuts="/" maxlength="100";
            }
            div.tools {
                span.live #live data-state="off" title="Whether this page changes by itself" { "not live" }
                label.zone hidden {
                    span.hidden { "Times" }
                    select #zone {
                        option value="local" { "Local time" }
                        option value="utc" { "UTC" }
                        option value="relative" { "Relative" }
                    }
                }
            }
        }
    }
}

fn help() -> Markup {
    let keys = [
        ("/", "find a request"),
        ("j k", "next and previous row"),
        ("Enter", "open the row"),
        ("x", "select the row"),
        ("r", "replay, or retry now"),
        ("c", "cancel"),
        ("?", "this help"),
    ];
    html! {
        dialog #help aria-labelledby="help-title" {
            h2 #help-title { "Keyboard" }
            dl.keys {
                @for (key, meaning) in keys {
                    div { dt { @for key in key.split(' ') { kbd { (key) } " " } } dd { (meaning) } }
                }
            }
            form method="dialog" { button { "Close" } }
        }
    }
}

/// Asks before something that can't be undone; without the script nothing asks.
fn confirmation() -> Markup {
    html! {
        dialog #confirm aria-labelledby="confirm-title" {
            h2 #confirm-title {}
            form method="dialog" {
                button value="no" { "No" }
                button.primary value="yes" { "Yes" }
            }
        }
    }
}
