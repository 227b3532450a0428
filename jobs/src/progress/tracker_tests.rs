use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

const EXTRACTING: LayerStep = LayerStep::Extracting {
    current: 1,
    total: None,
};

fn layer(letter: char, step: LayerStep) -> PullEvent {
    let id = letter.to_string().repeat(SHORT_ID).into();
    PullEvent::Layer { id, step }
}

fn downloading(letter: char, current: u64, total: Option<u64>) -> PullEvent {
    layer(letter, LayerStep::Downloading { current, total })
}

/// Applies events a tenth of a second apart and returns the tracker with the last instant.
fn follow(
    layers: &[(char, u64)],
    events: impl IntoIterator<Item = PullEvent>,
) -> (ProgressTracker, Instant) {
    let layers = layers.iter().map(|(letter, size)| (digest(*letter), *size));
    let mut tracker = ProgressTracker::new(layers.collect());
    let mut now = Instant::now();
    for event in events {
        now += Duration::from_millis(100);
        tracker.apply(&event, now);
    }
    (tracker, now)
}

#[test]
fn a_pull_from_its_beginning_to_its_end() {
    let (mut tracker, mut now) = follow(&[('a', 100), ('b', 200), ('c', 50)], []);
    let first = tracker.snapshot(now);
    assert_eq!(first.phase, PullPhase::Resolving);
    assert_eq!(
        (first.downloaded, first.total, first.reused),
        (0, Some(350), 0)
    );
    assert_eq!(first.layers[1].id, digest('b'));

    let mut step = |event: PullEvent| {
        now += Duration::from_millis(100);
        let changed = tracker.apply(&event, now);
        (changed, tracker.snapshot(now))
    };
    assert_eq!(step(PullEvent::Resolved).1.phase, PullPhase::Downloading);
    assert_eq!(step(layer('a', LayerStep::Exists)).1.reused, 100);
    step(layer('b', LayerStep::Announced));
    step(layer('c', LayerStep::Announced));
    assert_eq!(step(downloading('b', 80, Some(200))).1.downloaded, 80);
    // The same again is no news, nor is a wait; a retry begins at zero, and watchers do not go back with it.
    assert!(!step(downloading('b', 80, Some(200))).0);
    assert!(!step(layer('b', LayerStep::Retrying)).0);
    assert!(!step(layer('c', LayerStep::Waiting)).0);
    assert_eq!(step(downloading('b', 0, Some(120))).1.downloaded, 80);
    let (_, lower) = step(layer('c', EXTRACTING));
    assert_eq!(
        (lower.phase, lower.downloaded),
        (PullPhase::Downloading, 130)
    );
    assert_eq!(
        step(layer('c', LayerStep::Done)).1.layers[2].state,
        LayerState::Done
    );
    assert_eq!(
        step(layer('b', LayerStep::Downloaded)).1.phase,
        PullPhase::Downloading
    );
    let (_, extracting) = step(layer('b', EXTRACTING));
    assert_eq!(extracting.phase, PullPhase::Extracting);
    assert_eq!(
        (extracting.bytes_per_second, extracting.remaining_seconds),
        (None, None)
    );
    step(layer('b', LayerStep::Done));
    assert!(!step(PullEvent::Digest(digest('e').into())).0);
    let (changed, last) = step(PullEvent::Finished);
    assert!(changed);
    assert_eq!(last.phase, PullPhase::Settling);
    assert_eq!(
        (last.downloaded, last.reused, last.total),
        (250, 100, Some(350))
    );
    assert_eq!(last.layers[0].state, LayerState::Reused);
}

#[test]
fn an_image_that_the_engine_had_is_reused_whole() {
    let events = [PullEvent::Resolved, PullEvent::Finished];
    let (tracker, now) = follow(&[('a', 100), ('b', 200)], events);
    let snapshot = tracker.snapshot(now);
    assert_eq!((snapshot.downloaded, snapshot.reused), (0, 300));
    assert!(
        snapshot
            .layers
            .iter()
            .all(|layer| layer.state == LayerState::Reused)
    );
}

#[test]
fn without_a_manifest_the_engines_layers_are_shown() {
    let events = [
        layer('a', LayerStep::Exists),
        layer('b', LayerStep::Announced),
        downloading('b', 10, Some(40)),
        downloading('c', 7, None),
    ];
    let (mut tracker, now) = follow(&[], events);
    let snapshot = tracker.snapshot(now);
    assert_eq!((snapshot.downloaded, snapshot.total), (17, None));
    assert_eq!(snapshot.layers[1].id, "b".repeat(12));
    assert_eq!(snapshot.layers[1].total, Some(40));
    tracker.finish(now);
    assert_eq!(tracker.snapshot(now).downloaded, 47);
}

#[test]
fn a_layer_that_an_image_has_twice_counts_once() {
    let (mut tracker, now) = follow(
        &[('a', 32), ('b', 10), ('a', 32)],
        [layer('a', LayerStep::Done)],
    );
    let snapshot = tracker.snapshot(now);
    assert_eq!((snapshot.downloaded, snapshot.total), (32, Some(42)));
    tracker.finish(now);
    assert_eq!(tracker.snapshot(now).layers.len(), 2);
}

#[test]
fn a_tag_that_moved_after_its_manifest_was_read_brings_other_layers() {
    let events = [
        layer('c', LayerStep::Downloaded), // a configuration: not announced
        layer('b', LayerStep::Announced),
        downloading('b', 70, Some(90)),
    ];
    let (mut tracker, now) = follow(&[('a', 100)], events);
    let snapshot = tracker.snapshot(now);
    assert_eq!(snapshot.layers.len(), 2);
    assert_eq!((snapshot.downloaded, snapshot.total), (70, Some(190)));
    tracker.finish(now);
    let last = tracker.snapshot(now);
    assert_eq!(
        (last.downloaded, last.reused, last.total),
        (90, 100, Some(190))
    );
}

#[test]
fn the_rate_and_what_remains() {
    let events = (0..=30).map(|tick| downloading('a', tick * 1000, Some(100_000)));
    let (tracker, now) = follow(&[('a', 100_000)], events);
    let snapshot = tracker.snapshot(now);
    let rate = snapshot.bytes_per_second.unwrap();
    assert!((9_900..=10_100).contains(&rate), "{rate}");
    assert!((6..=8).contains(&snapshot.remaining_seconds.unwrap()));
    let stalled = tracker.snapshot(now + Duration::from_secs(20));
    assert!(stalled.bytes_per_second.unwrap() < 100);
}

#[test]
fn layers_without_end_are_bounded() {
    let events = (0..3000).map(|n| PullEvent::Layer {
        id: format!("{n:012x}").into(),
        step: LayerStep::Announced,
    });
    let (tracker, now) = follow(&[], events);
    assert_eq!(tracker.snapshot(now).layers.len(), LAYERS_AT_MOST);
    let layers = (0..3000).map(|n| (format!("sha256:{n:064}"), 1)).collect();
    let mut tracker = ProgressTracker::new(layers);
    tracker.finish(now);
    assert!(tracker.snapshot(now).layers.len() <= LAYERS_AT_MOST);
}

#[test]
fn a_snapshot_is_compact_json_and_comes_back() {
    let (tracker, now) = follow(&[('a', 100)], [downloading('a', 10, Some(100))]);
    let snapshot = tracker.snapshot(now);
    let json = serde_json::to_string(&snapshot).unwrap();
    let expected = format!(
        r#"{{"phase":"DOWNLOADING","downloaded":10,"total":100,"reused":0,"layers":[{{"id":"{}","state":"DOWNLOADING","downloaded":10,"total":100}}]}}"#,
        digest('a')
    );
    assert_eq!(json, expected);
    assert_eq!(
        serde_json::from_str::<PullSnapshot>(&json).unwrap(),
        snapshot
    );
    let nothing = PullSnapshot::default();
    let json = serde_json::to_string(&nothing).unwrap();
    assert_eq!(
        serde_json::from_str::<PullSnapshot>(&json).unwrap(),
        nothing
    );
}

fn any_step() -> impl Strategy<Value = LayerStep> {
    prop_oneof![
        Just(LayerStep::Announced),
        Just(LayerStep::Waiting),
        Just(LayerStep::Retrying),
        (any_size(), proptest::option::of(any_size()))
            .prop_map(|(current, total)| LayerStep::Downloading { current, total }),
        Just(LayerStep::Downloaded),
        Just(EXTRACTING),
        Just(LayerStep::Done),
        Just(LayerStep::Exists),
    ]
}

fn any_size() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0u64..1_000_000, 1 => any::<u64>()]
}

fn any_event() -> impl Strategy<Value = PullEvent> {
    prop_oneof![
        1 => Just(PullEvent::Resolved),
        20 => (proptest::char::range('a', 'f'), any_step()).prop_map(|(id, step)| layer(id, step)),
        1 => ("\\PC{0,14}", any_step()).prop_map(|(id, step)| PullEvent::Layer { id: id.into(), step }),
        1 => Just(PullEvent::Digest("sha256:ab".into())),
        1 => "\\PC{0,9}".prop_map(|text| PullEvent::Other(text.into())),
    ]
}

proptest! {
    #[test]
    fn whatever_the_engine_says_watchers_only_go_forward(
        layers in proptest::collection::vec((proptest::char::range('a', 'd'), any_size()), 0..6),
        events in proptest::collection::vec((any_event(), 0u64..2000), 0..60),
    ) {
        let layers: Vec<_> = layers.into_iter().map(|(letter, size)| (digest(letter), size)).collect();
        let is_known = !layers.is_empty();
        let mut tracker = ProgressTracker::new(layers);
        let mut now = Instant::now();
        let mut before = tracker.snapshot(now);
        for (event, gap) in events {
            now += Duration::from_millis(gap);
            let changed = tracker.apply(&event, now);
            let after = tracker.snapshot(now);
            prop_assert!(changed || what_counts(&after) == what_counts(&before));
            prop_assert_eq!(after.total.is_some(), is_known);
            prop_assert!(after.phase >= before.phase && after.phase <= PullPhase::Extracting);
            prop_assert!(after.downloaded >= before.downloaded && after.reused >= before.reused);
            prop_assert!(after.total >= before.total);
            if let Some(total) = after.total {
                prop_assert!(after.downloaded.saturating_add(after.reused) <= total);
            }
            for (then, now) in before.layers.iter().zip(&after.layers) {
                prop_assert_eq!(&then.id, &now.id);
                prop_assert!(now.state >= then.state && now.downloaded >= then.downloaded);
                prop_assert!(now.total.is_none_or(|total| now.downloaded <= total));
            }
            before = after;
        }
        tracker.apply(&PullEvent::Finished, now);
        let last = tracker.snapshot(now);
        prop_assert_eq!(last.phase, PullPhase::Settling);
        prop_assert!(last.downloaded >= before.downloaded);
        prop_assert!(last.layers.iter().all(|layer| layer.state >= LayerState::Done));
        if let Some(total) = last.total {
            prop_assert_eq!(last.downloaded.saturating_add(last.reused), total);
        }
        // What comes after the end changes nothing.
        prop_assert!(!tracker.apply(&downloading('a', 5, Some(9)), now));
        prop_assert_eq!(what_counts(&tracker.snapshot(now)), what_counts(&last));
    }
}

/// All but the rate, which changes with time alone.
fn what_counts(snapshot: &PullSnapshot) -> PullSnapshot {
    PullSnapshot {
        bytes_per_second: None,
        remaining_seconds: None,
        ..snapshot.clone()
    }
}
