//! Roles and bans, and who may be made.

use futures::future::join_all;
use sea_orm::{ColumnTrait as _, EntityTrait as _, PaginatorTrait as _, QueryFilter as _};
use uuid::Uuid;
use wharfinger_entity::{AuditAction, Credits, Role, UserStatus, user};
use wharfinger_jobs::accounts::audit::Actor;
use wharfinger_jobs::accounts::{
    CreateUser, NewUser, UpdateUser, create_api_token, create_first_admin, create_user_by,
    update_user,
};
use wharfinger_jobs::error::{ServiceError, UserErrorCode};
use wharfinger_jobs::pull_image;
use wharfinger_jobs::queries::Viewer;
use wharfinger_jobs::queries::page::PageArgs;
use wharfinger_jobs::queries::users::{self, UserFilter};
use wharfinger_jobs::registry_credentials::save_registry_credential;
use wharfinger_jobs::services::Services;

use super::{PASSWORD, Place, audit_log, make_user, refusal, role, row, signed_in, status, works};
use crate::credentials::login;
use crate::support::{Shape, on_every_database, rows};

on_every_database!(
    one_administrator_stays_however_many_are_demoted_at_once,
    the_last_administrator_stays,
    the_first_administrator_is_made_once,
    users_are_found_by_name_role_and_status,
);

mod anywhere {
    use super::{a_banned_user_can_do_nothing, users_are_made_by_administrators};

    crate::support::on_every_shape!(
        a_banned_user_can_do_nothing,
        users_are_made_by_administrators,
    );
}

async fn active_administrators(services: &Services) -> u64 {
    user::Entity::find()
        .filter(user::Column::Role.eq(Role::Admin))
        .filter(user::Column::Status.eq(UserStatus::Active))
        .count(services.db.read())
        .await
        .unwrap()
}

async fn one_administrator_stays_however_many_are_demoted_at_once(shape: Shape) {
    let place = Place::new(shape).await;
    let gateways = join_all((0..3).map(|_| place.gateway())).await;
    let one = &gateways[0];
    let mut admins = Vec::new();
    for name in ["ada", "bob", "cleo"] {
        admins.push(make_user(one, name, Role::Admin, None).await);
    }
    for round in 0..30 {
        // Two, or all three in a ring, each by another gateway, by role or by ban.
        let count = 2 + round % 2;
        let acts = (0..count).map(|n| {
            let actor = Actor::from(&admins[n]);
            let target = admins[(n + 1) % count].id;
            let change = if (round + n) % 3 == 0 {
                status(target, UserStatus::Banned)
            } else {
                role(target, Role::User)
            };
            let services = &gateways[n];
            async move { update_user(services, &actor, &change).await }
        });
        for answer in join_all(acts).await {
            match answer {
                Ok(_) | Err(ServiceError::NotAllowed(_) | ServiceError::Rejected(_)) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!(active_administrators(one).await >= 1, "round {round}");
        let setting_up = Actor::Program("test");
        for admin in &admins {
            let back = UpdateUser {
                role: Some(Role::Admin),
                ..status(admin.id, UserStatus::Active)
            };
            update_user(one, &setting_up, &back).await.unwrap();
        }
    }
}

async fn the_last_administrator_stays(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let ada = make_user(&services, "ada", Role::Admin, None).await;
    let bob = make_user(&services, "bob", Role::Admin, None).await;
    let by_ada = Actor::from(&ada);
    update_user(&services, &by_ada, &status(bob.id, UserStatus::Banned))
        .await
        .unwrap();
    // A banned administrator is none.
    for (change, field) in [
        (role(ada.id, Role::User), "role"),
        (status(ada.id, UserStatus::Banned), "status"),
    ] {
        let error = refusal(update_user(&services, &by_ada, &change).await);
        assert_eq!(error.code, UserErrorCode::InvalidInput);
        assert_eq!(error.field, Some(vec!["input", field]));
    }
    let late = update_user(&services, &Actor::from(&bob), &role(ada.id, Role::Admin)).await;
    assert!(matches!(late, Err(ServiceError::NotAllowed(_))), "{late:?}");
    let acts = audit_log(&services).await;
    let updates = acts
        .iter()
        .filter(|act| act.action == AuditAction::UpdateUser);
    let updates: Vec<_> = updates.map(|act| act.details.to_string()).collect();
    assert_eq!(updates, [r#"{"status":"BANNED"}"#]);

    let nothing = UpdateUser {
        user_id: Some(bob.id),
        ..UpdateUser::default()
    };
    let error = refusal(update_user(&services, &by_ada, &nothing).await);
    assert_eq!(error.code, UserErrorCode::InvalidInput);
    for id in [None, Some(Uuid::now_v7())] {
        let change = UpdateUser {
            user_id: id,
            password: Some(PASSWORD),
            ..UpdateUser::default()
        };
        let error = refusal(update_user(&services, &by_ada, &change).await);
        assert_eq!(error.code, UserErrorCode::UserNotFound);
    }
}

async fn a_banned_user_can_do_nothing(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let admin = Actor::from(&make_user(&services, "admin", Role::Admin, None).await);
    let ada = make_user(&services, "ada", Role::User, Some(PASSWORD)).await;
    let (_, session) = signed_in(&services, "ada", PASSWORD).await;
    let (_, script) = create_api_token(&services, ada.id, "script", None)
        .await
        .unwrap();
    let banned = status(ada.id, UserStatus::Banned);
    update_user(&services, &admin, &banned).await.unwrap();
    let works = async |secret: &str| works(&services, secret).await;
    assert!(!works(&session).await && !works(&script).await);
    // A request that was let in a moment before.
    let pull = rows::pull_image(ada.id, None, "127.0.0.1:5000/x");
    let late = pull_image::accept(&services, &pull).await;
    assert!(matches!(late, Err(ServiceError::NotAllowed(_))), "{late:?}");
    let late = create_api_token(&services, ada.id, "more", None).await;
    assert!(matches!(late, Err(ServiceError::NotAllowed(_))), "{late:?}");
    let login = login(ada.id, "127.0.0.1:5000", "hunter2");
    let late = save_registry_credential(&services, &login).await;
    assert!(matches!(late, Err(ServiceError::NotAllowed(_))), "{late:?}");

    let back = status(ada.id, UserStatus::Active);
    update_user(&services, &admin, &back).await.unwrap();
    assert!(!works(&session).await, "a sign-in ends with the ban");
    assert!(works(&script).await);

    let (_, session) = signed_in(&services, "ada", PASSWORD).await;
    let password = UpdateUser {
        user_id: Some(ada.id),
        password: Some("a wharf of many colours"),
        ..UpdateUser::default()
    };
    update_user(&services, &admin, &password).await.unwrap();
    assert!(!works(&session).await && works(&script).await);
    signed_in(&services, "ada", "a wharf of many colours").await;
    let acts = audit_log(&services).await;
    assert!(acts.iter().all(|act| {
        let details = act.details.to_string();
        !details.contains("argon2") && !details.contains("colours")
    }));
}

async fn the_first_administrator_is_made_once(shape: Shape) {
    for _ in 0..5 {
        first_administrator(shape).await;
    }
}

async fn first_administrator(shape: Shape) {
    let place = Place::new(shape).await;
    let gateways = join_all((0..4).map(|_| place.gateway())).await;
    let new = NewUser {
        name: "root".into(),
        role: Role::Admin,
        password_hash: None,
        credits: Credits::ZERO,
    };
    let now = place.clock.now();
    let made = join_all(
        gateways
            .iter()
            .map(|services| create_first_admin(&services.db, &new, now)),
    )
    .await;
    let made = made.into_iter().filter_map(Result::unwrap).count();
    assert_eq!(made, 1);
    assert_eq!(active_administrators(&gateways[0]).await, 1);
    assert_eq!(audit_log(&gateways[0]).await.len(), 1);
}

async fn users_are_made_by_administrators(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let admin = make_user(&services, "admin", Role::Admin, None).await;
    let plain = make_user(&services, "plain", Role::User, None).await;
    let request = |name: &'static str, password, credits: Option<&str>| CreateUser {
        name,
        password,
        role: Role::User,
        credits: credits.map(|credits| credits.parse().unwrap()),
    };
    let make = async |request: CreateUser<'_>| {
        create_user_by(&services, &Actor::from(&admin), &request).await
    };
    for (bad, code) in [
        (request("a b", None, None), UserErrorCode::InvalidInput),
        (request("", None, None), UserErrorCode::InvalidInput),
        (request("ADMIN", None, None), UserErrorCode::NameTaken),
        (
            request("x", Some("12345678"), None),
            UserErrorCode::WeakPassword,
        ),
        (request("x", None, Some("-1")), UserErrorCode::InvalidAmount),
    ] {
        let name = bad.name;
        assert_eq!(refusal(make(bad).await).code, code, "{name}");
    }
    let late = create_user_by(&services, &Actor::from(&plain), &request("x", None, None)).await;
    assert!(matches!(late, Err(ServiceError::NotAllowed(_))), "{late:?}");
    let ada = make(request("ada", Some(PASSWORD), None)).await.unwrap();
    assert_eq!(ada.total, services.settings.credits.initial);
    let bob = make(request("bob", None, Some("2.5"))).await.unwrap();
    assert_eq!(row(&services, bob.id).await, bob);
    assert_eq!(bob.total, "2.5".parse().unwrap());
    signed_in(&services, "ada", PASSWORD).await;
    let acts = audit_log(&services).await;
    let made: Vec<_> = acts
        .iter()
        .map(|act| (act.actor.as_str(), act.subject.as_str()))
        .collect();
    assert_eq!(
        made,
        [
            ("command line", "admin"),
            ("command line", "plain"),
            ("admin", "ada"),
            ("admin", "bob")
        ]
    );
}

async fn users_are_found_by_name_role_and_status(shape: Shape) {
    let place = Place::new(shape).await;
    let services = place.gateway().await;
    let actor = Actor::Program("test");
    make_user(&services, "Zoe_1", Role::Admin, None).await;
    for name in ["ada", "Adam", "bob", "zoe.2"] {
        make_user(&services, name, Role::User, None).await;
    }
    let bob = make_user(&services, "Bobby", Role::User, None).await;
    update_user(&services, &actor, &status(bob.id, UserStatus::Banned))
        .await
        .unwrap();
    let administrator = Viewer {
        user_id: bob.id,
        admin: true,
    };
    let found = async |filter: UserFilter, page: PageArgs| {
        let users = users::list(&services.db, administrator, &filter, &page)
            .await
            .unwrap();
        let names = users.items.iter().map(|(_, user)| user.name.clone());
        (names.collect::<Vec<_>>(), users)
    };
    let all = ["ada", "Adam", "bob", "Bobby", "zoe.2", "Zoe_1"];
    let everybody = UserFilter::default;
    assert_eq!(found(everybody(), PageArgs::default()).await.0, all);
    for (search, names) in [
        ("AD", &["ada", "Adam"][..]),
        ("oe_", &["Zoe_1"]),
        ("%", &[]),
        ("", &all),
    ] {
        let filter = UserFilter {
            search: Some(search.into()),
            ..everybody()
        };
        let count = users::count(&services.db, administrator, &filter)
            .await
            .unwrap();
        assert_eq!(
            found(filter, PageArgs::default()).await.0,
            names,
            "{search}"
        );
        assert_eq!(count, names.len() as u64);
    }
    let banned = UserFilter {
        status: Some(UserStatus::Banned),
        ..everybody()
    };
    assert_eq!(found(banned, PageArgs::default()).await.0, ["Bobby"]);
    let admins = UserFilter {
        role: Some(Role::Admin),
        search: Some("zoe".into()),
        ..everybody()
    };
    assert_eq!(found(admins, PageArgs::default()).await.0, ["Zoe_1"]);

    let mut names = Vec::new();
    let mut after = None;
    loop {
        let page = PageArgs {
            first: Some(4),
            after,
            ..PageArgs::default()
        };
        let (some, page) = found(everybody(), page).await;
        names.extend(some);
        after = page.items.last().map(|(cursor, _)| cursor.clone());
        if !page.has_next {
            break;
        }
    }
    assert_eq!(names, all);
}
