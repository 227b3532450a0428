use super::*;
use proptest::prelude::*;

fn kind(error: &EngineError) -> &'static str {
    match error {
        EngineError::NotFound(_) => "not found",
        EngineError::Denied(_) => "denied",
        EngineError::RegistryUnavailable(_) => "registry",
        EngineError::RateLimited(_) => "rate",
        EngineError::DiskFull(_) => "disk",
        EngineError::Unavailable { .. } => "engine",
        EngineError::InUse(_) => "in use",
        EngineError::Conflict(_) => "conflict",
        EngineError::Unsupported(_) => "unsupported",
        EngineError::Other { .. } => "other",
    }
}

/// Status of `POST /images/create`, none inside its stream; what the engine said; what it means.
#[rustfmt::skip]
const SAID: &[(Option<u16>, &str, &str)] = &[
    // moby, with image stores of its own.
    (Some(404), "manifest for 127.0.0.1:5000/x:nope not found: manifest unknown: manifest unknown", "not found"),
    (Some(404), "repository 127.0.0.1:5000/nope not found: name unknown: repository name not known to registry", "not found"),
    (Some(404), "No such image: sha256:5cb2a6b9b8a0", "not found"),
    (Some(404), "no such image: x:1", "not found"),
    (None, "no matching manifest for linux/arm64/v8 in the manifest list entries", "not found"),
    (None, "image operating system \"windows\" cannot be used on this platform", "not found"),
    (Some(404), "image with reference x:1 was found but does not match the specified platform: wanted linux/arm64, actual: linux/amd64", "not found"),
    (Some(404), "pull access denied for nope, repository does not exist or may require 'docker login': denied: requested access to the resource is denied", "denied"),
    (Some(500), "Head \"https://ghcr.io/v2/a/b/manifests/1\": denied: denied", "denied"),
    (Some(500), "Head \"https://ghcr.io/v2/a/b/manifests/1\": unauthorized", "denied"),
    (Some(500), "Head \"https://r.example/v2/a/manifests/1\": no basic auth credentials", "denied"),
    (Some(401), "unauthorized: authentication required", "denied"),
    (Some(500), "unauthorized", "denied"),
    (Some(500), "Get \"https://registry-1.docker.io/v2/\": unauthorized: incorrect username or password", "denied"),
    (Some(500), "error parsing HTTP 403 response body: invalid character '<' looking for beginning of value: \"<html>404 Not Found</html>\"", "denied"),
    (Some(500), "error parsing HTTP 502 response body: invalid character '<' looking for beginning of value: \"<html>denied: </html>\"", "registry"),
    (Some(500), "error parsing HTTP 429 response body: invalid character 'T' looking for beginning of value: \"Too Many Requests (HAP429)\"", "rate"),
    (Some(500), "received unexpected HTTP status: 503 Service Unavailable", "registry"),
    (Some(500), "received unexpected HTTP status: 403 Forbidden", "denied"),
    (Some(500), "Get \"https://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused", "registry"),
    (Some(500), "Get \"https://nope.invalid/v2/\": dial tcp: lookup nope.invalid: no such host", "registry"),
    (Some(500), "Get \"https://nope.invalid/v2/\": dial tcp: lookup nope.invalid on 127.0.0.53:53: server misbehaving", "registry"),
    (Some(500), "Get \"https://10.0.0.1/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)", "registry"),
    (Some(500), "Get https://registry-1.docker.io/v2/library/redis/manifests/latest: Get https://auth.docker.io/token: net/http: TLS handshake timeout", "registry"),
    (Some(500), "Get \"https://r.example/v2/\": x509: certificate signed by unknown authority", "registry"),
    (Some(500), "Get \"https://10.0.0.1:5000/v2/\": http: server gave HTTP response to HTTPS client", "registry"),
    (Some(500), "Get \"http://127.0.0.1:5000/v2/\": EOF", "registry"),
    (Some(500), "Get \"https://r.example/v2/\": context deadline exceeded", "registry"),
    (Some(500), "Get \"https://r.example/v2/\": unable to decode token response: invalid character '<' looking for beginning of value", "other"),
    (None, "invalid character 'o' in literal null (expecting 'u')", "unsupported"),
    (None, "unexpected end of JSON input", "unsupported"),
    (None, "json: cannot unmarshal number into Go struct field Image.architecture of type string", "unsupported"),
    (None, "parsing time \"\\\"yesterday\\\"\" as \"\\\"2006-01-02T15:04:05Z07:00\\\"\": cannot parse \"yesterday\\\"\" as \"2006\"", "unsupported"),
    (None, "layers from manifest don't match image configuration", "unsupported"),
    (None, "failed to register layer: max depth exceeded", "unsupported"),
    (None, "unexpected EOF", "registry"),
    (None, "EOF", "registry"),
    (None, "read tcp 10.0.0.2:51234->10.0.0.1:443: read: connection reset by peer", "registry"),
    (None, "filesystem layer verification failed for digest sha256:ab", "registry"),
    (None, "blob unknown to registry", "not found"),
    (Some(429), "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit", "rate"),
    (Some(500), "toomanyrequests: Rate exceeded", "rate"),
    (None, "toomanyrequests: too many requests", "rate"),
    (None, "write /var/lib/docker/tmp/GetImageBlob123: no space left on device", "disk"),
    (None, "failed to register layer: Error processing tar file(exit status 1): write /usr/lib/x.so: no space left on device", "disk"),
    (Some(500), "open /var/lib/docker/tmp/GetImageBlob1: disk quota exceeded", "disk"),
    (None, "context canceled", "engine"),
    (None, "layer registration cancelled", "engine"),
    (None, "failed to register layer: Error processing tar file(exit status 1): unexpected EOF", "registry"),
    (Some(400), "invalid reference format", "other"),
    (Some(400), "client version 1.53 is too new. Maximum supported API version is 1.41", "other"),
    (Some(500), "open /var/lib/docker/tmp/x: read-only file system", "other"),
    // moby, with containerd's image store.
    (Some(404), "failed to resolve reference \"docker.io/library/x:nope\": docker.io/library/x:nope: not found", "not found"),
    (None, "failed to copy: httpReadSeeker: failed open: content at https://ghcr.io/v2/a/manifests/sha256:34ae not found: not found", "not found"),
    (Some(500), "failed to resolve reference \"r.example/x:1\": failed to do request: Head \"https://r.example/v2/x/manifests/1\": dial tcp: lookup r.example: no such host", "registry"),
    (None, "failed to copy: httpReadSeeker: failed open: failed to do request: Get \"https://mirror.example/v2/x/blobs/sha256:e5?ns=docker.io\": EOF", "registry"),
    (Some(500), "failed to resolve reference \"ghcr.io/a/b:1\": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 403 Forbidden", "denied"),
    (Some(500), "failed to resolve reference \"r.example/x:1\": unexpected status from HEAD request to https://r.example/v2/x/manifests/1: 500 Internal Server Error", "registry"),
    (None, "failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/x/manifests/sha256:de: 429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit.", "rate"),
    (Some(404), "no matching manifest for linux/arm64 in the manifest list entries: no match for platform in manifest: not found", "not found"),
    (Some(500), "failed to extract layer sha256:ab: write /var/lib/containerd/x: no space left on device: unknown", "disk"),
    (Some(500), "connection error: desc = \"transport: Error while dialing: dial unix:///run/containerd/containerd.sock: timeout\": unavailable", "engine"),
    // Removals.
    (Some(409), "conflict: unable to remove repository reference \"x:1\" (must force) - container 0123456789ab is using its referenced image 5cb2a6b9b8a0", "in use"),
    (Some(409), "conflict: unable to delete 5cb2a6b9b8a0 (cannot be forced) - image is being used by running container 0123456789ab", "in use"),
    (Some(409), "conflict: unable to delete 5cb2a6b9b8a0 (must be forced) - image is being used by stopped container 0123456789ab", "in use"),
    (Some(409), "conflict: unable to delete 5cb2a6b9b8a0 (must be forced) - image is referenced in multiple repositories", "conflict"),
    (Some(409), "conflict: unable to delete 5cb2a6b9b8a0 (cannot be forced) - image has dependent child images", "conflict"),
    // An unknown message.
    (Some(404), "gone for good", "not found"),
    (Some(403), "no", "denied"),
    (Some(503), "", "engine"),
    (Some(500), "something new", "other"),
    (None, "", "other"),
];

#[test]
fn what_engines_say_is_understood() {
    for (status, message, expected) in SAID {
        let error = classify(*status, message);
        assert_eq!(kind(&error), *expected, "{message}");
        assert_eq!(error.to_string(), *message);
    }
}

#[test]
fn an_engine_that_is_gone_is_told_from_one_that_talks_nonsense() {
    let gone = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let gone = EngineError::from(Error::from(gone));
    assert_eq!(kind(&gone), "engine");
    assert!(std::error::Error::source(&gone).is_some());
    let no_socket = EngineError::from(Error::SocketNotFoundError("/run/docker.sock".into()));
    assert!(no_socket.to_string().contains("/run/docker.sock"));
    assert_eq!(kind(&no_socket), "engine");
    let read = |json: &str| serde_json::from_str::<u8>(json).unwrap_err();
    assert_eq!(kind(&EngineError::from(Error::from(read("")))), "engine");
    assert_eq!(
        kind(&EngineError::from(Error::from(read("<html>")))),
        "other"
    );
}

proptest! {
    #[test]
    fn any_text_is_taken_and_kept_clean(status in proptest::option::of(100u16..600), message in "(\\PC|\\PC|[\\x00-\\x20]){0,300}") {
        prop_assert_eq!(classify(status, &message).to_string(), CleanText::<500>::new(&message).to_string());
    }

    #[test]
    fn any_answer_of_a_registry_is_taken(body in "\\PC{0,40}") {
        classify(Some(500), &format!("error parsing HTTP {body}"));
    }

    /// Users choose what an image is called: that must not choose what its failure means.
    #[test]
    fn no_name_of_an_image_passes_for_a_reason(
        word in proptest::sample::select(vec![
            "denied", "unauthorized", "toomanyrequests", "eof", "x509", "tls", "not-found", "forbidden", "http2",
        ]),
        before in "[a-z0-9]{0,5}",
        tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}",
    ) {
        for name in [format!("r.example/{before}{word}:{tag}"), format!("r.example/a/{before}:{word}")] {
            let missing = format!("manifest for {name} not found: manifest unknown: manifest unknown");
            prop_assert_eq!(kind(&classify(Some(404), &missing)), "not found");
            prop_assert_eq!(kind(&classify(Some(500), &format!("a new trouble with {name}"))), "other");
        }
    }
}

#[tokio::test]
async fn an_engine_that_is_not_there_was_not_asked() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("tcp://{}", free.local_addr().unwrap());
    drop(free);
    let id = format!("sha256:{}", "0".repeat(64));
    for host in [nowhere.as_str(), "unix:///nowhere/docker.sock"] {
        let engine = crate::engine::Engine::connect(Some(host)).unwrap();
        let error = engine.remove_by_id(&id).await.unwrap_err();
        assert!(error.was_not_asked(), "{error:?}");
    }
    let silent = EngineError::silent(std::time::Duration::from_secs(1));
    assert!(!silent.was_not_asked());
}
