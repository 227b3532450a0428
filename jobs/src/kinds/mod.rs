//! The kinds of job, each a module, and their registration.

pub mod pull_image;
pub mod remove_image;

use wharfinger_entity::JobKind;

use crate::attempt::Job;
use pull_image::PullImageJob;
use remove_image::RemoveImageJob;

/// The implementation of a kind of job. A new kind gets a line here and a module above.
pub(crate) fn implementation_of(kind: JobKind) -> &'static dyn Job {
    match kind {
        JobKind::PullImage => &PullImageJob,
        JobKind::RemoveImage => &RemoveImageJob,
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::{ActiveEnum as _, Iterable as _};

    use super::*;

    #[test]
    fn every_kind_has_one_name() {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            for kind in JobKind::iter() {
                let word = kind.to_value();
                assert_eq!(serde_json::to_value(kind).unwrap(), word);
                assert_eq!(kind.name(), word.to_lowercase());
                let span = implementation_of(kind).span();
                let name = span.metadata().expect("it is enabled").name();
                assert_eq!(name, format!("job.{}", kind.name()));
            }
        });
    }
}
