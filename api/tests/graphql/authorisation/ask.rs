//! Asks as somebody, and says in a word what they are answered.

use serde_json::{Value, json};

use super::place::{MARK, Place};
use crate::graphql_tests::client::Client;

/// An answer in one word.
pub(super) fn word(values: &[&Value]) -> String {
    let word = if values.is_empty() {
        "hidden"
    } else if values.iter().all(|value| is_nothing(value)) {
        "null"
    } else {
        "value"
    };
    word.to_owned()
}

/// Null, or a list of it, as `nodes` answers for ids of nothing.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => !list.is_empty() && list.iter().all(Value::is_null),
        _ => false,
    }
}

/// The code of the first error, if there is one whose path is no longer than that.
pub(super) fn code(answer: &Value, longest: usize) -> Option<String> {
    let errors = answer["errors"].as_array()?;
    let length = |error: &Value| error["path"].as_array().map_or(0, Vec::len);
    let error = errors.iter().find(|error| length(error) <= longest)?;
    let code = error["extensions"]["code"].as_str();
    let code = code.unwrap_or_else(|| panic!("an error without a code: {answer}"));
    Some(code.to_owned())
}

/// Every value that a path of keys leads to, through lists; what is null on the way, or of another type, leads nowhere.
pub(super) fn follow<'a>(value: &'a Value, path: &[String], into: &mut Vec<&'a Value>) {
    match (value, path) {
        (Value::Array(list), [_, ..]) => list.iter().for_each(|item| follow(item, path, into)),
        (Value::Object(object), [key, rest @ ..]) => {
            if let Some(inner) = object.get(key) {
                follow(inner, rest, into);
            }
        }
        (value, []) => into.push(value),
        _ => {}
    }
}

/// Sends a document. What anybody is answered has no secret in it that was there before. What strangers are answered has
/// nothing of Ada's in it, and is to the letter what they are answered for ids of nothing.
pub(super) async fn ask(place: &Place, caller: &str, client: &Client, document: &str) -> Value {
    let (_, answer) = client.send(document, json!({})).await;
    let said = answer.to_string();
    let what = || format!("{caller}: {document}\n{said}");
    for secret in place.secrets() {
        assert!(!said.contains(secret), "{secret} is told: {}", what());
    }
    if super::STRANGERS.contains(&caller) {
        let leaks = said.contains(MARK) || place.ids.private.iter().any(|id| said.contains(id));
        assert!(!leaks, "a stranger is told of Ada's things: {}", what());
        if let Some(document) = place.ids.of_nothing(document) {
            let (_, nothing) = client.send(&document, json!({})).await;
            assert_eq!(answer, nothing, "{caller} can tell what exists: {document}");
        }
    }
    answer
}
