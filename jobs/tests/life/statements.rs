//! The number of statements of a pull, from the claim to the settlement. `jobs/benches/README.md` has the list.

use std::collections::HashMap;
use std::sync::{Mutex, Once};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::support::{Fleet, Shape, on_every_fleet, on_shape};

on_shape!(sqlite, Embedded, a_pull_of_an_image_that_is_there);
on_every_fleet!(a_pull_of_an_image_that_is_there);

/// Statements of one attempt, BEGIN and COMMIT among them.
const AT_MOST: usize = 16;

/// The statements of attempts, by the id of the job.
static STATEMENTS: Mutex<Option<HashMap<String, Vec<String>>>> = Mutex::new(None);

/// Puts each statement down to the job in whose span it was asked.
struct ByJob;

struct JobId(String);

/// The field of this name, as text.
struct Text {
    name: &'static str,
    text: Option<String>,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == self.name {
            self.text = Some(format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == self.name {
            self.text = Some(value.to_owned());
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ByJob {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut job = text("job.id");
        attributes.record(&mut job);
        note(job, id, &context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut job = text("job.id");
        values.record(&mut job);
        note(job, id, &context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut sql = text("sql");
        event.record(&mut sql);
        let mut spans = context.event_scope(event).into_iter().flatten();
        let job = spans.find_map(|span| span.extensions().get::<JobId>().map(|job| job.0.clone()));
        // On SQLite a claim that does not wait for the disk sets its connection so, in this process.
        let sql = sql.text.filter(|sql| !sql.starts_with("PRAGMA"));
        if let (Some(sql), Some(job)) = (sql, job) {
            let mut statements = STATEMENTS.lock().unwrap();
            let of_all = statements.get_or_insert_default();
            of_all.entry(job).or_default().push(sql);
        }
    }
}

fn text(name: &'static str) -> Text {
    Text { name, text: None }
}

fn note<S>(job: Text, id: &Id, context: &Context<'_, S>)
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (Some(job), Some(span)) = (job.text, context.span(id)) else {
        return;
    };
    if ["claim", "job.pull_image"].contains(&span.name()) {
        span.extensions_mut().replace(JobId(job));
    }
}

/// Begins to listen, once in this process.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let targets = Targets::new().with_target("wharfinger_jobs", tracing::Level::TRACE);
        let subscriber = Registry::default().with(ByJob.with_filter(targets));
        tracing::subscriber::set_global_default(subscriber).expect("RUST_LOG is not set");
    });
}

async fn a_pull_of_an_image_that_is_there(shape: Shape) {
    listen();
    let hour = Duration::from_hours(1);
    let fleet = Fleet::with(shape, |settings| {
        settings.worker.lease = hour;
        settings.reconcile.interval = hour;
    })
    .await;
    let user = fleet.user("100").await;
    let repository = fleet.repository();
    fleet.push(&repository, "1", 300_000).await;
    let reference = repository.tag("1");
    fleet.pulled(user, &reference).await;

    // What happens beside a pull can only make it look again.
    let mut least: Option<Vec<String>> = None;
    for _ in 0..3 {
        let job = fleet.pull(user, &reference).await;
        fleet.succeeds(job.id).await;
        let statements = STATEMENTS.lock().unwrap();
        let of_job = statements
            .as_ref()
            .and_then(|all| all.get(&job.id.to_string()));
        let of_job = of_job.expect("statements were heard").clone();
        least = match least {
            Some(least) if least.len() <= of_job.len() => Some(least),
            _ => Some(of_job),
        };
    }
    let least = least.unwrap();
    let listed = least.join("\n");
    assert!(
        least.len() <= AT_MOST,
        "{} statements:\n{listed}",
        least.len()
    );
    for part in [
        "SET \"state\"",
        "COMMIT",
        "\"blob_origins\"",
        "\"job_attempts\"",
    ] {
        let part = part.replace('"', if shape == Shape::MariaDb { "`" } else { "\"" });
        assert!(listed.contains(&part), "no {part} in\n{listed}");
    }
    fleet.finish().await;
}
