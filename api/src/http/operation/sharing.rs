//! One execution of a subscription for all subscribers who get the same events.
//!
//! Ten thousand people who watch a hundred pulls ask for the same selection of the same state. It is executed and encoded
//! once for each change; what is left for each subscriber is an envelope and a write to their socket. Only the newest
//! response is kept: a slow subscriber skips the ones in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_graphql::Request;
use futures::stream::{self, BoxStream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::event_id::Event;
use crate::http::authenticator::Audience;
use crate::observability::metrics::Open;

/// The SHA-256 of what the requests of one execution have in common: the text and the variables themselves may be long.
type Key = [u8; 32];

/// The executions that run now. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Executions(Arc<Mutex<HashMap<Key, Weak<Execution>>>>);

struct Execution {
    key: Key,
    newest: watch::Receiver<Option<CachedEvent>>,
    executions: Executions,
    _open: Open,
    _task: AbortOnDropHandle<()>,
}

#[derive(Clone)]
struct CachedEvent {
    event: Event,
    at: Instant,
}

impl Executions {
    /// Returns the newest response, then each newer one, of the execution that this audience shares. `execute` begins one
    /// where there is none; it lasts as long as one of its subscribers.
    pub(crate) fn join(
        &self,
        audience: &Audience,
        request: Request,
        execute: impl FnOnce(Request) -> BoxStream<'static, Event>,
    ) -> BoxStream<'static, Event> {
        let key = key(audience, &request);
        let mut running = self.lock();
        let known = running.get(&key).and_then(Weak::upgrade);
        let execution = match &known {
            Some(known) if known.is_fresh_for(audience.fresh) => Arc::clone(known),
            _ => {
                let (sender, newest) = watch::channel(None);
                let task = tokio::spawn(publish(execute(request), sender));
                let execution = Arc::new(Execution {
                    key,
                    newest,
                    executions: self.clone(),
                    _open: Open::new("wharfinger_shared_executions"),
                    _task: AbortOnDropHandle::new(task),
                });
                running.insert(key, Arc::downgrade(&execution));
                execution
            }
        };
        // Before the known one is let go: it may be the last of it, which looks into the list when it is dropped.
        drop(running);
        drop(known);
        let newest = execution.newest.clone();
        // With the execution, which lasts as long as one of its subscribers.
        let events = stream::unfold((newest, execution), |(mut newest, execution)| async {
            newest.changed().await.ok()?;
            let event = newest.borrow_and_update().as_ref()?.event.clone();
            Some((event, (newest, execution)))
        });
        events.boxed()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Weak<Execution>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Execution {
    /// Returns whether a new subscriber can begin with its newest response. Not where the execution has ended: its subject may
    /// have begun anew since. Nor where the response has errors: they may be of a moment, and no event says when the state
    /// could be read again until it changes.
    fn is_fresh_for(&self, fresh: Option<Duration>) -> bool {
        let running = self.newest.has_changed().is_ok();
        let cached = self.newest.borrow();
        let is_fresh = |cached: &CachedEvent| {
            !cached.event.has_errors && fresh.is_none_or(|fresh| cached.at.elapsed() < fresh)
        };
        running && cached.as_ref().is_none_or(is_fresh)
    }
}

impl Drop for Execution {
    fn drop(&mut self) {
        let mut running = self.executions.lock();
        let known = running.get(&self.key);
        // A newer one may have taken its place.
        if known.is_some_and(|known| known.strong_count() == 0) {
            running.remove(&self.key);
        }
    }
}

async fn publish(
    mut events: BoxStream<'static, Event>,
    newest: watch::Sender<Option<CachedEvent>>,
) {
    while let Some(event) = events.next().await {
        let at = Instant::now();
        newest.send_replace(Some(CachedEvent { event, at }));
    }
}

/// Requests of one key get the same events. Each part is preceded by its length, so that no two lists of parts are the same bytes.
fn key(audience: &Audience, request: &Request) -> Key {
    let variables =
        serde_json::to_vec(&request.variables).expect("variables came as JSON and are JSON");
    let name = request.operation_name.as_deref();
    let mut hash = Sha256::new();
    let (members, query) = (audience.members.as_bytes(), request.query.as_bytes());
    for part in [members, query, &variables] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(name.map_or("-", |_| "+"));
    hash.update(name.unwrap_or_default());
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use async_graphql::{Response, Value, Variables};
    use futures::channel::mpsc;

    use super::*;

    fn audience(members: &str) -> Audience {
        Audience {
            members: members.to_owned(),
            fresh: None,
        }
    }

    fn number(number: i32) -> Event {
        Response::new(Value::from(number)).into()
    }

    fn request() -> Request {
        Request::new("subscription")
    }

    /// An execution with one response that does not end.
    fn lasting(n: i32) -> impl FnOnce(Request) -> BoxStream<'static, Event> {
        move |_| {
            let first = stream::iter([number(n)]);
            first.chain(stream::pending()).boxed()
        }
    }

    #[tokio::test]
    async fn a_slow_subscriber_gets_the_newest_and_the_end() {
        let executions = Executions::default();
        let (say, responses) = mpsc::unbounded();
        let mut slow = executions.join(&audience("ada"), request(), |_| responses.boxed());
        let mut quick = executions.join(&audience("ada"), request(), |_| panic!("there is one"));
        for n in 0..1000 {
            say.unbounded_send(number(n)).unwrap();
            assert_eq!(quick.next().await, Some(number(n)));
        }
        drop(say);
        assert_eq!(quick.next().await, None);
        assert_eq!(slow.next().await, Some(number(999)));
        assert_eq!(slow.next().await, None);
    }

    #[tokio::test]
    async fn an_execution_that_ended_or_is_out_of_date_is_not_joined() {
        let executions = Executions::default();
        let for_at_most = |time| Audience {
            fresh: Some(time),
            ..audience("ada")
        };
        let fresh = for_at_most(Duration::from_hours(1));
        let once = |_| stream::iter([number(1)]).boxed();
        let mut ended = executions.join(&fresh, request(), once);
        assert_eq!(ended.next().await, Some(number(1)));
        assert_eq!(ended.next().await, None);
        let mut lasts = executions.join(&fresh, request(), lasting(2));
        assert_eq!(lasts.next().await, Some(number(2)));
        let mut joins = executions.join(&fresh, request(), lasting(3));
        assert_eq!(joins.next().await, Some(number(2)));
        let out_of_date = for_at_most(Duration::ZERO);
        let mut anew = executions.join(&out_of_date, request(), lasting(4));
        assert_eq!(anew.next().await, Some(number(4)));
        // Where age does not matter, the newest execution is joined however old its response is.
        let mut old = executions.join(&audience("ada"), request(), lasting(5));
        assert_eq!(old.next().await, Some(number(4)));
        drop((ended, lasts, joins));
        assert_eq!(executions.lock().len(), 1);
        drop((anew, old));
        assert_eq!(executions.lock().len(), 0);
    }

    #[tokio::test]
    async fn an_execution_whose_newest_response_has_errors_is_not_joined() {
        let executions = Executions::default();
        let (say, responses) = mpsc::unbounded();
        let mut failed = Response::new(Value::from(1));
        let error = async_graphql::ServerError::new("not now", None);
        failed.errors.push(error);
        let mut first = executions.join(&audience("ada"), request(), |_| responses.boxed());
        say.unbounded_send(failed.into()).unwrap();
        assert!(first.next().await.is_some());
        let mut late = executions.join(&audience("ada"), request(), lasting(2));
        assert_eq!(late.next().await, Some(number(2)), "it looks for itself");
        // Who was there hears on, and newcomers join the one that is well.
        say.unbounded_send(number(3)).unwrap();
        assert_eq!(first.next().await, Some(number(3)));
        let mut later = executions.join(&audience("ada"), request(), |_| panic!("there is one"));
        assert_eq!(later.next().await, Some(number(2)));
    }

    #[test]
    fn what_differs_in_anything_is_not_shared() {
        let request = |query: &str, variables: serde_json::Value, name: Option<&str>| {
            let mut request = Request::new(query).variables(Variables::from_json(variables));
            request.operation_name = name.map(str::to_owned);
            request
        };
        let none = serde_json::json!({});
        let id = serde_json::json!({"id": "1"});
        let keys = [
            key(&audience("a"), &request("q", none.clone(), None)),
            key(&audience("aq"), &request("", none.clone(), None)),
            key(&audience("b"), &request("q", none.clone(), None)),
            key(&audience("a"), &request("r", none.clone(), None)),
            key(&audience("a"), &request("q", id, None)),
            key(&audience("a"), &request("q", none.clone(), Some(""))),
            key(&audience("a"), &request("q", none, Some("n"))),
        ];
        let different: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(different.len(), keys.len());
    }
}
