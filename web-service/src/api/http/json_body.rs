//! JSON bodies: text to value, with an error for who sent it.

use pipeline::contract::encoding;
use serde::Deserialize;
use serde_json::{error::Category, value::RawValue};

use crate::api::http::{problem::Problem, problem_type::ProblemType};

/// The value of a body, or of a line of one. `shape` tells what to send instead of a wrong one.
///
/// # Errors
/// 400 if it is not JSON, 422 if it has the wrong shape.
pub(crate) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], shape: &str) -> Result<T, Problem> {
    let text = encoding::utf8(body).map_err(|error| {
        Problem::new(ProblemType::NotJson, format!("The body can't be read: {error}."))
    })?;
    // serde would also take the fields from an array, in order.
    if !matches!(text.trim_ascii_start().bytes().next(), None | Some(b'{'))
        && serde_json::from_str::<&RawValue>(text).is_ok()
    {
        return Err(Problem::wrong_shape(format!("The body is not an object; {shape}.")));
    }
    serde_json::from_str(text).map_err(|error| match error.classify() {
        Category::Data => Problem::wrong_shape(format!("{error}; {shape}.")),
        Category::Syntax | Category::Eof | Category::Io => {
            Problem::new(ProblemType::NotJson, format!("{error}."))
        }
    })
}

/// Removes what serde says of the line in a text that is a line itself: it is always the first.
pub(crate) fn without_line(problem: Problem) -> Problem {
    let detail = problem.detail().replacen(" at line 1 column ", " at column ", 1);
    problem.with_detail(detail)
}
