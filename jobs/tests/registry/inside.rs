//! Names and redirects that lead where nobody may go, or a login along.

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use wharfinger_jobs::registry::{Login, NotAllowed, RegistryClient, RegistryError};

use super::fake::{Answer, Asked, Fake};
use super::hostile::image;
use super::{TIMEOUTS, amd64, client, is_unavailable, read, rules};

/// Every name leads to the loopback.
struct ToLoopback;

impl Resolve for ToLoopback {
    fn resolve(&self, _: Name) -> Resolving {
        let addresses: Addrs = Box::new(std::iter::once(SocketAddr::from(([127, 0, 0, 1], 0))));
        Box::pin(async { Ok(addresses) })
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_before_a_connection() {
    let server = Fake::start(|_: &Asked| Answer::new(200, "")).await;
    let port = server.address.rsplit_once(':').unwrap().1;
    let named = format!("inside.example:{port}");
    let read = async |allow: &[&str]| {
        let client = RegistryClient::with_resolver(rules(allow), TIMEOUTS, Arc::new(ToLoopback));
        read(&client, &named, "a/b", None).await.unwrap_err()
    };

    let other_port = "127.0.0.1:1";
    for allow in [&["*"][..], &["*", "inside.example:1"], &["*", other_port]] {
        let error = read(allow).await;
        let refused = matches!(error, RegistryError::NotAllowed(NotAllowed::Address { .. }));
        assert!(refused, "{allow:?} {error:?}");
    }
    // Named, it is connected to; what listens there speaks no TLS.
    for allow in [&[named.as_str()][..], &["*", &server.address]] {
        let error = read(allow).await;
        assert!(is_unavailable(&error), "{error:?}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_redirect_inside_is_refused() {
    let inside = Fake::start(|_: &Asked| Answer::new(200, "secret")).await;
    let to = format!("http://{}/", inside.address);
    let server =
        Fake::start(move |_: &Asked| Answer::new(307, "").with("Location", to.clone())).await;
    let client = client(&["*", &server.address]);
    let error = read(&client, &server.address, "a/b", None).await;
    let error = error.unwrap_err();
    assert!(matches!(error, RegistryError::NotAllowed(_)), "{error:?}");
    assert!(inside.asked().is_empty());
}

#[tokio::test]
async fn a_redirect_elsewhere_takes_no_login_along() {
    let elsewhere = Fake::start(|asked: &Asked| match asked.path.as_str() {
        "/ok" => Answer::new(200, image().0),
        _ => Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
    })
    .await;
    let to = format!("http://user:pass@{}", elsewhere.address);
    let server = Fake::start(move |asked: &Asked| {
        let tag = asked.path.rsplit_once('/').unwrap().1;
        match asked.authorization() {
            None => Answer::new(401, "").with("WWW-Authenticate", "Basic realm=\"x\""),
            Some(_) => Answer::new(307, "").with("Location", format!("{to}/{tag}")),
        }
    })
    .await;
    let client = client(&["127.0.0.1:*"]);
    let login = Login::new("ada", "secret");
    let read = async |tag| {
        client
            .manifest(&server.address, "a/b", tag, Some(&login), &amd64())
            .await
    };
    read("ok").await.unwrap();
    let error = read("no").await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|asked| asked.authorization().is_none()));
}
