//! The engine as its operator uses it, behind Wharfinger's back.

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, PushImageOptions, RemoveContainerOptions,
    RemoveImageOptions, TagImageOptions,
};
use futures::TryStreamExt as _;
use wharfinger_jobs::engine::EngineImage;

use super::variable;

/// One of the two engines of the tests. Shared: images are per test.
pub(crate) struct TestEngine {
    pub(crate) url: String,
    docker: Docker,
    engine: wharfinger_jobs::engine::Engine,
}

impl TestEngine {
    /// The engine of this number, 1 or 2.
    pub(crate) fn open(number: u32) -> Self {
        let url = variable(&format!("WHARFINGER_TEST_DOCKER_HOST_{number}"));
        Self {
            docker: Docker::connect_with_host(&url).unwrap(),
            engine: wharfinger_jobs::engine::Engine::connect(Some(&url)).unwrap(),
            url,
        }
    }

    /// What a name or id means.
    pub(crate) async fn inspect(&self, name: &str) -> Option<EngineImage> {
        self.engine.inspect(name).await.unwrap()
    }

    /// The image id that a name means.
    pub(crate) async fn id_of(&self, name: &str) -> Option<String> {
        self.inspect(name).await.map(|image| image.id.into())
    }

    /// Waits until the engine has no such image.
    pub(crate) async fn loses(&self, name: &str) {
        super::eventually("the image leaves the engine", || async {
            self.inspect(name).await.is_none().then_some(())
        })
        .await;
    }

    async fn docker(&self) -> Docker {
        self.docker.clone().negotiate_version().await.unwrap()
    }

    /// `docker pull`
    pub(crate) async fn pull(&self, reference: &str) {
        let (name, tag) = reference.rsplit_once(':').unwrap();
        let options = CreateImageOptions {
            from_image: Some(name.to_owned()),
            tag: Some(tag.to_owned()),
            ..Default::default()
        };
        let docker = self.docker().await;
        let events = docker.create_image(Some(options), None, None);
        events.try_collect::<Vec<_>>().await.unwrap();
    }

    /// `docker import`: makes an image of one file, by hand.
    pub(crate) async fn import(&self, root: Vec<u8>, repository: &str, tag: &str) {
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
            ..Default::default()
        };
        let docker = self.docker().await;
        let events =
            docker.create_image(Some(options), Some(bollard::body_full(root.into())), None);
        events.try_collect::<Vec<_>>().await.unwrap();
    }

    /// `docker push`
    pub(crate) async fn push(&self, repository: &str, tag: &str) {
        let options = PushImageOptions {
            tag: Some(tag.to_owned()),
            ..Default::default()
        };
        let docker = self.docker().await;
        let events = docker.push_image(repository, Some(options), None);
        events.try_collect::<Vec<_>>().await.unwrap();
    }

    /// `docker tag`
    pub(crate) async fn tag(&self, image: &str, repository: &str, tag: &str) {
        let options = TagImageOptions {
            repo: Some(repository.to_owned()),
            tag: Some(tag.to_owned()),
        };
        let docker = self.docker().await;
        docker.tag_image(image, Some(options)).await.unwrap();
    }

    /// `docker rmi -f`
    pub(crate) async fn remove(&self, image: &str) {
        let options = RemoveImageOptions {
            force: true,
            ..Default::default()
        };
        let docker = self.docker().await;
        docker
            .remove_image(image, Some(options), None)
            .await
            .unwrap();
    }

    /// `docker rmi -f` of what may not be there, or be going at this moment.
    pub(crate) async fn try_remove(&self, image: &str) {
        let options = RemoveImageOptions {
            force: true,
            ..Default::default()
        };
        let docker = self.docker().await;
        let _ = docker.remove_image(image, Some(options), None).await;
    }

    /// `docker create`
    pub(crate) async fn create_container(&self, image: &str) -> String {
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            ..Default::default()
        };
        let docker = self.docker().await;
        let created = docker.create_container(None::<CreateContainerOptions>, body);
        created.await.unwrap().id
    }

    /// `docker rm`
    pub(crate) async fn remove_container(&self, id: &str) {
        let docker = self.docker().await;
        docker
            .remove_container(id, None::<RemoveContainerOptions>)
            .await
            .unwrap();
    }
}
