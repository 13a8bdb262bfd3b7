//! What kind clusters are made from. A matrix may come from a stranger, and kind would mount any folder of this machine
//! into a node and run any image as root: so a matrix names a version of kind's own node image, or a configuration that
//! the operator keeps, and never a file.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::ProvisionError;

/// The repository of the images that the kind project builds for its nodes.
const IMAGES: &str = "kindest/node:";
const PROVISIONER: &str = "kind";

/// What a cluster is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Template {
    /// What this kind makes without being told.
    Default,
    /// A node image.
    Image(String),
    /// A configuration of the operator's.
    Config(PathBuf),
}

impl Template {
    /// From what a matrix says; `folder` holds the operator's configurations.
    pub(crate) fn named(template: Option<&str>, folder: Option<&Path>) -> Result<Self, ProvisionError> {
        let Some(name) = template else { return Ok(Self::Default) };
        if is_node_image(name) {
            return Ok(Self::Image(name.to_owned()));
        }
        let config = folder.filter(|_| is_name(name)).map(|folder| folder.join(format!("{name}.yaml")));
        match config.filter(|path| path.is_file()) {
            Some(path) => Ok(Self::Config(path)),
            None => Err(ProvisionError::Template {
                provisioner: PROVISIONER,
                template: name.to_owned(),
                available: available(folder),
            }),
        }
    }

    /// Arguments of `kind create cluster`.
    pub(crate) fn args(&self) -> Vec<OsString> {
        match self {
            Self::Default => Vec::new(),
            Self::Image(image) => vec!["--image".into(), image.into()],
            Self::Config(path) => vec!["--config".into(), path.into()],
        }
    }
}

/// `kindest/node:v1.36.0`, with or without a digest.
fn is_node_image(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(IMAGES) else { return false };
    let (tag, digest) = match rest.split_once("@sha256:") {
        Some((tag, digest)) => (tag, Some(digest)),
        None => (rest, None),
    };
    let version = tag.strip_prefix('v').unwrap_or_default();
    let starts_well = version.starts_with(|c: char| c.is_ascii_digit());
    starts_well
        && tag.len() <= 128
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && digest.is_none_or(|d| d.len() == 64 && d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

/// A name that cannot lead out of a folder.
fn is_name(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&name.len()) && name.bytes().all(fine) && !name.starts_with('-')
}

fn available(folder: Option<&Path>) -> String {
    let mut names: Vec<String> = folder
        .and_then(|folder| fs::read_dir(folder).ok())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter_map(|file| file.strip_suffix(".yaml").filter(|name| is_name(name)).map(str::to_owned))
        .collect();
    names.sort();
    let folder = folder.map_or_else(|| "~/.config/harness/kind".to_owned(), |folder| folder.display().to_string());
    match names.is_empty() {
        true => {
            format!("node images, as `{IMAGES}v1.36.0`; and NAME for a file {folder}/NAME.yaml, of which there is none")
        }
        false => format!("node images, as `{IMAGES}v1.36.0`; and of {folder}: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_images_and_configurations_of_the_operators_are_taken_and_nothing_else() {
        let digest = "a".repeat(64);
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("three-nodes.yaml"), "kind: Cluster\n").expect("written");
        let named = |name: &str| Template::named(Some(name), Some(folder.path()));
        for image in ["kindest/node:v1.36.0".to_owned(), format!("kindest/node:v1.36.1@sha256:{digest}")] {
            let template = named(&image).expect(&image);
            assert_eq!(template.args(), ["--image", image.as_str()]);
        }
        let path = folder.path().join("three-nodes.yaml");
        assert_eq!(named("three-nodes").expect("there").args(), [OsString::from("--config"), path.into()]);
        assert_eq!(Template::named(None, None).expect("the default").args(), Vec::<OsString>::new());
        let inside = folder.path().join("three-nodes").display().to_string();
        for bad in [
            "evil/node:v1.36.0",
            "kindest/node:latest",
            "kindest/node:",
            "kindest/node:v1 --retain",
            "kindest/node:v1@sha256:12",
            "docker.io/kindest/node:v1.36.0",
            "three-nodes.yaml",
            "../three-nodes",
            "./three-nodes",
            inside.as_str(),
            "-",
            "--config",
            "",
            "two-nodes",
        ] {
            let error = named(bad).expect_err(bad);
            assert!(error.is_input() && error.to_string().contains("three-nodes"), "{error}");
        }
        let error = Template::named(Some("x"), None).expect_err("no folder").to_string();
        assert!(error.contains("~/.config/harness/kind/NAME.yaml"), "{error}");
    }
}
