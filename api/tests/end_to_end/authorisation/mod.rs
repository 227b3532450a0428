//! Who may see and do what: every field, argument that names something, and subscription of the schema, asked about one
//! user's things as nobody, as a banned user, as another user, as their owner and as an administrator.
//!
//! `table.csv` has what each is answered, in a word: an error's code; `done` or the code of a user error; `value`, `null`,
//! or `hidden` where what the field is of cannot be reached at all; `told` or `refused` of a subscription. A field without a
//! row fails the test, and so does a row without a field.

mod ask;
pub(crate) mod introspect;
mod place;
mod table;
mod walk;

use std::collections::BTreeMap;

use serde_json::json;

use introspect::{QUERY, Schema};
use place::Place;
use table::Answers;

/// Who asks, in the order of the table's columns.
const CALLERS: [&str; 5] = ["nobody", "banned", "other", "owner", "administrator"];

#[tokio::test]
async fn everybody_is_answered_as_the_table_says() {
    let mut place = Place::new().await;
    let told = place.client("administrator").ask(QUERY, json!({})).await;
    let schema = Schema::read(&told);
    let mut found = Answers::new();
    walk::queries(&place, &schema, &mut found).await;
    walk::fields(&place, &schema, &mut found).await;
    walk::subscriptions(&place, &schema, &mut found).await;

    // What the owner and an administrator do would be in the way of the others: each has a place of their own for it.
    let [owners, administrators] = place.copies().await;
    let mut done = BTreeMap::new();
    for (caller, place) in [("owner", &owners), ("administrator", &administrators)] {
        done.insert(caller, walk::mutations(place, &schema, caller).await);
    }
    let before = walk::seen(&place).await;
    for caller in ["nobody", "banned", "other"] {
        done.insert(caller, walk::mutations(&place, &schema, caller).await);
    }
    assert_eq!(
        walk::seen(&place).await,
        before,
        "strangers changed something"
    );
    for asked in done["owner"].keys() {
        let words = CALLERS.iter().map(|caller| done[caller][asked].clone());
        found.insert(asked.clone(), words.collect());
    }

    everything_was_asked(&schema, &found);
    table::compare(&CALLERS, &found);
}

/// Fails unless every field of the schema was asked for.
fn everything_was_asked(schema: &Schema, found: &Answers) {
    let mut missed = Vec::new();
    for of in schema.0.keys() {
        for field in schema.fields(of) {
            let coordinate = format!("{of}.{}", field.name);
            if !found.contains_key(&coordinate) {
                missed.push(coordinate);
            }
        }
    }
    assert_eq!(missed, Vec::<String>::new(), "no way leads to these");
}
