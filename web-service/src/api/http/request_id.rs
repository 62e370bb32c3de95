//! Request ids in paths.

use uuid::Uuid;

use crate::api::http::{problem::Problem, problem_type::ProblemType};

/// The request id in a path. Anything but a UUID is 404, as no request can have such an id.
pub(crate) fn parse(text: &str) -> Result<Uuid, Problem> {
    Uuid::try_parse(text).map_err(|_| {
        let detail = "The id of a request is a UUID, as in the response of processData.";
        Problem::new(ProblemType::NotFound, detail)
    })
}
