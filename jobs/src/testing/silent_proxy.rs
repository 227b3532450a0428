//! A way to a server whose connections can fall silent: nothing passes any more, and neither side hears that the other hung
//! up, as when a firewall forgets a connection or a cable is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

/// Which connections are silent. Those that once were stay so.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    /// Connections with a lower number.
    before: usize,
    /// Every one, those to come too.
    all: bool,
}

/// Listens on the loopback until dropped.
pub struct SilentProxy {
    /// `127.0.0.1:port`
    pub address: String,
    silence: watch::Sender<Silence>,
    accepted: Arc<AtomicUsize>,
    _serving: AbortOnDropHandle<()>,
}

impl SilentProxy {
    /// A proxy in front of `server` (`host:port`), through which everything passes.
    pub async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (silence, watched) = watch::channel(Silence::default());
        let accepted = Arc::new(AtomicUsize::new(0));
        let (server, counter) = (server.to_owned(), Arc::clone(&accepted));
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                connections.spawn(pass(client, server.clone(), number, watched.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self {
            address,
            silence,
            accepted,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    /// Starts a proxy in front of the server that `url` names. Returns it with the URL that leads through it.
    pub async fn of_url(url: &str) -> (Self, String) {
        let mut through: url::Url = url.parse().unwrap();
        let server = format!(
            "{}:{}",
            through.host_str().unwrap(),
            through.port().unwrap()
        );
        let proxy = Self::start(&server).await;
        let (_, port) = proxy.address.rsplit_once(':').unwrap();
        through.set_port(Some(port.parse().unwrap())).unwrap();
        (proxy, through.to_string())
    }

    /// Every connection that is open now is silent for ever. New ones are not.
    pub fn silence_open(&self) {
        let before = self.accepted.load(Ordering::SeqCst);
        self.silence.send_modify(|silence| silence.before = before);
    }

    /// Nothing passes, on new connections either, until [`Self::let_new_pass`].
    pub fn silence_all(&self) {
        self.silence.send_modify(|silence| silence.all = true);
    }

    /// New connections pass. Those that are silent stay so.
    pub fn let_new_pass(&self) {
        self.silence_open();
        self.silence.send_modify(|silence| silence.all = false);
    }

    /// How many connections were made so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, server: String, number: usize, silence: watch::Receiver<Silence>) {
    while_heard(number, silence.clone(), async {
        let Ok(server) = TcpStream::connect(server).await else {
            return;
        };
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        // Either side that hangs up ends both.
        tokio::select! {
            _ = copy(&mut from_client, &mut to_server) => {}
            _ = copy(&mut from_server, &mut to_client) => {}
        }
    })
    .await;
}

/// Runs `passing` to its end. It stops in the middle, and keeps both sockets open, once the connection is silent.
async fn while_heard(
    number: usize,
    mut silence: watch::Receiver<Silence>,
    passing: impl Future<Output = ()>,
) {
    let mut passing = std::pin::pin!(passing);
    let falls_silent = async {
        let is_silent = |silence: &Silence| silence.all || number < silence.before;
        silence.wait_for(is_silent).await.is_ok()
    };
    let silent = tokio::select! {
        biased;
        silent = falls_silent => silent,
        () = &mut passing => false,
    };
    if silent {
        std::future::pending::<()>().await;
    }
}
