//! What happens in a sequence, and how sequences are made up.
//!
//! Numbers that pick something out of what there is are taken modulo its count, so that every part of a sequence is a
//! sequence: shrinking may leave out anything.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::scene::{ADMIN, HOSTS, IMAGES, RICH, TAGS, USERS};

/// One step of a sequence.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Somebody makes a tag of the registry mean an image, under a manifest of this edition.
    Push {
        tag: usize,
        image: usize,
        edition: u32,
    },
    /// `pullImage`, with a fault on its way or an idempotency key.
    Pull {
        user: usize,
        host: usize,
        tag: usize,
        fault: Option<Fault>,
        key: Option<u8>,
    },
    /// `removeImage` of any image that there ever was.
    Remove {
        user: usize,
        pick: usize,
        key: Option<u8>,
    },
    /// `removeImage` of an image that this user holds.
    RemoveOwn { user: usize, pick: usize },
    /// The same, and the engine's first try fails.
    RemoveWithFault { user: usize, pick: usize },
    /// `cancelJob` of any job that there ever was.
    Cancel { user: usize, pick: usize },
    /// A pull that is cancelled in the middle.
    CancelInTheMiddle {
        user: usize,
        host: usize,
        tag: usize,
    },
    /// `retryJob` of any job that there ever was.
    Retry { user: usize, pick: usize },
    /// Jobs of the first host are accepted and wait, because its worker stops or an administrator pauses its queue.
    Pause { queue: bool },
    /// It starts again.
    Resume,
    /// A host's worker stops and starts, and compares the engine with the database.
    Restart { host: usize },
    /// Time passes.
    Advance { minutes: u8 },
    /// An engine's operator pulls what a tag means.
    OperatorPulls { host: usize, tag: usize },
    /// An engine's operator gives an image a name of their own.
    OperatorTags { host: usize, image: usize },
    /// An engine's operator makes a container of an image, or removes it.
    UseImage {
        host: usize,
        image: usize,
        used: bool,
    },
    /// An engine loses an image.
    Lose { host: usize, image: usize },
    /// An administrator publishes an image that somebody holds.
    Publish { pick: usize },
    /// An administrator lets go of a public image.
    RemovePublic { pick: usize },
    /// An administrator gives credits, or takes some back.
    Grant {
        user: usize,
        amount: i64,
        key: Option<u8>,
    },
    /// An administrator cleans the first host up.
    Sweep,
    /// An administrator redrives the oldest dead letter of a host.
    Redrive { host: usize },
    /// An administrator takes a dead letter off the list.
    Discard { pick: usize },
    /// A user is banned, or may come back.
    Ban { user: usize, banned: bool },
    /// A host takes no new jobs, or takes them again.
    Drain { host: usize, drained: bool },
    /// Several things at once on the busy host.
    AtOnce(Vec<Item>),
}

/// What goes wrong with a pull, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The registry refuses.
    Denied,
    /// The registry is out of order.
    RegistryDown(u32),
    /// The engine has no room.
    DiskFull(u32),
    /// The engine loses the registry in the middle.
    CutOff(u32),
}

/// One of several things at once.
#[derive(Clone, Debug)]
pub(crate) enum Item {
    /// `pullImage`
    Pull { user: usize, tag: usize },
    /// `pullImage`, and `cancelJob` at once: both ends are right.
    PullAndCancel { user: usize, tag: usize },
    /// `removeImage` of an image that this user holds on the busy host.
    Remove { user: usize, pick: usize },
    /// The worker stops and starts.
    Restart,
}

/// Sequences of up to `most` operations.
pub(crate) fn sequences(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    vec(operation(), 1..=most)
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation as O;
    let user = || 0..USERS.len();
    let host = || 0..HOSTS.len();
    let tag = || 0..TAGS.len();
    let image = || 0..IMAGES.len();
    let pick = || 0..1000_usize;
    let key = || option::weighted(0.2, 0..3_u8);
    prop_oneof![
        6 => (tag(), image(), 0..2_u32).prop_map(|(tag, image, edition)| O::Push { tag, image, edition }),
        16 => (user(), host(), tag(), option::weighted(0.2, fault()), key())
            .prop_map(|(user, host, tag, fault, key)| O::Pull { user, host, tag, fault, key }),
        2 => (user(), pick(), key()).prop_map(|(user, pick, key)| O::Remove { user, pick, key }),
        6 => (user(), pick()).prop_map(|(user, pick)| O::RemoveOwn { user, pick }),
        1 => (user(), pick()).prop_map(|(user, pick)| O::RemoveWithFault { user, pick }),
        2 => (user(), pick()).prop_map(|(user, pick)| O::Cancel { user, pick }),
        1 => (user(), host(), tag()).prop_map(|(user, host, tag)| O::CancelInTheMiddle { user, host, tag }),
        3 => (user(), pick()).prop_map(|(user, pick)| O::Retry { user, pick }),
        1 => any::<bool>().prop_map(|queue| O::Pause { queue }),
        2 => Just(O::Resume),
        1 => host().prop_map(|host| O::Restart { host }),
        1 => (1..50_u8).prop_map(|minutes| O::Advance { minutes }),
        1 => (host(), tag()).prop_map(|(host, tag)| O::OperatorPulls { host, tag }),
        1 => (host(), image()).prop_map(|(host, image)| O::OperatorTags { host, image }),
        2 => (host(), image(), any::<bool>()).prop_map(|(host, image, used)| O::UseImage { host, image, used }),
        2 => (host(), image()).prop_map(|(host, image)| O::Lose { host, image }),
        4 => vec(item(), 2..4).prop_map(O::AtOnce),
        8 => administration(),
    ]
}

fn administration() -> impl Strategy<Value = Operation> {
    use Operation as O;
    let host = || 0..HOSTS.len();
    let pick = || 0..1000_usize;
    let amount = prop_oneof![
        Just(2_000_000_i64),
        Just(300_000),
        Just(-300_000),
        Just(-5_000_000_000),
        Just(0),
    ];
    let key = option::weighted(0.3, 0..2_u8);
    prop_oneof![
        4 => pick().prop_map(|pick| O::Publish { pick }),
        2 => pick().prop_map(|pick| O::RemovePublic { pick }),
        2 => (0..USERS.len(), amount, key)
            .prop_map(|(user, amount, key)| O::Grant { user, amount, key }),
        2 => Just(O::Sweep),
        2 => host().prop_map(|host| O::Redrive { host }),
        1 => pick().prop_map(|pick| O::Discard { pick }),
        2 => (0..ADMIN, prop::bool::weighted(0.4))
            .prop_map(|(user, banned)| O::Ban { user, banned }),
        2 => (host(), prop::bool::weighted(0.3))
            .prop_map(|(host, drained)| O::Drain { host, drained }),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        Just(Fault::Denied),
        (1..5_u32).prop_map(Fault::RegistryDown),
        (1..5_u32).prop_map(Fault::DiskFull),
        (1..5_u32).prop_map(Fault::CutOff),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let user = || RICH..ADMIN;
    prop_oneof![
        6 => (user(), 0..TAGS.len()).prop_map(|(user, tag)| Item::Pull { user, tag }),
        2 => (user(), 0..TAGS.len()).prop_map(|(user, tag)| Item::PullAndCancel { user, tag }),
        4 => (user(), 0..1000_usize).prop_map(|(user, pick)| Item::Remove { user, pick }),
        1 => Just(Item::Restart),
    ]
}
