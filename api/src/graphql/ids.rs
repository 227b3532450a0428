//! Global ids: a kind of thing, and one thing of it.

use async_graphql::ID;
use uuid::Uuid;

/// The kinds of things with an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    User,
    Image,
    Job,
    Host,
    LedgerEntry,
    AuditEntry,
    RegistryCredential,
    ApiToken,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::User,
        Self::Image,
        Self::Job,
        Self::Host,
        Self::LedgerEntry,
        Self::AuditEntry,
        Self::RegistryCredential,
        Self::ApiToken,
    ];

    fn prefix(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Image => "image",
            Self::Job => "job",
            Self::Host => "host",
            Self::LedgerEntry => "entry",
            Self::AuditEntry => "audit",
            Self::RegistryCredential => "login",
            Self::ApiToken => "token",
        }
    }

    /// Returns the id of a thing of this kind, as clients see it: `job_0198…`.
    pub(crate) fn id(self, id: Uuid) -> ID {
        ID(format!("{}_{}", self.prefix(), id.simple()))
    }

    /// Returns the thing of this kind that an id names; `None` for any other text, which is answered like an unknown id.
    pub(crate) fn parse(self, id: &ID) -> Option<Uuid> {
        let (kind, id) = parse(id)?;
        (kind == self).then_some(id)
    }

    /// Returns the thing that a filter names: one that does not exist, for the id of another kind of thing.
    pub(crate) fn filtered(self, id: Option<ID>) -> Option<Uuid> {
        id.map(|id| self.parse(&id).unwrap_or_default())
    }
}

/// Returns the kind and the thing that an id names.
pub(crate) fn parse(id: &ID) -> Option<(Kind, Uuid)> {
    let (prefix, hex) = id.split_once('_')?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.prefix() == prefix)?;
    let id = Uuid::try_parse(hex).ok()?;
    // Every id has one spelling: 32 lower-case digits.
    (id.simple().to_string() == hex).then_some((kind, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_as_what_it_was() {
        let id = Uuid::now_v7();
        assert_eq!(parse(&Kind::Job.id(id)), Some((Kind::Job, id)));
        assert_eq!(Kind::Image.parse(&Kind::Job.id(id)), None);
    }

    #[test]
    fn anything_else_is_unknown() {
        for text in [
            "",
            "_",
            "job_",
            "job_x",
            "job",
            "jöb_00000000000000000000000000000000",
            "job_0198-",
            "JOB_00000000000000000000000000000000",
            "job_0000000000000000000000000000000G",
        ] {
            assert_eq!(parse(&ID(text.to_owned())), None, "{text}");
        }
    }
}
