//! Labels whose values users choose: only where a setting allows them, and only a bounded number of values.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use metrics::Label;

use crate::observability::settings::MetricSettings;

/// The value of everything beyond the limit.
const OTHER: &str = "other";

/// The value of requests without one: a refused request may not name an image.
const NONE: &str = "none";

/// The allowed labels, with the values that they have had so far.
pub(crate) struct Labels {
    user: Option<Values>,
    image: Option<Values>,
}

impl Labels {
    pub(crate) fn new(settings: MetricSettings) -> Self {
        let values = |allowed: bool| allowed.then(|| Values::new(settings.most_values));
        Self {
            user: values(settings.per_user),
            image: values(settings.per_image),
        }
    }

    /// Returns whether any label is allowed.
    pub(crate) fn any(&self) -> bool {
        self.user.is_some() || self.image.is_some()
    }

    /// Adds the allowed labels of a request.
    pub(crate) fn add(&self, labels: &mut Vec<Label>, user: Option<&str>, image: Option<&str>) {
        if let Some(users) = &self.user {
            labels.push(Label::new("user", users.within(user)));
        }
        if let Some(images) = &self.image {
            labels.push(Label::new("image", images.within(image)));
        }
    }
}

/// The values of one label. The first ones keep their names.
struct Values {
    most: usize,
    known: Mutex<HashSet<String>>,
}

impl Values {
    fn new(most: usize) -> Self {
        Self {
            most,
            known: Mutex::default(),
        }
    }

    fn within(&self, value: Option<&str>) -> String {
        let Some(value) = value else {
            return NONE.to_owned();
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(value) {
            if known.len() >= self.most {
                return OTHER.to_owned();
            }
            known.insert(value.to_owned());
        }
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_after_so_many_values_is_other() {
        let values = Values::new(2);
        let named = ["ada", "bob", "eve", "ada"].map(|user| values.within(Some(user)));
        assert_eq!(named, ["ada", "bob", OTHER, "ada"]);
    }
}
