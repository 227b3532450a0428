//! The operations of one WebSocket, and the one response of each that waits for its turn to be sent.

use std::convert::Infallible;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};

use super::protocol::{ServerMessage, envelope, respond};
use crate::http::operation::event_id::Event;
use crate::http::response::encode::Payload;
use crate::http::response::error::{ErrorCode, Refusal};
use crate::observability::metrics::Open;

/// Responses up to this length, in bytes, always wait to be sent. Only longer ones need room.
const SHORT: usize = 16 << 10;

/// The responses of an operation, once it has begun.
pub(crate) type Begun = BoxFuture<'static, BoxStream<'static, Event>>;

enum Responses {
    Begins(Begun),
    Follow(BoxStream<'static, Event>),
}

impl Responses {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            match self {
                Self::Begins(begun) => *self = Self::Follow(ready!(begun.poll_unpin(cx))),
                Self::Follow(responses) => return responses.poll_next_unpin(cx),
            }
        }
    }
}

/// The next message about an operation.
enum Outcome {
    Next(Payload),
    /// It is over.
    Complete,
}

struct Operation {
    id: String,
    /// The text of a `next` message up to its result.
    envelope: String,
    /// Bytes of the message that began it, or of its document.
    bytes: usize,
    responses: Responses,
    ready: Option<Outcome>,
    _open: Open,
}

impl Operation {
    /// Bytes of its response that waits, where that is long.
    fn waiting(&self) -> usize {
        match &self.ready {
            Some(Outcome::Next(payload)) => long(payload),
            _ => 0,
        }
    }

    /// The text of the message that is sent, and whether it is the operation's last.
    fn message(&self, outcome: &Outcome) -> (String, bool) {
        match outcome {
            Outcome::Next(Payload::Result(result)) => {
                ([&self.envelope, result.as_str(), "}"].concat(), false)
            }
            Outcome::Next(errors) => (respond(&self.id, errors), true),
            Outcome::Complete => (ServerMessage::Complete { id: &self.id }.to_text(), true),
        }
    }
}

/// The length of a response in bytes, where it needs room.
fn long(payload: &Payload) -> usize {
    let length = payload.len();
    if length > SHORT { length } else { 0 }
}

/// The end of an operation whose response is longer than the room that is left.
fn no_room(most: usize) -> Payload {
    let message = format!(
        "the answers that wait to be sent on this connection would be longer than {most} bytes together (limits.answer_bytes): read them, and ask for less at once"
    );
    Refusal::new(ErrorCode::LimitExceeded, message)
        .into_response()
        .into()
}

/// Runs operations on the task of their socket and hands out their responses in turn.
///
/// Each operation may be one response ahead of what was sent and no more: a subscription of a client that does not
/// read stands still. Yet every operation is driven until it has that response ([`Self::fill`]), also
/// while a message waits to be sent, so that a slow client never holds a database transaction open.
/// The long responses that wait have a bound in bytes together: an operation whose response does not fit ends with an error.
pub(crate) struct Operations {
    running: Vec<Operation>,
    turn: usize,
    /// Bytes of long responses that may wait; 0 is any number.
    most_waiting: usize,
}

impl Operations {
    /// Runs no operations yet. Long responses may wait up to `most_waiting` bytes; 0 is any number.
    pub(crate) fn new(most_waiting: usize) -> Self {
        Self {
            running: Vec::new(),
            turn: 0,
            most_waiting,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// The bytes of the messages that began them.
    pub(crate) fn bytes(&self) -> usize {
        self.running.iter().map(|operation| operation.bytes).sum()
    }

    /// Whether this id is in use.
    pub(crate) fn contains(&self, id: &str) -> bool {
        self.running.iter().any(|operation| operation.id == id)
    }

    /// Starts an operation whose id is not in use, by a message of so many bytes.
    pub(crate) fn insert(&mut self, id: String, bytes: usize, responses: Begun) {
        self.running.push(Operation {
            envelope: envelope("next", &id),
            id,
            bytes,
            responses: Responses::Begins(responses),
            ready: None,
            _open: Open::new("wharfinger_websocket_operations"),
        });
    }

    /// Stops an operation. An unknown id is fine, it may just have ended by itself. Returns whether it was there.
    pub(crate) fn remove(&mut self, id: &str) -> bool {
        let before = self.running.len();
        self.running.retain(|operation| operation.id != id);
        self.running.len() < before
    }

    /// Returns the text of the next message about any operation, which is gone if that is its last. Safe to cancel.
    pub(crate) async fn next(&mut self) -> String {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Drives the operations without handing anything out. Never ends: to be raced against sending.
    pub(crate) async fn fill(&mut self) -> Infallible {
        poll_fn(|cx| {
            self.poll_fill(cx);
            Poll::Pending
        })
        .await
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) {
        let mut waiting: usize = self.running.iter().map(Operation::waiting).sum();
        for operation in &mut self.running {
            if operation.ready.is_some() {
                continue;
            }
            operation.ready = match operation.responses.poll_next(cx) {
                Poll::Ready(Some(Event { mut payload, .. })) => {
                    let long = long(&payload);
                    if self.most_waiting > 0 && long > 0 && waiting + long > self.most_waiting {
                        payload = no_room(self.most_waiting);
                    } else {
                        waiting += long;
                    }
                    Some(Outcome::Next(payload))
                }
                Poll::Ready(None) => Some(Outcome::Complete),
                Poll::Pending => None,
            };
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        self.poll_fill(cx);
        let count = self.running.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let operation = &mut self.running[index];
            let Some(outcome) = operation.ready.take() else {
                continue;
            };
            let (text, is_last) = operation.message(&outcome);
            if is_last {
                self.running.remove(index);
                self.turn = index;
            } else {
                self.turn = index + 1;
            }
            return Poll::Ready(text);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{Response, Value};
    use futures::{future, stream};
    use serde_json::Value as Json;

    use super::*;

    fn numbers(from: i32, to: i32) -> BoxStream<'static, Event> {
        stream::iter(from..to)
            .map(|number| Response::new(Value::from(number)).into())
            .boxed()
    }

    fn begun(responses: BoxStream<'static, Event>) -> Begun {
        future::ready(responses).boxed()
    }

    /// The type of the next message, the id of its operation, and its payload.
    async fn next(operations: &mut Operations) -> (String, String, Json) {
        let mut message: Json = serde_json::from_str(&operations.next().await).unwrap();
        let [kind, id] = ["type", "id"].map(|name| message[name].as_str().unwrap().to_owned());
        (kind, id, message["payload"].take())
    }

    #[tokio::test]
    async fn operations_take_turns_and_end_alone() {
        let mut operations = Operations::new(0);
        operations.insert("a".to_owned(), 1, begun(numbers(0, 2)));
        operations.insert("b".to_owned(), 2, begun(numbers(10, 13)));
        assert_eq!(operations.bytes(), 3);
        let mut seen = Vec::new();
        while operations.len() > 0 {
            seen.push(match next(&mut operations).await {
                (kind, id, payload) if kind == "next" => format!("{id}{}", payload["data"]),
                (kind, id, _) if kind == "complete" => format!("{id}."),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(seen.join(" "), "a0 b10 a1 b11 a. b12 b.");
    }

    #[tokio::test]
    async fn nothing_runs_more_than_one_response_ahead() {
        let (produced, mut taken) = tokio::sync::mpsc::unbounded_channel();
        let source = numbers(0, 100)
            .inspect(move |_| produced.send(()).unwrap())
            .boxed();
        let mut operations = Operations::new(0);
        operations.insert("a".to_owned(), 1, begun(source));
        for _ in 0..10 {
            assert!(futures::poll!(Box::pin(operations.fill())).is_pending());
        }
        assert!(taken.try_recv().is_ok());
        assert!(taken.try_recv().is_err());
    }

    #[tokio::test]
    async fn long_responses_wait_only_as_far_as_there_is_room() {
        let long = || {
            let text = Value::from("x".repeat(SHORT));
            begun(stream::iter([Response::new(text).into()]).boxed())
        };
        let mut operations = Operations::new(3 * SHORT);
        for id in ["a", "b", "c"] {
            operations.insert(id.to_owned(), 1, long());
        }
        operations.insert("d".to_owned(), 1, begun(numbers(0, 1)));
        let mut seen = Vec::new();
        for _ in 0..4 {
            let (kind, id, payload) = next(&mut operations).await;
            let text = payload.to_string();
            match kind.as_str() {
                "next" => {}
                "error" => assert!(text.contains("LIMIT_EXCEEDED"), "{text}"),
                _ => panic!("{id} ended"),
            }
            seen.push((id, text.len() > SHORT));
        }
        let expected = [("a", true), ("b", true), ("c", false), ("d", false)];
        assert_eq!(seen, expected.map(|(id, long)| (id.to_owned(), long)));
    }
}
