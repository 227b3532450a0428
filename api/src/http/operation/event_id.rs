//! Numbers of events, which are the ids of server-sent ones: where a client was when its stream broke, and where it is.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Request, Response};
use axum::http::HeaderMap;

use crate::http::document::selected::subscribed_field;
use crate::http::response::encode::Payload;

/// An event's place in its sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EventId {
    pub(crate) number: i32,
    is_last: bool,
}

impl EventId {
    /// Returns the number of the event that a client saw last: `Last-Event-ID`, as browsers send it when they open a broken
    /// stream again; `None` where that is no number.
    pub(crate) fn last_seen(headers: &HeaderMap) -> Option<i32> {
        headers.get("last-event-id")?.to_str().ok()?.parse().ok()
    }

    /// Returns whether the event is new to a client that has seen event `seen`. The last one is, whatever its number.
    pub(crate) fn is_news(self, seen: i32) -> bool {
        self.number > seen || (self.is_last && self.number != seen)
    }
}

/// In the data of a subscription whose events are all of one field: a resolver whose events are numbered notes the number
/// of each before it hands it on.
#[derive(Clone, Debug, Default)]
pub struct CurrentEventId(Arc<Mutex<Option<EventId>>>);

impl CurrentEventId {
    /// Returns a place for the numbers of the events of this operation, if they are of one sequence.
    pub(crate) fn of(request: &mut Request) -> Option<Self> {
        let name = request.operation_name.clone();
        let document = request.parsed_query().ok()?;
        subscribed_field(document, name.as_deref()).map(|_| Self::default())
    }

    /// Notes the number of the event on its way, and whether it is the last of its sequence.
    pub fn note(&self, number: i32, is_last: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(EventId { number, is_last });
    }

    fn get(&self) -> Option<EventId> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An encoded response, and where it is in its sequence if it is of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) payload: Payload,
    pub(crate) id: Option<EventId>,
    pub(crate) has_errors: bool,
}

impl Event {
    /// Returns the event of a response whose number was noted last, encoded within so many bytes. One with errors has no
    /// number, so that a client that comes back for it is told again.
    pub(crate) fn of(response: Response, id: Option<&CurrentEventId>, most: usize) -> Self {
        let mut has_errors = !response.errors.is_empty();
        let payload = Payload::within(response, most).unwrap_or_else(|refused| {
            has_errors = true;
            refused
        });
        let id = id.filter(|_| !has_errors).and_then(CurrentEventId::get);
        Self {
            payload,
            id,
            has_errors,
        }
    }
}

impl From<Response> for Event {
    fn from(response: Response) -> Self {
        Self::of(response, None, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_no_news_and_the_last_is_unless_it_was_seen() {
        let current = CurrentEventId::default();
        assert_eq!(current.get(), None);
        for (number, is_last, expected) in [
            (6, false, true),
            (5, false, false),
            (4, false, false),
            (6, true, true),
            (5, true, false),
            (4, true, true),
        ] {
            current.note(number, is_last);
            let event = current.get().unwrap();
            assert_eq!(event.is_news(5), expected, "{event:?}");
        }
    }

    #[test]
    fn what_could_not_be_told_whole_has_no_number() {
        let current = CurrentEventId::default();
        current.note(3, true);
        let mut response = Response::new(async_graphql::Value::Null);
        let whole = Event::of(Response::new(async_graphql::Value::Null), Some(&current), 0);
        assert_eq!(whole.id.map(|id| id.number), Some(3));
        let error = async_graphql::ServerError::new("not now", None);
        response.errors.push(error);
        assert_eq!(Event::of(response, Some(&current), 0).id, None);
    }

    #[test]
    fn events_are_numbered_where_they_are_of_one_field() {
        for (query, expected) in [
            ("subscription { a }", true),
            ("subscription named { a }", true),
            ("subscription { a b }", false),
            ("subscription { ...f } fragment f on S { a }", false),
            ("{ a }", false),
            ("{", false),
        ] {
            let numbered = CurrentEventId::of(&mut Request::new(query)).is_some();
            assert_eq!(numbered, expected, "{query}");
        }
    }
}
