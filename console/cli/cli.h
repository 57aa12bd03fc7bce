/* SPDX-License-Identifier: Apache-2.0 */
/* What every subcommand has at hand, and how the program ends. Whoever returns anything but CLI_OK has said why. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/manifest.h"

enum cli_exit {
	CLI_OK = 0,
	CLI_FAILED = 1,   /* the instance refused or could not do it */
	CLI_USAGE = 2,    /* wrong usage, or a value that no instance would take */
	CLI_ENDPOINT = 3, /* the endpoint cannot be reached or does not do as asked */
	CLI_TRUST = 4,    /* something could not be verified */
	CLI_TIMEOUT = 5,  /* no result in time; the command may still be carried out */
	CLI_LOCAL = 6,    /* files, memory or programs of this machine */
};

struct settings {
	char *endpoint;    /* URL without a slash at its end */
	char *signing_key; /* absolute path, private or (for an agent) public half */
	char *ca_file;     /* NULL: the system's */
	char *actor;       /* who acts, as documents say; NULL: the login name is not asked for */
};

struct cli {
	int home; /* the state directory */
	char *home_path;
	int lock; /* held while state is read, changed and written */
	bool json;
	struct settings settings;
	struct manifest_set manifests;
	void *http; /* libcurl's handle, kept so that its connection is used again */
	/* of the environment, for ssh-keygen alone */
	char *ssh_auth_sock, *ssh_askpass, *display;
};

int64_t cli_now(void);
/* One line on standard error, with the program's name in front of errors. Control characters are replaced. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
