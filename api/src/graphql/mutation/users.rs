//! Mutations of users and their credits, for administrators.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};
use wharfinger_entity::{Role, UserStatus, ledger_entry, user};
use wharfinger_jobs::accounts;

use crate::graphql::context::{actor, administrator, caller, outcome, services};
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

/// The result of `createUser`.
#[derive(SimpleObject)]
pub(crate) struct CreateUserPayload {
    /// The new user; null if none was made.
    user: Option<User>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

/// The result of `updateUser`.
#[derive(SimpleObject)]
pub(crate) struct UpdateUserPayload {
    /// The user as changed; null if nothing was.
    user: Option<User>,
    /// Problems that the caller can fix; empty on success.
    user_errors: Vec<UserError>,
}

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
        let actor = actor(ctx)?;
        let request = accounts::CreateUser {
            name: &input.name,
            password: input.password.as_deref(),
            role: input.role,
            credits: input.credits.map(|Credits(credits)| credits),
        };
        let created = accounts::create_user_by(services(ctx), &actor, &request).await;
        let (user, user_errors) = outcome(created)?;
        Ok(CreateUserPayload { user, user_errors })
    }

    /// Administrators only: change a user's role, ban or unban them, or set their password. It takes effect at once and on
    /// every gateway.
    async fn update_user(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is to be changed.")] input: UpdateUserInput,
    ) -> Result<UpdateUserPayload> {
        let actor = actor(ctx)?;
        let change = accounts::UpdateUser {
            user_id: Kind::User.parse(&input.user_id),
            role: input.role,
            status: input.status,
            password: input.password.as_deref(),
            token_id: Some(caller(ctx)?.token.id),
        };
        let changed = accounts::update_user(services(ctx), &actor, &change).await;
        let (user, user_errors) = outcome(changed)?;
        Ok(UpdateUserPayload { user, user_errors })
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
        let (granted, user_errors) = outcome::<_, (user::Model, ledger_entry::Model)>(granted)?;
        let (user, entry) = granted.unzip();
        Ok(GrantCreditsPayload {
            user: user.map(User),
            ledger_entry: entry.map(LedgerEntry::from),
            user_errors,
        })
    }
}
