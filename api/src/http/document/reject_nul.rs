//! Refuses the character NUL, which PostgreSQL cannot store, on every database alike.

use async_graphql::{Request, Response, Value};

use crate::http::response::error::{ErrorCode, Refusal};

/// Returns the response to a request with a NUL (U+0000) in its document or variables; `None` for any other.
pub(crate) fn refusal(request: &Request) -> Option<Response> {
    let message = "a text contains the character NUL (U+0000), which cannot be stored";
    has_nul(request).then(|| Refusal::new(ErrorCode::BadRequest, message).into_response())
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
