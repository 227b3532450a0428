//! Open connections end where their right to be open does, on whichever gateway they are.

use std::time::Duration;

use sea_orm::ConnectionTrait as _;
use tokio_util::sync::CancellationToken;
use wharfinger_entity::{Role, UserStatus, user};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::accounts::{
    Authenticated, OpenSession, Sessions, TokenLookups, authenticate, create_api_token,
    revoke_api_token, update_user,
};
use wharfinger_jobs::queries::Viewer;
use wharfinger_jobs::queries::tokens::of_users;
use wharfinger_jobs::services::Services;

use super::{Place, make_user, role, status};
use crate::support::{Shape, in_time, on_every_shape};

on_every_shape!(
    a_revoked_token_ends_its_connections_everywhere,
    a_ban_and_a_demotion_end_connections_everywhere,
    an_expired_token_ends_its_connections,
    connections_of_one_user_are_limited,
    very_many_tokens_are_looked_up_at_once,
);

/// A new token of a user, let in.
async fn let_in(services: &Services, user: &user::Model, end: Option<Duration>) -> Authenticated {
    let now = services.clock.now();
    let expires_at = end.map(|end| now.after(end));
    let (_, secret) = create_api_token(services, user.id, "test", expires_at)
        .await
        .unwrap();
    let found = authenticate(&services.db, &secret, now).await;
    found.unwrap().unwrap()
}

async fn ends(what: &str, token: &CancellationToken) {
    in_time(what, token.cancelled()).await;
}

fn is_open(session: &OpenSession) -> bool {
    !session.revoked().is_cancelled() && !session.demoted().is_cancelled()
}

async fn a_revoked_token_ends_its_connections_everywhere(shape: Shape) {
    let place = Place::new(shape).await;
    let (one, two) = (place.gateway().await, place.gateway().await);
    let (here, there) = (Sessions::start(&one), Sessions::start(&two));
    let ada = make_user(&one, "ada", Role::User, None).await;
    let (revoked, kept) = (
        let_in(&one, &ada, None).await,
        let_in(&one, &ada, None).await,
    );
    let open = [
        here.open(&revoked),
        there.open(&revoked),
        there.open(&revoked),
    ];
    let other = [here.open(&kept), there.open(&kept)];
    assert_eq!((here.len(), there.len()), (2, 3));
    revoke_api_token(&one, &ada, Some(revoked.token.id))
        .await
        .unwrap();
    for session in &open {
        ends("a connection with a revoked token", session.revoked()).await;
    }
    assert!(other.iter().all(is_open));
    drop((open, other));
    assert!(here.is_empty() && there.is_empty());
}

async fn a_ban_and_a_demotion_end_connections_everywhere(shape: Shape) {
    let place = Place::new(shape).await;
    let (one, two) = (place.gateway().await, place.gateway().await);
    let sessions = Sessions::start(&two);
    let root = make_user(&one, "root", Role::Admin, None).await;
    let admin = make_user(&one, "admin", Role::Admin, None).await;
    let ada = make_user(&one, "ada", Role::User, None).await;
    let of_admin = sessions.open(&let_in(&one, &admin, None).await);
    let of_ada = sessions.open(&let_in(&one, &ada, None).await);
    let by_root = Actor::from(&root);
    let change = async |change| update_user(&one, &by_root, &change).await.unwrap();
    change(role(admin.id, Role::User)).await;
    ends("a demoted administrator's connection", of_admin.demoted()).await;
    assert!(!of_admin.revoked().is_cancelled() && is_open(&of_ada));
    change(status(ada.id, UserStatus::Banned)).await;
    ends("a banned user's connection", of_ada.revoked()).await;

    // Who may do more than before keeps what is open.
    let admin = user::Model {
        role: Role::User,
        ..admin
    };
    let promoted = sessions.open(&let_in(&one, &admin, None).await);
    let witness = sessions.open(&let_in(&one, &root, None).await);
    change(role(admin.id, Role::Admin)).await;
    let of_root = of_users(&one.db, Viewer::from(&root), &[root.id])
        .await
        .unwrap();
    revoke_api_token(&one, &root, Some(of_root[0].id))
        .await
        .unwrap();
    // Announcements come in their order: when the second was heard, so was the first.
    ends("a token revoked afterwards", witness.revoked()).await;
    assert!(is_open(&promoted));
}

async fn an_expired_token_ends_its_connections(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let sessions = Sessions::start(&services);
    let ada = make_user(&services, "ada", Role::User, None).await;
    let minute = Duration::from_mins(1);
    let short = sessions.open(&let_in(&services, &ada, Some(minute)).await);
    let long = sessions.open(&let_in(&services, &ada, Some(minute * 2)).await);
    place.clock.advance(minute);
    ends("a connection with an expired token", short.revoked()).await;
    assert!(is_open(&long));
}

async fn connections_of_one_user_are_limited(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let sessions = Sessions::start(&services);
    let ada = make_user(&services, "ada", Role::User, None).await;
    let bob = make_user(&services, "bob", Role::User, None).await;
    let (one, two) = (
        let_in(&services, &ada, None).await,
        let_in(&services, &ada, None).await,
    );
    let of_bob = let_in(&services, &bob, None).await;
    let open = sessions.open_within(&one, 2).unwrap();
    let second = sessions.open_within(&two, 2).unwrap();
    assert!(
        sessions.open_within(&one, 2).is_none(),
        "whatever the token"
    );
    assert!(sessions.open_within(&of_bob, 2).is_some());
    drop(open);
    let again = sessions.open_within(&one, 2).unwrap();
    assert!(sessions.open_within(&two, 2).is_none());

    // What was revoked is no reason to close what is opened with something else.
    revoke_api_token(&services, &ada, Some(two.token.id))
        .await
        .unwrap();
    ends("the connection of a revoked token", second.revoked()).await;
    assert!(is_open(&again));
    drop((second, again));
    assert!(sessions.is_empty());
}

async fn very_many_tokens_are_looked_up_at_once(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let lookups = TokenLookups::start(&services);
    let users = [
        make_user(&services, "ada", Role::User, None).await,
        make_user(&services, "bob", Role::User, None).await,
    ];
    let mut tokens = Vec::new();
    for user in &users {
        for number in 0..3 {
            let name = number.to_string();
            let made = create_api_token(&services, user.id, &name, None).await;
            tokens.push(made.unwrap());
        }
    }
    let unknown = format!("whf_{}", "0".repeat(64));
    let asks = (0..1_000).map(async |number: usize| {
        let found = match tokens.get(number % 8) {
            Some((token, secret)) => (Some(token.id), lookups.find(secret).await),
            None if number % 8 == 6 => (None, lookups.find(&unknown).await),
            None => (None, lookups.find("no token").await),
        };
        let (expected, found) = found;
        let found = found.unwrap();
        assert_eq!(found.as_ref().map(|found| found.token.id), expected);
        if let Some(found) = found {
            assert_eq!(found.user.id, found.token.user_id);
        }
    });
    in_time("all are looked up", futures::future::join_all(asks)).await;

    let (token, secret) = &tokens[0];
    revoke_api_token(&services, &users[0], Some(token.id))
        .await
        .unwrap();
    assert!(lookups.find(secret).await.unwrap().is_none());
}

/// Nobody waits for ever behind a statement that hangs, and nobody is taken for a stranger because of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_hangs_keeps_nobody_waiting() {
    let place = Place::new(Shape::Postgres).await;
    let services = place.gateway().await;
    let lookups = TokenLookups::start(&services);
    let ada = make_user(&services, "ada", Role::User, None).await;
    let (_, secret) = create_api_token(&services, ada.id, "one", None)
        .await
        .unwrap();

    let locked = services.db.write().begin().await.unwrap();
    let lock = "LOCK TABLE api_tokens IN ACCESS EXCLUSIVE MODE";
    locked.execute_unprepared(lock).await.unwrap();
    let asks = (0..3).map(|_| lookups.find(&secret));
    let found = in_time("all are told", futures::future::join_all(asks)).await;
    assert!(found.iter().all(Result::is_err), "{found:?}");

    locked.rollback().await.unwrap();
    let found = in_time("it answers again", lookups.find(&secret)).await;
    assert_eq!(found.unwrap().unwrap().user.id, ada.id);
}
