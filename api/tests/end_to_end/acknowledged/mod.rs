//! kill -9 of the gateway, and of the database where it is a server, the moment after a mutation was acknowledged: what was
//! acknowledged is there when they are back. Every mutation of the schema.

mod deeds;
mod place;

use serde_json::json;

use crate::introspect::{QUERY, Schema};
use crate::support::books;
use crate::support::own_server::DurableServer;
use crate::support::servers::Server;
use crate::support::world::World;

use place::Place;

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_on_sqlite() {
    every_mutation_survives(World::embedded(), None).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_on_postgres() {
    on_a_server(Server::Postgres).await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_on_mariadb() {
    on_a_server(Server::MariaDb).await;
}

async fn on_a_server(kind: Server) {
    let server = DurableServer::start(kind);
    let mut world = World::embedded();
    world.set("DATABASE_URL", &server.database().await);
    every_mutation_survives(world, Some(server)).await;
}

async fn every_mutation_survives(world: World, server: Option<DurableServer>) {
    let mut place = Place::new(world, server).await;
    let told = place.eve().ask(QUERY, json!({})).await;
    let schema = Schema::read(&told);
    let known = schema.fields("Mutation").iter().map(|field| &*field.name);
    let deeds = place.deeds(&schema);
    let mut done: Vec<&str> = deeds.iter().map(|deed| &*deed.mutation).collect();
    done.sort_unstable();
    assert_eq!(done, known.collect::<Vec<_>>(), "mutations that are tried");
    for deed in &deeds {
        place.do_and_crash(deed).await;
    }
    place.every_act_is_audited(&deeds).await;
    books::add_up(&place.world).await;
}
