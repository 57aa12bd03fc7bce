/* SPDX-License-Identifier: Apache-2.0 */
/* Where things stand on an instance. Paths below a --root are given without the leading slash. */
#pragma once

#define PATH_STATE "var/lib/latchkey"
#define PATH_RUN "/run/latchkey"
#define PATH_LINK PATH_RUN "/link"
#define PATH_STATUS_SOCKET PATH_RUN "/io.latchkey.Agent"
#define IDENTITY_REFUSED "identity_refused" /* in PATH_RUN: with which code the endpoint refuses the identity */
#define PATH_CONFIGURATION "etc/latchkey"
#define PATH_APPLY "/usr/sbin/latchkey-apply"
#define PATH_PLUGINS "/usr/libexec/latchkey/plugins"
#define PATH_SSHD "/usr/sbin/sshd"
#define AGENT_USER "latchkey"
