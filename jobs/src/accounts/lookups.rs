//! Looking tokens up for very many connections: what is asked while the database is asked already goes into its next
//! statement.
//!
//! Nothing is kept: every answer is of a statement that began after the question came, so that what was revoked before it
//! is never found good. Thousands of clients that come back at once cost some dozens of statements, one at a time, and
//! leave the pool to everybody else.

use std::collections::HashMap;

use tokio::sync::{mpsc, oneshot};

use super::tokens::{Authenticated, authenticate_all};
use crate::services::Services;

/// Tokens in one statement.
const AT_ONCE: usize = 256;

/// Questions that may wait in line; more wait to get in.
const WAITING: usize = 1024;

/// The database did not answer; the log says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the database does not answer")]
pub struct LookupError;

type Answer = Result<Option<Authenticated>, LookupError>;

struct Question {
    secret: String,
    answer: oneshot::Sender<Answer>,
}

/// Looks tokens up. Cheap to clone; it ends with the last clone.
#[derive(Clone)]
pub struct TokenLookups(mpsc::Sender<Question>);

impl TokenLookups {
    /// Looks up in the database of these services. Call it inside a Tokio runtime.
    pub fn start(services: &Services) -> Self {
        let (asks, questions) = mpsc::channel(WAITING);
        tokio::spawn(answer(services.clone(), questions));
        Self(asks)
    }

    /// Whose token it is, as [`super::authenticate`] says.
    pub async fn find(&self, secret: &str) -> Answer {
        let (answer, answered) = oneshot::channel();
        let question = Question {
            secret: secret.to_owned(),
            answer,
        };
        self.0.send(question).await.map_err(|_ended| LookupError)?;
        answered.await.unwrap_or(Err(LookupError))
    }
}

async fn answer(services: Services, mut questions: mpsc::Receiver<Question>) {
    let mut asked = Vec::with_capacity(AT_ONCE);
    while questions.recv_many(&mut asked, AT_ONCE).await > 0 {
        let secrets: Vec<&str> = asked.iter().map(|asked| asked.secret.as_str()).collect();
        let found = authenticate_all(&services.db, &secrets, services.clock.now()).await;
        let found: Result<HashMap<_, _>, LookupError> = found.map_err(|error| {
            tracing::error!(%error, "could not check tokens");
            LookupError
        });
        for Question { secret, answer } in asked.drain(..) {
            let found = found.as_ref().map(|found| found.get(&secret).cloned());
            // Whoever has gone needs no answer.
            let _ = answer.send(found.map_err(|error| *error));
        }
    }
}
