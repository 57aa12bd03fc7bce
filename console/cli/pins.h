/* SPDX-License-Identifier: Apache-2.0 */
/*
 * known_instances: what this operator knows of each instance, as ssh knows hosts. The first meeting is his to approve;
 * a changed `sign` is an error; a new `box` counts only in an identity of a higher generation signed by the pinned
 * `sign`.
 */
#pragma once

#include "console/cli/arguments.h"
#include "console/cli/cli.h"
#include "console/cli/report.h"
#include "lib/identity.h"

struct pin {
	char *instance;
	char *sign;                          /* "ssh-ed25519 BASE64"; NULL: not met yet */
	char *box;                           /* base64 */
	int64_t generation, generation_seen; /* and since when that one is known here */
	int64_t seq;                         /* the highest of a document whose signature was verified */
	int64_t expires;                     /* of that document */
	int64_t results;                     /* how many of the endpoint's results need not be read again */
	int64_t when;                        /* of the first meeting */
	struct report_marks report;          /* the highest of each in reports that it signed */
	unsigned char *sign_blob;
	size_t sign_blob_size;
};

/* The pin of an instance, empty when it is not known. */
enum cli_exit pin_load(struct cli *cli, const char *instance, struct pin *ret_pin);
/* The pins of many, in this order; what is no instance id in the list is passed over. */
typedef void (*pin_visitor)(void *context, const struct pin *pin);
enum cli_exit pins_visit(struct cli *cli, const cJSON *instances, pin_visitor visitor, void *context);
enum cli_exit pin_save(struct cli *cli, const struct pin *pin);
/* Forgets the keys and keeps the sequence number, which must never go back. */
enum cli_exit pin_forget(struct cli *cli, const char *instance);
void pin_free(struct pin *pin);
#define cleanup_pin CLEANUP(pin_free)

/*
 * Asks the endpoint for the identity and checks it against the pin, which is made or renewed: CLI_OK with pin->sign
 * set, or, when the instance has not registered, NULL. CLI_TRUST when it is not the instance that was met before, or
 * when the operator does not approve. In a terminal he is asked; otherwise one of the two options must stand.
 */
enum cli_exit pin_check(struct cli *cli, const struct arguments *arguments, struct pin *pin);
/* The same for an identity already read. */
enum cli_exit pin_check_identity(
	struct cli *cli, const struct arguments *arguments, const struct identity *identity, struct pin *pin);
