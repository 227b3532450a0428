//! Logins at registries as they are stored.

use std::sync::Arc;

use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _};
use uuid::Uuid;
use wharfinger_entity::registry_credential;
use wharfinger_jobs::error::{ServiceError, UserErrorCode};
use wharfinger_jobs::infra::keyring::Keyring;
use wharfinger_jobs::registry_credentials::{check_keys, save_registry_credential};
use wharfinger_jobs::settings::Secret;

use crate::credentials::login;
use crate::support::bare::Bare;
use crate::support::process::KEY;
use crate::support::{Shape, on_every_shape, refusal};

on_every_shape!(
    a_login_is_kept_encrypted_for_its_user_and_registry,
    a_login_that_cannot_be_one_is_refused,
    without_a_key_no_login_is_kept_or_used,
    keys_are_changed_without_losing_a_login,
);

async fn rows(bare: &Bare) -> Vec<registry_credential::Model> {
    let rows = registry_credential::Entity::find().all(bare.services.db.read());
    rows.await.unwrap()
}

async fn save(bare: &Bare, user: Uuid, secret: &str) -> registry_credential::Model {
    let login = login(user, "127.0.0.1:1", secret);
    let saved = save_registry_credential(&bare.services, &login).await;
    saved.unwrap()
}

async fn a_login_is_kept_encrypted_for_its_user_and_registry(shape: Shape) {
    let bare = Bare::start(shape).await;
    let (ada, bob) = (bare.user().await, bare.user().await);
    let first = save(&bare, ada, "hunter2").await;
    // One login for a registry, the last one.
    let second = save(&bare, ada, "hunter3").await;
    assert_eq!(first.id, second.id);
    save(&bare, bob, "hunter2").await;
    let rows = rows(&bare).await;
    assert_eq!(rows.len(), 2);
    let seen = format!("{rows:?}");
    assert!(!seen.contains("hunter"), "{seen}");
    assert_ne!(rows[0].sealed, rows[1].sealed);
    let request = format!("{:?}", login(ada, "x", "hunter2"));
    assert!(!request.contains("hunter2"), "{request}");
}

async fn a_login_that_cannot_be_one_is_refused(shape: Shape) {
    use UserErrorCode::{InvalidInput, RegistryNotAllowed};
    let bare = Bare::start(shape).await;
    let user = bare.user().await;
    let good = login(user, "127.0.0.1:5000", "secret");
    let with = |field, value: &str| {
        let mut login = good.clone();
        match field {
            "registry" => login.registry = value.into(),
            "username" => login.username = value.into(),
            _ => login.secret = Secret::new(value),
        }
        login
    };
    for (field, value, expected) in [
        ("registry", "", InvalidInput),
        ("registry", "https://127.0.0.1:5000/v2/", InvalidInput),
        ("registry", "ghcr.io", RegistryNotAllowed),
        ("username", "", InvalidInput),
        ("username", "a:b", InvalidInput),
        ("username", &"a".repeat(256), InvalidInput),
        ("secret", "", InvalidInput),
        ("secret", &"x".repeat(16 * 1024 + 1), InvalidInput),
    ] {
        let bad = with(field, value);
        let refused = refusal(save_registry_credential(&bare.services, &bad).await);
        assert_eq!(refused.code, expected, "{bad:?}");
        assert_eq!(refused.field, Some(vec!["input", field]), "{bad:?}");
    }
    assert_eq!(rows(&bare).await, []);
    // A document with a key in it has line breaks.
    let document = with("secret", "{\n  \"key\": 1\n}");
    let kept = save_registry_credential(&bare.services, &document).await;
    kept.unwrap();
}

async fn without_a_key_no_login_is_kept_or_used(shape: Shape) {
    let bare = Bare::start(shape).await;
    let user = bare.user().await;
    let without = bare.services.clone().with_keys(None);
    check_keys(&without).await.unwrap();
    let refused = save_registry_credential(&without, &login(user, "127.0.0.1:1", "x")).await;
    assert!(matches!(refused, Err(ServiceError::Unavailable(_))));
    save(&bare, user, "x").await;
    let missing = check_keys(&without).await.unwrap_err().to_string();
    assert!(missing.contains("set secret_key"), "{missing}");
}

async fn keys_are_changed_without_losing_a_login(shape: Shape) {
    let bare = Bare::start(shape).await;
    let (user, thief) = (bare.user().await, bare.user().await);
    save(&bare, user, "x").await;
    let new = "1".repeat(64);
    let with = |keys: &[&str]| {
        let keys = Keyring::parse(&keys.join("\n")).unwrap();
        bare.services.clone().with_keys(Some(Arc::new(keys)))
    };
    let before = rows(&bare).await;
    check_keys(&with(&[&new])).await.unwrap();
    assert_eq!(rows(&bare).await, before, "what cannot be read is kept");
    check_keys(&with(&[KEY, &new])).await.unwrap();
    assert_eq!(rows(&bare).await, before, "it needs the first key");
    check_keys(&with(&[&new, KEY])).await.unwrap();
    let after = rows(&bare).await;
    assert_ne!(after[0].key_id, before[0].key_id);
    assert_ne!(after[0].sealed, before[0].sealed);

    // A row that is given to another user is worth nothing there.
    let mut stolen: registry_credential::ActiveModel = after[0].clone().into();
    stolen.id = Set(Uuid::now_v7());
    stolen.user_id = Set(thief);
    stolen.insert(bare.services.db.write()).await.unwrap();
    check_keys(&with(&[KEY, &new])).await.unwrap();
    for row in rows(&bare).await {
        let read = row.key_id == before[0].key_id;
        assert_eq!(read, row.user_id == user, "{row:?}");
    }
}
