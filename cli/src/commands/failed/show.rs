//! `slowlane failed show`.

use uuid::Uuid;

use super::{super::get, print, target};
use crate::{
    api::{CallError, Client, Letter},
    arguments::Format,
    exit::{Exit, Failure},
    output,
};

/// Shows a request with all messages of it that were parked, the latest first; or a message.
pub(super) async fn run(client: &Client, which: &str, format: Format) -> Result<Exit, Failure> {
    match target(which)? {
        Ok(id) => request(client, id, format).await?,
        Err(number) => {
            let letter = client.message(number).await?;
            match format {
                Format::Text => output::line(print::whole(&letter))?,
                Format::Json => output::line(output::one_line(letter.json()))?,
            }
        }
    }
    Ok(Exit::Completed)
}

async fn request(client: &Client, id: Uuid, format: Format) -> Result<(), Failure> {
    let request = client.get(id).await?;
    let letters = letters(client, id).await?;
    match format {
        Format::Text => {
            output::line(get::text(&request))?;
            for letter in &letters {
                output::line(format!("\n{}", print::whole(letter)))?;
            }
            Ok(())
        }
        Format::Json => {
            let letters: Vec<_> = letters.iter().map(Letter::json).collect();
            let (request, letters) = (request.json(), letters.join(","));
            let json = format!("{{\"request\":{request},\"messages\":[{letters}]}}");
            output::line(output::one_line(&json))
        }
    }
}

/// The messages of a request, each whole: they are few.
async fn letters(client: &Client, id: Uuid) -> Result<Vec<Letter>, CallError> {
    let (mut letters, mut cursor) = (Vec::new(), None);
    loop {
        let mut query = vec![("request", id.to_string())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let page = client.parked(&query).await?;
        for letter in &page.items {
            match client.message(letter.details.number).await {
                Ok(letter) => letters.push(letter),
                // It has expired since.
                Err(CallError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        cursor = page.next_cursor;
        if cursor.is_none() {
            return Ok(letters);
        }
    }
}
