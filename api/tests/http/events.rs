//! Server-sent events as they come over the wire.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

/// Longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);

/// One event, or a comment.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    /// As it stands there; JSON for `next`.
    pub(crate) data: Option<String>,
}

impl Event {
    pub(crate) fn is_comment(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.data.as_deref().unwrap()).unwrap()
    }
}

/// An open stream.
pub(crate) struct Events {
    response: Response,
    read: String,
}

impl Events {
    /// The stream of an answer that must be one.
    pub(crate) fn of(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        let media = &response.headers()["content-type"];
        assert_eq!(media, "text/event-stream; charset=utf-8");
        Self {
            response,
            read: String::new(),
        }
    }

    /// The next block of lines; none when the server has ended the stream.
    pub(crate) async fn block(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.read.find("\n\n") {
                let event = parse(&self.read[..end]);
                self.read.drain(..end + 2);
                return Some(event);
            }
            let chunk = timeout(DEADLINE, self.response.chunk()).await;
            // A stream that breaks has no end of its own.
            let Ok(Some(chunk)) = chunk.expect("events in time") else {
                assert_eq!(self.read, "", "half an event");
                return None;
            };
            self.read.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.block().await?;
            if !event.is_comment() {
                return Some(event);
            }
        }
    }

    /// The data of a `next` event that must come.
    pub(crate) async fn result(&mut self) -> Value {
        let event = self.next().await.expect("a result");
        assert_eq!(event.name, "next");
        event.json()
    }

    /// `complete`, and then the end.
    pub(crate) async fn completes(&mut self) {
        let event = self.next().await.expect("the event complete");
        assert_eq!(
            (event.name.as_str(), event.data.as_deref()),
            ("complete", Some(""))
        );
        assert_eq!(self.next().await, None);
    }
}

fn parse(block: &str) -> Event {
    let mut event = Event::default();
    for line in block.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => {}
            "event" => value.clone_into(&mut event.name),
            "id" => event.id = Some(value.to_owned()),
            "data" => event.data = Some(value.to_owned()),
            other => panic!("a field that nobody knows: {other}"),
        }
    }
    event
}
