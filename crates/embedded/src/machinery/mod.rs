//! What belongs to the API machinery rather than to workloads: namespaces that end, owners that are gone, default
//! accounts, custom resource definitions. Each is a controller like any other.

mod custom;
mod garbage;
mod namespaces;
mod quotas;
mod service_accounts;

use simulation::Controller;

pub(crate) fn controllers() -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(service_accounts::ServiceAccounts),
        Box::new(namespaces::Namespaces::default()),
        Box::new(garbage::GarbageCollector::default()),
        Box::new(quotas::Quotas::default()),
        Box::new(custom::Definitions::default()),
    ]
}
