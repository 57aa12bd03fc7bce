/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local owner's veto: may this signer ask this of this account? Decided on the resolved account (resolve.h), never
 * on its name alone. Every denial names the rule and where it stands. The key table below is the one table of defaults
 * (latchkey-policy(5) prints it).
 */
#pragma once

#include <stdbool.h>

#include "lib/buffer.h"
#include "lib/code.h"
#include "lib/config.h"
#include "lib/json.h"
#include "lib/manifest.h"
#include "policy/resolve.h"

enum policy_mode {
	POLICY_ENFORCE,
	POLICY_OBSERVE,
	POLICY_OFF,
};

struct policy {
	struct config config;
	bool broken; /* the file was refused: mode observe, health failing */
	char error[CONFIG_ERROR_MAX];
};

extern const struct config_table policy_table;

/* Reads /etc/latchkey/policy.conf below root. A bad file gives `broken` and mode observe, not an error. */
int policy_load(int root, struct policy *ret_policy) MUST_CHECK;
void policy_free(struct policy *policy);
#define cleanup_policy CLEANUP(policy_free)
enum policy_mode policy_mode(const struct policy *policy);
const char *policy_mode_name(enum policy_mode mode);

/*
 * OK, or policy, unsigned, signer, system_account, privileged or group_privileged, with the rule in ret_detail.
 * `signer` is NULL for an unsigned document; `account` is NULL when the command names no user.
 */
enum code policy_decide(const struct policy *policy, const char *signer, const struct manifest_command *row,
	const cJSON *command, const struct resolved_account *account, char ret_detail[DETAIL_MAX + 1]);

/*
 * The groups that a command gives: a root-equivalent one (by name, or by the gid of such a name) only where [groups]
 * allow names it in full. OK or group_privileged.
 */
enum code policy_decide_groups(const struct policy *policy, const struct resolver *resolver, const cJSON *command,
	char ret_detail[DETAIL_MAX + 1]);

/* Writes a manifest's settings object, each value taken from the policy key of that name. */
int policy_write_settings(
	const struct policy *policy, const cJSON *declarations, struct json_writer *writer) MUST_CHECK;
