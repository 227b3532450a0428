//! The clean-up: asked for, and by its schedule.

use std::time::Duration;

use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
};
use uuid::Uuid;
use wharfinger_entity::{
    AuditAction, ImageState, JobKind, Timestamp, host_sweep, image_in_use, job, sweep_run,
};
use wharfinger_jobs::error::UserErrorCode;
use wharfinger_jobs::infra::clock::Clock;
use wharfinger_jobs::services::Services;
use wharfinger_jobs::sweep_images::{Due, Schedule, SweepImages, due, keep, sweep_images};

use crate::administration::{audited, eve};
use crate::support::background::Background;
use crate::support::bare::Bare;
use crate::support::{Fleet, Shape, credits, eventually, on_every_shape, refusal};

on_every_shape!(
    a_sweep_removes_and_refunds_what_is_not_in_use,
    a_scheduled_sweep_runs_once_in_the_fleet,
    a_missed_sweep_is_made_up_for_in_time,
    a_vanished_runners_sweep_is_taken_over,
    a_gateway_that_starts_makes_up_for_what_was_missed,
    a_long_sweep_answers_with_its_first_hundred_and_goes_on,
);

fn everything() -> SweepImages {
    SweepImages {
        actor: eve(),
        hosts: None,
        traceparent: None,
    }
}

/// A sweep of these hosts.
fn of_hosts(hosts: &[Uuid]) -> SweepImages {
    SweepImages {
        hosts: Some(hosts.iter().copied().map(Some).collect()),
        ..everything()
    }
}

async fn a_sweep_removes_and_refunds_what_is_not_in_use(shape: Shape) {
    let mut fleet = Fleet::with(shape, |settings| settings.limits.live_jobs_per_user = 1).await;
    let repository = fleet.repository();
    for tag in ["shared", "own"] {
        fleet.push(&repository, tag, 100_000).await;
    }
    let used = fleet.push(&repository, "used", 100_000).await;
    let (ada, bob) = (fleet.user("100").await, fleet.user("100").await);
    let mut swept = vec![
        fleet.pulled(ada, &repository.tag("shared")).await,
        fleet.pulled(ada, &repository.tag("own")).await,
        fleet.pulled(bob, &repository.tag("shared")).await,
    ];
    swept.sort_by_key(|image| image.id);
    let kept = fleet.pulled(bob, &repository.tag("used")).await;
    let container = fleet.engine.create_container(&used).await;
    eventually("the container is seen", || async {
        let seen = image_in_use::Entity::find_by_id(kept.engine_image_id);
        seen.one(fleet.services.db.read()).await.unwrap()
    })
    .await;
    fleet.stop_worker().await;

    let services = &fleet.services;
    let elsewhere = of_hosts(&[kept.host_id, Uuid::now_v7()]);
    let unknown = sweep_images(services, &elsewhere).await;
    assert_eq!(refusal(unknown).code, UserErrorCode::HostNotFound);
    let none = sweep_images(services, &of_hosts(&[])).await.unwrap();
    assert!(none.is_empty(), "{none:?}");
    // One removal is under way already, of which there is no second.
    let holder = swept[0].user_id.unwrap();
    let first = fleet.try_remove(holder, swept[0].id).await;
    let here = of_hosts(&[kept.host_id]);
    let jobs = sweep_images(services, &here).await.unwrap();
    assert_eq!(jobs[0].id, first.unwrap().id);
    assert_eq!(jobs.len(), swept.len());
    for (job, image) in jobs.iter().zip(&swept) {
        assert_eq!(job.kind, JobKind::RemoveImage);
        assert_eq!(job.image_id, Some(image.id));
        assert_eq!(Some(job.user_id), image.user_id);
    }
    let again = sweep_images(services, &everything()).await.unwrap();
    let ids = |jobs: &[job::Model]| -> Vec<Uuid> { jobs.iter().map(|job| job.id).collect() };
    assert_eq!(ids(&again), ids(&jobs));
    let log = audited(&fleet).await;
    assert_eq!(log.len(), 2, "{log:?}");
    assert!(log.iter().all(|entry| {
        entry.action == AuditAction::SweepImages && entry.subject_id == Some(kept.host_id)
    }));
    assert_eq!(log[0].details, serde_json::json!({"images": 3}));

    fleet.start_worker().await;
    for job in &jobs {
        fleet.succeeds(job.id).await;
    }
    for image in &swept {
        assert_eq!(fleet.image(image.id).await.state, ImageState::Released);
    }
    assert_eq!(fleet.image(kept.id).await.state, ImageState::Held);
    assert_eq!(fleet.account(ada).await.total, credits("100"));
    let total = fleet.account(bob).await.total;
    assert_eq!(total.micro(), 100_000_000 - kept.charge.micro());
    assert_eq!(fleet.engine.inspect(&repository.tag("own")).await, None);
    fleet.engine.remove_container(&container).await;
    fleet.finish().await;
}

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
/// A night after the last minute of one sweep, less an instant.
const JUST_BEFORE: Duration = Duration::from_micros(23 * 3_600_000_000 - 1);

/// Every night, and for six hours after.
fn nightly() -> Schedule {
    Schedule {
        schedule: "30 23 * * *".parse().unwrap(),
        catch_up: 6 * HOUR,
    }
}

/// Half past eleven in the evening ten days ago, so that what is accepted then is due for workers now.
fn ten_days_ago() -> Timestamp {
    let now = Clock::system().now().before(10 * DAY);
    let schedule = nightly().schedule;
    schedule.latest(now).unwrap()
}

/// Looks at what is due at the clock's instant.
async fn look(services: &Services, runner: Uuid) -> Due {
    let now = services.clock.now();
    due(services, &nightly(), runner, now).await.unwrap()
}

async fn runs(fleet: &Fleet) -> u64 {
    let run = sweep_run::Entity::find().filter(sweep_run::Column::Runner.is_not_null());
    run.count(fleet.services.db.read()).await.unwrap()
}

async fn a_scheduled_sweep_runs_once_in_the_fleet(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    fleet.push(&repository, "1", 100_000).await;
    let user = fleet.user("100").await;
    let image = fleet.pulled(user, &repository.tag("1")).await;
    let clock = Clock::manual(ten_days_ago().after(HOUR));
    let gateways = [
        fleet.process(clock.clone()).await,
        fleet.process(clock.clone()).await,
    ];
    let runners = [Uuid::now_v7(), Uuid::now_v7()];
    let both = async || {
        tokio::join!(
            look(&gateways[0], runners[0]),
            look(&gateways[1], runners[1])
        )
    };
    // A schedule that is new has missed nothing.
    assert_eq!(both().await, (Due::Nothing, Due::Nothing));
    assert_eq!(runs(&fleet).await, 0);
    for night in 1..=5 {
        clock.advance(JUST_BEFORE);
        assert_eq!(both().await, (Due::Nothing, Due::Nothing), "not yet");
        clock.advance(Duration::from_micros(1));
        let (one, other) = both().await;
        let expected = Due::Swept(usize::from(night == 1));
        let swept = [one, other].into_iter().filter(|due| *due == expected);
        assert_eq!(swept.count(), 1, "{one:?} {other:?}");
        let second = if one == expected { other } else { one };
        assert_eq!(second, Due::Nothing, "{one:?} {other:?}");
        assert_eq!(runs(&fleet).await, night);
        let log = audited(&fleet).await;
        assert_eq!(log.len() as u64, night, "{log:?}");
        assert!(log.iter().all(|entry| entry.actor == "sweep.schedule"));
        clock.advance(HOUR);
        assert_eq!(both().await, (Due::Nothing, Due::Nothing), "it is over");
        if night == 1 {
            fleet.becomes(image.id, ImageState::Released).await;
        }
    }
    fleet.finish().await;
}

async fn a_missed_sweep_is_made_up_for_in_time(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let clock = Clock::manual(ten_days_ago().after(HOUR));
    let gateway = fleet.process(clock.clone()).await;
    let runner = Uuid::now_v7;
    assert_eq!(look(&gateway, runner()).await, Due::Nothing);
    // Down for two nights, and up again five hours after the second: one sweep is enough.
    clock.advance(DAY + DAY + 4 * HOUR);
    assert_eq!(look(&gateway, runner()).await, Due::Swept(0));
    assert_eq!(look(&gateway, runner()).await, Due::Nothing);
    assert_eq!(runs(&fleet).await, 1);
    // Up again seven hours after the next: too late.
    clock.advance(DAY + 2 * HOUR);
    assert_eq!(look(&gateway, runner()).await, Due::Nothing);
    assert_eq!(runs(&fleet).await, 1);
    clock.advance(17 * HOUR);
    assert_eq!(look(&gateway, runner()).await, Due::Swept(0));
    // Another schedule begins anew.
    let other = Schedule {
        schedule: "0 23 * * *".parse().unwrap(),
        ..nightly()
    };
    let found = due(&gateway, &other, runner(), clock.now()).await.unwrap();
    assert_eq!(found, Due::Nothing);
    assert_eq!(runs(&fleet).await, 2);
    fleet.finish().await;
}

/// One gateway vanished while it swept; another one may sweep still.
async fn a_vanished_runners_sweep_is_taken_over(shape: Shape) {
    let bare = Bare::start(shape).await;
    let now = bare.services.clock.now();
    let mut held = Vec::new();
    for (name, reserved_until) in [("left", now), ("reserved", now.after(HOUR))] {
        let host = bare.host(|host| host.name = Set(name.to_owned())).await;
        let user = bare.user().await;
        held.push(bare.hold(host, Some(user), "127.0.0.1:1/a").await);
        host_sweep::Entity::insert(host_sweep::ActiveModel {
            id: Set(Uuid::now_v7()),
            host_id: Set(host),
            last_image_id: Set(None),
            reserved_until: Set(Some(reserved_until)),
            traceparent: Set(None),
        })
        .exec_without_returning(bare.services.db.write())
        .await
        .unwrap();
    }
    assert_eq!(swept_while_one_keeps_house(&bare, 1).await, held[..1]);
}

/// Every day at this time.
fn daily_at(time: Timestamp) -> Schedule {
    let time = chrono::DateTime::<chrono::Utc>::from(time);
    Schedule {
        schedule: time.format("%-M %-H * * *").to_string().parse().unwrap(),
        catch_up: 6 * HOUR,
    }
}

async fn a_gateway_that_starts_makes_up_for_what_was_missed(shape: Shape) {
    let fleet = Fleet::start(shape).await;
    let repository = fleet.repository();
    fleet.push(&repository, "1", 100_000).await;
    let user = fleet.user("100").await;
    let image = fleet.pulled(user, &repository.tag("1")).await;
    // Its next instant is tomorrow, also for the timer, which goes by the system's clock.
    let now = Clock::system().now();
    let schedule = daily_at(now.before(2 * HOUR));
    let missed = schedule.schedule.latest(now).unwrap();
    let clock = Clock::manual(missed.before(HOUR));
    let before = fleet.process(clock.clone()).await;
    let seen = due(&before, &schedule, Uuid::now_v7(), clock.now()).await;
    assert_eq!(seen.unwrap(), Due::Nothing);

    clock.advance(HOUR + HOUR / 2);
    let gateway = fleet.process(clock).await;
    let keeping = Background::start(|stop| keep(gateway, schedule, stop));
    fleet.becomes(image.id, ImageState::Released).await;
    keeping.stop().await;
    let run = sweep_run::Entity::find().filter(sweep_run::Column::Runner.is_not_null());
    let runs = run.all(fleet.services.db.read()).await.unwrap();
    let [run] = &runs[..] else {
        panic!("{runs:?}");
    };
    assert_eq!((run.scheduled_at, run.jobs), (missed, 1), "{run:?}");
    fleet.finish().await;
}

/// The process that was asked does nothing after its answer, as if it had crashed then: another one keeps house.
async fn a_long_sweep_answers_with_its_first_hundred_and_goes_on(shape: Shape) {
    let bare = Bare::start(shape).await;
    let mut held = Vec::new();
    for number in 0..2 {
        let name = format!("host-{number}");
        let host = bare.host(|host| host.name = Set(name)).await;
        let user = bare.user().await;
        for number in 0..75 + 60 * number {
            let reference = format!("127.0.0.1:1/a:{number}");
            held.push(bare.hold(host, Some(user), &reference).await);
        }
    }
    let jobs = sweep_images(&bare.services, &everything()).await.unwrap();
    let swept: Vec<Uuid> = jobs.iter().filter_map(|job| job.image_id).collect();
    assert_eq!(swept, held[..100]);
    // What is pulled after the request was not meant.
    let (host, user) = (jobs[99].host_id.unwrap(), jobs[99].user_id);
    let later = bare.hold(host, Some(user), "127.0.0.1:1/b").await;

    let mut swept = swept_while_one_keeps_house(&bare, 0).await;
    swept.sort();
    held.sort();
    assert_eq!(swept, held);
    assert!(!swept.contains(&later));
}

/// The holdings with a removal, once a process has kept house until this many sweeps are left.
async fn swept_while_one_keeps_house(bare: &Bare, left: u64) -> Vec<Uuid> {
    let keeping = bare.housekeeping().await;
    eventually("the sweeps end", || async {
        let sweeps = host_sweep::Entity::find().count(bare.services.db.read());
        (sweeps.await.unwrap() == left).then_some(())
    })
    .await;
    keeping.stop().await;
    let removals = job::Entity::find().all(bare.services.db.read());
    let removals = removals.await.unwrap();
    removals.iter().filter_map(|job| job.image_id).collect()
}
