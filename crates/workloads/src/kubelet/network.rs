//! Names and addresses of the simulated cluster: pods, Services, EndpointSlices.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::Value;
use shell::{Network, Reply, Request, Response};
use simulation::World;
use simulation::resources::{ENDPOINT_SLICES, SERVICES};

use super::Shared;
use crate::fields::{items, name, namespace, number, text, truth};

/// The network as one pod sees it.
pub(super) struct View<'a> {
    pub(super) world: &'a dyn World,
    pub(super) shared: &'a Shared,
    pub(super) namespace: &'a str,
    /// The pod's own address.
    pub(super) own: &'a str,
    /// Log lines of those who answered.
    pub(super) access: RefCell<Vec<(String, String)>>,
}

impl View<'_> {
    fn ask(&self, address: &str, port: u16, request: &Request) -> Reply {
        let Some((_, listeners)) = self.shared.listeners.get(address) else {
            // An address that no pod has: nobody answers. One without listeners has a kernel that refuses.
            return if address == self.own { Reply::Refused } else { Reply::NoRoute };
        };
        let Some(listener) = listeners.iter().find(|l| l.port == port && (!l.loopback || address == self.own)) else {
            return Reply::Refused;
        };
        match listener.respond(&request.path) {
            Some(answer) => {
                let from = if request.from.is_empty() { self.own } else { &request.from };
                if let Some(line) = listener.access_line(from, &request.path, &request.agent, &answer) {
                    self.access.borrow_mut().push((address.to_owned(), line));
                }
                Reply::Answer(answer)
            }
            None => Reply::Silent,
        }
    }

    fn service_of(&self, host: &str) -> Option<Arc<Value>> {
        let host = host.strip_suffix(".cluster.local").or(host.strip_suffix(".cluster.local.")).unwrap_or(host);
        let host = host.strip_suffix(".svc").unwrap_or(host);
        let (service, space) = host.split_once('.').unwrap_or((host, self.namespace));
        self.world.get(&SERVICES, space, service)
    }

    fn service_at(&self, address: &str) -> Option<Arc<Value>> {
        self.world.list(&SERVICES, None).into_iter().find(|s| text(s, "/spec/clusterIP") == address)
    }

    /// Ready endpoints of a service: addresses and the slice's ports.
    fn endpoints(&self, service: &Value) -> Vec<(String, Arc<Value>)> {
        let mut found = Vec::new();
        for slice in self.world.list(&ENDPOINT_SLICES, Some(namespace(service))) {
            let of = slice
                .pointer("/metadata/labels")
                .and_then(|l| l.get("kubernetes.io/service-name"))
                .and_then(Value::as_str);
            if of != Some(name(service)) {
                continue;
            }
            for endpoint in items(&slice, "/endpoints").iter().filter(|e| truth(e, "/conditions/ready")) {
                found.extend(
                    items(endpoint, "/addresses")
                        .iter()
                        .filter_map(Value::as_str)
                        .map(|a| (a.to_owned(), Arc::clone(&slice))),
                );
            }
        }
        found
    }

    /// The cluster's own API, as processes in pods reach it.
    fn api_server(&self, service: &Value, request: &Request) -> Reply {
        if !items(service, "/spec/ports").iter().any(|p| number(p, "/port") == Some(i64::from(request.port))) {
            return Reply::NoRoute;
        }
        let (status, body) = if request.tls {
            self.world.request(&request.authorization, &request.path)
        } else {
            (400, "Client sent an HTTP request to an HTTPS server.\n".to_owned())
        };
        Reply::Answer(Response { status, body: body.into_bytes() })
    }

    fn through(&self, service: &Value, request: &Request) -> Reply {
        if (namespace(service), name(service)) == ("default", "kubernetes") {
            return self.api_server(service, request);
        }
        if text(service, "/spec/clusterIP") == "None" {
            return match self.endpoints(service).first() {
                Some((address, _)) => self.ask(address, request.port, request),
                None => Reply::UnknownHost,
            };
        }
        let Some(port) =
            items(service, "/spec/ports").iter().find(|p| number(p, "/port") == Some(i64::from(request.port)))
        else {
            return Reply::NoRoute;
        };
        let targets: Vec<(String, u16)> = self
            .endpoints(service)
            .into_iter()
            .filter_map(|(address, slice)| {
                let target = items(&slice, "/ports").iter().find(|p| text(p, "/name") == text(port, "/name"))?;
                Some((address, u16::try_from(number(target, "/port")?).ok()?))
            })
            .collect();
        let turn = request.path.len() + self.own.len();
        match targets.get(turn % targets.len().max(1)) {
            Some((address, port)) => self.ask(address, *port, request),
            // Without endpoints the node rejects connections to the service.
            None => Reply::Refused,
        }
    }
}

impl Network for View<'_> {
    fn http(&self, request: &Request) -> Reply {
        let host = request.host.as_str();
        if host == "localhost" || host.starts_with("127.") {
            return self.ask(self.own, request.port, request);
        }
        if host.parse::<Ipv4Addr>().is_ok() {
            if self.shared.listeners.contains_key(host) || host == self.own {
                return self.ask(host, request.port, request);
            }
            return match self.service_at(host) {
                Some(service) => self.through(&service, request),
                None => Reply::NoRoute,
            };
        }
        match self.service_of(host) {
            Some(service) => self.through(&service, request),
            None => match self.lookup(host).first() {
                Some(address) => self.ask(address, request.port, request),
                None => Reply::UnknownHost,
            },
        }
    }

    fn lookup(&self, host: &str) -> Vec<String> {
        if let Some(service) = self.service_of(host) {
            return match text(&service, "/spec/clusterIP") {
                "" => Vec::new(),
                "None" => self.endpoints(&service).into_iter().map(|(address, _)| address).collect(),
                address => vec![address.to_owned()],
            };
        }
        // `pod.service...`: a pod of a StatefulSet behind its headless service.
        let Some((pod, rest)) = host.split_once('.') else { return Vec::new() };
        let Some(service) = self.service_of(rest) else { return Vec::new() };
        let mut found = Vec::new();
        for (address, slice) in self.endpoints(&service) {
            let named = items(&slice, "/endpoints").iter().any(|e| {
                text(e, "/targetRef/name") == pod && items(e, "/addresses").iter().any(|a| a.as_str() == Some(&address))
            });
            if named {
                found.push(address);
            }
        }
        found
    }
}
