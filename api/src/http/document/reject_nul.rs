//! Refuses the character NUL, which PostgreSQL cannot store, on every database alike.

use std::future::Future;
use std::sync::Arc;

use async_graphql::{Data, Executor, Request, Response, Value};
use futures::future::Either;
use futures::stream::{self, BoxStream, StreamExt as _};

use crate::http::response::error::{ErrorCode, Refusal};

/// An executor that refuses requests with a NUL (U+0000) in their document or variables.
#[derive(Clone)]
pub struct WithoutNul<E>(pub E);

impl<E: Executor> Executor for WithoutNul<E> {
    fn execute(&self, request: Request) -> impl Future<Output = Response> + Send {
        if has_nul(&request) {
            Either::Left(std::future::ready(refusal()))
        } else {
            Either::Right(self.0.execute(request))
        }
    }

    fn execute_stream(
        &self,
        request: Request,
        session_data: Option<Arc<Data>>,
    ) -> BoxStream<'static, Response> {
        if has_nul(&request) {
            stream::once(std::future::ready(refusal())).boxed()
        } else {
            self.0.execute_stream(request, session_data)
        }
    }
}

/// In a document NUL is written as an escape. These six letters mean something else only where the backslash is escaped,
/// and are refused all the same.
fn has_nul(request: &Request) -> bool {
    let document = &request.query;
    let variables = &*request.variables;
    document.contains('\0') || document.contains("\\u0000") || variables.values().any(is_nul)
}

fn is_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::List(list) => list.iter().any(is_nul),
        Value::Object(object) => object.values().any(is_nul),
        _ => false,
    }
}

fn refusal() -> Response {
    let message = "a text contains the character NUL (U+0000), which cannot be stored";
    Refusal::new(ErrorCode::BadRequest, message).into_response()
}

#[cfg(test)]
mod tests {
    use async_graphql::{Variables, value};

    use super::*;

    #[test]
    fn a_nul_is_found_wherever_it_is() {
        assert!(has_nul(&Request::new("{ a(b: \"\\u0000\") }")));
        assert!(has_nul(&Request::new("{ a } # \0")));
        assert!(!has_nul(&Request::new("{ a(b: \"\\u0001\") }")));
        for (variables, expected) in [
            (value!({"a": "\0"}), true),
            (value!({"a": [{"b": ["x", "y\0"]}]}), true),
            (value!({"a": [{"b": ["x", 0, null]}]}), false),
        ] {
            let variables = Variables::from_value(variables);
            let request = Request::new("{ a }").variables(variables);
            assert_eq!(has_nul(&request), expected);
        }
    }
}
