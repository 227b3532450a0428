//! Refuses to push: apalis-board could otherwise put raw payloads into the queue.

use std::pin::Pin;
use std::task::{Context, Poll};

use apalis_core::backend::{TaskSink, TaskSinkError};
use apalis_core::task::Task;
use futures::Stream;
use serde_json::Value;

use super::backend::{Backend, BoardError, ReadOnly};

type Refused = Result<(), TaskSinkError<BoardError>>;

fn refused() -> Refused {
    Err(TaskSinkError::PushError(BoardError::ReadOnly))
}

impl TaskSink<Value, ReadOnly> for Backend {
    fn start_send(self: Pin<&mut Self>, _: Task<Value>) -> Refused {
        refused()
    }

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Refused> {
        Poll::Ready(refused())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Refused> {
        Poll::Ready(refused())
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Refused> {
        Poll::Ready(refused())
    }

    async fn push(&mut self, _: Value) -> Refused {
        refused()
    }

    async fn push_bulk(&mut self, _: Vec<Value>) -> Refused {
        refused()
    }

    async fn push_stream(&mut self, _: impl Stream<Item = Value> + Unpin + Send) -> Refused {
        refused()
    }

    async fn push_task(&mut self, _: Task<Value>) -> Refused {
        refused()
    }

    async fn push_all(&mut self, _: impl Stream<Item = Task<Value>> + Unpin + Send) -> Refused {
        refused()
    }
}
