// Gives a Deployment's container an image that does not exist. Change me: break something else.
// `failure.h` and `metadata.h` are made by `harness-cli failures build`, in target/bindings.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failure.h"
#include "metadata.h"

// The text of a member, of flat JSON without escapes, such as the parameters here. False where there is none.
static bool member(const failure_string_t *json, const char *name, char *out, size_t size) {
  char key[64];
  int length = snprintf(key, sizeof key, "\"%s\":\"", name);
  for (size_t at = 0; length > 0 && at + (size_t)length < json->len; at++) {
    if (memcmp(json->ptr + at, key, (size_t)length) != 0) continue;
    size_t n = 0;
    for (size_t from = at + (size_t)length; from < json->len && n + 1 < size; from++, n++) {
      if (json->ptr[from] == '"') { out[n] = 0; return true; }
      out[n] = (char)json->ptr[from];
    }
    return false;
  }
  return false;
}

static bool fails(failure_error_t *err, const char *why) {
  err->tag = HARNESS_FAILURE_TYPES_ERROR_INVALID;
  failure_string_dup(&err->val.invalid, why);
  return false;
}

void exports_failure_metadata(failure_json_t *ret) { failure_string_dup(ret, FAILURE_METADATA); }

bool exports_failure_induce(failure_call_t *call, failure_induced_t *ret, failure_error_t *err) {
  char app[64], image[256], before[256], text[512];
  memset(ret, 0, sizeof *ret);
  if (!member(&call->params, "app", app, sizeof app) || !member(&call->params, "image", image, sizeof image))
    return fails(err, "a parameter is missing or too long");

  harness_failure_types_object_ref_t target = {0};
  failure_string_set(&target.api_version, "apps/v1");
  failure_string_set(&target.kind, "Deployment");
  failure_string_set(&target.name, app);
  harness_failure_types_json_t deployment, changed;
  if (!harness_failure_read_get(&target, &deployment, err)) return false;
  bool found = member(&deployment, "image", before, sizeof before);
  harness_failure_types_json_free(&deployment);
  if (!found) return fails(err, "the Deployment has no image");

  // Save what `stop` needs before the change: this call may be cut off at any point.
  failure_string_t state;
  failure_string_set(&state, before);
  if (!harness_failure_checkpoint_save(&state, err)) return false;

  failure_string_t line;
  snprintf(text, sizeof text, "set the image of Deployment %s to %s", app, image);
  failure_string_set(&line, text);
  harness_failure_log_log(HARNESS_FAILURE_LOG_LEVEL_INFO, &line);

  failure_string_t patch;
  snprintf(text, sizeof text, "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"app\",\"image\":\"%s\"}]}}}}", image);
  failure_string_set(&patch, text);
  if (!harness_failure_write_patch(&target, HARNESS_FAILURE_WRITE_PATCH_TYPE_STRATEGIC, &patch, &changed, err)) return false;
  harness_failure_types_json_free(&changed);
  return true;
}

bool exports_failure_stop(failure_call_t *call, failure_string_t *state, failure_error_t *err) {
  char app[64], text[512];
  // Nothing was saved, so nothing was changed.
  if (!state) return true;
  if (!member(&call->params, "app", app, sizeof app)) return fails(err, "a parameter is missing or too long");
  harness_failure_types_object_ref_t target = {0};
  failure_string_set(&target.api_version, "apps/v1");
  failure_string_set(&target.kind, "Deployment");
  failure_string_set(&target.name, app);
  failure_string_t patch;
  snprintf(text, sizeof text, "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"app\",\"image\":\"%.*s\"}]}}}}",
           (int)state->len, (const char *)state->ptr);
  failure_string_set(&patch, text);
  harness_failure_types_json_t changed;
  if (harness_failure_write_patch(&target, HARNESS_FAILURE_WRITE_PATCH_TYPE_STRATEGIC, &patch, &changed, err)) {
    harness_failure_types_json_free(&changed);
    return true;
  }
  // Gone meanwhile: then there is nothing to put back.
  return err->tag == HARNESS_FAILURE_TYPES_ERROR_NOT_FOUND;
}
