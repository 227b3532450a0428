//! The limit of a response's length.
//!
//! It is applied twice. Resolvers charge the [`AnswerBudget`] of their request for what they make, so that a response that
//! is too long stops growing in memory. The encoder stops at the limit, whatever was charged. Either way the caller gets
//! one error in place of the response.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_graphql::{PathSegment, Response, Value};
use serde::Serialize;

use super::error::{ErrorCode, Refusal};

/// The bytes that one response, or one event of a subscription, may still have. Clones share it.
#[derive(Clone, Debug)]
pub struct AnswerBudget {
    most: usize,
    used: Arc<AtomicUsize>,
}

impl AnswerBudget {
    /// A budget of so many bytes; 0 is no limit.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            used: Arc::default(),
        }
    }

    /// Charges about as many bytes as a part of the response will have. Fails where the response gets too long.
    pub fn charge(&self, bytes: usize) -> Result<(), Refusal> {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if self.most > 0 && before.saturating_add(bytes) > self.most {
            return Err(too_long(self.most));
        }
        Ok(())
    }

    /// Returns whether the response is too long already, so that its other parts need not be made.
    pub fn is_spent(&self) -> bool {
        self.most > 0 && self.used.load(Ordering::Relaxed) > self.most
    }

    /// Returns the response, or the error in its place, and resets the budget for the next event.
    pub(crate) fn settle(&self, response: Response) -> Response {
        let spent = self.is_spent();
        self.used.store(0, Ordering::Relaxed);
        if spent {
            refuse(response, self.most)
        } else {
            response
        }
    }
}

/// Encodes a value as JSON of at most `most` bytes (0: no limit); `None` where it would be longer.
pub(crate) fn encode(value: &impl Serialize, most: usize) -> Option<Vec<u8>> {
    let mut text = Bounded {
        bytes: Vec::with_capacity(128),
        most: if most == 0 { usize::MAX } else { most },
    };
    match serde_json::to_writer(&mut text, value) {
        Ok(()) => Some(text.bytes),
        Err(error) if error.is_io() => None,
        Err(error) => panic!("GraphQL responses are always JSON: {error}"),
    }
}

/// Returns the error in place of a response that is too long. It is an error of a field, beside `data: null`: without a
/// path it would be of a request that was never executed (GraphQL specification, 7.1.2 "Request errors"), and this one was.
pub(crate) fn refuse(response: Response, most: usize) -> Response {
    let mut error = too_long(most).into_error();
    let of_data = match &response.data {
        Value::Object(fields) => fields.keys().next().map(ToString::to_string),
        _ => None,
    };
    let of_error = || response.errors.first()?.path.first().cloned();
    let field = of_data.map(PathSegment::Field).or_else(of_error);
    error.path = field.into_iter().collect();
    let mut refused = Response::from_errors(vec![error]);
    refused.http_headers = response.http_headers;
    refused
}

fn too_long(most: usize) -> Refusal {
    Refusal::new(
        ErrorCode::LimitExceeded,
        format!(
            "the answer has more than {most} bytes (limits.answer_bytes): ask for a smaller page (`first`), or for fewer fields. The request was executed: what a mutation was to change is changed"
        ),
    )
}

/// A buffer with a bound.
struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.most - self.bytes.len() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::value;

    use super::*;

    #[test]
    fn what_is_encoded_ends_at_the_limit() {
        let text = "x".repeat(98);
        assert_eq!(encode(&text, 100).unwrap().len(), 100);
        assert_eq!(encode(&text, 99), None);
        assert_eq!(encode(&text, 0).unwrap().len(), 100);
    }

    #[test]
    fn a_budget_is_spent_by_what_is_charged_and_renewed_with_the_next_event() {
        let budget = AnswerBudget::new(100);
        budget.charge(100).unwrap();
        assert!(!budget.is_spent());
        assert_eq!(budget.charge(1).unwrap_err().code, ErrorCode::LimitExceeded);
        assert!(budget.is_spent());
        let refused = budget.settle(Response::new(value!({"a": 1, "b": 2})));
        let refused = serde_json::to_value(refused).unwrap();
        assert_eq!(refused["data"], serde_json::Value::Null);
        assert_eq!(refused["errors"][0]["path"], serde_json::json!(["a"]));
        budget.charge(100).unwrap();
        assert_eq!(budget.settle(Response::new(1)).data, 1.into());
        let any = AnswerBudget::new(0);
        any.charge(usize::MAX).unwrap();
        any.charge(usize::MAX).unwrap();
        assert!(!any.is_spent());
    }
}
