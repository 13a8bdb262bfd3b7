// Mistypes one of the keys that a Deployment reads from its config map: finds out which it reads, chooses one by the seed of the
// case, and restarts the Deployment. What can be imported stands in target/bindings/wit, once this has been built.

import { save } from "harness:failure/checkpoint@0.1.0";
import { log } from "harness:failure/log@0.1.0";
import { next } from "harness:failure/random@0.1.0";
import { get } from "harness:failure/read@0.1.0";
import { patch } from "harness:failure/write@0.1.0";
import { METADATA } from "../target/bindings/metadata.js";
import { mistyped } from "./typing.js";

export function metadata() {
  return METADATA;
}

export function induce(call) {
  const params = JSON.parse(call.params);
  const settings = object("v1", "ConfigMap", params.settings);
  const app = object("apps/v1", "Deployment", params.app);

  const { data } = JSON.parse(get(settings));
  const read = keysRead(JSON.parse(get(app)), params.settings).filter((key) => key in data);
  if (read.length === 0) throw { tag: "invalid", val: `${params.app} reads no key of ${params.settings}` };
  const right = read[Number(BigInt(next()) % BigInt(read.length))];
  const wrong = mistyped(right);

  // What `stop` needs is saved before the change: this call may be cut off at any point.
  save(JSON.stringify({ right, wrong, value: data[right] }));
  log("info", `type ${wrong} instead of ${right} in ConfigMap ${params.settings}`);
  patch(settings, "merge", JSON.stringify({ data: { [right]: null, [wrong]: data[right] } }));
  patch(app, "strategic", restart("2026-01-01T00:00:00Z"));
  return {};
}

export function stop(call, state) {
  // Nothing was saved, so nothing was changed.
  if (!state) return;
  const params = JSON.parse(call.params);
  const { right, wrong, value } = JSON.parse(state);
  try {
    const settings = object("v1", "ConfigMap", params.settings);
    patch(settings, "merge", JSON.stringify({ data: { [wrong]: null, [right]: value } }));
  } catch (error) {
    // Gone meanwhile: then there is nothing to put back.
    if (error.payload?.tag !== "not-found") throw error;
  }
}

function object(apiVersion, kind, name) {
  return { apiVersion, kind, namespace: null, name };
}

// The keys of a config map that the containers of a Deployment get by their environment.
function keysRead(deployment, configMap) {
  const variables = deployment.spec.template.spec.containers.flatMap((container) => container.env ?? []);
  const references = variables.map((variable) => variable.valueFrom?.configMapKeyRef);
  return references.filter((reference) => reference?.name === configMap).map((reference) => reference.key);
}

function restart(at) {
  const annotations = { "kubectl.kubernetes.io/restartedAt": at };
  return JSON.stringify({ spec: { template: { metadata: { annotations } } } });
}
