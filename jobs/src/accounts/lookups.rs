//! Looks up tokens for all requests and connections of a process, many in one statement.
//!
//! Nothing is cached: every answer comes from a statement that began after the question arrived, so a token that was revoked
//! before the question is never found good. Questions that arrive while a statement runs wait for it to end and share the
//! next one. Thousands of clients that reconnect after a restart therefore cost some dozens of statements, and leave the
//! connection pool to other work.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::tokens::{Authenticated, authenticate_all};
use crate::infra::tasks::{NeededBy, Task};
use crate::services::Services;

/// Most tokens in one statement.
const AT_ONCE: usize = 256;

/// Questions that the queue holds. Callers beyond that wait to enter it.
const WAITING: usize = 1024;

/// How long one statement, with its wait for a connection, keeps later questions waiting. After that the next statement
/// begins beside it, so that one connection that hangs does not stop all look-ups.
const SLOW: Duration = Duration::from_millis(50);

/// Most statements that run at once when they are slow. The rest of the pool's connections stays free for other work.
const SIDE_BY_SIDE: usize = 4;

/// Deadline of one statement. Its connection is free again when the server has ended the statement too.
const DEADLINE: Duration = Duration::from_secs(5);

/// Longest pass of the loop before `/readyz` reports it as stuck. Each of its statements has a deadline.
const STILL: Duration = Duration::from_mins(1);

/// The database did not answer. The log has the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the database does not answer")]
pub struct LookupError;

type Answer = Result<Option<Authenticated>, LookupError>;

struct Question {
    secret: String,
    answer: oneshot::Sender<Answer>,
}

/// Looks up tokens. Cheap to clone; its task ends with the last clone.
#[derive(Clone)]
pub struct TokenLookups {
    asks: mpsc::Sender<Question>,
    _stop_on_drop: Arc<DropGuard>,
}

impl TokenLookups {
    /// Starts a task that looks up tokens in the database of these services. Must be called inside a Tokio runtime.
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

    /// Returns the token's row and user; `None` for a token that is unknown, revoked or expired, or whose user is banned.
    /// Fails where the database does not answer within ten seconds.
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
        // Its wait in the queue, and its statement.
        let asked = timeout(2 * DEADLINE, asked).await;
        asked.unwrap_or(Err(LookupError))
    }
}

async fn answer(services: Services, mut questions: mpsc::Receiver<Question>, task: Task) {
    let mut statements = JoinSet::new();
    let mut asked = Vec::new();
    while task.waiting(questions.recv_many(&mut asked, AT_ONCE)).await > 0 {
        // A caller that has left needs no answer.
        asked.retain(|question: &Question| !question.answer.is_closed());
        let newest = answer_all(services.clone(), std::mem::take(&mut asked));
        let newest = statements.spawn(newest).id();
        // Questions that arrive meanwhile wait for this statement, and share the next one.
        let ended = async {
            while let Some(ended) = statements.join_next_with_id().await {
                if ended_statement(ended) == newest {
                    break;
                }
            }
        };
        let _slow = timeout(SLOW, ended).await;
        while statements.len() >= SIDE_BY_SIDE
            && let Some(ended) = statements.join_next_with_id().await
        {
            ended_statement(ended);
        }
    }
    // Every clone is gone, which ends the task.
    std::future::pending::<()>().await;
}

/// Returns the id of a statement that has ended. The questions of one that panicked are answered with [`LookupError`],
/// because their senders are dropped.
fn ended_statement(ended: Result<(Id, ()), JoinError>) -> Id {
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
