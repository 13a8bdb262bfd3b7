//! The environment of a container: values, references to ConfigMaps, Secrets and fields, service links.

use serde_json::Value;
use simulation::resources::{CONFIG_MAPS, SECRETS, SERVICES};

use super::Context;
use super::worker::Worker;
use crate::fields::{at, entries, items, name, namespace, number, text, truth};
use crate::quantity;

impl Worker {
    /// In order, later ones winning.
    ///
    /// # Errors
    /// What the kubelet says about a reference that leads nowhere.
    pub(super) fn environment(&self, context: &Context<'_>, index: usize) -> Result<Vec<(String, String)>, String> {
        let spec = &self.units[index].spec;
        let mut found: Vec<(String, String)> = Vec::new();
        if at(&self.pod, "/spec/enableServiceLinks").and_then(Value::as_bool).unwrap_or(true) {
            self.service_links(context, &mut found);
        }
        for source in items(spec, "/envFrom") {
            let prefix = text(source, "/prefix");
            for (pointer, secret) in [("/configMapRef", false), ("/secretRef", true)] {
                let Some(reference) = at(source, pointer) else { continue };
                let wanted = text(reference, "/name");
                match self.data(context, wanted, secret) {
                    Some(object) => {
                        found.extend(decoded(&object, secret).into_iter().map(|(k, v)| (format!("{prefix}{k}"), v)))
                    }
                    None if truth(reference, "/optional") => {}
                    None => return Err(not_found(wanted, secret)),
                }
            }
        }
        for variable in items(spec, "/env") {
            let key = text(variable, "/name").to_owned();
            let value = match variable.get("valueFrom").filter(|v| !v.is_null()) {
                None => Some(expand(text(variable, "/value"), &found)),
                Some(source) => self.value_from(context, spec, source)?,
            };
            if let Some(value) = value {
                found.push((key, value));
            }
        }
        Ok(found)
    }

    fn value_from(&self, context: &Context<'_>, spec: &Value, source: &Value) -> Result<Option<String>, String> {
        for (pointer, secret) in [("/configMapKeyRef", false), ("/secretKeyRef", true)] {
            let Some(reference) = at(source, pointer) else { continue };
            let (wanted, key, optional) =
                (text(reference, "/name"), text(reference, "/key"), truth(reference, "/optional"));
            let Some(object) = self.data(context, wanted, secret) else {
                return if optional { Ok(None) } else { Err(not_found(wanted, secret)) };
            };
            let value = decoded(&object, secret).into_iter().find(|(k, _)| k == key).map(|(_, v)| v);
            return match value {
                None if !optional => {
                    let kind = if secret { "Secret" } else { "ConfigMap" };
                    Err(format!("couldn't find key {key} in {kind} {}/{wanted}", namespace(&self.pod)))
                }
                value => Ok(value),
            };
        }
        if let Some(path) = at(source, "/fieldRef/fieldPath").and_then(Value::as_str) {
            return Ok(Some(self.field(context, path)));
        }
        Ok(at(source, "/resourceFieldRef").map(|reference| resource_field(spec, reference)))
    }

    /// A field of the pod, as the downward API names it.
    pub(super) fn field(&self, context: &Context<'_>, path: &str) -> String {
        if let Some((list, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
            let pointer = format!("/{}", list.replace('.', "/"));
            return self
                .pod
                .pointer(&pointer)
                .and_then(|m| m.get(key))
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned();
        }
        let host = || context.shared.nodes.get(self.node()).map(|n| n.address.clone()).unwrap_or_default();
        match path {
            "status.podIP" | "status.podIPs" => self.address.clone().unwrap_or_default(),
            "status.hostIP" | "status.hostIPs" => host(),
            "metadata.labels" | "metadata.annotations" => entries(&self.pod, &format!("/{}", path.replace('.', "/")))
                .map(|(k, v)| format!("{k}=\"{}\"", v.as_str().unwrap_or_default()))
                .collect::<Vec<_>>()
                .join("\n"),
            path => text(&self.pod, &format!("/{}", path.replace('.', "/"))).to_owned(),
        }
    }

    fn data(&self, context: &Context<'_>, wanted: &str, secret: bool) -> Option<std::sync::Arc<Value>> {
        context.world.get(if secret { &SECRETS } else { &CONFIG_MAPS }, namespace(&self.pod), wanted)
    }

    /// `WEB_SERVICE_HOST` and `WEB_SERVICE_PORT` of the services of the namespace.
    fn service_links(&self, context: &Context<'_>, found: &mut Vec<(String, String)>) {
        let mut services = context.world.list(&SERVICES, Some(namespace(&self.pod)));
        services.extend(context.world.get(&SERVICES, "default", "kubernetes"));
        for service in services {
            let address = text(&service, "/spec/clusterIP");
            let Some(port) = items(&service, "/spec/ports").first().and_then(|p| number(p, "/port")) else { continue };
            if matches!(address, "" | "None") {
                continue;
            }
            let prefix = name(&service).to_ascii_uppercase().replace(['-', '.'], "_");
            found.push((format!("{prefix}_SERVICE_HOST"), address.to_owned()));
            found.push((format!("{prefix}_SERVICE_PORT"), port.to_string()));
            found.push((format!("{prefix}_PORT"), format!("tcp://{address}:{port}")));
        }
    }
}

fn not_found(wanted: &str, secret: bool) -> String {
    format!("{} \"{wanted}\" not found", if secret { "secret" } else { "configmap" })
}

/// The entries of a ConfigMap, or of a Secret in clear.
pub(super) fn decoded(object: &Value, secret: bool) -> Vec<(String, String)> {
    let plain = entries(object, "/data").filter_map(|(k, v)| {
        let text = v.as_str()?;
        Some((k.clone(), if secret { String::from_utf8_lossy(&base64(text)).into_owned() } else { text.to_owned() }))
    });
    let binary = entries(object, "/binaryData")
        .filter_map(|(k, v)| Some((k.clone(), String::from_utf8_lossy(&base64(v.as_str()?)).into_owned())));
    plain.chain(binary).collect()
}

/// Standard base64; what is not of its alphabet is skipped.
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bytes, mut held, mut bits) = (Vec::new(), 0_u32, 0);
    for c in text.bytes() {
        let Some(value) = ALPHABET.iter().position(|a| *a == c) else { continue };
        held = (held << 6 | value as u32) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}

fn resource_field(spec: &Value, reference: &Value) -> String {
    let pointer = format!("/resources/{}", text(reference, "/resource").replace('.', "/"));
    let amount = at(spec, &pointer).and_then(quantity::milli).unwrap_or(0);
    let divisor = reference.get("divisor").and_then(quantity::milli).filter(|d| *d > 0).unwrap_or(1000);
    ((amount + divisor - 1) / divisor).to_string()
}

/// `$(NAME)` of what is known already; `$$(NAME)` stays, unknown ones too.
pub(super) fn expand(text: &str, known: &[(String, String)]) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        shown.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            shown.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            match known.iter().rev().find(|(key, _)| key == name) {
                Some((_, value)) => shown.push_str(value),
                None => shown.push_str(&format!("$({name})")),
            }
            rest = after;
        } else {
            shown.push('$');
            rest = &rest[1..];
        }
    }
    shown.push_str(rest);
    shown
}
