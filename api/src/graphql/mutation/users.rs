//! Users and their credits, by administrators.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_entity::user;
use wharfinger_jobs::accounts;
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::error::ServiceError;

use crate::graphql::context::{administrator, caller, mendable, services};
use crate::graphql::enums::{Role, UserStatus};
use crate::graphql::ids::Kind;
use crate::graphql::scalars::Credits;
use crate::graphql::types::{LedgerEntry, User, UserError};

/// Users and their credits, by administrators.
#[derive(Default)]
pub(super) struct UserMutation;

/// A user to be made.
#[derive(InputObject)]
pub(crate) struct CreateUserInput {
    /// Unique, whatever the case: letters, digits and . _ - @ +, at most 64.
    name: String,
    /// 8 characters or more, and hard to guess. Left out, they cannot sign in until `updateUser` gives them one.
    password: Option<String>,
    /// What they may do.
    #[graphql(default_with = "Role::User")]
    role: Role,
    /// Their first balance. Left out: the configured first balance.
    credits: Option<Credits>,
}

/// What is to be changed of a user; what is left out stays.
#[derive(InputObject)]
pub(crate) struct UpdateUserInput {
    /// The user.
    user_id: ID,
    /// What they may do. The last active administrator stays one.
    role: Option<Role>,
    /// BANNED: they may do nothing, their tokens stop working and their sockets close; their jobs go on to their end.
    /// ACTIVE: the tokens that they made by name work again.
    status: Option<UserStatus>,
    /// 8 characters or more, and hard to guess. Every token that signing in made is revoked.
    password: Option<String>,
}

/// Credits to be given or taken back.
#[derive(InputObject)]
pub(crate) struct GrantCreditsInput {
    /// To whom.
    user_id: ID,
    /// Negative takes back, never more than is available: an ADJUSTMENT in the ledger, and otherwise a GRANT.
    amount: Credits,
    /// Why, for the user to read: 1 to 255 characters.
    reason: String,
    /// The same key with the same input returns the first call's entry; with another input, IDEMPOTENCY_CONFLICT. Kept at least 24 h.
    idempotency_key: Option<String>,
}

/// Makes the payload of a mutation that answers with a user.
macro_rules! user_payload {
    ($payload:ident, $doc:literal, $user:literal) => {
        #[doc = $doc]
        #[derive(SimpleObject)]
        pub(crate) struct $payload {
            #[doc = $user]
            user: Option<User>,
            /// What the caller can mend; empty when it was done.
            user_errors: Vec<UserError>,
        }

        impl $payload {
            fn of(result: Result<user::Model, ServiceError>) -> Result<Self> {
                let (user, error) = match mendable(result)? {
                    Ok(user) => (Some(User(user)), None),
                    Err(error) => (None, Some(error.into())),
                };
                Ok(Self {
                    user,
                    user_errors: error.into_iter().collect(),
                })
            }
        }
    };
}

user_payload!(
    CreateUserPayload,
    "What came of `createUser`.",
    "The new user; null if none was made."
);
user_payload!(
    UpdateUserPayload,
    "What came of `updateUser`.",
    "The user as changed; null if nothing was."
);

/// What came of `grantCredits`.
#[derive(SimpleObject)]
pub(crate) struct GrantCreditsPayload {
    /// The user with their balance; null if nothing was moved.
    user: Option<User>,
    /// The movement; null if nothing was moved.
    ledger_entry: Option<LedgerEntry>,
    /// What the caller can mend; empty when it was done.
    user_errors: Vec<UserError>,
}

#[Object]
impl UserMutation {
    /// Administrators only: make a user, with a first balance.
    async fn create_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who is new.")] input: CreateUserInput,
    ) -> Result<CreateUserPayload> {
        administrator(ctx)?;
        let actor = Actor::from(&caller(ctx)?.user);
        let request = accounts::CreateUser {
            name: &input.name,
            password: input.password.as_deref(),
            role: input.role.into(),
            credits: input.credits.map(|Credits(credits)| credits),
        };
        CreateUserPayload::of(accounts::create_user_by(services(ctx), &actor, &request).await)
    }

    /// Administrators only: give a user another role, ban them or let them in again, or set their password. It takes
    /// effect at once and on every gateway.
    async fn update_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is to be changed.")] input: UpdateUserInput,
    ) -> Result<UpdateUserPayload> {
        administrator(ctx)?;
        let caller = caller(ctx)?;
        let change = accounts::UpdateUser {
            user_id: Kind::User.parse(&input.user_id),
            role: input.role.map(Into::into),
            status: input.status.map(Into::into),
            password: input.password.as_deref(),
            token_id: Some(caller.token.id),
        };
        let actor = Actor::from(&caller.user);
        UpdateUserPayload::of(accounts::update_user(services(ctx), &actor, &change).await)
    }

    /// Administrators only: give a user credits, or take back what they have not spent.
    async fn grant_credits(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, to whom, and why.")] input: GrantCreditsInput,
    ) -> Result<GrantCreditsPayload> {
        administrator(ctx)?;
        let Credits(amount) = input.amount;
        let grant = accounts::GrantCredits {
            caller: &caller(ctx)?.user,
            user_id: Kind::User.parse(&input.user_id),
            amount,
            reason: &input.reason,
            idempotency_key: input.idempotency_key.as_deref(),
        };
        let granted = accounts::grant_credits(services(ctx), &grant).await;
        Ok(match mendable(granted)? {
            Ok((user, entry)) => GrantCreditsPayload {
                user: Some(User(user)),
                ledger_entry: Some(LedgerEntry(entry)),
                user_errors: Vec::new(),
            },
            Err(error) => GrantCreditsPayload {
                user: None,
                ledger_entry: None,
                user_errors: vec![error.into()],
            },
        })
    }
}
