//! Finds the things that a person names, and their ids.

use super::error::ClientError;
use super::gateway::Gateway;
use super::model::{Host, Image, ImageVisibility};
use super::operations::{self, ImageQuery};
use super::text::short_id;
use serde_json::json;
use std::fmt::Write as _;
use wharfinger_entity::ImageReference;

/// Shorter texts are not taken for engine ids, because they are more likely names.
const SHORTEST_IMAGE_ID: usize = 6;

/// Returns the host of this id or name.
pub(crate) async fn host(gateway: &Gateway, wanted: &str) -> Result<Host, ClientError> {
    let hosts = operations::hosts(gateway).await?;
    let is = |host: &&Host| host.id.raw() == wanted || host.name.raw() == wanted;
    hosts.iter().find(is).cloned().ok_or_else(|| {
        let names: Vec<_> = hosts.iter().map(|host| host.name.to_string()).collect();
        ClientError::Failed(format!(
            "there is no host {wanted}; there are: {}",
            names.join(", ")
        ))
    })
}

/// Returns the held image of this name: a reference in its short form, the gateway's id, or (the start of) the engine's.
pub(crate) async fn image(
    gateway: &Gateway,
    wanted: &str,
    on_host: Option<&str>,
) -> Result<Image, ClientError> {
    let mut found = by_reference(gateway, wanted).await?;
    if found.is_empty() {
        found.extend(by_id(gateway, wanted).await?);
    }
    if found.is_empty() {
        found = by_image_id(gateway, wanted).await?;
    }
    if let Some(host) = on_host {
        found.retain(|image| image.host.name.raw() == host || image.host.id.raw() == host);
    }
    // A public image of the same name cannot be removed, except by an administrator who holds no private one.
    if found
        .iter()
        .any(|image| image.visibility == ImageVisibility::Private)
    {
        found.retain(|image| image.visibility == ImageVisibility::Private);
    }
    match found.len() {
        0 => Err(ClientError::Failed(format!(
            "you hold no image {wanted}: `wharfinger images` lists yours"
        ))),
        1 => Ok(found.remove(0)),
        _ => Err(ClientError::Failed(which(wanted, &found))),
    }
}

async fn by_reference(gateway: &Gateway, wanted: &str) -> Result<Vec<Image>, ClientError> {
    let Ok(reference) = ImageReference::parse(wanted) else {
        return Ok(Vec::new());
    };
    let (name, full) = (reference.name(), reference.to_string());
    let images = operations::images(gateway, &["HELD"], Some(&name)).await?;
    let is = |image: &Image| image.reference.raw() == full || image.familiar_name.raw() == wanted;
    Ok(images.into_iter().filter(is).collect())
}

/// Returns the image of this id. A text that is not an id may be refused, which counts as not found.
async fn by_id(gateway: &Gateway, wanted: &str) -> Result<Option<Image>, ClientError> {
    match gateway
        .execute::<ImageQuery>(&json!({ "id": wanted }))
        .await
    {
        Ok(image) => Ok(image),
        Err(ClientError::Request { code, .. })
            if matches!(code.raw(), "BAD_REQUEST" | "UNKNOWN") =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn by_image_id(gateway: &Gateway, wanted: &str) -> Result<Vec<Image>, ClientError> {
    let digits = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    if digits.len() < SHORTEST_IMAGE_ID || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(Vec::new());
    }
    let start = format!("sha256:{}", digits.to_ascii_lowercase());
    let images = operations::images(gateway, &["HELD"], None).await?;
    Ok(images
        .into_iter()
        .filter(|image| image.image_id.raw().starts_with(&start))
        .collect())
}

fn which(wanted: &str, images: &[Image]) -> String {
    let mut message = format!("{wanted} is more than one image; give --host, or one of these ids:");
    for image in images {
        // Writing to a String cannot fail.
        let _ = write!(
            message,
            "\n  {}  {} on {}, {}",
            image.id,
            image.familiar_name,
            image.host.name,
            short_id(&image.image_id)
        );
    }
    message
}
