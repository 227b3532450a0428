//! Users: their passwords, the tokens that they call with, what they may do, and their credits as administrators see them.
//!
//! A token is all that a request shows ([`TokenLookups`]). Signing in makes one that expires ([`sign_in()`]), and a user makes
//! others for scripts ([`create_api_token`]). A loss of rights (revoked token, ban, another role) is committed first
//! and then announced, so that every gateway checks its open sockets ([`Sessions`]).

pub mod audit;
mod change_password;
mod create_user;
mod grant_credits;
mod last_use;
mod lookups;
pub(crate) mod password_strength;
mod sessions;
mod sign_in;
mod throttle;
mod tokens;
mod update_user;

pub use change_password::{ChangePassword, change_password};
pub use create_user::{
    CreateUser, NewUser, create_first_admin, create_user, create_user_by, is_empty,
};
pub(crate) use grant_credits::GRANT_KEYS;
pub use grant_credits::{GrantCredits, grant_credits};
pub use last_use::note_use;
pub use lookups::{LookupError, TokenLookups};
pub use password_strength::weakness;
pub use sessions::{OpenSession, Sessions};
pub use sign_in::{SignedIn, sign_in, sign_out};
pub(crate) use throttle::old_delays;
pub(crate) use tokens::expired_sign_ins;
pub use tokens::{Authenticated, create_api_token, create_token, revoke_api_token};
#[cfg(feature = "testing")]
pub use tokens::{authenticate, statement};
pub use update_user::{UpdateUser, update_user};

use sea_orm::{ConnectionTrait, EntityTrait};
use wharfinger_entity::{Role, UserStatus, user};

use crate::accounts::audit::Actor;
use crate::error::{ServiceError, UserError, UserErrorCode};

/// Fails if the actor is no longer an administrator: the role may have changed since the request was let in.
pub(crate) async fn still_administrator(
    tx: &impl ConnectionTrait,
    actor: &Actor,
) -> Result<(), ServiceError> {
    let Some(id) = actor.user_id() else {
        return Ok(());
    };
    let user = user::Entity::find_by_id(id).one(tx).await?;
    if user.is_some_and(|user| is_active_administrator(&user)) {
        Ok(())
    } else {
        Err(ServiceError::NotAllowed(
            "only an administrator may do this",
        ))
    }
}

/// Refuses a user who may do nothing any more: the request was let in a moment before.
pub(crate) fn still_active(user: &user::Model) -> Result<(), ServiceError> {
    match user.status {
        UserStatus::Active => Ok(()),
        UserStatus::Banned => Err(ServiceError::NotAllowed("this account is banned")),
    }
}

fn is_active_administrator(user: &user::Model) -> bool {
    user.role == Role::Admin && user.status == UserStatus::Active
}

/// The text without the blanks around it, if it is one line of 1 to `most` characters.
fn one_line(text: &str, most: usize) -> Option<&str> {
    let text = text.trim();
    let fits = (1..=most).contains(&text.chars().count());
    (fits && !text.chars().any(char::is_control)).then_some(text)
}

fn no_such_user() -> UserError {
    UserError::new(
        UserErrorCode::UserNotFound,
        "userId",
        "there is no such user: `users` lists them",
    )
}
