//! Tokens for scripts.

use std::time::Duration;

use sea_orm::EntityTrait as _;
use uuid::Uuid;
use wharfinger_entity::{AuditAction, Role, Timestamp, api_token};
use wharfinger_jobs::accounts::{authenticate, create_api_token, note_use, revoke_api_token};
use wharfinger_jobs::error::UserErrorCode;
use wharfinger_jobs::queries::{Viewer, tokens};

use super::{Place, audit_log, make_user, refusal, works};
use crate::support::{Shape, eventually, on_every_shape};

on_every_shape!(
    a_token_works_until_it_ends_or_is_revoked,
    the_last_use_is_written_once_a_minute,
);

async fn a_token_works_until_it_ends_or_is_revoked(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let admin = make_user(&services, "admin", Role::Admin, None).await;
    let ada = make_user(&services, "ada", Role::User, None).await;
    let bob = make_user(&services, "bob", Role::User, None).await;
    let now = services.clock.now();
    let make = async |name: &str, end: Option<Timestamp>| {
        create_api_token(&services, ada.id, name, end).await
    };
    for (name, end, field) in [
        ("", None, "name"),
        ("  ", None, "name"),
        ("a\nb", None, "name"),
        (&*"x".repeat(101), None, "name"),
        ("late", Some(now), "expiresAt"),
    ] {
        let error = refusal(make(name, end).await);
        assert_eq!(error.code, UserErrorCode::InvalidInput);
        assert_eq!(error.field, Some(vec!["input", field]), "{name:?}");
    }
    let minute = Duration::from_mins(1);
    let (kept, kept_secret) = make(" kept ", None).await.unwrap();
    assert_eq!((kept.name.as_str(), kept.sign_in), ("kept", false));
    let (_, short_secret) = make("short", Some(now.after(minute))).await.unwrap();
    assert!(works(&services, &kept_secret).await && works(&services, &short_secret).await);
    place.clock.advance(minute);
    assert!(works(&services, &kept_secret).await && !works(&services, &short_secret).await);

    // Somebody else's token is answered as one that does not exist.
    let unknown = refusal(revoke_api_token(&services, &bob, Some(Uuid::now_v7())).await);
    let theirs = refusal(revoke_api_token(&services, &bob, Some(kept.id)).await);
    let nothing = refusal(revoke_api_token(&services, &bob, None).await);
    assert_eq!((&unknown, &unknown), (&theirs, &nothing));
    assert_eq!(unknown.code, UserErrorCode::NotFound);
    let seen = async |viewer: &wharfinger_entity::user::Model| {
        let viewer = Viewer::from(viewer);
        let list = tokens::of_users(&services.db, viewer, &[ada.id, bob.id]).await;
        let names = list.unwrap().into_iter().map(|token| token.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(seen(&ada).await, ["short", "kept"]);
    assert_eq!(seen(&admin).await, ["short", "kept"]);
    assert_eq!(seen(&bob).await, Vec::<String>::new());

    let acts = audit_log(&services).await.len();
    revoke_api_token(&services, &ada, Some(kept.id))
        .await
        .unwrap();
    assert!(!works(&services, &kept_secret).await);
    assert_eq!(audit_log(&services).await.len(), acts, "one's own affair");
    let (other, secret) = make("other", None).await.unwrap();
    revoke_api_token(&services, &admin, Some(other.id))
        .await
        .unwrap();
    assert!(!works(&services, &secret).await);
    let act = audit_log(&services).await.pop().unwrap();
    assert_eq!(act.action, AuditAction::RevokeApiToken);
    assert_eq!((act.actor.as_str(), act.subject.as_str()), ("admin", "ada"));
    assert!(!act.details.to_string().contains(&secret));

    let mut made = 1; // "short" is there.
    let over = loop {
        match make("more", None).await {
            Ok(_) => made += 1,
            Err(error) => break refusal::<()>(Err(error)),
        }
    };
    assert_eq!((made, over.code), (100, UserErrorCode::InvalidInput));
}

async fn the_last_use_is_written_once_a_minute(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let ada = make_user(&services, "ada", Role::User, None).await;
    let (token, secret) = create_api_token(&services, ada.id, "script", None)
        .await
        .unwrap();
    let noted = async || {
        let row = api_token::Entity::find_by_id(token.id).one(services.db.read());
        row.await.unwrap().unwrap().last_used_at
    };
    let use_it = async || {
        let now = services.clock.now();
        let found = authenticate(&services.db, &secret, now).await.unwrap();
        note_use(&services, &found.unwrap().token);
    };
    assert_eq!(noted().await, None);
    let first = services.clock.now();
    use_it().await;
    eventually("the first use is noted", || async {
        noted().await.filter(|last| *last == first)
    })
    .await;
    place.clock.advance(Duration::from_secs(59));
    use_it().await;
    place.clock.advance(Duration::from_secs(1));
    let second = services.clock.now();
    use_it().await;
    // Were the one before written too, it would be seen here, or keep this one from being written.
    eventually("the second use is noted", || async {
        let last = noted().await;
        assert!(last == Some(first) || last == Some(second), "{last:?}");
        last.filter(|last| *last == second)
    })
    .await;
}
