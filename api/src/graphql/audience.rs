//! Decides which subscriptions are executed once for several subscribers, and for whom.
//!
//! `pullProgress` and `balanceChanged` report a state, where the newest event makes those before it worthless. `jobUpdated`
//! reports changes, each of which counts, so it is not shared.

use std::time::Duration;

use async_graphql::Request;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};
use wharfinger_entity::Role;

use super::context::Caller;
use crate::http::{Audience, data_of, subscribed_field};

/// Greatest age of a response that a new subscriber gets where it shows more than the last event, or where events may be
/// lost.
const FRESH: Duration = Duration::from_secs(1);

/// Returns the callers who may share this subscription; `None` where it is not shared. Callers of one audience have the
/// same rights, so that each of them could have begun the execution.
pub(crate) fn audience(request: &mut Request) -> Option<Audience> {
    let caller = data_of::<Caller>(&request.data)?;
    let (user, watchers) = match caller.user.role {
        // A job has one owner, and every administrator may see it, so administrators get the same responses.
        Role::Admin => (format!("{} admin", caller.user.id), "admin".to_owned()),
        Role::User => {
            let user = format!("{} user", caller.user.id);
            (user.clone(), user)
        }
    };
    let token = caller.token.id;
    let name = request.operation_name.clone();
    // The executor reports a document that cannot be parsed.
    let document = request.parsed_query().ok()?;
    let field = subscribed_field(document, name.as_deref())?;
    match field.name.node.as_str() {
        // A new subscriber gets the current credits, even if an event of their last change was lost.
        "balanceChanged" => Some(Audience {
            members: user,
            fresh: Some(FRESH),
        }),
        "pullProgress" if !names_field(document, "job") => Some(Audience {
            members: watchers,
            fresh: None,
        }),
        // The job leads to everything, such as which of the user's tokens is the caller's.
        "pullProgress" => Some(Audience {
            members: format!("{user} {token}"),
            fresh: Some(FRESH),
        }),
        _ => None,
    }
}

/// Returns whether a field of this name is selected anywhere in the document.
fn names_field(document: &ExecutableDocument, name: &str) -> bool {
    fn inside(set: &SelectionSet, name: &str) -> bool {
        set.items.iter().any(|selection| match &selection.node {
            Selection::Field(field) => {
                field.node.name.node == name || inside(&field.node.selection_set.node, name)
            }
            Selection::InlineFragment(fragment) => inside(&fragment.node.selection_set.node, name),
            // The fragment is checked where it is defined.
            Selection::FragmentSpread(_) => false,
        })
    }
    let operations = document.operations.iter();
    let operations = operations.map(|(_, operation)| &operation.node.selection_set);
    let fragments = document.fragments.values();
    let mut sets = operations.chain(fragments.map(|fragment| &fragment.node.selection_set));
    sets.any(|set| inside(&set.node, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(query: &str, name: Option<&str>) -> Option<(String, bool)> {
        let document = async_graphql::parser::parse_query(query).unwrap();
        let field = subscribed_field(&document, name)?;
        Some((field.name.node.to_string(), names_field(&document, "job")))
    }

    #[test]
    fn a_subscription_is_known_by_its_only_field() {
        let progress = |beyond| Some(("pullProgress".to_owned(), beyond));
        let of = |rest: &str| format!("subscription {{ p: pullProgress(jobId: 1) {rest} }}");
        assert_eq!(shows(&of("{ state layers { id } }"), None), progress(false));
        assert_eq!(shows(&of("{ a: job { id } }"), None), progress(true));
        assert_eq!(
            shows(&of("{ ... on PullProgress { job { id } } }"), None),
            progress(true)
        );
        let spread = of("{ ...f }") + " fragment f on PullProgress { job { id } }";
        assert_eq!(shows(&spread, None), progress(true));
        let named = "subscription a { balanceChanged { held } }";
        for name in [None, Some("a")] {
            assert_eq!(
                shows(named, name),
                Some(("balanceChanged".to_owned(), false))
            );
        }
        let two = "subscription a { balanceChanged { held } } query b { jobs { totalCount } }";
        assert_eq!(
            shows(two, Some("a")),
            Some(("balanceChanged".to_owned(), false))
        );
        for name in [None, Some("b"), Some("c")] {
            assert_eq!(shows(two, name), None, "{name:?}");
        }
        assert_eq!(
            shows(
                "subscription { ...f } fragment f on Subscription { x }",
                None
            ),
            None
        );
        assert_eq!(shows("{ pullProgress }", None), None);
    }
}
