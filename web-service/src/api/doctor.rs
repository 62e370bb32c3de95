//! `GET /api/v1/doctor`: what is configured wrongly or works badly, and how to mend it.

use actix_web::{HttpResponse, web};
use pipeline::contract::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{http::responses::MethodNotAllowed, state::State},
    doctor::{
        Doctor,
        diagnosis::{Check, Verdict},
    },
};

pub(crate) const PATH: &str = "/api/v1/doctor";

/// What an examination found.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Diagnosis {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What is wrong.
    findings: Vec<Finding>,
    /// What can't be seen from here.
    unseen: Vec<NotSeen>,
    /// What is right.
    passed: Vec<Passed>,
}

/// Something that is wrong.
#[derive(Serialize, ToSchema)]
struct Finding {
    /// The check, for programs.
    check: &'static str,
    detail: String,
    /// The command or the setting that mends it.
    mend: String,
}

/// Something that can't be seen.
#[derive(Serialize, ToSchema)]
struct NotSeen {
    check: &'static str,
    detail: String,
    /// The command that shows it.
    see: String,
}

/// A check that found nothing.
#[derive(Serialize, ToSchema)]
struct Passed {
    check: &'static str,
    detail: String,
}

/// Looks for what is configured wrongly or works badly: at the broker, with the rights of the web service, and at the store. It
/// opens a connection of its own and publishes two messages that nobody receives. It takes a few seconds.
#[utoipa::path(
    get,
    path = PATH,
    operation_id = "doctor",
    tag = "health",
    summary = "What is wrong, and how to mend it",
    responses(
        (status = 200, description = "What was found, also while the broker or the store is away", body = Diagnosis),
        MethodNotAllowed
    )
)]
pub(crate) async fn doctor(state: web::Data<State>, doctor: web::Data<Doctor>) -> HttpResponse {
    let checks = doctor.examine(&state.readiness()).await;
    HttpResponse::Ok().json(Diagnosis::of(&checks))
}

impl Diagnosis {
    fn of(checks: &[Check]) -> Self {
        let at = Timestamp::now();
        let mut all = Self { at, findings: Vec::new(), unseen: Vec::new(), passed: Vec::new() };
        for Check { code: check, verdict } in checks.iter().cloned() {
            match verdict {
                Verdict::Fine(detail) => all.passed.push(Passed { check, detail }),
                Verdict::Finding { detail, mend } => {
                    all.findings.push(Finding { check, detail, mend });
                }
                Verdict::Unseen { detail, see } => all.unseen.push(NotSeen { check, detail, see }),
            }
        }
        all
    }
}
