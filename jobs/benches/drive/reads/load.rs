//! wrk: as many requests as a server answers, from a generator that costs little beside it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Outcome;

/// One request.
pub(crate) struct Target {
    pub(crate) url: String,
    /// JSON to be sent; none for a GET.
    pub(crate) body: Option<String>,
    /// Shown by turns.
    pub(crate) tokens: Vec<String>,
}

/// What came of many.
pub(crate) struct Load {
    pub(crate) per_second: f64,
    /// Milliseconds that half of the answers took at most.
    pub(crate) p50: f64,
}

impl Target {
    /// The answer to one request.
    pub(crate) async fn once(&self) -> Outcome<Value> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()?;
        let request = match &self.body {
            Some(body) => client
                .post(&self.url)
                .header("content-type", "application/json")
                .body(body.clone()),
            None => client.get(&self.url),
        };
        let answer = request.bearer_auth(&self.tokens[0]).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// Asks again and again, on each of so many connections, for so many seconds.
    pub(crate) fn load(&self, connections: usize, seconds: usize) -> Outcome<Load> {
        let mut script = tempfile::Builder::new().suffix(".lua").tempfile()?;
        // JSON strings of plain text are Lua's too.
        let text = |text: &str| Value::from(text).to_string();
        if let Some(body) = &self.body {
            writeln!(script, "wrk.method = \"POST\"\nwrk.body = {}", text(body))?;
            writeln!(
                script,
                "wrk.headers[\"Content-Type\"] = \"application/json\""
            )?;
        }
        // The requests are made before the load begins, and each thread sends them by turns.
        writeln!(
            script,
            "local requests, last = {{}}, 0\nfunction init(args)"
        )?;
        for token in &self.tokens {
            let bearer = text(&format!("Bearer {token}"));
            writeln!(script, "wrk.headers[\"Authorization\"] = {bearer}")?;
            writeln!(script, "requests[#requests + 1] = wrk.format()")?;
        }
        writeln!(script, "end\nfunction request()")?;
        writeln!(script, "last = last % #requests + 1")?;
        writeln!(script, "return requests[last]\nend")?;
        let run = Command::new("wrk")
            .args(["--latency", "-t", if connections > 1 { "2" } else { "1" }])
            .args(["-c", &connections.to_string()])
            .args(["-d", &format!("{seconds}s")])
            .arg("-s")
            .arg(script.path())
            .arg(&self.url)
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&run.stdout);
        if !run.status.success() || said.contains("Non-2xx") || said.contains("Socket errors") {
            return Err(format!("wrk on {}: {said}", self.url).into());
        }
        let after = |label: &str| {
            said.lines()
                .find_map(|line| line.trim().strip_prefix(label))
                .map(|rest| rest.trim().to_owned())
                .ok_or_else(|| format!("wrk does not say {label}: {said}"))
        };
        Ok(Load {
            per_second: after("Requests/sec:")?.parse()?,
            p50: milliseconds(&after("50%")?)?,
        })
    }
}

/// `1.23ms` as 1.23.
fn milliseconds(text: &str) -> Outcome<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1000.0)] {
        if let Some(Ok(number)) = text.strip_suffix(unit).map(str::parse::<f64>) {
            return Ok(number * factor);
        }
    }
    Err(format!("{text} is no time").into())
}
