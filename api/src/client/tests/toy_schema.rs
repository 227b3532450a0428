//! The toy gateway's resolvers.

use super::toy::{Script, TOKEN, Toy};
use super::toy_types::*;
use async_graphql::futures_util::stream::{self, BoxStream, StreamExt as _};
use async_graphql::{Context, ID, Object, Subscription};
use std::sync::Arc;

fn toy<'a>(context: &Context<'a>) -> &'a Arc<Toy> {
    context.data_unchecked::<Arc<Toy>>()
}

/// A page of one node each, so that every list needs its cursor.
fn page<T: Clone>(all: &[T], first: usize, after: Option<&str>) -> (Vec<T>, PageInfo) {
    let start = after.map_or(0, |cursor| cursor.parse::<usize>().unwrap());
    let nodes: Vec<T> = all.iter().skip(start).take(first.min(1)).cloned().collect();
    (
        nodes,
        PageInfo {
            has_next_page: start + 1 < all.len(),
            end_cursor: Some((start + 1).to_string()),
        },
    )
}

pub(super) struct Query;

#[Object]
impl Query {
    async fn viewer(&self) -> Viewer {
        let entry = LedgerEntry {
            kind: "REFUND".into(),
            amount: "117.3".into(),
            job: Some(JobRef { id: "job-1".into() }),
        };
        Viewer {
            name: "alice\u{1b}[2J".into(),
            balance: balance(),
            ledger: vec![entry],
        }
    }

    async fn balance(&self) -> Balance {
        balance()
    }

    async fn hosts(&self, first: usize, after: Option<String>) -> HostConnection {
        let (nodes, page_info) = page(&[host(1), host(2)], first, after.as_deref());
        HostConnection { nodes, page_info }
    }

    async fn image(&self, context: &Context<'_>, id: ID) -> Option<Image> {
        toy(context)
            .images
            .lock()
            .unwrap()
            .iter()
            .find(|image| image.id == id)
            .cloned()
    }

    async fn images(
        &self,
        context: &Context<'_>,
        first: usize,
        after: Option<String>,
        filter: Option<ImageFilter>,
    ) -> ImageConnection {
        let filter = filter.unwrap_or_default();
        let matches = |image: &&Image| {
            filter
                .search
                .as_ref()
                .is_none_or(|text| image.reference.contains(text))
                && filter
                    .states
                    .as_ref()
                    .is_none_or(|states| states.contains(&image.state))
        };
        let all: Vec<_> = toy(context)
            .images
            .lock()
            .unwrap()
            .iter()
            .filter(matches)
            .cloned()
            .collect();
        let (nodes, page_info) = page(&all, first, after.as_deref());
        ImageConnection { nodes, page_info }
    }

    async fn job(&self, context: &Context<'_>, id: ID) -> Option<Job> {
        let mut jobs = toy(context).jobs.lock().unwrap();
        let job = if jobs.len() > 1 {
            jobs.pop_front()
        } else {
            jobs.front().cloned()
        };
        job.filter(|job| job.id == id)
    }

    async fn jobs(
        &self,
        context: &Context<'_>,
        first: usize,
        after: Option<String>,
        filter: Option<JobFilter>,
    ) -> JobConnection {
        let states = filter.and_then(|filter| filter.states);
        let matches = |job: &&Job| {
            states
                .as_ref()
                .is_none_or(|states| states.contains(&job.state))
        };
        let all: Vec<_> = toy(context)
            .jobs
            .lock()
            .unwrap()
            .iter()
            .filter(matches)
            .cloned()
            .collect();
        let (nodes, page_info) = page(&all, first, after.as_deref());
        JobConnection { nodes, page_info }
    }
}

pub(super) struct Mutation;

#[Object]
impl Mutation {
    async fn sign_in(&self, input: SignInInput) -> SignInPayload {
        if input.name == "alice" && input.password == "right" {
            return SignInPayload {
                token: Some(TOKEN.into()),
                user_errors: vec![],
            };
        }
        SignInPayload {
            token: None,
            user_errors: vec![user_error("INVALID_CREDENTIALS", "wrong name or password")],
        }
    }

    async fn pull_image(&self, context: &Context<'_>, input: PullImageInput) -> JobPayload {
        let key = input.idempotency_key.unwrap_or_default();
        let place = input
            .host_id
            .map(|id| format!(" on {}", *id))
            .unwrap_or_default();
        toy(context)
            .pulls
            .lock()
            .unwrap()
            .push((key, format!("{}{place}", input.reference)));
        toy(context).payload()
    }

    async fn remove_image(&self, context: &Context<'_>, input: RemoveImageInput) -> JobPayload {
        assert!(input.idempotency_key.is_some());
        toy(context)
            .removed
            .lock()
            .unwrap()
            .push(input.image_id.to_string());
        toy(context).payload()
    }

    async fn cancel_job(&self, context: &Context<'_>, input: CancelJobInput) -> JobPayload {
        assert_eq!(*input.job_id, "job-1");
        toy(context).payload()
    }

    async fn retry_job(&self, context: &Context<'_>, input: RetryJobInput) -> JobPayload {
        assert!(input.job_id == "job-1" && input.idempotency_key.is_some());
        toy(context).payload()
    }
}

pub(super) struct Subscriptions;

#[Subscription]
impl Subscriptions {
    async fn pull_progress(
        &self,
        context: &Context<'_>,
        job_id: ID,
    ) -> BoxStream<'static, PullProgress> {
        assert_eq!(*job_id, "job-1");
        let toy = toy(context).clone();
        let script = toy
            .scripts
            .lock()
            .unwrap()
            .pop_front()
            .expect("one script for each subscription");
        let (events, end) = match script {
            Script::Complete(events) => return stream::iter(events).boxed(),
            Script::Cut(events) => (events, toy.cut.clone()),
            Script::Hang(events) => (events, toy.hanging.clone()),
        };
        let end = stream::once(async move {
            end.notify_one();
            std::future::pending().await
        });
        stream::iter(events).chain(end).boxed()
    }

    async fn job_updated(&self, context: &Context<'_>) -> BoxStream<'static, Job> {
        let hanging = toy(context).hanging.clone();
        let end = stream::once(async move {
            hanging.notify_one();
            std::future::pending().await
        });
        stream::iter(toy(context).updates.lock().unwrap().clone())
            .chain(end)
            .boxed()
    }
}
