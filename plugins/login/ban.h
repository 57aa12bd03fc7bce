/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether fail2ban, where it runs, keeps an address away from sshd's ports. Its own client is asked, for the bans stand
 * in firewalls that no plugin may list. A jail counts only where it says itself that its ban reaches sshd; whatever
 * else the client says is unknown, and bans nobody. See fail2ban-client(1), jail.conf(5).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/cleanup.h"
#include "lib/sshd_config.h"

#define BAN_NAME_MAX 64u  /* of a jail or an action; fail2ban's own are below 30 */
#define BAN_NAMES_MAX 16u /* jails that ban one address, or actions of a jail: more is unknown */
#define BAN_WORDS_MAX 120u

struct ban_names {
	char names[BAN_NAMES_MAX][BAN_NAME_MAX + 1];
	unsigned count;
};

struct ban {
	bool is_banned;
	char words[BAN_WORDS_MAX + 1]; /* by which jails, or that it does not say; "" where there is nothing to say */
};

/* Asks about an address in numbers (inet_pton(3)). Costs 50 ms, 3 s where fail2ban hangs. */
void ban_ask(const char *address, const struct sshd_effective *effective, struct ban *ret_ban);

/* "[['sshd', 'recidive']]\n", what `banned ADDRESS` answers. -EBADMSG for anything else. */
int ban_read_jails(const char *text, struct ban_names *ret_jails) MUST_CHECK;
/* "The jail sshd has the following actions:\nnftables, mail\n", what `get sshd actions` answers. */
int ban_read_actions(const char *text, const char *jail, struct ban_names *ret_actions) MUST_CHECK;
/* Whether an action for these ports ("ssh,8022,100:200") shuts one of sshd's. */
bool ban_reaches(const char *action, const char *ports, const uint16_t *sshd_ports, unsigned count);
