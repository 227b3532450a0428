//! What is our fault, and how it is told.

use sea_orm::ConnectionTrait as _;
use serde_json::json;

use crate::support::books::database;
use crate::support::socket::Subscription;
use crate::support::world::World;

/// A table is missing: what the database says of it is for the log.
#[tokio::test]
async fn a_fault_of_the_program_is_answered_with_an_id_that_the_log_has() {
    let world = World::embedded();
    let token = world.user("ada", &[]);
    let gateway = world.gateway().await;
    let client = gateway.client(&token);
    let db = database(&world).await;
    let rename = "ALTER TABLE registry_credentials RENAME TO hidden_away";
    db.execute_unprepared(rename).await.unwrap();
    db.close().await.unwrap();

    let query = "{ viewer { registryCredentials { id } } }";
    let save = "mutation { saveRegistryCredential(input: {registry: \"127.0.0.1:1\", username: \"u\", secret: \"hunter2\"})
        { userErrors { code } } }";
    let mut answers = Vec::new();
    for document in [query, save] {
        answers.push(client.send(document, json!({})).await.1);
    }
    let mut socket = Subscription::start(&client, query, json!({})).await;
    answers.push(socket.answer().await);
    for answer in answers {
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "INTERNAL", "{answer}");
        let error_id = error["extensions"]["id"].as_str().unwrap();
        assert!(error["message"].as_str().unwrap().contains(error_id));
        let said = answer.to_string();
        for detail in ["registry_credentials", "no such", "SQL", "sqlx", ".rs"] {
            assert!(!said.contains(detail), "{said}");
        }
        let line = gateway.logged(error_id).await;
        assert!(line.contains("no such table"), "{line}");
    }
}
