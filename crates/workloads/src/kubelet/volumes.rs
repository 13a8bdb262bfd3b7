//! Volumes: whether they can be mounted, and what a container finds in them.

use serde_json::Value;
use simulation::resources::{CONFIG_MAPS, SECRETS};

use super::Context;
use super::environment::decoded;
use super::worker::Worker;
use crate::fields::{items, namespace, text, truth};

type Found = Vec<(String, String)>;

impl Worker {
    /// What is wrong with the volumes, as FailedMount tells it; nothing: all are there.
    pub(super) fn mount_problems(&self, context: &Context<'_>) -> Vec<String> {
        items(&self.pod, "/spec/volumes")
            .iter()
            .filter_map(|volume| {
                let problem = self.content(context, volume).err()?;
                Some(format!("MountVolume.SetUp failed for volume \"{}\" : {problem}", text(volume, "/name")))
            })
            .collect()
    }

    /// The files of a volume by relative path.
    fn content(&self, context: &Context<'_>, volume: &Value) -> Result<Found, String> {
        if let Some(source) = volume.get("configMap") {
            return self.object_files(context, source, text(source, "/name"), false);
        }
        if let Some(source) = volume.get("secret") {
            return self.object_files(context, source, text(source, "/secretName"), true);
        }
        if let Some(source) = volume.get("downwardAPI") {
            return Ok(self.field_files(context, source));
        }
        let mut found = Found::new();
        for source in items(volume, "/projected/sources") {
            if let Some(map) = source.get("configMap") {
                // The cluster's own CA is there before any pod runs.
                if text(map, "/name") == "kube-root-ca.crt" {
                    found.push(("ca.crt".to_owned(), "-----BEGIN CERTIFICATE-----\n".to_owned()));
                } else {
                    found.extend(self.object_files(context, map, text(map, "/name"), false)?);
                }
            }
            if let Some(secret) = source.get("secret") {
                found.extend(self.object_files(context, secret, text(secret, "/name"), true)?);
            }
            if let Some(fields) = source.get("downwardAPI") {
                found.extend(self.field_files(context, fields));
            }
            if let Some(token) = source.get("serviceAccountToken") {
                let account = text(&self.pod, "/spec/serviceAccountName");
                let Some(made) = context.world.account_token(namespace(&self.pod), account) else {
                    return Err(format!("failed to fetch token: serviceaccounts \"{account}\" not found"));
                };
                found.push((text(token, "/path").to_owned(), made));
            }
        }
        Ok(found)
    }

    fn object_files(&self, context: &Context<'_>, source: &Value, wanted: &str, secret: bool) -> Result<Found, String> {
        let optional = truth(source, "/optional");
        let resource = if secret { &SECRETS } else { &CONFIG_MAPS };
        let Some(object) = context.world.get(resource, namespace(&self.pod), wanted) else {
            let kind = if secret { "secret" } else { "configmap" };
            return if optional { Ok(Found::new()) } else { Err(format!("{kind} \"{wanted}\" not found")) };
        };
        let data = decoded(&object, secret);
        let chosen = items(source, "/items");
        if chosen.is_empty() {
            return Ok(data);
        }
        let mut found = Found::new();
        for item in chosen {
            let key = text(item, "/key");
            match data.iter().find(|(k, _)| k == key) {
                Some((_, value)) => found.push((text(item, "/path").to_owned(), value.clone())),
                None if optional => {}
                None if secret => return Err(format!("references non-existent secret key: {key}")),
                None => return Err(format!("configmap references non-existent config key: {key}")),
            }
        }
        Ok(found)
    }

    fn field_files(&self, context: &Context<'_>, source: &Value) -> Found {
        items(source, "/items")
            .iter()
            .map(|item| (text(item, "/path").to_owned(), self.field(context, text(item, "/fieldRef/fieldPath"))))
            .collect()
    }

    /// Files and directories that a container sees through its mounts.
    #[allow(clippy::type_complexity, reason = "path, content, read-only; directories")]
    pub(super) fn mounted(&self, context: &Context<'_>, index: usize) -> (Vec<(String, Vec<u8>, bool)>, Vec<String>) {
        let (mut files, mut directories) = (Vec::new(), Vec::new());
        for mount in items(&self.units[index].spec, "/volumeMounts") {
            let place = text(mount, "/mountPath").trim_end_matches('/').to_owned();
            let Some(volume) =
                items(&self.pod, "/spec/volumes").iter().find(|v| text(v, "/name") == text(mount, "/name"))
            else {
                continue;
            };
            let sub = text(mount, "/subPath");
            let fixed =
                ["configMap", "secret", "projected", "downwardAPI"].iter().any(|kind| volume.get(*kind).is_some());
            if !fixed {
                directories.push(place);
                continue;
            }
            let content = self.content(context, volume).unwrap_or_default();
            match content.iter().find(|(path, _)| path == sub) {
                Some((_, data)) if !sub.is_empty() => files.push((place, data.clone().into_bytes(), true)),
                _ => {
                    directories.push(place.clone());
                    files.extend(
                        content.into_iter().map(|(path, data)| (format!("{place}/{path}"), data.into_bytes(), true)),
                    );
                }
            }
        }
        (files, directories)
    }
}
