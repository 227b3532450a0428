//! The database's own check that a job's state changes only where the state machine allows it.

use sea_orm::{ActiveEnum as _, ConnectionTrait as _, DbBackend};
use wharfinger_jobs::infra::db::Db;
use wharfinger_jobs::job::EDGES;

/// Makes the database refuse every other change of `jobs.state`, whoever writes it.
pub(crate) async fn enforce(db: &Db) {
    let allowed: Vec<String> = EDGES
        .iter()
        .filter_map(|(from, _, to)| Some((from.as_ref()?.to_value(), to.to_value())))
        .map(|(from, to)| format!("(OLD.state = '{from}' AND NEW.state = '{to}')"))
        .collect();
    let forbidden = format!("NOT ({})", allowed.join(" OR "));
    let message = "the state machine does not allow this change";
    let statements = match db.write().get_database_backend() {
        DbBackend::Sqlite => vec![format!(
            "CREATE TRIGGER only_edges BEFORE UPDATE OF state ON jobs WHEN {forbidden} \
             BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )],
        DbBackend::Postgres => vec![
            format!(
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN RAISE EXCEPTION '{message}: % to %', OLD.state, NEW.state; END $$"
            ),
            format!(
                "CREATE TRIGGER only_edges BEFORE UPDATE OF state ON jobs FOR EACH ROW \
                 WHEN ({forbidden}) EXECUTE FUNCTION refuse()"
            ),
        ],
        // Its triggers do not tell which columns a statement sets.
        _ => vec![format!(
            "CREATE TRIGGER only_edges BEFORE UPDATE ON jobs FOR EACH ROW \
             IF OLD.state <> NEW.state AND {forbidden} THEN \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{message}'; END IF"
        )],
    };
    for statement in statements {
        db.write().execute_unprepared(&statement).await.unwrap();
    }
}
