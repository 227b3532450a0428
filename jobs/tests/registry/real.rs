//! Against Debian's docker-registry.

use wharfinger_jobs::registry::{Login, Platform, RegistryError};
use wharfinger_jobs::testing::image::{Format, TestImage, layer};
use wharfinger_jobs::testing::registry::{PASSWORD, TestRegistry, USERNAME};

use super::{amd64, client, read};

#[tokio::test]
async fn a_tag_and_its_digest_mean_the_same() {
    let registry = TestRegistry::open();
    let name = "wharfinger/tag-and-digest";
    let layers = vec![layer("a", b"one"), layer("b", &[7; 5000])];
    for format in [Format::Docker, Format::Oci] {
        let mut image = TestImage::new(layers.clone());
        image.format = format;
        let pushed = registry.push(name, "v1", &image).await;
        let client = client(&["127.0.0.1:*"]);
        let address = registry.address.as_str();

        let by_tag = client.manifest(address, name, "v1", None, &amd64()).await;
        let by_tag = by_tag.unwrap();
        assert_eq!(by_tag.digest, pushed.digest);
        assert_eq!(by_tag.platform_digest, pushed.digest);
        assert_eq!(by_tag.config_digest, pushed.config_digest);
        let sizes: Vec<_> = by_tag.layers.iter().map(|l| l.size).collect();
        assert_eq!(
            sizes,
            layers.iter().map(|l| l.len() as u64).collect::<Vec<_>>()
        );
        assert_eq!(by_tag.compressed_size, sizes.iter().sum::<u64>());

        let by_digest = client
            .manifest(address, name, &pushed.digest, None, &amd64())
            .await;
        assert_eq!(by_digest.unwrap(), by_tag);
    }
}

#[tokio::test]
async fn an_index_gives_the_engines_platform() {
    let registry = TestRegistry::open();
    let name = "wharfinger/index";
    let intel = TestImage::new(vec![layer("a", b"intel")]);
    let mut arm = TestImage::new(vec![layer("a", b"arm")]);
    arm.architecture = "arm64".to_owned();
    let intel = registry.push(name, "intel", &intel).await;
    let arm = registry.push(name, "arm", &arm).await;
    let index = registry
        .push_index(name, "both", &[intel.clone(), arm.clone()])
        .await;

    let client = client(&["127.0.0.1:*"]);
    let address = registry.address.as_str();
    for (architecture, pushed) in [("x86_64", &intel), ("aarch64", &arm)] {
        let platform = Platform::new("linux", architecture, None);
        for reference in ["both", &index] {
            let manifest = client
                .manifest(address, name, reference, None, &platform)
                .await;
            let manifest = manifest.unwrap();
            assert_eq!(manifest.digest, index);
            assert_eq!(manifest.platform_digest, pushed.digest);
            assert_eq!(manifest.config_digest, pushed.config_digest);
        }
    }

    let mainframe = Platform::new("linux", "s390x", None);
    let error = client
        .manifest(address, name, "both", None, &mainframe)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{address}/{name}:both has no image for linux/s390x, only for linux/amd64, linux/arm64"
        )
    );
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let registry = TestRegistry::open();
    registry
        .push_layers("wharfinger/there", "v1", vec![layer("a", b"x")])
        .await;
    let client = client(&["127.0.0.1:*"]);
    let absent = format!("sha256:{}", "0".repeat(64));
    for (name, reference) in [
        ("wharfinger/there", "v2"),
        ("wharfinger/there", absent.as_str()),
        ("wharfinger/never", "v1"),
    ] {
        let found = client
            .manifest(&registry.address, name, reference, None, &amd64())
            .await;
        assert!(
            matches!(found, Err(RegistryError::NotFound { .. })),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn names_that_are_no_names_never_reach_the_registry() {
    let client = client(&["127.0.0.1:*"]);
    for (name, reference) in [
        ("../v2/_catalog", "v1"),
        ("a//b", "v1"),
        ("a?b", "v1"),
        ("a%2fb", "v1"),
        ("", "v1"),
        ("a", ""),
        ("a", "../../x"),
        ("a", ".."),
        ("a", "v1?x"),
    ] {
        // Nothing listens there: a request would say so.
        let answer = client
            .manifest("127.0.0.1:1", name, reference, None, &amd64())
            .await;
        assert!(
            matches!(answer, Err(RegistryError::Invalid { .. })),
            "{name} {reference} {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_password_opens_a_private_registry_to_its_user_only() {
    let registry = TestRegistry::with_password();
    let name = "private/image";
    let pushed = registry
        .push_layers(name, "v1", vec![layer("a", b"x")])
        .await;
    let client = client(&["127.0.0.1:*"]);
    let read =
        async |login: Option<Login>| read(&client, &registry.address, name, login.as_ref()).await;

    let nobody = read(None).await.unwrap_err();
    assert!(matches!(
        nobody,
        RegistryError::Denied {
            with_login: false,
            ..
        }
    ));
    let words = "does not exist or needs a login";
    assert!(nobody.to_string().ends_with(words), "{nobody}");

    let ada = || Some(Login::new(USERNAME, PASSWORD));
    assert_eq!(read(ada()).await.unwrap().digest, pushed.digest);
    assert_eq!(read(ada()).await.unwrap().digest, pushed.digest);

    // What was learnt for Ada serves neither a wrong password under her name nor nobody.
    let wrong = read(Some(Login::new(USERNAME, "hunter2")))
        .await
        .unwrap_err();
    assert!(matches!(
        wrong,
        RegistryError::Denied {
            with_login: true,
            ..
        }
    ));
    assert!(!format!("{wrong} {wrong:?}").contains("hunter2"));
    assert!(matches!(
        read(None).await,
        Err(RegistryError::Denied { .. })
    ));
}
