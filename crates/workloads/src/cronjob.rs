//! The CronJob controller: Jobs by a schedule, in UTC or a fixed offset.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde_json::{Value, json};
use simulation::resources::{CRON_JOBS, JOBS};
use simulation::{Change, Controller, Deletion, Occurrence, World};

use crate::fields::{
    after, at, controller_of, is_deleting, items, key, millis, name, namespace, number, owner_reference, put, seconds,
    split_key, text, time, truth, uid,
};
use crate::index::Owned;
use crate::owned_pod::{MANAGER, store_status};

const NAME: &str = "cronjob-controller";
const TIMESTAMP: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// The controller.
#[derive(Debug, Default)]
pub(crate) struct CronJobs {
    jobs: Owned,
}

impl Controller for CronJobs {
    fn name(&self) -> &'static str {
        NAME
    }

    fn observe(&mut self, world: &mut dyn World, change: &Change) {
        match change {
            Change::Added(r, cron) | Change::Modified(r, _, cron) if *r == CRON_JOBS => {
                enqueue(world, &key(cron), millis(10))
            }
            Change::Deleted(r, cron) if *r == CRON_JOBS => world.cancel_wake(NAME, &key(cron)),
            Change::Added(r, job) | Change::Modified(r, _, job) if *r == JOBS => {
                self.jobs.put(job);
                owner_changed(world, job);
            }
            Change::Deleted(r, job) if *r == JOBS => {
                self.jobs.take(job);
                owner_changed(world, job);
            }
            _ => {}
        }
    }

    fn wake(&mut self, world: &mut dyn World, key: &str) {
        let (space, cron) = split_key(key);
        if let Some(cron) = world.get(&CRON_JOBS, space, cron).filter(|cron| !is_deleting(cron)) {
            self.sync(world, &cron);
        }
    }
}

fn owner_changed(world: &mut dyn World, job: &Value) {
    if let Some(("CronJob", owner, _)) = controller_of(job) {
        enqueue(world, &format!("{}/{owner}", namespace(job)), millis(20));
    }
}

fn enqueue(world: &mut dyn World, key: &str, pause: Duration) {
    let at = after(world.now(), pause);
    world.wake_at(NAME, key.to_owned(), at);
}

fn say(world: &mut dyn World, cron: &Value, warning: bool, reason: &str, message: String) {
    world.event(Occurrence {
        regarding: cron,
        field_path: None,
        warning,
        reason,
        message,
        component: NAME,
        host: None,
    });
}

fn finished(job: &Value) -> Option<&str> {
    items(job, "/status/conditions")
        .iter()
        .map(|c| text(c, "/type"))
        .find(|kind| matches!(*kind, "Complete" | "Failed"))
}

impl CronJobs {
    fn sync(&mut self, world: &mut dyn World, cron: &Arc<Value>) {
        let now = world.now();
        let mut status = cron.get("status").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
        let jobs = self.jobs.of(uid(cron));
        let mut active = items(&status, "/active").to_vec();
        for job in &jobs {
            let listed = active.iter().any(|a| text(a, "/uid") == uid(job));
            if let Some(outcome) = finished(job).filter(|_| listed) {
                active.retain(|a| text(a, "/uid") != uid(job));
                say(
                    world,
                    cron,
                    false,
                    "SawCompletedJob",
                    format!("Saw completed job: {}, condition: {outcome}", name(job)),
                );
                if outcome == "Complete" {
                    put(&mut status, &["lastSuccessfulTime"], json!(text(job, "/status/completionTime")));
                }
            }
        }
        active.retain(|a| jobs.iter().any(|job| uid(job) == text(a, "/uid")));
        self.clean_up(world, cron, &jobs);
        if let Some(schedule) = Schedule::parse(text(cron, "/spec/schedule")) {
            if !truth(cron, "/spec/suspend") {
                self.start_due(world, cron, &schedule, &mut status, &mut active, now);
                if let Some(next) = schedule.next(now) {
                    enqueue(world, &key(cron), crate::fields::between(now, next) + millis(100));
                }
            }
        } else {
            say(
                world,
                cron,
                true,
                "UnparseableSchedule",
                format!("unparseable schedule: \"{}\"", text(cron, "/spec/schedule")),
            );
        }
        if active.is_empty() {
            crate::fields::remove(&mut status, &["active"]);
        } else {
            put(&mut status, &["active"], Value::Array(active));
        }
        store_status(world, &CRON_JOBS, cron, status);
    }

    fn start_due(
        &mut self,
        world: &mut dyn World,
        cron: &Arc<Value>,
        schedule: &Schedule,
        status: &mut Value,
        active: &mut Vec<Value>,
        now: Timestamp,
    ) {
        let mut from = match text(status, "/lastScheduleTime") {
            "" => time(cron, "/metadata/creationTimestamp"),
            at => at.parse().unwrap_or(now),
        };
        // Of what was missed only the latest counts; a hundred are too many to look at.
        let mut due = None;
        for _ in 0..100 {
            match schedule.next(from).filter(|at| *at <= now) {
                Some(at) => (due, from) = (Some(at), at),
                None => break,
            }
        }
        let Some(due) = due else { return };
        let late = number(cron, "/spec/startingDeadlineSeconds").map(|d| Duration::from_secs(d.max(0) as u64));
        if late.is_some_and(|late| crate::fields::between(due, now) > late) {
            return say(world, cron, true, "MissSchedule", format!("Missed scheduled time to start a job: {due}"));
        }
        match text(cron, "/spec/concurrencyPolicy") {
            "Forbid" if !active.is_empty() => {
                let message =
                    "Not starting job because prior execution is running and concurrency policy is Forbid".to_owned();
                return say(world, cron, false, "JobAlreadyActive", message);
            }
            "Replace" => {
                for job in active.drain(..) {
                    let how = Deletion { propagation: Some("Background"), ..Deletion::default() };
                    if world.delete(&JOBS, namespace(cron), text(&job, "/name"), how).is_ok() {
                        say(world, cron, false, "SuccessfulDelete", format!("Deleted job {}", text(&job, "/name")));
                    }
                }
            }
            _ => {}
        }
        let job = job_of(cron, due);
        match world.create(&JOBS, job, MANAGER) {
            Ok(job) => {
                self.jobs.put(&job);
                say(world, cron, false, "SuccessfulCreate", format!("Created job {}", name(&job)));
                active.push(json!({
                    "kind": "Job", "namespace": namespace(&job), "name": name(&job), "uid": uid(&job), "apiVersion": "batch/v1",
                    "resourceVersion": text(&job, "/metadata/resourceVersion"),
                }));
            }
            Err(refusal) if refusal.reason == "AlreadyExists" => {}
            Err(refusal) => {
                return say(world, cron, true, "FailedCreate", format!("Error creating job: {}", refusal.message));
            }
        }
        put(status, &["lastScheduleTime"], json!(seconds(due)));
    }

    /// Keeps as many finished jobs as the history limits say.
    fn clean_up(&self, world: &mut dyn World, cron: &Value, jobs: &[Arc<Value>]) {
        for (outcome, field, default) in
            [("Complete", "/spec/successfulJobsHistoryLimit", 3), ("Failed", "/spec/failedJobsHistoryLimit", 1)]
        {
            let limit = number(cron, field).unwrap_or(default).max(0) as usize;
            let mut done: Vec<&Arc<Value>> =
                jobs.iter().filter(|job| finished(job) == Some(outcome) && !is_deleting(job)).collect();
            done.sort_by_key(|job| text(job, "/status/startTime").to_owned());
            let excess = done.len().saturating_sub(limit);
            for job in done.into_iter().take(excess) {
                let how = Deletion { propagation: Some("Background"), ..Deletion::default() };
                if world.delete(&JOBS, namespace(job), name(job), how).is_ok() {
                    say(world, cron, false, "SuccessfulDelete", format!("Deleted job {}", name(job)));
                }
            }
        }
    }
}

fn job_of(cron: &Value, due: Timestamp) -> Value {
    let mut metadata =
        at(cron, "/spec/jobTemplate/metadata").cloned().filter(Value::is_object).unwrap_or_else(|| json!({}));
    put(&mut metadata, &["name"], json!(format!("{}-{}", name(cron), due.as_second() / 60)));
    put(&mut metadata, &["namespace"], json!(namespace(cron)));
    put(&mut metadata, &["annotations", TIMESTAMP], json!(seconds(due)));
    put(&mut metadata, &["ownerReferences"], json!([owner_reference(&CRON_JOBS, cron)]));
    let spec = at(cron, "/spec/jobTemplate/spec").cloned().unwrap_or_else(|| json!({}));
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec})
}

/// A parsed cron expression: five fields, or `@hourly` and its like.
#[derive(Debug)]
struct Schedule {
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    days: BTreeSet<u32>,
    months: BTreeSet<u32>,
    weekdays: BTreeSet<u32>,
    any_day: bool,
    any_weekday: bool,
}

impl Schedule {
    fn parse(text: &str) -> Option<Self> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else { return None };
        const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
        const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
        Some(Self {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, &MONTHS)?,
            weekdays: field(weekdays, 0, 7, &DAYS)?.into_iter().map(|day| day % 7).collect(),
            any_day: days.starts_with(['*', '?']),
            any_weekday: weekdays.starts_with(['*', '?']),
        })
    }

    /// The first time after this one.
    fn next(&self, from: Timestamp) -> Option<Timestamp> {
        let mut at = from
            .to_zoned(TimeZone::UTC)
            .with()
            .second(0)
            .subsec_nanosecond(0)
            .build()
            .ok()?
            .checked_add(1.minute())
            .ok()?;
        // By days, then hours, then minutes: at most four years of days.
        for _ in 0..1500 + 24 + 60 {
            let day = self.days.contains(&(at.day() as u32));
            let weekday = self.weekdays.contains(&(at.weekday().to_sunday_zero_offset() as u32));
            // As cron has it: when both are given, either will do.
            let date = if self.any_day || self.any_weekday { day && weekday } else { day || weekday };
            if !self.months.contains(&(at.month() as u32)) || !date {
                at = at.with().hour(0).minute(0).build().ok()?.checked_add(1.day()).ok()?;
            } else if !self.hours.contains(&(at.hour() as u32)) {
                at = at.with().minute(0).build().ok()?.checked_add(1.hour()).ok()?;
            } else if !self.minutes.contains(&(at.minute() as u32)) {
                at = at.checked_add(1.minute()).ok()?;
            } else {
                return Some(at.timestamp());
            }
        }
        None
    }
}

fn field(text: &str, low: u32, high: u32, names: &[&str]) -> Option<BTreeSet<u32>> {
    let number = |word: &str| {
        let at = names.iter().position(|name| word.to_ascii_lowercase() == *name);
        at.map(|i| i as u32 + low).or_else(|| word.parse().ok()).filter(|n| (low..=high).contains(n))
    };
    let mut found = BTreeSet::new();
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, 1), |(range, step)| (range, step.parse().unwrap_or(0)));
        if step == 0 {
            return None;
        }
        let (first, last) = match range {
            "*" | "?" => (low, high),
            range => match range.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None if part.contains('/') => (number(range)?, high),
                None => (number(range)?, number(range)?),
            },
        };
        if first > last {
            return None;
        }
        found.extend((first..=last).step_by(step as usize));
    }
    Some(found)
}
