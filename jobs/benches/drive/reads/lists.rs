//! How long a page takes among a thousand rows and among a million: of one user who holds all of them, and of one among
//! many users who hold a hundred each.

use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement};
use uuid::Uuid;
use wharfinger_jobs::queries::page::Position;

use super::data::{self, Holder};
use super::load::Target;
use super::{Shape, graphql};
use crate::Outcome;
use crate::environment::count;
use crate::stats::Sample;

/// Orders of images, with the columns that they are by.
const ORDERS: [(&str, &str); 5] = [
    ("PULLED_AT_DESC", "pulled_at"),
    ("PULLED_AT_ASC", "pulled_at"),
    ("SIZE_DESC", "size"),
    ("SIZE_ASC", "size"),
    ("REFERENCE_ASC", "reference"),
];

/// How often a page is measured: the median counts.
const ROUNDS: usize = 3;

/// Public images beside them.
const PUBLIC: u64 = 50;

/// A list, and the milliseconds of half of its pages at each number of rows.
struct Line {
    name: String,
    p50: Vec<f64>,
}

pub(crate) async fn run(name: &str, shape: Shape) -> Outcome {
    let seconds = count("WINDOW", 1);
    let most = count("ROWS", 1_000_000) as u64;
    let one = [shape.installation.plain_user("one")?.token];
    let admin = [shape.installation.user("admin")?.token];
    let database = data::connect(&shape.database).await?;
    let one_id = data::user(&database, "one").await?;
    data::hosts(&database).await?;
    data::images(&database, 0..PUBLIC, Holder::Nobody).await?;
    let _gateway = shape.installation.serve(&["--no-worker"]).await?;
    let port = shape.installation.port;

    let mut lines: Vec<Line> = Vec::new();
    let (mut rows, mut sizes) = (0, Vec::new());
    let mut of_many = None;
    for more in [1000, 10_000, 100_000, 1_000_000] {
        if more > most {
            break;
        }
        data::images(&database, rows..more, Holder::One(one_id)).await?;
        data::images(&database, rows..more, Holder::Many).await?;
        data::jobs(&database, rows..more, Some(one_id)).await?;
        data::jobs(&database, rows..more, None).await?;
        data::ready(&database).await?;
        rows = more;
        sizes.push(more);
        let many_id = data::user(&database, "user-0").await?;
        let many = match of_many {
            Some(tokens) => tokens,
            None => data::tokens(&shape.database, many_id, 1).await?,
        };
        // The first answers are of empty caches, or of a processor that has rested.
        let first = images("PULLED_AT_DESC", None);
        graphql(port, &first, &one).load(1, seconds)?;
        let mut number = 0;
        for (viewer, id, tokens) in [
            ("one user", one_id, one.as_slice()),
            ("one of many", many_id, many.as_slice()),
        ] {
            for (list, query) in queries(&database, id).await? {
                let line = format!("{viewer}: {list}");
                measure(
                    &mut lines,
                    number,
                    line,
                    &graphql(port, &query, tokens),
                    seconds,
                )?;
                number += 1;
            }
        }
        let query = jobs(None);
        let line = "administrator: jobs".to_owned();
        measure(
            &mut lines,
            number,
            line,
            &graphql(port, &query, &admin),
            seconds,
        )?;
        of_many = Some(many);
    }
    report(name, &sizes, &lines);
    Ok(())
}

fn measure(
    lines: &mut Vec<Line>,
    number: usize,
    name: String,
    target: &Target,
    seconds: usize,
) -> Outcome {
    if lines.len() == number {
        lines.push(Line {
            name,
            p50: Vec::new(),
        });
    }
    let loads = (0..ROUNDS).map(|_| Ok(target.load(1, seconds)?.p50));
    let rounds = loads.collect::<Outcome<Vec<_>>>()?;
    lines[number].p50.push(Sample::new(rounds).median());
    Ok(())
}

/// The first page, and one in the middle, of every list.
async fn queries(database: &DatabaseConnection, user: Uuid) -> Outcome<Vec<(String, String)>> {
    let mut queries = Vec::new();
    for (order, column) in ORDERS {
        queries.push((format!("images, {order}"), images(order, None)));
        let middle = middle(database, "images", column, "holder", user).await?;
        queries.push((
            format!("images, {order}, middle"),
            images(order, Some(&middle)),
        ));
    }
    queries.push(("jobs".to_owned(), jobs(None)));
    let middle = middle(database, "jobs", "id", "user_id", user).await?;
    queries.push(("jobs, middle".to_owned(), jobs(Some(&middle))));
    Ok(queries)
}

fn images(order: &str, after: Option<&str>) -> String {
    let after = after.map_or_else(String::new, |after| format!(", after: \"{after}\""));
    format!(
        "{{ images(first: 20, orderBy: {order}{after}) {{ nodes {{ id reference size pulledAt host {{ name }} }} \
         pageInfo {{ hasNextPage endCursor }} }} }}"
    )
}

fn jobs(after: Option<&str>) -> String {
    let after = after.map_or_else(String::new, |after| format!(", after: \"{after}\""));
    format!(
        "{{ jobs(first: 20{after}) {{ nodes {{ id state reference }} pageInfo {{ hasNextPage endCursor }} }} }}"
    )
}

/// The cursor of the row in the middle of a list.
async fn middle(
    database: &DatabaseConnection,
    table: &str,
    column: &str,
    owner: &str,
    user: Uuid,
) -> Outcome<String> {
    let backend = database.get_database_backend();
    let place = if backend == sea_orm::DbBackend::Postgres {
        "$1"
    } else {
        "?"
    };
    let whole = format!("SELECT {column}, id FROM {table} WHERE {owner} = {place}");
    let count = format!("SELECT COUNT(*) FROM {table} WHERE {owner} = {place}");
    let ask = |sql: String| {
        database.query_one_raw(Statement::from_sql_and_values(backend, sql, [user.into()]))
    };
    let rows: i64 = ask(count).await?.ok_or("no count")?.try_get_by_index(0)?;
    let ordered = format!("{whole} ORDER BY {column}, id LIMIT 1 OFFSET {}", rows / 2);
    let row = ask(ordered).await?.ok_or("no row in the middle")?;
    let id: Uuid = row.try_get_by_index(1)?;
    Ok(match column {
        "id" => Position::id(id),
        "reference" => Position::text(row.try_get_by_index(0)?, id),
        _ => Position::number(row.try_get_by_index(0)?, id),
    }
    .cursor())
}

fn report(name: &str, sizes: &[u64], lines: &[Line]) {
    println!("{name}: half of the pages within … ms, among {sizes:?} rows");
    let mut worst: f64 = 0.0;
    for line in lines {
        let least = line.p50.iter().copied().fold(f64::INFINITY, f64::min);
        let most = line.p50.iter().copied().fold(0.0, f64::max);
        worst = worst.max(most / least);
        let p50: Vec<String> = line.p50.iter().map(|p50| format!("{p50:6.2}")).collect();
        println!(
            "  {:42} {}   most / least {:.2}",
            line.name,
            p50.join(" "),
            most / least
        );
    }
    println!("{name}: the greatest ratio is {worst:.2} (at most 1.3 is asked for)");
}
