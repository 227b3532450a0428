//! Ids of server-sent events: where in a sequence a client was when its stream broke, and where it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::http::HeaderMap;

/// In the data of a request whose results are sent as events. A resolver whose events are numbered leaves out what the
/// client has seen, and notes the number of each event before it hands it on.
#[derive(Clone, Debug)]
pub struct EventId {
    last_seen: Option<i32>,
    /// Beyond any number where there is none.
    current: Arc<AtomicI64>,
}

impl EventId {
    /// Where the client was: `Last-Event-ID`, as browsers send it when they open a broken stream again. What was never
    /// an id of ours counts for nothing.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let last = headers.get("last-event-id");
        Self {
            last_seen: last.and_then(|value| value.to_str().ok()?.trim().parse().ok()),
            current: Arc::new(AtomicI64::new(i64::MAX)),
        }
    }

    /// The number of the last event that the client has seen before.
    pub fn last_seen(&self) -> Option<i32> {
        self.last_seen
    }

    /// Notes the number of the event on its way.
    pub fn note(&self, number: i32) {
        self.current.store(number.into(), Ordering::Relaxed);
    }

    /// The number of the event that was noted last.
    pub(super) fn current(&self) -> Option<i32> {
        self.current.load(Ordering::Relaxed).try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_number_or_nothing() {
        let mut headers = HeaderMap::new();
        assert_eq!(EventId::of(&headers).last_seen(), None);
        for (text, expected) in [("17", Some(17)), (" 3 ", Some(3)), ("x", None), ("", None)] {
            headers.insert("last-event-id", text.parse().unwrap());
            assert_eq!(EventId::of(&headers).last_seen(), expected, "{text:?}");
        }
        let id = EventId::of(&headers);
        assert_eq!(id.current(), None);
        id.clone().note(5);
        assert_eq!(id.current(), Some(5));
    }
}
