//! Wrong passwords make the next try wait: longer with each, for the name and for the address, on every gateway alike.
//!
//! A try is counted before its password is looked at and uncounted when it was right, so that a thousand tries at once
//! are no more than a thousand in a row. What was not looked at is not counted: hammering does not lengthen the wait.

use std::net::IpAddr;
use std::time::Duration;

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, Condition, DbErr, EntityTrait, QueryFilter,
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use wharfinger_entity::{Timestamp, sign_in_delay};

use crate::error::ServiceError;
use crate::infra::db::{Db, Transaction, for_update, in_transaction};

/// The wrong password for one name from which on the next try waits.
const FREE_FOR_NAME: i32 = 5;

/// The wrong password from one address from which on the next try waits: a whole class may sit behind it.
const FREE_FOR_ADDRESS: i32 = 20;

/// That first wait; it doubles with each.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST: Duration = Duration::from_mins(15);

/// When wrong passwords are forgotten.
const FORGOTTEN: Duration = Duration::from_hours(1);

/// A try that was let through and counts as failed until it is [released](Self::release).
#[derive(Debug)]
pub(crate) struct Try {
    name: Subject,
    address: Option<Subject>,
    began: Timestamp,
}

/// Whose tries are counted together.
#[derive(Clone, Debug)]
struct Subject {
    key: String,
    free: i32,
}

impl Subject {
    /// A name, hashed: it may have any length, and may be no user's.
    fn name(name: &str) -> Self {
        let digest = Sha256::digest(name.to_lowercase());
        Self {
            key: format!("name:{}", hex::encode(digest)),
            free: FREE_FOR_NAME,
        }
    }

    /// An address; of IPv6 the network that one customer gets.
    fn address(address: IpAddr) -> Self {
        let key = match address.to_canonical() {
            IpAddr::V4(address) => format!("address:{address}"),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                format!("address:{a:x}:{b:x}:{c:x}:{d:x}::/64")
            }
        };
        Self {
            key,
            free: FREE_FOR_ADDRESS,
        }
    }

    fn wait(&self, failures: i32) -> Duration {
        match u32::try_from(failures - self.free) {
            Err(_still_free) => Duration::ZERO,
            Ok(over) => FIRST.saturating_mul(1 << over.min(20)).min(LONGEST),
        }
    }

    async fn find(&self, tx: &Transaction) -> Result<Option<sign_in_delay::Model>, DbErr> {
        let own =
            sign_in_delay::Entity::find().filter(sign_in_delay::Column::Subject.eq(&self.key));
        for_update(tx, own).one(tx).await
    }

    async fn count(
        &self,
        tx: &Transaction,
        found: Option<sign_in_delay::Model>,
        now: Timestamp,
    ) -> Result<(), DbErr> {
        let earlier = found
            .as_ref()
            .filter(|delay| now.since(delay.last_at) < FORGOTTEN)
            .map_or(0, |delay| delay.failures);
        let failures = earlier.saturating_add(1);
        let id = found.as_ref().map_or_else(Uuid::now_v7, |delay| delay.id);
        let delay = sign_in_delay::ActiveModel {
            id: Set(id),
            subject: Set(self.key.clone()),
            failures: Set(failures),
            until: Set(now.after(self.wait(failures))),
            last_at: Set(now),
        };
        match found {
            Some(_) => delay.update(tx).await.map(drop),
            None => delay.insert(tx).await.map(drop),
        }
    }

    /// Takes back a try of then. It had no wait before it, and leaves none, but what tries since have made.
    async fn uncount(&self, tx: &Transaction, began: Timestamp) -> Result<(), DbErr> {
        let Some(delay) = self.find(tx).await? else {
            return Ok(());
        };
        let failures = (delay.failures - 1).max(0);
        let until = if delay.last_at > began {
            delay.last_at.after(self.wait(failures))
        } else {
            began
        };
        sign_in_delay::ActiveModel {
            id: Set(delay.id),
            failures: Set(failures),
            until: Set(until),
            ..Default::default()
        }
        .update(tx)
        .await?;
        Ok(())
    }
}

impl Try {
    /// Counts a try. Fails with the time to wait if it comes too early. The name may be no user's.
    pub(crate) async fn begin(
        db: &Db,
        name: &str,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Self, ServiceError> {
        let this = Self {
            name: Subject::name(name),
            address: address.map(Subject::address),
            began: now,
        };
        in_transaction!(db, |tx| {
            let mut delays = Vec::new();
            for subject in this.subjects() {
                delays.push((subject, subject.find(&tx).await?));
            }
            let found = delays.iter().filter_map(|(_, delay)| delay.as_ref());
            let until = found.map(|delay| delay.until).max();
            if let Some(until) = until.filter(|until| *until > now) {
                Err(ServiceError::Throttled(until.since(now)))?;
            }
            for (subject, delay) in delays {
                subject.count(&tx, delay, now).await?;
            }
            Ok::<_, ServiceError>(())
        })?;
        Ok(this)
    }

    fn subjects(&self) -> impl Iterator<Item = &Subject> {
        std::iter::once(&self.name).chain(&self.address)
    }

    /// The password was right: the name begins anew, and the address has this try back. It keeps what others failed at,
    /// or one account would do to guess at all others.
    pub(crate) async fn succeeded(&self, tx: &Transaction) -> Result<(), DbErr> {
        sign_in_delay::Entity::delete_many()
            .filter(sign_in_delay::Column::Subject.eq(&self.name.key))
            .exec(tx)
            .await?;
        match &self.address {
            Some(address) => address.uncount(tx, self.began).await,
            None => Ok(()),
        }
    }

    /// The password was not looked at after all.
    pub(crate) async fn release(&self, db: &Db) -> Result<(), ServiceError> {
        in_transaction!(db, |tx| {
            for subject in self.subjects() {
                subject.uncount(&tx, self.began).await?;
            }
            Ok::<_, ServiceError>(())
        })
    }
}

/// Selects what is not counted any more.
pub(crate) fn old_delays(now: Timestamp) -> Condition {
    Condition::all().add(sign_in_delay::Column::LastAt.lt(now.before(FORGOTTEN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end_growing() {
        let name = Subject::name("Ada");
        let waits: Vec<u64> = (1..=20).map(|n| name.wait(n).as_secs()).collect();
        assert_eq!(waits[..8], [0, 0, 0, 0, 1, 2, 4, 8]);
        assert_eq!(waits[19], 900);
        assert_eq!(name.wait(i32::MAX).as_secs(), 900);
        assert_eq!(name.key, Subject::name("aDA").key);
        assert!(LONGEST < FORGOTTEN);
    }

    #[test]
    fn an_address_is_a_customer() {
        let key = |text: &str| Subject::address(text.parse().unwrap()).key;
        assert_eq!(key("::ffff:192.0.2.7"), key("192.0.2.7"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert!(key("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").len() <= 80);
    }
}
