//! Names that lead to other addresses than they did a moment ago, or to several: what counts is the address that is
//! connected to.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use wharfinger_jobs::registry::{NotAllowed, RegistryClient, RegistryError, RegistryRules};

use super::fake::{Answer, Asked, Fake};
use super::hostile::image;
use super::{TIMEOUTS, is_unavailable, read, rules};

/// Answers each look-up with the next of these lists, and then with the last one.
struct Script {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
    names: Mutex<Vec<String>>,
}

impl Script {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let addresses = |list: &&[&str]| list.iter().map(|ip| ip.parse().unwrap()).collect();
        Arc::new(Self {
            answers: answers.iter().map(addresses).collect(),
            asked: AtomicUsize::new(0),
            names: Mutex::default(),
        })
    }
}

impl Resolve for Script {
    fn resolve(&self, name: Name) -> Resolving {
        self.names.lock().unwrap().push(name.as_str().to_owned());
        let at = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers[at.min(self.answers.len() - 1)].clone();
        let addresses: Addrs = Box::new(answer.into_iter().map(|ip| SocketAddr::new(ip, 0)));
        Box::pin(async { Ok(addresses) })
    }
}

fn client(rules: RegistryRules, script: &Arc<Script>) -> RegistryClient {
    RegistryClient::with_resolver(rules, TIMEOUTS, script.clone())
}

fn port(server: &Fake) -> &str {
    server.address.rsplit_once(':').unwrap().1
}

async fn failure(client: &RegistryClient, registry: &str) -> RegistryError {
    read(client, registry, "a/b", None).await.unwrap_err()
}

fn is_refused_by_address(error: &RegistryError) -> bool {
    matches!(error, RegistryError::NotAllowed(NotAllowed::Address { .. }))
}

/// The servers speak no TLS, so a connection shows as a failure of it, and a refusal as a refusal.
#[tokio::test]
async fn a_name_is_judged_at_each_connection_by_what_it_leads_to_then() {
    let server = Fake::start(|_: &Asked| Answer::new(200, image().0)).await;
    let allow = ["*", &format!("127.0.0.1:{}", port(&server))];
    let script = Script::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let client = client(rules(&allow), &script);
    let name = format!("rebinding.example:{}", port(&server));
    let first = failure(&client, &name).await;
    assert!(is_unavailable(&first), "{first:?}");
    let second = failure(&client, &name).await;
    assert!(is_refused_by_address(&second), "{second:?}");
    assert_eq!(script.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn of_several_addresses_only_the_permitted_are_connected_to() {
    let server = Fake::start(|_: &Asked| Answer::new(200, "")).await;
    let name = format!("several.example:{}", port(&server));
    let script = Script::new(&[&["10.0.0.1", "169.254.169.254", "127.0.0.1"]]);
    // Nothing is permitted: nothing is tried, though a public address would be.
    let nothing = failure(&client(rules(&["*"]), &script), &name).await;
    assert!(is_refused_by_address(&nothing), "{nothing:?}");
    // One is: the others are passed over, and not waited for.
    let one = format!("127.0.0.1:{}", port(&server));
    let one = failure(&client(rules(&["*", &one]), &script), &name).await;
    assert!(is_unavailable(&one), "{one:?}");
}

#[tokio::test]
async fn a_redirect_to_a_name_is_judged_by_where_the_name_leads() {
    let inside = Fake::start(|_: &Asked| Answer::new(200, image().0)).await;
    let to = format!("http://inner.example:{}/", port(&inside));
    let server =
        Fake::start(move |_: &Asked| Answer::new(307, "").with("Location", to.clone())).await;
    let script = Script::new(&[&["127.0.0.1"]]);
    let careful = client(rules(&["*", &server.address]), &script);
    let refused = failure(&careful, &server.address).await;
    assert!(is_refused_by_address(&refused), "{refused:?}");
    assert_eq!(*script.names.lock().unwrap(), ["inner.example"]);
    assert!(inside.asked().is_empty());

    // Named, it is followed.
    let allow = [server.address.as_str(), inside.address.as_str()];
    let trusting = client(rules(&allow), &script);
    let followed = read(&trusting, &server.address, "a/b", None).await;
    followed.unwrap();
    // And denied, it is not, whatever is allowed.
    let allow = allow.map(str::to_owned);
    for deny in ["inner.example", "*.example", "127.0.0.1:*"] {
        let rules = RegistryRules::parse(&allow, &[deny.to_owned()]).unwrap();
        let refused = failure(&client(rules, &script), &server.address).await;
        assert!(matches!(refused, RegistryError::NotAllowed(_)), "{deny}");
    }
    assert_eq!(inside.asked().len(), 1);
}

/// Where somebody else connects, as the engine does, every address has to be permitted.
#[tokio::test]
async fn a_name_is_vetted_by_all_its_addresses() {
    for (addresses, allow, permitted) in [
        (&["1.1.1.1", "2606:4700::1111"][..], &["*"][..], true),
        (&["1.1.1.1", "10.0.0.5"], &["*"], false),
        (&["10.0.0.5"], &["*"], false),
        (&["10.0.0.5"], &["*", "10.0.0.5:443"], true),
        (&["10.0.0.5"], &["*", "reg.example"], true),
        (&["169.254.169.254"], &["*", "reg.example"], false),
        (&["1.1.1.1"], &["ghcr.io"], false),
    ] {
        let script = Script::new(&[addresses]);
        let vetted = client(rules(allow), &script).vet("reg.example").await;
        assert_eq!(vetted.is_ok(), permitted, "{addresses:?} {allow:?}");
        if let Err(error) = vetted {
            assert!(matches!(error, RegistryError::NotAllowed(_)), "{error:?}");
        }
    }
    let script = Script::new(&[&["1.1.1.1"]]);
    let vetted = client(rules(&["*"]), &script).vet("docker.io").await;
    vetted.unwrap();
    assert_eq!(*script.names.lock().unwrap(), ["registry-1.docker.io"]);
    // Addresses and the loopback's name are judged as they stand.
    let script = Script::new(&[&["10.0.0.1"]]);
    let client = client(rules(&["127.0.0.1:*"]), &script);
    client.vet("127.0.0.1:5000").await.unwrap();
    client.vet("localhost:5000").await.unwrap();
    assert!(client.vet("127.0.0.2:5000").await.is_err());
    assert_eq!(script.asked.load(Ordering::SeqCst), 0);
}
