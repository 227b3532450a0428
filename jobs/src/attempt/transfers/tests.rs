use futures::channel::mpsc;

use super::*;
use crate::engine::{LayerStep, PullEvent};

const MINUTE: Duration = Duration::from_mins(1);

fn patience(stall: Duration) -> Patience {
    Transfers::new(stall).patience
}

fn state(moved: Instant) -> TransferState {
    TransferState {
        snapshot: PullSnapshot::default(),
        ended: None,
        moved,
        waits_for_its_turn: false,
    }
}

fn unpacking(current: u64) -> PullEvent {
    PullEvent::Layer {
        id: "a".repeat(12).into(),
        step: LayerStep::Extracting {
            current,
            total: Some(100),
        },
    }
}

#[test]
fn who_waits_for_its_turn_waits_while_the_engine_is_busy() {
    let patience = patience(MINUTE);
    let began = now();
    let busy = began + MINUTE / 2;
    *patience.engine_moved.lock() = busy;
    let mut state = state(began);
    assert_eq!(patience.until(&state), began + MINUTE);
    state.waits_for_its_turn = true;
    assert_eq!(patience.until(&state), busy + MINUTE);
    state.moved = busy + MINUTE;
    assert_eq!(patience.until(&state), busy + 2 * MINUTE);
}

#[tokio::test]
async fn what_moves_unseen_by_watchers_counts() {
    let patience = patience(MINUTE);
    let (events, stream) = mpsc::unbounded();
    let (sender, mut following) = watch::channel(state(now()));
    let tracker = ProgressTracker::new(vec![(format!("sha256:{}", "a".repeat(64)), 100)]);
    let (watched, brought) = (HashSet::new(), Brought::default());
    let following_engine = follow(stream, tracker, watched, brought, sender, patience.clone());
    let _task = AbortOnDropHandle::new(tokio::spawn(following_engine));
    events.unbounded_send(Ok(unpacking(1))).unwrap();
    following.changed().await.unwrap();
    let before = following.borrow_and_update().moved;

    events.unbounded_send(Ok(unpacking(2))).unwrap();
    let moved = async {
        while following.borrow().moved == before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(MINUTE, moved).await.unwrap();
    assert!(*patience.engine_moved.lock() > before);
    assert!(!following.has_changed().unwrap());
}

#[tokio::test]
async fn every_follower_gives_up_a_stalled_transfer_and_no_job_joins_it() {
    let transfer = |stall| {
        let (sender, state) = watch::channel(state(now()));
        let task = tokio::spawn(async move { sender.closed().await });
        Transfer {
            state,
            patience: patience(stall),
            place: None,
            _task: AbortOnDropHandle::new(task),
        }
    };
    assert!(transfer(MINUTE).is_running());
    let stalled = transfer(Duration::ZERO);
    assert!(!stalled.is_running());
    // A late follower gets the state once, and then the stall.
    for _ in 0..2 {
        let mut following = stalled.follow();
        assert!(matches!(following.next().await, Next::State(_)));
        assert!(matches!(following.next().await, Next::Stalled));
    }
}
