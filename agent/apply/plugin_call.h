/* SPDX-License-Identifier: Apache-2.0 */
/* Starting a plugin for one batch: the request it gets, the reply it must give, and what its failures are called. */
#pragma once

#include "agent/apply/apply.h"

#define PLUGIN_TRIES 3u

enum plugin_verb {
	PLUGIN_PLAN,
	PLUGIN_APPLY,
	PLUGIN_UNDO, /* apply, with before and after exchanged */
};

/* The request for these commands; plans are put in for apply and undo. accounts may be NULL. */
int plugin_build_request(const struct apply *apply, const struct document *document, unsigned plugin,
	enum plugin_verb verb, struct command *const *batch, const struct resolved_account *accounts, size_t count,
	struct buffer *ret_request) MUST_CHECK;
/*
 * Runs it; a plugin that crashes or answers nonsense is run again, PLUGIN_TRIES times in all. OK and a reply of exactly
 * `count` results, or plugin_missing, plugin_crashed, plugin_protocol, timeout, capability_missing.
 */
enum code plugin_call(const struct apply *apply, unsigned plugin, bool apply_verb, const struct buffer *request,
	size_t count, cJSON **ret_reply);
/* Takes one result of a reply over. Plan: what is not `ok` and changing has ended. Apply: everything has ended. */
int plugin_read_result(const cJSON *result, enum plugin_verb verb, struct command *command) MUST_CHECK;
/* The index of a plugin by name in the manifest set. */
unsigned plugin_index(const struct apply *apply, const char *name);
/*
 * One call for these commands of one plugin, every one of which has an outcome or a plan afterwards. Negative errno
 * only when nothing could be asked.
 */
int plugin_run(const struct apply *apply, const struct document *document, enum plugin_verb verb,
	struct command **batch, const struct resolved_account *accounts, size_t count) MUST_CHECK;
/*
 * Commands of our own, of one plugin, which no document may give: planned, and those that would change something
 * applied. Each has its outcome afterwards.
 */
int plugin_run_internal(const struct apply *apply, struct command *commands, size_t count) MUST_CHECK;
