// Mistypes the tag of a Deployment's image: reads it, doubles one character of it or exchanges two, by the seed of the case.
// `failure.h` (the contract) and `metadata.h` are made by `harness-cli failures build`, in target/bindings.

#include <stdio.h>
#include <string.h>

#include "failure.h"
#include "metadata.h"

// Room for any image reference that a registry takes (255 characters), and for what is typed too much.
#define IMAGE 280

// The text of a member of JSON, where it has no escapes: names and images have none. False where there is no such member.
static bool member(const failure_string_t *json, const char *name, char *out, size_t size) {
  char key[64];
  size_t length = (size_t)snprintf(key, sizeof key, "\"%s\":\"", name);
  for (size_t at = 0; at + length < json->len; at++) {
    if (memcmp(json->ptr + at, key, length) != 0) continue;
    const char *value = (const char *)json->ptr + at + length;
    const char *end = memchr(value, '"', json->len - at - length);
    if (!end || (size_t)(end - value) >= size) return false;
    memcpy(out, value, (size_t)(end - value));
    out[end - value] = 0;
    return true;
  }
  return false;
}

static bool fails(failure_error_t *err, const char *why) {
  err->tag = HARNESS_FAILURE_TYPES_ERROR_INVALID;
  failure_string_dup(&err->val.invalid, why);
  return false;
}

static bool digit(char c) { return c >= '0' && c <= '9'; }

// Writes the image with a typing error in its tag. False where the tag has nothing to mistype.
static bool mistyped(const char *image, uint64_t random, char *out) {
  const char *tag = strrchr(image, ':');
  if (!tag || strchr(tag, '/')) return false;
  size_t from = (size_t)(tag + 1 - image), length = strlen(image), places[IMAGE], count = 0;
  for (size_t at = from; at < length; at++)
    if (digit(image[at])) places[count++] = at;
  if (count == 0) return false;
  size_t at = places[random % count];
  strcpy(out, image);
  if (at + 1 < length && digit(image[at + 1]) && image[at + 1] != image[at]) {
    out[at] = image[at + 1];
    out[at + 1] = image[at];
  } else {
    memmove(out + at + 1, out + at, length - at + 1);
  }
  return true;
}

static void address(harness_failure_types_object_ref_t *target, const char *app) {
  memset(target, 0, sizeof *target);
  failure_string_set(&target->api_version, "apps/v1");
  failure_string_set(&target->kind, "Deployment");
  failure_string_set(&target->name, app);
}

static bool set_image(harness_failure_types_object_ref_t *target, const char *image, failure_error_t *err) {
  char text[IMAGE + 128];
  failure_string_t patch;
  harness_failure_types_json_t changed;
  snprintf(text, sizeof text, "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"app\",\"image\":\"%s\"}]}}}}",
           image);
  failure_string_set(&patch, text);
  if (!harness_failure_write_patch(target, HARNESS_FAILURE_WRITE_PATCH_TYPE_STRATEGIC, &patch, &changed, err)) return false;
  harness_failure_types_json_free(&changed);
  return true;
}

void exports_failure_metadata(failure_json_t *ret) { failure_string_dup(ret, FAILURE_METADATA); }

bool exports_failure_induce(failure_call_t *call, failure_induced_t *ret, failure_error_t *err) {
  char app[64], before[IMAGE], after[IMAGE + 1], text[2 * IMAGE + 128];
  harness_failure_types_object_ref_t target;
  harness_failure_types_json_t deployment;
  memset(ret, 0, sizeof *ret);
  if (!member(&call->params, "app", app, sizeof app)) return fails(err, "the parameter `app` is missing");
  address(&target, app);
  if (!harness_failure_read_get(&target, &deployment, err)) return false;
  bool found = member(&deployment, "image", before, sizeof before - 1);
  harness_failure_types_json_free(&deployment);
  if (!found || !mistyped(before, harness_failure_random_next(), after))
    return fails(err, "the Deployment has no image with a tag of digits");

  // What `stop` needs is saved before the change: this call may be cut off at any point.
  failure_string_t state, line;
  failure_string_set(&state, before);
  if (!harness_failure_checkpoint_save(&state, err)) return false;
  snprintf(text, sizeof text, "type %s instead of %s in Deployment %s", after, before, app);
  failure_string_set(&line, text);
  harness_failure_log_log(HARNESS_FAILURE_LOG_LEVEL_INFO, &line);
  return set_image(&target, after, err);
}

bool exports_failure_stop(failure_call_t *call, failure_string_t *state, failure_error_t *err) {
  char app[64], before[IMAGE];
  harness_failure_types_object_ref_t target;
  // Nothing was saved, so nothing was changed.
  if (!state) return true;
  if (state->len >= sizeof before) return fails(err, "the saved state is not an image");
  memcpy(before, state->ptr, state->len);
  before[state->len] = 0;
  if (!member(&call->params, "app", app, sizeof app)) return fails(err, "the parameter `app` is missing");
  address(&target, app);
  // Gone meanwhile: then there is nothing to put back.
  return set_image(&target, before, err) || err->tag == HARNESS_FAILURE_TYPES_ERROR_NOT_FOUND;
}
