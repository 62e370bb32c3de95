//! `GET` and `POST /submit`: a form for a new request, also with the data of another one.

use std::collections::HashMap;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use maud::{Markup, html};
use pipeline::{contract::Timestamp, log_messages::ACCEPTED, topology::RequestTypes};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use tracing::info;
use url::form_urlencoded;
use uuid::Uuid;

use crate::{
    api::{
        http::{
            body::{self, BodyRules},
            body_memory::BodyMemory,
            problem::Problem,
            problem_type::ProblemType,
        },
        requests::{rejected, submission::SubmissionBody},
        state::State,
        status::Status,
    },
    dashboard::{
        banners,
        format::size,
        layout::{Page, Section},
        respond,
    },
    dispatch::{accept, request_data},
};

pub(super) const PATH: &str = "/submit";

/// Longer data are not put into the form: browsers become slow.
const MAX_EDITABLE_BYTES: usize = 256 * 1024;

/// What a form may have beside the data.
const OTHER_FIELDS_BYTES: usize = 16 * 1024;

/// What stands in the form.
#[derive(Default)]
struct Form {
    data: String,
    /// Whether the data are a text, which becomes a JSON string.
    is_text: bool,
    kind: String,
    expires_in: String,
    callback_url: String,
    /// Which form it is: sent twice as it is, it is one request.
    key: String,
}

/// The form, with the data of the request `from` if it is given.
pub(super) async fn page(request: HttpRequest, state: web::Data<State>) -> HttpResponse {
    let query = web::Query::<HashMap<String, String>>::from_query(request.query_string());
    let from = query.ok().and_then(|query| Uuid::try_parse(query.get("from")?).ok());
    let mut form = Form { key: Uuid::now_v7().to_string(), ..Form::default() };
    let note = match from {
        Some(id) => fill(&mut form, &state, id).await,
        None => None,
    };
    show(&state, &form, note, StatusCode::OK).await
}

/// Puts the data of a request into the form. Says why not, if that can't be.
async fn fill(form: &mut Form, state: &State, id: Uuid) -> Option<String> {
    match request_data::find(&state.store, id).await {
        Ok(found) => match found.data {
            Some(data) if data.get().len() <= MAX_EDITABLE_BYTES => {
                data.get().clone_into(&mut form.data);
                form.kind = found.kind;
                None
            }
            Some(data) => Some(format!(
                "The data of {id} ({}) are too long to edit here: use the command line on its page.",
                size(data.get().len())
            )),
            None => Some(format!("The data of {id} are not known.")),
        },
        Err(error) => Some(format!("The data of {id} can't be read: {error}.")),
    }
}

/// Submits what the form has, and leads to the new request.
pub(super) async fn submit(
    request: HttpRequest,
    payload: web::Payload,
    state: web::Data<State>,
) -> HttpResponse {
    let rules = BodyRules {
        media_types: &["application/x-www-form-urlencoded"],
        max_bytes: max_form_bytes(state.body_limit),
        too_large: form_too_large,
    };
    let read = body::read(&request, payload, &rules, &state.body_memory, &state.drain).await;
    let form = match &read {
        Ok(body) => Form::parse(body),
        Err(problem) => return respond::form_problem(&state, problem, Section::Submit, "./").await,
    };
    match accepted(&form, &state).await {
        Ok(id) => respond::see_other(&format!("requests/{id}")),
        Err(problem) => {
            let text = format!("{}: {}", problem.title(), problem.detail());
            show(&state, &form, Some(text), actix_web::ResponseError::status_code(&problem)).await
        }
    }
}

/// The longest form for bodies of up to so many bytes, of which each can become three in a form. There is no memory for more
/// than the longest body.
fn max_form_bytes(body_limit: usize) -> usize {
    let longest = body_limit.saturating_mul(3).saturating_add(OTHER_FIELDS_BYTES);
    longest.min(BodyMemory::MAX_BODY_BYTES)
}

fn form_too_large(max_bytes: usize) -> Problem {
    let detail = format!(
        "The form is longer than {max_bytes} bytes, as a browser sends it. On the command line data are sent as they are, up to BODY_LIMIT."
    );
    Problem::new(ProblemType::TooLarge, detail)
}

async fn accepted(form: &Form, state: &State) -> Result<Uuid, Problem> {
    let body = form.body()?;
    if body.len() > state.body_limit {
        return Err(Problem::body_too_large(state.body_limit));
    }
    let key = form.idempotency_key(&body);
    let submission =
        SubmissionBody::submission(body.as_bytes(), key.as_deref(), None, &state.submissions)?;
    let accepted = accept::accept(&state.dispatch, &submission, Timestamp::now()).await;
    let id = accepted.map_err(|rejection| rejected::submission(&rejection))?;
    info!(requestId = %id, "{ACCEPTED}");
    Ok(id)
}

impl Form {
    fn parse(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            let field = match &*name {
                "data" => &mut form.data,
                "type" => &mut form.kind,
                "expiresIn" => &mut form.expires_in,
                "callbackUrl" => &mut form.callback_url,
                "key" => &mut form.key,
                "text" => {
                    form.is_text = true;
                    continue;
                }
                _ => continue,
            };
            *field = value.into_owned();
        }
        form
    }

    /// The body of the same call of the API.
    fn body(&self) -> Result<String, Problem> {
        let mut body = format!("{{\"data\":{}", self.json()?);
        let options = [
            ("type", &self.kind),
            ("expiresIn", &self.expires_in),
            ("callbackUrl", &self.callback_url),
        ];
        for (name, value) in options {
            let value = value.trim();
            if !value.is_empty() {
                body.push_str(&format!(",\"{name}\":{}", json_text(value)));
            }
        }
        body.push('}');
        Ok(body)
    }

    /// The idempotency key of the call with this body; none if the form has no key. It differs with the body, because a form
    /// that was changed and sent again is another request, and the key of the first one would refuse it.
    fn idempotency_key(&self, body: &str) -> Option<String> {
        let of_form = Some(self.key.as_str()).filter(|key| !key.is_empty())?;
        let digest = Sha256::digest([of_form, "\0", body].concat());
        Some(digest.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The data as JSON. What is not JSON by itself must not become a part of the body.
    fn json(&self) -> Result<String, Problem> {
        if self.is_text {
            // Browsers send each end of a line as CR LF.
            return Ok(json_text(&self.data.replace("\r\n", "\n")));
        }
        match serde_json::from_str::<&RawValue>(&self.data) {
            Ok(json) => Ok(json.get().to_owned()),
            Err(error) => Err(Problem::wrong_shape(format!(
                "The data are not JSON: {error}. For a plain text, choose \u{201c}Send as text\u{201d}."
            ))),
        }
    }
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

async fn show(
    state: &State,
    form: &Form,
    note: Option<String>,
    status: StatusCode,
) -> HttpResponse {
    let body = html! {
        h1 { "Submit a request" }
        @if let Some(note) = &note { p.banner.bad role="alert" { (note) } }
        (markup(form, state.types()))
    };
    let banners = banners::bad(&Status::of(state).await);
    let page = Page { title: "Submit", section: Section::Submit, root: "./", banners, body };
    respond::page_with(status, &page)
}

fn markup(form: &Form, types: &RequestTypes) -> Markup {
    html! {
        form.submit method="post" action="submit" data-still {
            input type="hidden" name="key" value=(form.key);
            label for="field-data" { "Data" }
            // A browser drops the first line break of a text area.
            textarea #field-data name="data" rows="14" required spellcheck="false" autocomplete="off"
                placeholder="{\"any\": \"JSON\"}" { "\n" (form.data) }
            @if *types != RequestTypes::default() {
                label for="field-type" { "Type" }
                select #field-type name="type" {
                    @for of_type in types.iter() {
                        option value=(of_type) selected[form.kind == of_type.as_str()] { (of_type) }
                    }
                }
            }
            label.check { input type="checkbox" name="text" value="1" checked[form.is_text]; " Send as text" }
            details open[!form.expires_in.is_empty() || !form.callback_url.is_empty()] {
                summary { "Options" }
                label for="field-expires" { "Expires in, if no worker has begun by then" }
                input #field-expires name="expiresIn" placeholder="10m" value=(form.expires_in) autocomplete="off";
                label for="field-callback" { "Callback URL" }
                input #field-callback name="callbackUrl" type="url" placeholder="https://…" value=(form.callback_url) autocomplete="off";
            }
            button.primary type="submit" { "Submit" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(form: &str) -> Result<String, Problem> {
        Form::parse(form.as_bytes()).body()
    }

    #[test]
    fn a_form_becomes_the_body_of_the_call() {
        assert_eq!(body("data=%7B%22a%22%3A1.0%7D").unwrap(), r#"{"data":{"a":1.0}}"#);
        assert_eq!(body("data=it+%22is%22&text=1").unwrap(), r#"{"data":"it \"is\""}"#);
        assert_eq!(body("data=a%0D%0Ab&text=1").unwrap(), r#"{"data":"a\nb"}"#);
        let all = "data=1&type=a&expiresIn=10m&callbackUrl=https%3A%2F%2Fa.example%2F";
        let all = body(all).unwrap();
        assert_eq!(
            all,
            r#"{"data":1,"type":"a","expiresIn":"10m","callbackUrl":"https://a.example/"}"#
        );
    }

    #[test]
    fn a_form_may_be_three_times_as_long_as_a_body_if_there_is_memory_for_it() {
        assert_eq!(max_form_bytes(1 << 20), (3 << 20) + OTHER_FIELDS_BYTES);
        for body_limit in [15 << 20, usize::MAX] {
            assert_eq!(max_form_bytes(body_limit), BodyMemory::MAX_BODY_BYTES);
        }
    }

    #[test]
    fn a_form_has_one_key_until_it_is_changed() {
        let key = |form: &str| {
            let form = Form::parse(form.as_bytes());
            form.idempotency_key(&form.body().unwrap())
        };
        assert_eq!(key("key=a&data=1"), key("data=1&key=a"));
        for other in ["key=a&data=2", "key=b&data=1", "key=a&data=1&type=video", "data=1"] {
            assert_ne!(key("key=a&data=1"), key(other), "{other}");
        }
        assert_eq!(key("data=1"), None);
    }

    #[test]
    fn what_is_not_json_does_not_get_into_the_body() {
        for data in ["", "hello", "1,%22expiresIn%22:%221s%22", "%7B"] {
            assert!(body(&format!("data={data}")).is_err(), "{data}");
        }
    }
}
