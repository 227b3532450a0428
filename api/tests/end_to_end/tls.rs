//! TLS of the gateway's own, with a certificate made on the spot.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use reqwest::Certificate;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::Connector;

use crate::support::graphql::{Client, PASSWORD};
use crate::support::images::pushed;
use crate::support::process::Process;
use crate::support::servers::{Server, engine};
use crate::support::socket::Subscription;
use crate::support::soon;
use crate::support::world::World;

/// A certificate authority, a certificate that it gave `localhost`, and that one's key, in PEM.
struct Papers {
    authority: String,
    certificate: String,
    key: String,
}

fn papers() -> Papers {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    Papers {
        authority,
        certificate,
        key: key.serialize_pem(),
    }
}

/// Makes a world's gateways speak TLS. Returns the file with the authority that clients have to trust, and its text.
fn encrypted(world: &mut World) -> (String, String) {
    let papers = papers();
    let certificate = world.file("certificate.pem", &papers.certificate);
    let key = world.file("key.pem", &papers.key);
    world.set("WHARFINGER_TLS__CERT_FILE", &certificate);
    world.set("WHARFINGER_TLS__KEY_FILE", &key);
    let authority = world.file("authority.pem", &papers.authority);
    (authority, papers.authority)
}

async fn serve(world: &World) -> Process {
    let mut command = world.command(&["serve", "--host-name", "one"]);
    command.env("DOCKER_HOST", engine(1));
    Process::start(command, "the gateway listens on https://").await
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

fn trusting(authority: &str) -> reqwest::Client {
    // The second client of this process finds one installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = Certificate::from_pem(authority.as_bytes()).unwrap();
    let builder = reqwest::Client::builder().no_proxy();
    builder.tls_certs_only([authority]).build().unwrap()
}

#[tokio::test]
async fn requests_and_sockets_are_encrypted_and_nothing_else_is_served() {
    let mut world = World::embedded();
    world.set("WHARFINGER_BOARD__LISTEN", "127.0.0.1:0");
    let token = world.user_with_password("ada", PASSWORD, &[]);
    let (_, authority) = encrypted(&mut world);
    let gateway = serve(&world).await;
    let (port, http) = (port(&gateway.address), trusting(&authority));
    let url = format!("https://localhost:{port}/graphql");

    let sign_in = "mutation($input: SignInInput!) { signIn(input: $input) { user { name } } }";
    let input = json!({"input": {"name": "ada", "password": PASSWORD, "cookie": true}});
    let body = json!({"query": sign_in, "variables": input});
    let answer = http.post(&url).json(&body).send().await.unwrap();
    let headers = answer.headers();
    assert_eq!(headers["strict-transport-security"], "max-age=31536000");
    let cookie = headers["set-cookie"].to_str().unwrap();
    let secure = cookie.contains("; HttpOnly; SameSite=Lax; Secure;");
    assert!(secure, "{cookie}");
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["data"]["signIn"]["user"]["name"], "ada", "{answer}");

    assert_eq!(over_socket(&authority, port, &token).await["total"], "1000");

    let board = gateway.announced("the board listens on https://").await;
    let board = format!("https://localhost:{}/", self::port(&board));
    let answer = http.get(board).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    let headers = answer.headers();
    assert_eq!(headers["strict-transport-security"], "max-age=31536000");

    // Who does not trust the authority, or speaks no TLS, gets nothing; and others are still served.
    let stranger = trusting(&papers().authority);
    assert!(stranger.get(&url).send().await.unwrap_err().is_connect());
    let plain = format!("http://localhost:{port}/healthz");
    assert!(http.get(plain).send().await.is_err());
    let health = format!("https://localhost:{port}/healthz");
    assert_eq!(http.get(health).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_ends_the_connection() {
    let mut world = World::embedded();
    encrypted(&mut world);
    let gateway = serve(&world).await;
    let mut silent = TcpStream::connect(&gateway.address).await.unwrap();
    let mut said = Vec::new();
    let ended = soon("the connection is ended", silent.read_to_end(&mut said)).await;
    assert!(ended.is_err() || said.is_empty(), "{said:?}");
}

/// The first balance of a subscription over `wss:`.
async fn over_socket(authority: &str, port: &str, token: &str) -> Value {
    let authority = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots);
    let config = Arc::new(config.with_no_client_auth());
    let client = Client::new(&format!("localhost:{port}"), Some(token));
    let mut socket = Subscription::over_tls(&client, Connector::Rustls(config)).await;
    assert!(socket.is_let_in(Some(token)).await);
    let query = json!({"query": "subscription { balanceChanged { total } }"});
    socket.subscribe("1", query).await;
    socket.next().await.unwrap()
}

#[tokio::test]
async fn the_client_trusts_whom_it_is_told_to() {
    let mut world = World::embedded();
    let token = world.user("ada", &[]);
    let (file, _) = encrypted(&mut world);
    let gateway = serve(&world).await;
    let reference = pushed(&world, 10_000).await;
    let url = format!("https://localhost:{}", port(&gateway.address));
    world.set("WHARFINGER_URL", &url);
    world.set("WHARFINGER_TOKEN", &token);

    let said = world.refused(&["balance"]).to_lowercase();
    assert!(said.contains("certificate"), "{said}");

    world.set("SSL_CERT_FILE", &file);
    // Over HTTP, and over a WebSocket.
    for arguments in [&["balance"][..], &["pull", &reference]] {
        let done = world.run(arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{arguments:?}: {said}");
    }
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start() {
    let papers = papers();
    let mut world = World::embedded();
    let certificate = &*world.file("certificate.pem", &papers.certificate);
    let key = &*world.file("key.pem", &papers.key);
    let empty = &*world.file("empty.pem", "");
    let other = &*world.file("other.pem", &self::papers().key);
    for (certificate, key, named) in [
        ("/nowhere.pem", key, "tls.cert_file"),
        (empty, key, "tls.cert_file"),
        (certificate, empty, "tls.key_file"),
        (certificate, "", "tls.key_file"),
        ("", key, "tls.cert_file"),
        (certificate, other, "tls.key_file"),
    ] {
        world.set("WHARFINGER_TLS__CERT_FILE", certificate);
        world.set("WHARFINGER_TLS__KEY_FILE", key);
        let said = world.refused(&["serve", "--no-worker"]);
        assert!(said.contains(named), "{said}");
        assert!(!said.contains("PRIVATE KEY"), "{said}");
    }
}

/// The worker's own listener is never encrypted.
#[tokio::test]
async fn a_worker_reports_without_tls() {
    let mut world = World::fleet(Server::Postgres).await;
    encrypted(&mut world);
    let worker = world.worker().await;
    let client = worker.anonymous();
    assert_eq!(client.get("/healthz").await.status(), 200);
    assert_eq!(client.get("/metrics").await.status(), 200);
}

#[tokio::test]
async fn a_certificate_is_read_at_the_start() {
    let mut world = World::embedded();
    let (_, authority) = encrypted(&mut world);
    let gateway = serve(&world).await;
    let (_, other) = encrypted(&mut world);
    let health = format!("https://localhost:{}/healthz", port(&gateway.address));
    let answer = trusting(&authority).get(&health).send().await;
    assert_eq!(answer.unwrap().status(), 200);
    let refused = trusting(&other).get(&health).send().await.unwrap_err();
    assert!(refused.is_connect());
    drop(gateway);

    let gateway = serve(&world).await;
    let health = format!("https://localhost:{}/healthz", port(&gateway.address));
    let answer = trusting(&other).get(&health).send().await;
    assert_eq!(answer.unwrap().status(), 200);
}

/// The first message of a client that knows no version above this one (RFC 5246, 7.4.1.2): with what elliptic curves need, so
/// that nothing else is in the way.
fn client_hello(version: [u8; 2]) -> Vec<u8> {
    const CIPHERS: [u8; 6] = [0, 4, 0xc0, 0x2b, 0xc0, 0x09];
    const SIGNATURES: [u8; 8] = [0, 13, 0, 4, 0, 2, 4, 3];
    const GROUPS: [u8; 10] = [0, 10, 0, 6, 0, 4, 0, 0x1d, 0, 0x17];
    const POINTS: [u8; 6] = [0, 11, 0, 2, 1, 0];
    let extensions = [&SIGNATURES[..], &GROUPS, &POINTS].concat();
    let before = [&version[..], &[7; 32], &[0], &CIPHERS, &[1, 0]].concat();
    let length = [0, extensions.len().try_into().unwrap()];
    let hello = [&before[..], &length, &extensions].concat();
    let handshake = [&[1, 0, 0, hello.len().try_into().unwrap()], &hello[..]].concat();
    let length = handshake.len().try_into().unwrap();
    [&[22, 3, 1, 0, length], &handshake[..]].concat()
}

/// What a server says first: the type of its record, and what is in it.
async fn first_record(address: &str, version: [u8; 2]) -> (u8, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&client_hello(version)).await.unwrap();
    let mut head = [0; 5];
    let read = soon("an answer", stream.read_exact(&mut head)).await;
    read.unwrap();
    let mut record = vec![0; u16::from_be_bytes([head[3], head[4]]).into()];
    let read = soon("all of it", stream.read_exact(&mut record)).await;
    read.unwrap();
    (head[0], record)
}

#[tokio::test]
async fn old_versions_of_tls_are_refused() {
    let mut world = World::embedded();
    world.set("WHARFINGER_BOARD__LISTEN", "127.0.0.1:0");
    encrypted(&mut world);
    let gateway = serve(&world).await;
    let board = gateway.announced("the board listens on https://").await;
    for address in [&gateway.address, &board] {
        for version in [[3, 0], [3, 1], [3, 2]] {
            let (kind, record) = first_record(address, version).await;
            // A fatal alert: protocol_version.
            assert_eq!((kind, &record[..]), (21, &[2, 70][..]), "{version:?}");
        }
        // And with TLS 1.2 the same message is answered with a ServerHello.
        let (kind, record) = first_record(address, [3, 3]).await;
        assert_eq!((kind, record[0]), (22, 2));
    }
}
