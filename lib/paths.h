/* SPDX-License-Identifier: Apache-2.0 */
/* Where things stand on an instance. Paths below a --root are given without the leading slash. */
#pragma once

#define PATH_STATE "var/lib/latchkey"
#define PATH_RUN "/run/latchkey"
/* Below PATH_RUN, empty: there while the endpoint refuses this instance's identity, for a reason of its status, or
 * results. */
#define NAME_IDENTITY_UNKNOWN "identity-403"
#define NAME_IDENTITY_OTHER "identity-409"
#define NAME_IDENTITY_REFUSED "identity-refused"
#define NAME_RESULTS_REFUSED "results-refused"
/* Below PATH_RUN, for the network half: the last good configuration, there while the operator's is refused. */
#define NAME_LAST_GOOD "latchkey.conf"
#define PATH_LINK PATH_RUN "/link"
#define PATH_STATUS_SOCKET PATH_RUN "/io.latchkey.Agent"
#define PATH_CONFIGURATION "etc/latchkey"
#define PATH_APPLY "/usr/sbin/latchkey-apply"
#define PATH_PLUGINS "/usr/libexec/latchkey/plugins"
#define PATH_SSHD "/usr/sbin/sshd"
#define AGENT_USER "latchkey"
