//! Lists of images, page by page, against a plain sorted vector, while rows come and go between the pages.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use sea_orm::{ActiveModelTrait as _, ActiveValue::Set, EntityTrait as _};
use tokio::runtime::Handle;
use uuid::Uuid;
use wharfinger_entity::{
    Credits, EngineImageStatus, ExposedPorts, ImageState, ImageVisibility, Role, Timestamp,
    engine_image, host, image,
};
use wharfinger_jobs::accounts::{NewUser, create_user};
use wharfinger_jobs::hosts;
use wharfinger_jobs::infra::db::Db;
use wharfinger_jobs::queries::Viewer;
use wharfinger_jobs::queries::images::{self, ImageFilter, ImageOrder, With};
use wharfinger_jobs::queries::page::PageArgs;

use crate::support::database::TestDatabase;
use crate::support::{Shape, on_every_database, settings};

on_every_database!(
    pages_are_those_of_a_sorted_vector,
    a_search_means_nothing_but_itself,
);

/// Runs of the property on each database.
const CASES: u32 = 32;

/// Everything that can be read beside the images.
const ALL: With = With {
    engine: true,
    host: true,
};

/// Sizes of the engine's images: two are the same.
const SIZES: [i64; 4] = [10, 20, 20, 30];

/// What references and searches are made of: letters of both cases, what the patterns of some database mean something
/// else by, and what the rules of a language leave aside when they sort.
const PARTS: [&str; 10] = ["a", "B", "b", "%", "_", "\\", "!", "-", "/", "'"];

/// A row to be made. The numbers choose among what there is.
#[derive(Clone, Debug)]
struct New {
    holder: usize,
    engine_image: usize,
    reference: String,
    pulled_at: i64,
    state: ImageState,
}

/// What happens between two pages.
#[derive(Clone, Debug)]
enum Change {
    Comes(New),
    Goes(prop::sample::Index, ImageState),
}

/// A walk through a list.
#[derive(Clone, Debug)]
struct Walk {
    rows: Vec<New>,
    states: Option<Vec<ImageState>>,
    visibility: Option<ImageVisibility>,
    host: Option<usize>,
    search: Option<String>,
    order: ImageOrder,
    backward: bool,
    size: i32,
    between: Vec<Vec<Change>>,
}

fn states() -> impl Strategy<Value = ImageState> {
    prop_oneof![
        4 => Just(ImageState::Held),
        1 => Just(ImageState::Released),
        1 => Just(ImageState::Lost),
    ]
}

fn text(parts: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    let part = prop::sample::select(&PARTS[..]);
    prop::collection::vec(part, parts).prop_map(|parts| parts.concat())
}

fn rows() -> impl Strategy<Value = New> {
    (0..3usize, 0..SIZES.len() * 2, text(1..4), 0..4i64, states()).prop_map(
        |(holder, engine_image, reference, pulled_at, state)| New {
            holder,
            engine_image,
            reference,
            pulled_at,
            state,
        },
    )
}

fn walks() -> impl Strategy<Value = Walk> {
    let change = prop_oneof![
        rows().prop_map(Change::Comes),
        (any::<prop::sample::Index>(), states())
            .prop_map(|(which, state)| Change::Goes(which, state)),
    ];
    let between = prop::collection::vec(prop::collection::vec(change, 0..3), 12);
    let visibility = prop::option::of(prop_oneof![
        Just(ImageVisibility::Private),
        Just(ImageVisibility::Public)
    ]);
    let order = prop::sample::select(vec![
        ImageOrder::PulledAtDesc,
        ImageOrder::PulledAtAsc,
        ImageOrder::SizeDesc,
        ImageOrder::SizeAsc,
        ImageOrder::ReferenceAsc,
    ]);
    let filters = (
        prop::option::weighted(0.3, prop::collection::vec(states(), 0..3)),
        visibility,
        prop::option::weighted(0.3, 0..3usize),
        prop::option::weighted(0.3, text(0..3)),
    );
    let rows = prop::collection::vec(rows(), 0..25);
    (rows, filters, order, any::<bool>(), 1..6i32, between).prop_map(
        |(rows, (states, visibility, host, search), order, backward, size, between)| Walk {
            rows,
            states,
            visibility,
            host,
            search,
            order,
            backward,
            size,
            between,
        },
    )
}

/// A database with what rows refer to, and the rows as a plain vector.
struct Stage {
    db: Db,
    /// The viewer, somebody else, and nobody.
    holders: [Uuid; 3],
    hosts: Vec<Uuid>,
    /// Of the first host, then of the second.
    engine_images: Vec<engine_image::Model>,
    rows: Vec<image::Model>,
}

impl Stage {
    async fn set(database: &TestDatabase) -> Self {
        let db = database.connect().await;
        db.migrate().await.unwrap();
        let now = Timestamp::from_micros(1);
        let mut holders = [Uuid::nil(); 3];
        for (holder, name) in holders.iter_mut().zip(["viewer", "other"]) {
            let new = NewUser {
                name: name.to_owned(),
                role: Role::User,
                password_hash: None,
                credits: Credits::ZERO,
            };
            *holder = create_user(&db, &new, now).await.unwrap().id;
        }
        let worker = settings().worker;
        let mut hosts = Vec::new();
        let mut engine_images = Vec::new();
        for name in ["one", "two"] {
            let host: host::Model = hosts::join(&db, name, &worker, now).await.unwrap();
            hosts.push(host.id);
            for (number, size) in SIZES.into_iter().enumerate() {
                let row = engine_image::ActiveModel {
                    id: Set(Uuid::now_v7()),
                    host_id: Set(host.id),
                    image_id: Set(format!("sha256:{number}")),
                    status: Set(EngineImageStatus::Present),
                    brought: Set(true),
                    size: Set(size),
                    platform: Set("linux/amd64".to_owned()),
                    exposed_ports: Set(ExposedPorts::default()),
                    version: Set(0),
                    lock_token: Set(None),
                    lock_holder: Set(None),
                    lock_until: Set(None),
                    created_at: Set(now),
                };
                engine_images.push(row.insert(db.write()).await.unwrap());
            }
        }
        // A host that has nothing.
        hosts.push(hosts::join(&db, "three", &worker, now).await.unwrap().id);
        Self {
            db,
            holders,
            hosts,
            engine_images,
            rows: Vec::new(),
        }
    }

    async fn clear(&mut self) {
        self.rows.clear();
        let cleared = image::Entity::delete_many().exec(self.db.write());
        cleared.await.unwrap();
    }

    /// Makes a row, unless its holder holds that reference there already.
    async fn add(&mut self, new: &New) {
        let holder = self.holders[new.holder];
        let engine_image = &self.engine_images[new.engine_image];
        let public = holder.is_nil();
        let held = new.state == ImageState::Held;
        let row = image::Model {
            id: Uuid::now_v7(),
            user_id: (!public).then_some(holder),
            holder,
            host_id: engine_image.host_id,
            engine_image_id: engine_image.id,
            reference: new.reference.clone(),
            digest: None,
            visibility: if public {
                ImageVisibility::Public
            } else {
                ImageVisibility::Private
            },
            state: new.state,
            charge: Credits::ZERO,
            size: engine_image.size,
            pulled_at: Timestamp::from_micros(new.pulled_at),
            released_at: None,
            live: held.then_some(1),
        };
        let same = |other: &image::Model| {
            other.live.is_some()
                && (other.holder, other.host_id, &other.reference)
                    == (row.holder, row.host_id, &row.reference)
        };
        if held && self.rows.iter().any(same) {
            return;
        }
        let insert = image::ActiveModel::from(row.clone()).reset_all();
        let inserted = image::Entity::insert(insert).exec_without_returning(self.db.write());
        inserted.await.unwrap();
        self.rows.push(row);
    }

    async fn change(&mut self, change: &Change) {
        match change {
            Change::Comes(new) => self.add(new).await,
            Change::Goes(which, state) if !self.rows.is_empty() && *state != ImageState::Held => {
                let row = which.get(&self.rows).id;
                let row = self.rows.iter_mut().find(|other| other.id == row).unwrap();
                row.state = *state;
                row.live = None;
                let update = image::ActiveModel {
                    id: Set(row.id),
                    state: Set(row.state),
                    live: Set(None),
                    ..Default::default()
                };
                image::Entity::update(update)
                    .exec(self.db.write())
                    .await
                    .unwrap();
            }
            Change::Goes(..) => {}
        }
    }

    /// The whole list as it is to be.
    fn list(&self, walk: &Walk) -> Vec<Place> {
        let held = vec![ImageState::Held];
        let states = walk.states.as_ref().unwrap_or(&held);
        let matches = |row: &&image::Model| {
            let visible = row.holder == self.holders[0] || row.holder.is_nil();
            let search = walk.search.as_ref().map(|search| search.to_lowercase());
            visible
                && states.contains(&row.state)
                && walk.visibility.is_none_or(|only| row.visibility == only)
                && walk.host.is_none_or(|host| row.host_id == self.hosts[host])
                && search.is_none_or(|search| row.reference.to_lowercase().contains(&search))
        };
        let place = |row: &image::Model| {
            let engine_image = self.engine_images.iter();
            let size = engine_image
                .clone()
                .find(|engine_image| engine_image.id == row.engine_image_id)
                .unwrap()
                .size;
            let (number, text) = match walk.order {
                ImageOrder::PulledAtDesc | ImageOrder::PulledAtAsc => {
                    (row.pulled_at.micros(), String::new())
                }
                ImageOrder::SizeDesc | ImageOrder::SizeAsc => (size, String::new()),
                ImageOrder::ReferenceAsc => (0, row.reference.clone()),
            };
            (number, text, row.id)
        };
        let mut list: Vec<Place> = self.rows.iter().filter(matches).map(place).collect();
        list.sort();
        if matches!(walk.order, ImageOrder::PulledAtDesc | ImageOrder::SizeDesc) {
            list.reverse();
        }
        list
    }

    /// Reads the list page by page as the walk says, and compares each page with the vector of that moment.
    async fn walk(&mut self, walk: &Walk) -> Result<(), TestCaseError> {
        self.clear().await;
        for row in &walk.rows {
            self.add(row).await;
        }
        let filter = ImageFilter {
            states: walk.states.clone(),
            visibility: walk.visibility,
            host_id: walk.host.map(|host| self.hosts[host]),
            search: walk.search.clone(),
        };
        let descending = matches!(walk.order, ImageOrder::PulledAtDesc | ImageOrder::SizeDesc);
        let (mut cursor, mut last): (Option<String>, Option<Place>) = (None, None);
        for between in &walk.between {
            let size = Some(walk.size);
            let page = if walk.backward {
                PageArgs {
                    last: size,
                    before: cursor.clone(),
                    ..PageArgs::default()
                }
            } else {
                PageArgs {
                    first: size,
                    after: cursor.clone(),
                    ..PageArgs::default()
                }
            };
            let user = self.holders[0];
            let viewer = Viewer::user(user);
            let read = images::list(&self.db, viewer, user, &filter, walk.order, &page, ALL);
            let read = read.await.unwrap();

            let whole = self.list(walk);
            let beyond = |place: &Place| match &last {
                None => true,
                // Beyond the cursor in the direction of the walk.
                Some(last) => (place > last) != (descending != walk.backward) && place != last,
            };
            let mut expected: Vec<Place> = whole
                .iter()
                .filter(|place| beyond(place))
                .cloned()
                .collect();
            let wanted = usize::try_from(walk.size).unwrap();
            let more = expected.len() > wanted;
            if walk.backward {
                expected.drain(..expected.len().saturating_sub(wanted));
            } else {
                expected.truncate(wanted);
            }
            let ids: Vec<Uuid> = read.items.iter().map(|(_, view)| view.image.id).collect();
            let expected_ids: Vec<Uuid> = expected.iter().map(|place| place.2).collect();
            prop_assert_eq!(ids, expected_ids);
            for (_, view) in &read.items {
                let own = |row: &&engine_image::Model| row.id == view.image.engine_image_id;
                let own = self.engine_images.iter().find(own).unwrap();
                let engine = view.engine.as_ref().unwrap();
                prop_assert_eq!(&engine.image_id, &own.image_id);
                prop_assert_eq!(view.host.as_ref().unwrap().id, own.host_id);
            }
            let flags = if walk.backward {
                (more, cursor.is_some())
            } else {
                (cursor.is_some(), more)
            };
            prop_assert_eq!((read.has_previous, read.has_next), flags);
            let count = images::count(&self.db, viewer, user, &filter)
                .await
                .unwrap();
            prop_assert_eq!(count, whole.len() as u64);

            let end = if walk.backward {
                (read.items.first(), expected.first())
            } else {
                (read.items.last(), expected.last())
            };
            let (Some((end, _)), Some(place)) = end else {
                return Ok(());
            };
            cursor = Some(end.clone());
            last = Some(place.clone());
            for change in between {
                self.change(change).await;
            }
        }
        Ok(())
    }
}

/// A row's place in the order: the number or text that it is ordered by, and its id.
type Place = (i64, String, Uuid);

async fn pages_are_those_of_a_sorted_vector(shape: Shape) {
    let database = TestDatabase::create_sorting_as_people_do(shape).await;
    let mut stage = Stage::set(&database).await;
    let runtime = Handle::current();
    let run = tokio::task::spawn_blocking(move || {
        let config = Config {
            cases: CASES,
            failure_persistence: None,
            max_shrink_iters: 400,
            ..Config::default()
        };
        let stage = std::cell::RefCell::new(&mut stage);
        let ran = TestRunner::new(config).run(&walks(), |walk| {
            runtime.block_on(stage.borrow_mut().walk(&walk))
        });
        ran.unwrap_or_else(|error| panic!("{error}"));
    });
    run.await.unwrap();
}

/// Each part of the alphabet alone finds exactly the references that have it.
async fn a_search_means_nothing_but_itself(shape: Shape) {
    let database = TestDatabase::create(shape).await;
    let mut stage = Stage::set(&database).await;
    for (number, part) in PARTS.into_iter().enumerate() {
        let new = New {
            holder: 0,
            engine_image: 0,
            reference: format!("x{part}y{number}"),
            pulled_at: 0,
            state: ImageState::Held,
        };
        stage.add(&new).await;
    }
    for part in PARTS {
        let filter = ImageFilter {
            search: Some(format!("X{part}Y")),
            ..ImageFilter::default()
        };
        let (db, page) = (&stage.db, PageArgs::default());
        let list = images::list(
            db,
            Viewer::user(stage.holders[0]),
            stage.holders[0],
            &filter,
            ImageOrder::ReferenceAsc,
            &page,
            With::default(),
        );
        let found: Vec<String> = list
            .await
            .unwrap()
            .items
            .into_iter()
            .map(|(_, view)| view.image.reference)
            .collect();
        let has = |reference: &&String| {
            let lower = format!("x{}y", part.to_lowercase());
            reference.to_lowercase().starts_with(&lower)
        };
        let rows: Vec<String> = stage.rows.iter().map(|row| row.reference.clone()).collect();
        let mut expected: Vec<String> = rows.iter().filter(has).cloned().collect();
        expected.sort();
        assert!(!expected.is_empty());
        assert_eq!(found, expected, "{part}");
    }
}
