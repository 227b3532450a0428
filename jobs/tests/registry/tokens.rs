//! Token authentication, with the token service on a port of its own.

use std::sync::Arc;

use wharfinger_jobs::registry::{Login, RegistryError};
use wharfinger_jobs::testing::image::{TestImage, layer};

use super::fake::{Answer, Asked, Fake};
use super::{client, read};

/// Gives `ada:secret` the token `for-ada`, whoever comes without a login the token `for-all`, and others nothing.
async fn token_service() -> Fake {
    Fake::start(|asked: &Asked| match asked.authorization() {
        None => Answer::new(200, r#"{"token":"for-all","expires_in":300}"#),
        Some("Basic YWRhOnNlY3JldA==") => {
            Answer::new(200, r#"{"access_token":"for-ada","expires_in":300}"#)
        }
        Some(_) => Answer::new(401, "{}"),
    })
    .await
}

/// Has the repository `open` for everybody with a token, and everything else for Ada.
async fn registry(realm: String) -> Fake {
    let (manifest, media_type) = TestImage::new(vec![layer("a", b"x")]).manifest();
    Fake::start(move |asked: &Asked| {
        let open = asked.path.starts_with("/v2/open/");
        match asked.authorization() {
            Some("Bearer for-ada") => {}
            Some("Bearer for-all") if open => {}
            _ => {
                let challenge = format!(
                    r#"Bearer realm="{realm}",service="fake",scope="repository:x:pull,push,delete""#
                );
                return Answer::new(401, "{}").with("WWW-Authenticate", challenge);
            }
        }
        Answer::new(200, manifest.clone()).with("Content-Type", media_type)
    })
    .await
}

#[tokio::test]
async fn a_token_is_fetched_once_and_the_password_goes_to_its_service_only() {
    let service = Arc::new(token_service().await);
    let registry = registry(format!("http://{}/token", service.address)).await;
    let client = client(&["127.0.0.1:*"]);
    let login = Login::new("ada", "secret");
    for _ in 0..3 {
        let manifest = read(&client, &registry.address, "closed", Some(&login)).await;
        manifest.unwrap();
    }

    let asked = service.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].path,
        "/token?service=fake&scope=repository%3Aclosed%3Apull"
    );
    let asked = registry.asked();
    let sent: Vec<_> = asked.iter().map(Asked::authorization).collect();
    let token = Some("Bearer for-ada");
    assert_eq!(sent, [None, token, token, token]);

    // Neither a wrong password nor nobody gets in on Ada's token.
    let wrong = Login::new("ada", "guess");
    for login in [Some(&wrong), None] {
        let error = read(&client, &registry.address, "closed", login).await;
        let error = error.unwrap_err();
        assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_public_pull_sends_no_credential() {
    let service = token_service().await;
    let registry = registry(format!("http://{}/token", service.address)).await;
    let client = client(&["127.0.0.1:*"]);
    let manifest = read(&client, &registry.address, "open", None).await;
    manifest.unwrap();
    let mut asked = service.asked().into_iter();
    assert!(asked.all(|asked| asked.authorization().is_none()));
}

#[tokio::test]
async fn the_realm_has_to_be_permitted_too() {
    let service = token_service().await;
    let registry = registry(format!("http://{}/token", service.address)).await;
    let client = client(&["*", &registry.address]);
    let login = Login::new("ada", "secret");
    let error = read(&client, &registry.address, "closed", Some(&login)).await;
    let error = error.unwrap_err();
    assert!(matches!(error, RegistryError::NotAllowed(_)), "{error:?}");
    assert!(service.asked().is_empty());
}

#[tokio::test]
async fn a_token_services_limit_is_the_registrys() {
    let service = Fake::start(|_: &Asked| Answer::new(429, "").with("Retry-After", "7")).await;
    let registry = registry(format!("http://{}/token", service.address)).await;
    let client = client(&["127.0.0.1:*"]);
    let error = read(&client, &registry.address, "open", None).await;
    let error = error.unwrap_err();
    assert!(matches!(error, RegistryError::RateLimited { .. }));
    assert_eq!(error.retry_after().map(|wait| wait.as_secs()), Some(7));
}
