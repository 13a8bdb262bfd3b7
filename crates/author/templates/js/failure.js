// Gives a Deployment's container an image that does not exist. Change me: break something else.
// What can be imported stands in target/bindings/wit, once `harness-cli failures build` has been run.

import { save } from "harness:failure/checkpoint@0.1.0";
import { log } from "harness:failure/log@0.1.0";
import { get } from "harness:failure/read@0.1.0";
import { patch } from "harness:failure/write@0.1.0";
import { METADATA } from "../target/bindings/metadata.js";

export function metadata() {
  return METADATA;
}

export function induce(call) {
  const params = JSON.parse(call.params);
  const target = deployment(params.app);
  const before = JSON.parse(get(target)).spec.template.spec.containers[0].image;
  // Save what `stop` needs before the change: this call may be cut off at any point.
  save(JSON.stringify({ before }));
  log("info", `set the image of Deployment ${params.app} to ${params.image}`);
  patch(target, "strategic", withImage(params.image));
  return {};
}

export function stop(call, state) {
  // Nothing was saved, so nothing was changed.
  if (!state) return;
  const params = JSON.parse(call.params);
  try {
    patch(deployment(params.app), "strategic", withImage(JSON.parse(state).before));
  } catch (error) {
    // Gone meanwhile: then there is nothing to put back.
    if (error.payload?.tag !== "not-found") throw error;
  }
}

function deployment(name) {
  return { apiVersion: "apps/v1", kind: "Deployment", namespace: null, name };
}

function withImage(image) {
  return JSON.stringify({ spec: { template: { spec: { containers: [{ name: "app", image }] } } } });
}
