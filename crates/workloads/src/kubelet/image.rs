//! Images: present, pulled, or not to be had.

use std::time::Duration;

use shell::ImageError;

use super::Context;
use super::backoff::Backoff;
use super::worker::{Failure, Job, Worker};
use crate::fields::text;

impl Worker {
    /// Decides about the image; the time that a pull takes, where there is one.
    pub(super) fn image(&mut self, context: &mut Context<'_>, index: usize) -> Option<Duration> {
        let image = text(&self.units[index].spec, "/image").to_owned();
        let resolved = shell::resolve(&image);
        if let Err(ImageError::Invalid { message }) = &resolved {
            let message = format!("Failed to apply default image tag \"{image}\": {message}");
            self.say(context.world, Some(index), true, "InspectFailed", message.clone());
            self.say(context.world, Some(index), true, "Failed", "Error: InvalidImageName".to_owned());
            self.fail(index, "InvalidImageName", message, Failure::Other);
            return None;
        }
        let canonical = resolved.as_ref().map(|i| i.name.clone()).unwrap_or_default();
        let present = context.shared.nodes.get(self.node()).is_some_and(|node| node.images.contains(&canonical));
        let policy = text(&self.units[index].spec, "/imagePullPolicy");
        if present && policy != "Always" {
            let message =
                format!("Container image \"{image}\" already present on machine and can be accessed by the pod");
            self.say(context.world, Some(index), false, "Pulled", message);
            self.image_present(index);
            return None;
        }
        if policy == "Never" {
            let message = format!("Container image \"{image}\" is not present with pull policy of Never");
            self.say(context.world, Some(index), true, "ErrImageNeverPull", message.clone());
            self.say(context.world, Some(index), true, "Failed", "Error: ErrImageNeverPull".to_owned());
            self.fail(index, "ErrImageNeverPull", message, Failure::Other);
            return None;
        }
        let unit = &mut self.units[index];
        if unit.pulled != image {
            // Another image: nothing is known of it.
            unit.pull_backoff = Backoff::default();
            unit.pulled.clone_from(&image);
        }
        if unit.pull_backoff.holds(context.now()) {
            let text = format!("Back-off pulling image \"{image}\"");
            let message = format!("{text}: ErrImagePull: {}", unit.pull_error);
            self.say(context.world, Some(index), false, "BackOff", text);
            self.say(context.world, Some(index), true, "Failed", "Error: ImagePullBackOff".to_owned());
            self.fail(index, "ImagePullBackOff", message, Failure::Other);
            return None;
        }
        self.say(context.world, Some(index), false, "Pulling", format!("Pulling image \"{image}\""));
        self.jobs.push_front(Job::Pulled(index));
        None
    }

    /// The registry has answered.
    pub(super) fn pull_done(&mut self, context: &mut Context<'_>, index: usize) {
        let now = context.now();
        let image = text(&self.units[index].spec, "/image").to_owned();
        match shell::resolve(&image) {
            Ok(found) => {
                let node = self.node().to_owned();
                if let Some(node) = context.shared.nodes.get_mut(&node) {
                    node.images.insert(found.name.clone());
                }
                let took = 20 + context.world.random() % 80;
                let message = format!(
                    "Successfully pulled image \"{image}\" in {took}ms ({took}ms including waiting). Image size: {} bytes.",
                    found.size
                );
                self.say(context.world, Some(index), false, "Pulled", message);
                self.image_present(index);
            }
            Err(error) => {
                let message = error.to_string();
                self.units[index].pull_backoff.grow(now, now);
                self.units[index].pull_error.clone_from(&message);
                self.say(
                    context.world,
                    Some(index),
                    true,
                    "Failed",
                    format!("Failed to pull image \"{image}\": {message}"),
                );
                self.say(context.world, Some(index), true, "Failed", "Error: ErrImagePull".to_owned());
                self.fail(index, "ErrImagePull", message, Failure::Other);
            }
        }
    }
}
