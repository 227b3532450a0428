//! Chromium without a window, driven over its own protocol (<https://chromedevtools.github.io/devtools-protocol/>).
//!
//! The few commands needed here are JSON over a WebSocket; the crates that wrap the whole protocol are sixty thousand
//! generated lines to compile.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// The query editor, as GraphiQL made it.
pub(crate) const QUERY_EDITOR: &str =
    "document.querySelector('.graphiql-query-editor .CodeMirror')?.CodeMirror";
/// The text of the result.
pub(crate) const RESULT: &str =
    "document.querySelector('.result-window .CodeMirror').CodeMirror.getValue()";

/// The editors below that of the query, by their places.
const VARIABLES: usize = 0;
const HEADERS: usize = 1;

/// Longer than anything takes on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);
/// How often the page is asked whether something holds.
const POLL: Duration = Duration::from_millis(20);

/// One page in a browser of its own, which ends with this.
pub(crate) struct Browser {
    /// What the page asked for, over HTTP and WebSocket, in order.
    pub(crate) requests: Vec<String>,
    /// Errors in its console: exceptions, and what its content security policy refused.
    complaints: Vec<String>,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    session: Option<String>,
    last_id: u64,
    _process: Child,
    _profile: TempDir,
}

impl Browser {
    /// Starts Chromium, calls these methods, and loads a page.
    pub(crate) async fn open(url: &str, before: &[(&str, Value)]) -> Self {
        let profile = TempDir::new().unwrap();
        let mut process = Command::new("chromium")
            // The sandbox needs more rights than a container gives; the only page is our own.
            .args(["--headless", "--no-sandbox", "--disable-gpu"])
            .args(["--no-first-run", "--disable-sync", "--disable-quic"])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
            ])
            .args(["--disable-dev-shm-usage", "--remote-debugging-port=0"])
            .arg("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Debian's package chromium is installed: run `make test`");
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = timeout(DEADLINE, async {
            loop {
                let line = log.next_line().await.unwrap();
                let line = line.expect("Chromium ends only with the test");
                if let Some(address) = line.strip_prefix("DevTools listening on ") {
                    return address.to_owned();
                }
            }
        })
        .await
        .expect("Chromium says where it listens");
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let (socket, _) = connect_async(address).await.unwrap();
        let mut browser = Self {
            requests: Vec::new(),
            complaints: Vec::new(),
            socket,
            session: None,
            last_id: 0,
            _process: process,
            _profile: profile,
        };
        let target = json!({"url": "about:blank"});
        let target = browser.call("Target.createTarget", target).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.call("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Network", "Runtime", "Log", "Page"] {
            browser.call(&format!("{domain}.enable"), json!({})).await;
        }
        browser.look(1280, 800, "light").await;
        for (method, params) in before {
            browser.call(method, params.clone()).await;
        }
        browser.go(url).await;
        browser
    }

    /// Loads another page.
    pub(crate) async fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({"url": url})).await;
    }

    /// Waits until an expression holds in the page.
    pub(crate) async fn until(&mut self, expression: &str) {
        let start = Instant::now();
        while !self.holds(expression).await {
            if start.elapsed() > DEADLINE {
                let text = self.evaluate("document.body.innerText").await;
                panic!("not within {DEADLINE:?}: {expression}\nThe page: {text}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Whether an expression holds in the page.
    pub(crate) async fn holds(&mut self, expression: &str) -> bool {
        self.evaluate(&format!("Boolean({expression})")).await == json!(true)
    }

    /// Fills in the headers editor.
    pub(crate) async fn set_headers(&mut self, headers: &Value) {
        self.fill(HEADERS, headers).await;
    }

    /// Runs an operation and returns the result that is shown.
    pub(crate) async fn run(&mut self, document: &str, variables: &Value) -> String {
        self.start(document, variables).await;
        self.until(&format!(
            "{RESULT} !== '' && !document.querySelector('.graphiql-spinner')"
        ))
        .await;
        let shown = self.evaluate(RESULT).await;
        shown.as_str().unwrap().to_owned()
    }

    /// Runs an operation as a visitor does: writes it, and presses the button.
    pub(crate) async fn start(&mut self, document: &str, variables: &Value) {
        self.fill(VARIABLES, variables).await;
        let text = json!(document);
        self.evaluate(&format!(
            "document.querySelector('.result-window .CodeMirror')?.CodeMirror.setValue(''); \
             {QUERY_EDITOR}.setValue({text})"
        ))
        .await;
        // GraphiQL reads along with a little delay, and the button means what it has read.
        self.until(&format!(
            "{QUERY_EDITOR}.documentAST?.loc.source.body === {text}"
        ))
        .await;
        self.evaluate("document.querySelector('.graphiql-execute-button').click()")
            .await;
        self.until("document.querySelector('.result-window .CodeMirror')")
            .await;
    }

    /// Sets the width, height and colours that the page is shown with.
    pub(crate) async fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let media = json!({"features": scheme});
        self.call("Emulation.setEmulatedMedia", media).await;
    }

    /// Saves what is to be seen as a PNG file of this name, where a folder for such is set.
    pub(crate) async fn screenshot(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("WHARFINGER_TEST_SCREENSHOTS") else {
            return;
        };
        let shot = self.call("Page.captureScreenshot", json!({})).await;
        let image = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        std::fs::write(Path::new(&folder).join(format!("{name}.png")), image).unwrap();
    }

    /// Fails where the page asked for anything but what begins like these, or has errors in its console.
    pub(crate) fn kept_to(&self, allowed: &[&str]) {
        for url in &self.requests {
            let own = allowed.iter().any(|prefix| url.starts_with(prefix));
            assert!(own, "the page asked for {url}");
        }
        assert_eq!(self.complaints, Vec::<String>::new());
    }

    async fn fill(&mut self, place: usize, value: &Value) {
        let text = json!(value.to_string());
        self.evaluate(&format!(
            "document.querySelectorAll('.graphiql-editor-tool .CodeMirror')[{place}].CodeMirror.setValue({text})"
        ))
        .await;
    }

    async fn evaluate(&mut self, expression: &str) -> Value {
        let question = json!({"expression": expression, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", question).await;
        let failed = &answer["exceptionDetails"];
        assert!(failed.is_null(), "{expression}: {failed}");
        answer["result"]["value"].clone()
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        let command = Message::text(command.to_string());
        self.socket.send(command).await.unwrap();
        timeout(DEADLINE, async {
            loop {
                let message = self.socket.next().await.unwrap().unwrap();
                let Message::Text(text) = message else {
                    continue;
                };
                let message: Value = serde_json::from_str(&text).unwrap();
                if message["id"] == json!(id) {
                    assert!(message["error"].is_null(), "{method}: {message}");
                    return message["result"].clone();
                }
                self.note(&message);
            }
        })
        .await
        .expect("Chromium answers")
    }

    fn note(&mut self, event: &Value) {
        let params = &event["params"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match event["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                self.requests.push(text(&params["request"]["url"]));
            }
            Some("Network.webSocketCreated") => self.requests.push(text(&params["url"])),
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(params["exceptionDetails"].to_string());
            }
            Some("Log.entryAdded") if params["entry"]["level"] == "error" => {
                self.complaints.push(params["entry"].to_string());
            }
            _ => {}
        }
    }
}
