/* SPDX-License-Identifier: Apache-2.0 */
/* Documents as the operator sees them: the one that stands at the endpoint, verified, and the one that he signs next.
 */
#pragma once

#include "console/cli/pins.h"
#include "lib/json.h"

#define DOCUMENT_VALID_DEFAULT 86400 /* seconds a command may wait for its instance */
#define DOCUMENT_VALID_MAX 604800    /* latchkey-protocol(7) */
#define DOCUMENT_COMMANDS_MAX 4096
#define DOCUMENT_DIGEST_SIZE 65u
#define DOCUMENT_SEQ_STEP 65535 /* one less than latchkey-protocol(7) allows above the newest */

struct document {
	cJSON *payload; /* owned; NULL when the endpoint has none */
	char etag[128]; /* "" when it has none */
	bool dry_run;
	char digest[DOCUMENT_DIGEST_SIZE];
	int64_t seq, expires; /* seq is also the claim of a document that is not trusted, within DOCUMENT_SEQ_STEP */
};

/*
 * Reads the stored document, and notes in the pin which was the newest. CLI_TRUST when its signature is not by a signer
 * of this operator's own allowed_signers, or when it is older than one that he has seen (he is told); the etag is
 * filled in even then, so that it can be replaced. Once the one that he has seen has expired, an older one is as none.
 */
enum cli_exit document_load(struct cli *cli, struct pin *pin, struct document *ret_document);
/* The command of that id in it, or NULL. */
const cJSON *document_find(const struct document *document, const char *id);
void document_free(struct document *document);
#define cleanup_document CLEANUP(document_free)

/* What goes into a document. */
struct document_draft {
	const char *instance, *actor;
	int64_t seq, issued, expires;
	const cJSON *commands;
	const cJSON *carried; /* NULL, or of a dry run the ids of commands that pend for real (fold.h) */
};

/* Makes {"v":1,…} of it, signs that through ssh-keygen, and checks the signature as an instance would. */
enum cli_exit document_sign(struct cli *cli, const struct document_draft *draft, struct buffer *text,
	char ret_digest[DOCUMENT_DIGEST_SIZE]);
