//! The table: what each kind of caller is answered.

use std::collections::BTreeMap;

/// A row for each way to ask, and a column for each kind of caller.
const TABLE: &str = include_str!("table.csv");

/// Answers by coordinate, in the order of the callers.
pub(super) type Answers = BTreeMap<String, Vec<String>>;

/// The answers that the table promises.
pub(super) fn promised(callers: &[&str]) -> Answers {
    let mut rows = csv::Reader::from_reader(TABLE.as_bytes());
    let header: Vec<String> = rows.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(header[0], "asked");
    assert_eq!(header[1..], *callers, "the table's callers");
    let mut answers = Answers::new();
    for row in rows.records() {
        let row = row.unwrap();
        let found = row.iter().skip(1).map(str::to_owned).collect();
        let before = answers.insert(row[0].to_owned(), found);
        assert!(before.is_none(), "{} has two rows", &row[0]);
    }
    answers
}

/// Fails with every row that is missing, of no use any more, or not what happens.
pub(super) fn compare(callers: &[&str], found: &Answers) {
    let promised = promised(callers);
    let mut wrong = Vec::new();
    for (asked, answers) in found {
        let row = format!("{asked},{}", answers.join(","));
        match promised.get(asked) {
            None => wrong.push(format!("no row, and this is what happens: {row}")),
            Some(promise) if promise != answers => {
                let promise = promise.join(",");
                wrong.push(format!(
                    "the row says {asked},{promise}, and this is what happens: {row}"
                ));
            }
            Some(_) => {}
        }
    }
    for asked in promised.keys().filter(|asked| !found.contains_key(*asked)) {
        wrong.push(format!("a row for {asked}, which is not in the schema"));
    }
    assert!(
        wrong.is_empty(),
        "api/tests/graphql/authorisation/table.csv does not say what callers are answered. Add what is missing once it is \
         what it should be:\n{}",
        wrong.join("\n")
    );
}
