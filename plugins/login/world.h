/* SPDX-License-Identifier: Apache-2.0 */
/* What is read once and holds for every user that is looked at: account files, sshd, PAM's few modules that we know. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/account_files.h"
#include "lib/account_index.h"
#include "lib/cleanup.h"
#include "lib/plugin.h"
#include "lib/sshd_config.h"
#include "plugins/login/ban.h"
#include "plugins/login/pam.h"

/* The modules that we know. */
enum { PAM_NOLOGIN, PAM_SHELLS, PAM_ACCESS, PAM_LIMITS, PAM_FAILLOCK, PAM_COUNT };

struct world {
	const struct user_spawner *spawner;
	int root;
	const char *root_path;
	bool is_host;
	int64_t now;
	const char *address;     /* of the stranger; NULL for anybody */
	const char *fingerprint; /* the one key that is asked about; NULL for any */
	struct account_table passwd, shadow, group, shells;
	struct account_table members;         /* of the groups, those that list somebody */
	struct account_numbers primary, gids; /* passwd and group by gid, once read */
	bool has_shadow;
	struct login_definitions definitions;
	struct sshd *sshd; /* NULL: sshd_error says why */
	int sshd_error;
	char sshd_detail[SSHD_DETAIL_MAX + 1];
	bool etc_nologin, run_nologin; /* the files stand there */
	struct pam_module pam[PAM_COUNT];
	struct pam_rules pam_rules; /* of others */
	bool is_debian;             /* or a child of it: its sshd is patched */
	int listening;              /* 1 yes, 0 nobody, -1 not looked at yet */
	struct ban ban;             /* of the address, once it has been asked about */
	bool ban_is_asked;
	char *revoked_path; /* whose fingerprints are held */
	char **revoked;
	bool revoked_unreadable, revoked_unknown; /* unknown: it may name more */
};

/* -EACCES when /etc/shadow cannot be read with our capabilities; -ENOENT without /etc/passwd. */
int world_open(const struct plugin_request *request, const char *address, struct world *ret_world) MUST_CHECK;
/* For many users: each is then found without reading every line. */
int world_index(struct world *world) MUST_CHECK;
/* For many groups of one user. */
int world_read_numbers(struct world *world) MUST_CHECK;
void world_close(struct world *world);
#define cleanup_world CLEANUP(world_close)
/* Whether anybody listens on sshd's ports. True below another root, where nothing runs. */
bool world_is_listening(struct world *world, const struct sshd_effective *effective);
/* Whether fail2ban bans the address. False for no address, and below another root. */
bool world_bans_address(struct world *world, const struct sshd_effective *effective);
/* Reads the file that RevokedKeys names, if it is another than the last one. */
int world_read_revoked(struct world *world, const char *path) MUST_CHECK;
/* A small file of the system, NUL-terminated, owned by the caller (free). -ENOENT, -EFBIG. */
int world_read(const struct world *world, const char *path, size_t limit, char **ret_text) MUST_CHECK;
/* Whether one of the host keys that the configuration (or its absence) names is there. */
bool world_has_host_key(const struct world *world);
/* True when the shell stands in /etc/shells. */
bool world_lists_shell(const struct world *world, const char *shell);
