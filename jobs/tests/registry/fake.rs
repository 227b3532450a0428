//! An HTTP server that answers as a closure says, and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio_util::task::AbortOnDropHandle;

use crate::support::http::{Request, serve};

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) path: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
}

impl Asked {
    fn of(request: &Request) -> Self {
        let headers = request.headers.iter();
        let headers = headers.filter_map(|line| line.split_once(": "));
        Self {
            path: request.path.clone(),
            headers: headers
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
        }
    }

    pub(crate) fn authorization(&self) -> Option<&str> {
        self.headers.get("authorization").map(String::as_str)
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

pub(crate) struct Fake {
    /// `127.0.0.1:port`
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Fake {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log) = (Arc::new(answer), Arc::clone(&asked));
        let (address, serving) = serve(move |mut request| {
            let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
            async move {
                let asked = Asked::of(&request);
                log.lock().unwrap().push(asked.clone());
                let answer = answer(&asked);
                let mut headers = String::new();
                for (name, value) in &answer.headers {
                    headers.extend([name, ": ", value, "\r\n"]);
                }
                let status = format!("{} Fake", answer.status);
                request.write(&status, &headers, &answer.body).await;
            }
        })
        .await;
        Self {
            address,
            asked,
            _serving: serving,
        }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}
