//! Requests a second of `images(first: 20)` with host and of `balance`, beside the same SQL behind a bare axum + sqlx
//! handler and beside GraphQL servers on Node; then how long pages take among a thousand rows and among a million.
//!
//! The servers take turns: only one of them runs at a time.

pub(crate) mod bare;
mod data;
mod lists;
mod load;
mod servers;

use serde_json::Value;

use crate::Outcome;
use crate::environment::{count, postgres_database};
use crate::gateway::Installation;
use crate::stats::{Sample, load as machine};
use load::Target;
use servers::{Bare, Node, Server};

/// What is asked for, by the name of its line. The bare handlers answer the same, byte by byte.
const READS: [(&str, &str); 2] = [
    (
        "images",
        "{ images(first: 20) { nodes { id reference size charge visibility pulledAt host { id name } } } }",
    ),
    ("balance", "{ balance { available held total } }"),
];

/// Images that the user holds.
const ROWS: u64 = 1000;

/// Connections that ask all the time.
const CONNECTIONS: usize = 32;

pub(crate) async fn run() -> Outcome {
    println!("load before: {}", machine());
    let only = std::env::var("ONLY").unwrap_or_default();
    if only != "lists" {
        compare("SQLite", Shape::embedded()?).await?;
        compare("PostgreSQL", Shape::fleet().await?).await?;
    }
    if only != "requests" {
        lists::run("SQLite", Shape::embedded()?).await?;
        lists::run("PostgreSQL", Shape::fleet().await?).await?;
    }
    println!("load after:  {}", machine());
    Ok(())
}

/// An installation with an empty database.
struct Shape {
    installation: Installation,
    database: String,
}

impl Shape {
    fn embedded() -> Outcome<Self> {
        // No engine is asked for anything: there is no worker.
        let mut installation = Installation::new("unix:///nonexistent")?;
        let file = installation.data_file("wharfinger.db");
        let database = format!("sqlite:{}?mode=rwc", file.display());
        installation.set("DATABASE_URL", &database);
        Ok(Self {
            installation,
            database,
        })
    }

    async fn fleet() -> Outcome<Self> {
        let database = postgres_database().await?;
        let mut installation = Installation::new("unix:///nonexistent")?;
        installation.fleet(&database)?;
        Ok(Self {
            installation,
            database,
        })
    }
}

async fn compare(name: &str, shape: Shape) -> Outcome {
    let (rounds, seconds) = (count("ROUNDS", 3), count("WINDOW", 4));
    shape.installation.user("ada")?;
    let database = data::connect(&shape.database).await?;
    let user = data::user(&database, "ada").await?;
    data::hosts(&database).await?;
    data::images(&database, 0..ROWS, data::Holder::One(user)).await?;
    data::ready(&database).await?;
    let tokens = data::tokens(&shape.database, user, CONNECTIONS).await?;

    let mut servers: Vec<Box<dyn Server>> = vec![Box::new(shape.installation.clone())];
    servers.push(Box::new(Bare::new(&shape.database)?));
    if shape.database.starts_with("postgres:") {
        match std::env::var("WHARFINGER_BENCH_NODE") {
            Ok(directory) => {
                for framework in ["mercurius", "yoga"] {
                    for processes in [1, 2] {
                        let node = Node::new(framework, &directory, &shape.database, processes)?;
                        servers.push(Box::new(node));
                    }
                }
            }
            Err(_) => println!("{}", servers::SKIPPED),
        }
    }
    // For each server and read, the requests a second of every round.
    let mut rates = vec![[Vec::new(), Vec::new()]; servers.len()];
    let mut answers: Vec<Option<Value>> = vec![None; READS.len()];
    for _ in 0..rounds {
        for (server, rates) in servers.iter().zip(&mut rates) {
            let _running = server.start().await?;
            for ((read, query), (rates, answer)) in
                READS.iter().zip(rates.iter_mut().zip(&mut answers))
            {
                let target = server.target(read, query, &tokens);
                check(&server.name(), read, answer, target.once().await?)?;
                target.load(CONNECTIONS, 1)?;
                rates.push(target.load(CONNECTIONS, seconds)?.per_second);
            }
        }
    }
    for (index, (read, _)) in READS.iter().enumerate() {
        let median = |server: usize| Sample::new(rates[server][index].clone());
        let ours = median(0);
        for (number, server) in servers.iter().enumerate() {
            let sample = median(number);
            println!(
                "{name}, {read:7} {:34} {:7.0} requests/s ({:.0} to {:.0})   Wharfinger to it {:.2}",
                server.name(),
                sample.median(),
                sample.quantile(0.0),
                sample.quantile(1.0),
                ours.median() / sample.median(),
            );
        }
    }
    Ok(())
}

/// Every server has to answer the same.
fn check(server: &str, read: &str, known: &mut Option<Value>, answer: Value) -> Outcome {
    match known {
        Some(known) if *known != answer => {
            Err(format!("{server} answers {read} with {answer}, not {known}").into())
        }
        Some(_) => Ok(()),
        None if read == "images" && answer["data"]["images"]["nodes"][19].is_null() => {
            Err(format!("{server} does not list 20 images: {answer}").into())
        }
        None => {
            *known = Some(answer);
            Ok(())
        }
    }
}

/// A request as its server expects it.
fn graphql(port: u16, query: &str, tokens: &[String]) -> Target {
    Target {
        url: format!("http://127.0.0.1:{port}/graphql"),
        body: Some(serde_json::json!({ "query": query }).to_string()),
        tokens: tokens.to_vec(),
    }
}
