//! Looking tokens up for all requests and connections: what is asked while the database is asked already goes into its
//! next statement.
//!
//! Nothing is kept: every answer is of a statement that began after the question came, so that what was revoked before it
//! is never found good. A question that comes while a statement is under way waits for its end, and for its own: many at
//! once share one, and thousands of clients that come back after a restart cost some dozens and leave the pool to everybody
//! else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::tokens::{Authenticated, authenticate_all};
use crate::infra::tasks::{NeededBy, Task};
use crate::services::Services;

/// Tokens in one statement.
const AT_ONCE: usize = 256;

/// Questions that may wait in line; more wait to get in.
const WAITING: usize = 1024;

/// How long a statement, with the connection that it waits for, may keep those who came after it. Others begin beside it
/// then: a connection that hangs must not keep everybody out.
const SLOW: Duration = Duration::from_millis(50);

/// Statements at once, if they are slow: there are two lines of them, which leave half of the connections to MariaDB to
/// everything else, and a third of those to PostgreSQL that they share with pages of images.
const SIDE_BY_SIDE: usize = 4;

/// How long one may take at all. Its connection is free again when the server has ended it too.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long a round of the line may take: each of its statements has a deadline.
const STILL: Duration = Duration::from_mins(1);

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
pub struct TokenLookups {
    asks: mpsc::Sender<Question>,
    _stop_on_drop: Arc<DropGuard>,
}

impl TokenLookups {
    /// Looks up in the database of these services. Call it inside a Tokio runtime.
    pub fn start(services: &Services) -> Self {
        let (asks, questions) = mpsc::channel(WAITING);
        let stop = CancellationToken::new();
        let task = services
            .tasks
            .looping("token_lookups", NeededBy::All, STILL);
        let answer = answer(services.clone(), questions, task.clone());
        tokio::spawn(task.until(stop.clone(), answer));
        Self {
            asks,
            _stop_on_drop: Arc::new(stop.drop_guard()),
        }
    }

    /// The user whose token this is; none for a token that is unknown, revoked or expired, or whose user is banned.
    pub async fn find(&self, secret: &str) -> Answer {
        let (answer, answered) = oneshot::channel();
        let question = Question {
            secret: secret.to_owned(),
            answer,
        };
        let asked = async {
            self.asks
                .send(question)
                .await
                .map_err(|_ended| LookupError)?;
            answered.await.unwrap_or(Err(LookupError))
        };
        // Its place in line, and its statement.
        let asked = timeout(2 * DEADLINE, asked).await;
        asked.unwrap_or(Err(LookupError))
    }
}

async fn answer(services: Services, mut questions: mpsc::Receiver<Question>, task: Task) {
    let mut statements = JoinSet::new();
    let mut asked = Vec::new();
    while task.waiting(questions.recv_many(&mut asked, AT_ONCE)).await > 0 {
        // Whoever has gone needs no answer.
        asked.retain(|question: &Question| !question.answer.is_closed());
        let newest = answer_all(services.clone(), std::mem::take(&mut asked));
        let newest = statements.spawn(newest).id();
        // Who asks meanwhile waits for it, and shares the next one.
        let ended = async {
            while let Some(ended) = statements.join_next_with_id().await {
                if note(ended) == newest {
                    break;
                }
            }
        };
        let _slow = timeout(SLOW, ended).await;
        while statements.len() >= SIDE_BY_SIDE
            && let Some(ended) = statements.join_next_with_id().await
        {
            note(ended);
        }
    }
    // The last one who could ask is gone, and tells the task to end.
    std::future::pending::<()>().await;
}

/// Which statement has ended. Those whose questions went with one that panicked are told that the database does not answer.
fn note(ended: Result<(Id, ()), JoinError>) -> Id {
    match ended {
        Ok((id, ())) => id,
        Err(error) => {
            tracing::error!(%error, "could not check tokens");
            error.id()
        }
    }
}

async fn answer_all(services: Services, asked: Vec<Question>) {
    let secrets: Vec<&str> = asked.iter().map(|asked| asked.secret.as_str()).collect();
    let found = authenticate_all(&services.db, &secrets, services.clock.now());
    let found = match timeout(DEADLINE, found).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => {
            tracing::error!(%error, "could not check tokens");
            Err(LookupError)
        }
        Err(_elapsed) => {
            tracing::error!("could not check tokens within {DEADLINE:?}");
            Err(LookupError)
        }
    };
    for Question { secret, answer } in asked {
        let found = found.as_ref().map(|found| found.get(&secret).cloned());
        let _ = answer.send(found.map_err(|error| *error));
    }
}
