//! Who may see and do what: every field, argument that names something, and subscription of the schema, asked about one
//! user's things as nobody, as a banned user, as another user, as their owner and as an administrator.
//!
//! `table.csv` has what each is answered, in a word: an error's code; `done` or the code of a user error; `value`, `null`,
//! or `hidden` where what the field is of cannot be reached at all; `told` of a subscription. A field without a
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

use crate::graphql_tests::gateway::Store;

/// Who asks, in the order of the table's columns.
const CALLERS: [&str; 5] = ["nobody", "banned", "other", "owner", "administrator"];

/// Those to whom Ada's things do not exist.
const STRANGERS: [&str; 3] = ["nobody", "banned", "other"];

#[tokio::test]
async fn everybody_is_answered_as_the_table_says() {
    let place = Place::on(Store::Sqlite).await;
    let (schema, mut found) = read_everything(&place).await;

    // What the owner and an administrator do would be in the way of the others: each has a place of their own for it.
    let [owners, administrators] = [place.copy().await, place.copy().await];
    let mut done = BTreeMap::new();
    for (caller, place) in [("owner", &owners), ("administrator", &administrators)] {
        done.insert(caller, walk::mutations(place, &schema, caller).await);
    }
    done.extend(strangers_try_everything(&place, &schema).await);
    for asked in done["owner"].keys() {
        let words = CALLERS.iter().map(|caller| done[caller][asked].clone());
        found.insert(asked.clone(), words.collect());
    }

    everything_was_asked(&schema, &found);
    table::compare(&CALLERS, &found);
}

/// Everything that is read, and what strangers try to change: the place of a server's database cannot be copied for those
/// who may change it.
#[tokio::test]
async fn everybody_is_answered_as_the_table_says_on_postgres() {
    let place = Place::on(Store::Postgres).await;
    let (schema, found) = read_everything(&place).await;
    let done = strangers_try_everything(&place, &schema).await;
    let promised = table::promised(&CALLERS);
    for (asked, answers) in &found {
        assert_eq!(promised[asked], *answers, "{asked}");
    }
    for (column, caller) in STRANGERS.into_iter().enumerate() {
        assert_eq!(CALLERS[column], caller);
        for (asked, answer) in &done[caller] {
            assert_eq!(promised[asked][column], *answer, "{asked} for {caller}");
        }
    }
}

/// The schema, and what every caller is answered who asks for all of it and watches all of it.
async fn read_everything(place: &Place) -> (Schema, Answers) {
    let told = place.client("administrator").ask(QUERY, json!({})).await;
    let schema = Schema::read(&told);
    let mut found = Answers::new();
    walk::queries(place, &schema, &mut found).await;
    walk::fields(place, &schema, &mut found).await;
    walk::subscriptions(place, &schema, &mut found).await;
    (schema, found)
}

/// What strangers are answered who try every mutation on Ada's things. Nothing of hers and of the fleet has changed then.
async fn strangers_try_everything(
    place: &Place,
    schema: &Schema,
) -> BTreeMap<&'static str, BTreeMap<String, String>> {
    let before = walk::seen(place).await;
    let mut done = BTreeMap::new();
    for caller in STRANGERS {
        done.insert(caller, walk::mutations(place, schema, caller).await);
    }
    let after = walk::seen(place).await;
    assert_eq!(after, before, "strangers changed something");
    done
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
