//! Inputs until the catalogue has them.
#![allow(missing_docs)]

use std::time::Duration;

use serde_json::Value;

#[derive(Clone, Debug, PartialEq)]
pub struct Select {
    pub api_version: String,
    pub kind: String,
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub label_selector: Option<String>,
}

impl Select {
    pub fn label_selector_query(&self) -> Option<String> {
        self.label_selector.clone()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    Any(String),
    All(String),
    None(String),
}

#[derive(Clone, Debug)]
pub struct Symptom {
    pub name: String,
    pub select: Select,
    pub condition: Condition,
}

#[derive(Clone, Debug)]
pub struct Health {
    pub name: String,
    pub select: Select,
    pub condition: Condition,
    pub window: Duration,
}

#[derive(Clone, Debug)]
pub struct ObjectRef {
    pub api_version: String,
    pub kind: String,
    pub namespace: Option<String>,
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct GroundTruth {
    pub fault_type: String,
    pub root_causes: Vec<ObjectRef>,
    pub also_accept: Vec<ObjectRef>,
    pub repair_scope: Vec<ObjectRef>,
}

#[derive(Clone, Debug)]
pub struct Resolved {
    pub params: Value,
    pub symptoms: Vec<Symptom>,
    pub health: Vec<Health>,
    pub ground_truth: Option<GroundTruth>,
}
