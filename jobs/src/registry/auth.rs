//! Logins, challenges and tokens (Docker's token authentication; RFC 9110, section 11).

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_auth::parser::ChallengeParser;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;
use zeroize::Zeroizing;

use super::endpoint::Target;
use super::error::InvalidAnswer;
use crate::engine::EngineLogin;

/// A user's login at a registry. Never prints its secret, and leaves none in memory.
#[derive(Clone)]
pub struct Login {
    username: String,
    secret: Zeroizing<String>,
}

impl Login {
    /// A user name and a password or access token.
    pub fn new(username: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            secret: Zeroizing::new(secret.into()),
        }
    }

    /// The same for the engine, to pull from this registry with.
    pub fn for_engine(&self, registry: &str) -> EngineLogin {
        EngineLogin {
            registry: registry.to_owned(),
            username: self.username.clone(),
            secret: self.secret.clone(),
        }
    }

    pub(super) fn basic(&self) -> HeaderValue {
        let pair = Zeroizing::new(format!("{}:{}", self.username, *self.secret));
        let pair = Zeroizing::new(STANDARD.encode(&*pair));
        sensitive("Basic ", &pair).expect("base64 is valid in a header")
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// The scope of an authorization: one repository, read with one login. The login is part of it with the hash of its
/// secret, so that a wrong password never uses the authorization of a right one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Grant {
    registry: String,
    repository: String,
    /// An authorization that came over TLS is not sent without TLS.
    plain_http: bool,
    login: Option<[u8; 32]>,
}

impl Grant {
    pub(super) fn new(target: &Target, login: Option<&Login>) -> Self {
        let identity = |login: &Login| {
            let mut hash = Sha256::new();
            hash.update(login.username.len().to_be_bytes());
            hash.update(&login.username);
            hash.update(login.secret.as_bytes());
            hash.finalize().into()
        };
        Self {
            registry: target.host.to_string(),
            repository: target.repository.clone(),
            plain_http: target.plain_http,
            login: login.map(identity),
        }
    }
}

/// How a registry wants to be authorized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Bearer {
        realm: String,
        service: Option<String>,
    },
    Basic,
}

impl Challenge {
    /// The strongest challenge that is understood. Headers that cannot be read are passed over.
    pub(super) fn find(headers: &HeaderMap) -> Option<Self> {
        let all = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .filter(|value| value.len() <= MAX_CHALLENGE);
        let mut basic = None;
        for challenge in all.flat_map(ChallengeParser::new).filter_map(Result::ok) {
            if challenge.scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Self::Basic);
            }
            if challenge.scheme.eq_ignore_ascii_case("bearer") {
                let param = |wanted: &str| {
                    let mut params = challenge.params.iter();
                    let (_, value) = params.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
                    Some(value.to_unescaped())
                };
                if let Some(realm) = param("realm") {
                    let service = param("service");
                    return Some(Self::Bearer { realm, service });
                }
            }
        }
        basic
    }
}

/// The token service's URL for reading one repository. It has to be as private as the registry itself: HTTPS, unless
/// the registry was reached by plain HTTP on the loopback.
pub(super) fn token_url(
    target: &Target,
    realm: &str,
    service: Option<&str>,
) -> Result<Url, InvalidAnswer> {
    let mut url = Url::parse(realm).map_err(|_| InvalidAnswer::Challenge("the realm is no URL"))?;
    if url.scheme() != "https" && !(url.scheme() == "http" && target.plain_http) {
        return Err(InvalidAnswer::Challenge("the realm is not on HTTPS"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(InvalidAnswer::Challenge("the realm has a user name in it"));
    }
    // Our own scope, not the challenge's: a token is asked for what is read, and no more.
    let scope = format!("repository:{}:pull", target.repository);
    let mut query = url.query_pairs_mut();
    if let Some(service) = service {
        query.append_pair("service", service);
    }
    query.append_pair("scope", &scope);
    drop(query);
    Ok(url)
}

/// A token service's answer.
#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Longest header with challenges that is read, in bytes.
const MAX_CHALLENGE: usize = 8 * 1024;
/// Longest token that is kept, in bytes: servers take no longer headers.
const MAX_TOKEN: usize = 32 * 1024;
/// Tokens without an expiry live this long (distribution's token specification).
const USUAL_LIFE: u64 = 60;
/// A token is not used so shortly before its end that it could run out on the way.
const MARGIN: u64 = 5;

/// The header that a token service's answer amounts to, and how long it may be used.
pub(super) fn read_token(body: &[u8]) -> Result<(HeaderValue, Duration), InvalidAnswer> {
    let unusable = || InvalidAnswer::Challenge("the token service gave no token");
    // serde's message could repeat the token.
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|_| unusable())?;
    let named = [answer.token, answer.access_token];
    let usable = |token: &String| (1..=MAX_TOKEN).contains(&token.len());
    let token = named.into_iter().flatten().find(usable);
    let header = sensitive("Bearer ", &token.ok_or_else(unusable)?).ok_or_else(unusable)?;
    let life = answer.expires_in.unwrap_or(USUAL_LIFE).min(24 * 60 * 60);
    Ok((header, Duration::from_secs(life.saturating_sub(MARGIN))))
}

/// A header that HTTP logs leave out.
fn sensitive(scheme: &str, value: &str) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("{scheme}{value}")).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(value).unwrap());
        }
        Challenge::find(&headers)
    }

    #[test]
    fn prefers_a_token_to_a_password() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="a:b:c""#;
        let bearer = Some(Challenge::Bearer {
            realm: "https://auth.docker.io/token".to_owned(),
            service: Some("registry.docker.io".to_owned()),
        });
        assert_eq!(find(&[hub]), bearer);
        assert_eq!(find(&[r#"Basic realm="x""#, hub]), bearer);
        assert_eq!(find(&[&format!(r#"basic realm="a, b", {hub}"#)]), bearer);
        assert_eq!(find(&[r#"Basic realm="x""#]), Some(Challenge::Basic));
        assert_eq!(find(&["Bearer service=x", "Negotiate", ""]), None);
    }

    #[test]
    fn a_login_never_prints_its_secret() {
        let login = Login::new("ada", "hunter2");
        assert!(!format!("{login:?} {:?}", login.basic()).contains("hunter2"));
        assert!(!format!("{:?}", login.basic()).contains("YWRhO"));
    }

    #[test]
    fn tokens_are_read_and_bad_answers_never_repeated() {
        let read = |body: &str| read_token(body.as_bytes());
        let (header, life) = read(r#"{"token":"abc","expires_in":300}"#).unwrap();
        assert_eq!(
            (header.to_str().unwrap(), life.as_secs()),
            ("Bearer abc", 295)
        );
        let (header, life) = read(r#"{"token":"","access_token":"x"}"#).unwrap();
        assert_eq!((header.to_str().unwrap(), life.as_secs()), ("Bearer x", 55));
        for bad in ["", "{}", r#"{"token":"a\nb"}"#, r#"{"token":{"secret":1}}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_challenge_panics(value in "[ -~]{0,200}") {
            find(&[&value]);
        }

        #[test]
        fn a_realm_survives_quoting(realm in "[ -~]{0,60}") {
            let quoted = realm.replace('\\', r"\\").replace('"', r#"\""#);
            let found = find(&[&format!("Bearer realm=\"{quoted}\"")]);
            prop_assert_eq!(found, Some(Challenge::Bearer { realm, service: None }));
        }

        #[test]
        fn no_token_answer_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(read_token(&body));
        }
    }
}
