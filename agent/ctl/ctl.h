/* SPDX-License-Identifier: Apache-2.0 */
/* What latchctl's commands have in common: exit codes, options, one row for each command. */
#pragma once

#include <stdbool.h>

#include "agent/ctl/client.h"

enum {
	EXIT_OK = 0,
	EXIT_UNHEALTHY = 1, /* the agent is failing, nobody can log in, something would be denied */
	EXIT_USAGE = 64,
	EXIT_BAD_INPUT = 65,
	EXIT_NO_AGENT = 69,
	EXIT_TROUBLE = 71, /* of the system */
	EXIT_PROTOCOL = 76,
	EXIT_DENIED = 77,
};

struct options {
	bool json;
	const char *operand;
	const char *from, *key; /* doctor, explain */
	const char *signer;     /* policy check */
	const char *output;     /* bundle */
	bool used;              /* keys */
	bool yes, list;         /* bundle, seal */
};

/* Each returns an exit code and has explained what is not EXIT_OK. `client` is open for those that ask the agent. */
int ask_status(struct client *client, const struct options *options);
int ask_banner(struct client *client, const struct options *options);
int ask_commands(struct client *client, const struct options *options);
int ask_users(struct client *client, const struct options *options);
int ask_keys(struct client *client, const struct options *options);
int ask_monitor(struct client *client, const struct options *options);
int ask_metrics(struct client *client, const struct options *options);
int doctor_run(struct client *client, const struct options *options);
int policy_check_run(struct client *client, const struct options *options);
int bundle_run(struct client *client, const struct options *options);
int seal_run(struct client *client, const struct options *options);
int explain_run(struct client *client, const struct options *options);

/* The parameters of a method's only reply, alive as long as *ret_reply. */
int ask_call(struct client *client, const char *method, const char *parameters, bool more, cJSON **ret_reply,
	const cJSON **ret_parameters);
