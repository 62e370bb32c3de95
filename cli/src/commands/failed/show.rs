//! `slowlane failed show`: shows a failed request with its parked messages, or one parked message.

use uuid::Uuid;

use super::{
    target::{Name, parse_name},
    text,
};
use crate::{
    api::{client::Client, error::CallError, page::for_each_item, parked_message::ParkedMessage},
    arguments::Format,
    commands::request_text,
    exit::{Exit, Failure},
    output,
    text::one_line,
};

/// Prints a request and all parked messages of it, the latest first; or a message.
pub(super) async fn run(client: &Client, which: &str, format: Format) -> Result<Exit, Failure> {
    match parse_name(which)? {
        Name::Request(id) => request(client, id, format).await?,
        Name::Message(number) => {
            let message = client.parked_message(number).await?;
            match format {
                Format::Text => output::line(text::message_record(&message))?,
                Format::Json => output::line(one_line(message.json()))?,
            }
        }
    }
    Ok(Exit::Completed)
}

async fn request(client: &Client, id: Uuid, format: Format) -> Result<(), Failure> {
    let request = client.get(id).await?;
    let messages = messages(client, id).await?;
    match format {
        Format::Text => {
            output::line(request_text::record(&request))?;
            for message in &messages {
                output::line(format!("\n{}", text::message_record(message)))?;
            }
        }
        Format::Json => {
            let messages: Vec<_> = messages.iter().map(ParkedMessage::json).collect();
            let (request, messages) = (request.json(), messages.join(","));
            let json = format!("{{\"request\":{request},\"messages\":[{messages}]}}");
            output::line(one_line(&json))?;
        }
    }
    Ok(())
}

/// The parked messages of a request with their whole bodies, which pages leave out.
async fn messages(client: &Client, id: Uuid) -> Result<Vec<ParkedMessage>, CallError> {
    let mut numbers = Vec::new();
    let fetch = async |cursor: Option<String>| {
        let mut query = vec![("request", id.to_string())];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        client.parked_messages(&query).await
    };
    for_each_item(fetch, |message| {
        numbers.push(message.details.number);
        Ok::<_, CallError>(true)
    })
    .await?;
    let mut messages = Vec::new();
    for number in numbers {
        match client.parked_message(number).await {
            Ok(message) => messages.push(message),
            // It has expired in the meantime.
            Err(CallError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(messages)
}
