use super::*;
use proptest::prelude::*;

/// Status of `POST /images/create`, none inside its stream; what the engine said; what it means.
#[rustfmt::skip]
const SAID: &[(Option<u16>, &str, &str)] = &[
    // moby, with image stores of its own.
    (Some(404), "manifest for 127.0.0.1:5000/x:nope not found: manifest unknown: manifest unknown", "not_found"),
    (Some(404), "repository 127.0.0.1:5000/nope not found: name unknown: repository name not known to registry", "not_found"),
    (Some(404), "No such image: sha256:5cb2a6b9b8a0", "not_found"),
    (Some(404), "no such image: x:1", "not_found"),
    (None, "no matching manifest for linux/arm64/v8 in the manifest list entries", "not_found"),
    (None, "image operating system \"windows\" cannot be used on this platform", "not_found"),
    (Some(404), "image with reference x:1 was found but does not match the specified platform: wanted linux/arm64, actual: linux/amd64", "not_found"),
    (Some(404), "pull access denied for nope, repository does not exist or may require 'docker login': denied: requested access to the resource is denied", "denied"),
    (Some(500), "Head \"https://ghcr.io/v2/a/b/manifests/1\": denied: denied", "denied"),
    (Some(500), "Head \"https://ghcr.io/v2/a/b/manifests/1\": unauthorized", "denied"),
    (Some(500), "Head \"https://r.example/v2/a/manifests/1\": no basic auth credentials", "denied"),
    (Some(401), "unauthorized: authentication required", "denied"),
    (Some(500), "unauthorized", "denied"),
    (Some(500), "Get \"https://registry-1.docker.io/v2/\": unauthorized: incorrect username or password", "denied"),
    (Some(500), "error parsing HTTP 403 response body: invalid character '<' looking for beginning of value: \"<html>404 Not Found</html>\"", "denied"),
    (Some(500), "error parsing HTTP 502 response body: invalid character '<' looking for beginning of value: \"<html>denied: </html>\"", "registry_unavailable"),
    (Some(500), "error parsing HTTP 429 response body: invalid character 'T' looking for beginning of value: \"Too Many Requests (HAP429)\"", "rate_limited"),
    (Some(500), "received unexpected HTTP status: 503 Service Unavailable", "registry_unavailable"),
    (Some(500), "received unexpected HTTP status: 403 Forbidden", "denied"),
    (Some(500), "Get \"https://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused", "registry_unavailable"),
    (Some(500), "Get \"https://nope.invalid/v2/\": dial tcp: lookup nope.invalid: no such host", "registry_unavailable"),
    (Some(500), "Get \"https://nope.invalid/v2/\": dial tcp: lookup nope.invalid on 127.0.0.53:53: server misbehaving", "registry_unavailable"),
    (Some(500), "Get \"https://10.0.0.1/v2/\": net/http: request canceled while waiting for connection (Client.Timeout exceeded while awaiting headers)", "registry_unavailable"),
    (Some(500), "Get https://registry-1.docker.io/v2/library/redis/manifests/latest: Get https://auth.docker.io/token: net/http: TLS handshake timeout", "registry_unavailable"),
    (Some(500), "Get \"https://r.example/v2/\": x509: certificate signed by unknown authority", "registry_unavailable"),
    (Some(500), "Get \"https://10.0.0.1:5000/v2/\": http: server gave HTTP response to HTTPS client", "registry_unavailable"),
    (Some(500), "Get \"http://127.0.0.1:5000/v2/\": EOF", "registry_unavailable"),
    (Some(500), "Get \"https://r.example/v2/\": context deadline exceeded", "registry_unavailable"),
    (Some(500), "Get \"https://r.example/v2/\": unable to decode token response: invalid character '<' looking for beginning of value", "other"),
    (None, "invalid character 'o' in literal null (expecting 'u')", "unsupported"),
    (None, "unexpected end of JSON input", "unsupported"),
    (None, "json: cannot unmarshal number into Go struct field Image.architecture of type string", "unsupported"),
    (None, "parsing time \"\\\"yesterday\\\"\" as \"\\\"2006-01-02T15:04:05Z07:00\\\"\": cannot parse \"yesterday\\\"\" as \"2006\"", "unsupported"),
    (None, "layers from manifest don't match image configuration", "unsupported"),
    (None, "failed to register layer: max depth exceeded", "unsupported"),
    (None, "unexpected EOF", "registry_unavailable"),
    (None, "EOF", "registry_unavailable"),
    (None, "read tcp 10.0.0.2:51234->10.0.0.1:443: read: connection reset by peer", "registry_unavailable"),
    (None, "filesystem layer verification failed for digest sha256:ab", "registry_unavailable"),
    (None, "blob unknown to registry", "not_found"),
    (Some(429), "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and upgrading: https://www.docker.com/increase-rate-limit", "rate_limited"),
    (Some(500), "toomanyrequests: Rate exceeded", "rate_limited"),
    (None, "toomanyrequests: too many requests", "rate_limited"),
    (None, "write /var/lib/docker/tmp/GetImageBlob123: no space left on device", "disk_full"),
    (None, "failed to register layer: Error processing tar file(exit status 1): write /usr/lib/x.so: no space left on device", "disk_full"),
    (Some(500), "open /var/lib/docker/tmp/GetImageBlob1: disk quota exceeded", "disk_full"),
    (None, "context canceled", "unavailable"),
    (None, "layer registration cancelled", "unavailable"),
    (None, "failed to register layer: Error processing tar file(exit status 1): unexpected EOF", "registry_unavailable"),
    (Some(400), "invalid reference format", "other"),
    (Some(400), "client version 1.53 is too new. Maximum supported API version is 1.41", "other"),
    (Some(500), "open /var/lib/docker/tmp/x: read-only file system", "other"),
    // moby, with containerd's image store.
    (Some(404), "failed to resolve reference \"docker.io/library/x:nope\": docker.io/library/x:nope: not found", "not_found"),
    (None, "failed to copy: httpReadSeeker: failed open: content at https://ghcr.io/v2/a/manifests/sha256:34ae not found: not found", "not_found"),
    (Some(500), "failed to resolve reference \"r.example/x:1\": failed to do request: Head \"https://r.example/v2/x/manifests/1\": dial tcp: lookup r.example: no such host", "registry_unavailable"),
    (None, "failed to copy: httpReadSeeker: failed open: failed to do request: Get \"https://mirror.example/v2/x/blobs/sha256:e5?ns=docker.io\": EOF", "registry_unavailable"),
    (Some(500), "failed to resolve reference \"ghcr.io/a/b:1\": failed to authorize: failed to fetch anonymous token: unexpected status from GET request to https://ghcr.io/token: 403 Forbidden", "denied"),
    (Some(500), "failed to resolve reference \"r.example/x:1\": unexpected status from HEAD request to https://r.example/v2/x/manifests/1: 500 Internal Server Error", "registry_unavailable"),
    (None, "failed to copy: httpReadSeeker: failed open: unexpected status code https://registry-1.docker.io/v2/x/manifests/sha256:de: 429 Too Many Requests - Server message: toomanyrequests: You have reached your pull rate limit.", "rate_limited"),
    (Some(404), "no matching manifest for linux/arm64 in the manifest list entries: no match for platform in manifest: not found", "not_found"),
    (Some(500), "failed to extract layer sha256:ab: write /var/lib/containerd/x: no space left on device: unknown", "disk_full"),
    (Some(500), "connection error: desc = \"transport: Error while dialing: dial unix:///run/containerd/containerd.sock: timeout\": unavailable", "unavailable"),
    // Removals.
    (Some(409), "conflict: unable to remove repository reference \"x:1\" (must force) - container 0123456789ab is using its referenced image 5cb2a6b9b8a0", "in_use"),
    (Some(409), "conflict: unable to delete 5cb2a6b9b8a0 (cannot be forced) - image is being used by running container 0123456789ab", "in_use"),
    (Some(409), "conflict: unable to delete 5cb2a6b9b8a0 (must be forced) - image is being used by stopped container 0123456789ab", "in_use"),
    (Some(409), "conflict: unable to delete 5cb2a6b9b8a0 (must be forced) - image is referenced in multiple repositories", "conflict"),
    (Some(409), "conflict: unable to delete 5cb2a6b9b8a0 (cannot be forced) - image has dependent child images", "conflict"),
    // An unknown message.
    (Some(404), "gone for good", "not_found"),
    (Some(403), "no", "denied"),
    (Some(503), "", "unavailable"),
    (Some(500), "something new", "other"),
    (None, "", "other"),
];

#[test]
fn what_engines_say_is_understood() {
    for (status, message, expected) in SAID {
        let error = classify(*status, message);
        assert_eq!(error.kind(), *expected, "{message}");
        assert_eq!(error.to_string(), *message);
    }
}

#[test]
fn an_engine_that_is_gone_is_told_from_one_that_talks_nonsense() {
    let gone = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let gone = EngineError::from(Error::from(gone));
    assert_eq!(gone.kind(), "unavailable");
    assert!(std::error::Error::source(&gone).is_some());
    let no_socket = EngineError::from(Error::SocketNotFoundError("/run/docker.sock".into()));
    assert!(no_socket.to_string().contains("/run/docker.sock"));
    assert_eq!(no_socket.kind(), "unavailable");
    let read = |json: &str| {
        let error = serde_json::from_str::<u8>(json).unwrap_err();
        EngineError::from(Error::from(error)).kind()
    };
    assert_eq!(read(""), "unavailable");
    assert_eq!(read("<html>"), "other");
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
            prop_assert_eq!(classify(Some(404), &missing).kind(), "not_found");
            prop_assert_eq!(classify(Some(500), &format!("a new trouble with {name}")).kind(), "other");
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
