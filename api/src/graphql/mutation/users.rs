//! Mutations of users and their credits, for administrators.

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

/// Mutations of users and their credits, for administrators.
#[derive(Default)]
pub(super) struct UserMutation;

/// A user to create.
#[derive(InputObject)]
pub(crate) struct CreateUserInput {
    /// Unique regardless of case: letters, digits and . _ - @ +, at most 64.
    name: String,
    /// 8 characters or more, and hard to guess. Left out, the user cannot sign in until `updateUser` sets one.
    password: Option<String>,
    /// The user's role.
    #[graphql(default_with = "Role::User")]
    role: Role,
    /// Their first balance. Left out: the configured first balance.
    credits: Option<Credits>,
}

/// A change of a user. Fields that are left out stay as they are.
#[derive(InputObject)]
pub(crate) struct UpdateUserInput {
    /// The user.
    user_id: ID,
    /// The new role. The last active administrator keeps theirs.
    role: Option<Role>,
    /// BANNED: the user may do nothing, their tokens stop working and their sockets close; their jobs go on to their end.
    /// ACTIVE: their named tokens work again.
    status: Option<UserStatus>,
    /// 8 characters or more, and hard to guess. Every token from signing in is revoked.
    password: Option<String>,
}

/// Credits to give or take back.
#[derive(InputObject)]
pub(crate) struct GrantCreditsInput {
    /// The user.
    user_id: ID,
    /// Negative takes back, never more than is available: an ADJUSTMENT in the ledger, and otherwise a GRANT.
    amount: Credits,
    /// The reason, which the user can read: 1 to 255 characters.
    reason: String,
    /// The same key with the same input returns the first call's entry; with another input, IDEMPOTENCY_CONFLICT. Kept at least 24 h.
    idempotency_key: Option<String>,
}

/// Makes the payload of a mutation that returns a user.
macro_rules! user_payload {
    ($payload:ident, $doc:literal, $user:literal) => {
        #[doc = $doc]
        #[derive(SimpleObject)]
        pub(crate) struct $payload {
            #[doc = $user]
            user: Option<User>,
            /// Problems that the caller can fix; empty on success.
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
    "The result of `createUser`.",
    "The new user; null if none was made."
);
user_payload!(
    UpdateUserPayload,
    "The result of `updateUser`.",
    "The user as changed; null if nothing was."
);

/// The result of `grantCredits`.
#[derive(SimpleObject)]
pub(crate) struct GrantCreditsPayload {
    /// The user with their balance; null if no credits were moved.
    user: Option<User>,
    /// The entry; null if no credits were moved.
    ledger_entry: Option<LedgerEntry>,
    /// Problems that the caller can fix; empty on success.
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

    /// Administrators only: change a user's role, ban or unban them, or set their password. It takes effect at once and on
    /// every gateway.
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
