//! Passwords: argon2id, a bounded number of them at a time, off the threads that answer requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Longest password in bytes: more is a mistake, and hashing it a burden.
pub(crate) const MAX_BYTES: usize = 1024;

/// Calls that may wait for their turn; one more is told to come back.
const PLACES: usize = 64;

/// How long a call waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// The hash that is verified where there is no password. It is of no password and has the parameters of a real one, so that
/// the answer takes as long.
const DUMMY_HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$d2hhcmZpbmdlci1kdW1teQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Why a password could not be hashed or checked.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many at once.
    #[error("too many passwords are being checked: try again in a moment")]
    Busy,
    /// The hash in the database, or the algorithm, is broken.
    #[error("a password could not be hashed or checked: {0}")]
    Broken(String),
}

/// Hashes and checks passwords: as many at a time as there are processors, and at most four, since each takes 19 MiB.
/// Cheap to clone.
#[derive(Clone, Debug)]
pub struct Passwords {
    places: Arc<Semaphore>,
    running: Arc<Semaphore>,
    computed: Arc<AtomicU64>,
}

impl Default for Passwords {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            places: Arc::new(Semaphore::new(PLACES)),
            running: Arc::new(Semaphore::new(processors.min(4))),
            computed: Arc::default(),
        }
    }
}

impl Passwords {
    /// The PHC string of a password.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordError> {
        let password = password.to_owned();
        self.compute(move || {
            let hash = Argon2::default().hash_password(password.as_bytes());
            Ok(hash.map_err(|error| broken(&error))?.to_string())
        })
        .await?
    }

    /// Whether the password is the one that was hashed. Without a hash it is not, and to say so takes as long.
    pub async fn matches(&self, password: &str, hash: Option<&str>) -> Result<bool, PasswordError> {
        let known = hash.is_some();
        let hash = hash.unwrap_or(DUMMY_HASH).to_owned();
        // What is longer than any password is wrong, and costs no more.
        let whole = password.len() <= MAX_BYTES;
        let password = password.as_bytes()[..password.len().min(MAX_BYTES)].to_vec();
        let same = self
            .compute(move || {
                let hash = PasswordHash::new(&hash).map_err(|error| broken(&error))?;
                match Argon2::default().verify_password(&password, &hash) {
                    Ok(()) => Ok(true),
                    Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                    Err(error) => Err(broken(&error)),
                }
            })
            .await??;
        Ok(same && known && whole)
    }

    /// How many hashes were computed so far.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let done = self.run(work).await?;
        self.computed.fetch_add(1, Ordering::Relaxed);
        Ok(done)
    }

    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let place = self.places.try_acquire();
        let _place = place.map_err(|_full| PasswordError::Busy)?;
        let turn = timeout(PATIENCE, Arc::clone(&self.running).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            return Err(PasswordError::Busy);
        };
        // The turn goes with the work: a caller who went away does not make room for another while it still runs.
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        })
        .await
        .map_err(|error| broken(&error))
    }
}

fn broken(error: &impl ToString) -> PasswordError {
    PasswordError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use argon2::Params;

    use super::*;

    #[test]
    fn checking_without_a_password_costs_as_much_as_with_one() {
        let dummy = PasswordHash::new(DUMMY_HASH).unwrap();
        let real = Argon2::default().hash_password(b"x").unwrap().to_string();
        let real = PasswordHash::new(&real).unwrap();
        assert_eq!(dummy.algorithm, real.algorithm);
        assert_eq!(dummy.algorithm.as_str(), "argon2id");
        assert_eq!(dummy.version, real.version);
        assert_eq!(
            Params::try_from(&dummy).unwrap(),
            Params::try_from(&real).unwrap()
        );
        let length = |hash: &PasswordHash| hash.hash.as_ref().unwrap().as_bytes().len();
        assert_eq!(length(&dummy), length(&real));
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_alone() {
        let passwords = Passwords::default();
        let hash = passwords.hash("one of many").await.unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(passwords.matches("one of many", Some(&hash)).await.unwrap());
        assert!(!passwords.matches("another", Some(&hash)).await.unwrap());
        assert!(!passwords.matches("", None).await.unwrap());
        assert_eq!(passwords.computed(), 4);
        let broken = passwords.matches("x", Some("nonsense")).await;
        assert!(matches!(broken, Err(PasswordError::Broken(_))));
    }

    #[tokio::test]
    async fn what_finds_no_place_is_told_to_come_back() {
        let passwords = Passwords::default();
        let places = u32::try_from(PLACES).unwrap();
        let all = passwords.places.acquire_many(places).await.unwrap();
        assert!(matches!(
            passwords.hash("x").await,
            Err(PasswordError::Busy)
        ));
        drop(all);
        passwords.hash("x").await.unwrap();
    }
}
