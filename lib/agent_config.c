/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/agent_config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "lib/paths.h"

static const struct config_key keys[] = {
	{"agent", "instance", CONFIG_TEXT, NULL, "auto",
		"the instance id; auto: the machine's product_uuid in lower case, else its machine-id", false},
	{"agent", "trust", CONFIG_CHOICE, "signed|unsigned", "signed",
		"signed: a document without a good signature is refused; unsigned: see [unsigned] in policy.conf",
		false},
	{"agent", "trust_threshold", CONFIG_INTEGER, "1:16", "1", "how many trust roots must sign a trust document",
		false},
	{"agent", "boot_wait", CONFIG_INTEGER, "0:60", "15", "seconds that the boot may wait for the endpoint", false},
	{"endpoint", "url", CONFIG_TEXT, NULL, NULL,
		"where documents come from: http://, https://, unix:/PATH or file:///DIR", false},
	{"endpoint", "wait", CONFIG_INTEGER, "0:600", "300", "seconds a request may be held by the endpoint", false},
	{"endpoint", "poll", CONFIG_INTEGER, "10:86400", "300", "seconds between requests that are not held", false},
	{"endpoint", "ca_file", CONFIG_TEXT, NULL, NULL, "certificates that https must chain to; default: the system's",
		false},
	{"endpoint", "proxy", CONFIG_TEXT, NULL, NULL, "an HTTP proxy; never taken from the environment", false},
	{"keys", "drift", CONFIG_CHOICE, "report|restore|ignore", "report", "what to do when a bound key is missing",
		false},
	{"keys", "sweep", CONFIG_INTEGER, "60:604800", "21600", "seconds between looks at the bound keys", false},
	{"log", "level", CONFIG_CHOICE, "error|warning|notice|info|debug", "info", "the most that is logged", false},
};

const struct config_table agent_config_table = {keys, ELEMENTS(keys)};

bool agent_config_is_http_by_name(const char *url)
{
	static const char scheme[] = "http://";
	struct in_addr address;
	char host[64] = "";

	if (strncmp(url, scheme, strlen(scheme)) != 0)
		return false;
	const char *start = url + strlen(scheme);
	size_t size = strcspn(start, ":/");
	if (*start == '[')
		return false;
	if (size < sizeof(host))
		memcpy(host, start, size);
	return inet_pton(AF_INET, host, &address) != 1;
}

int agent_config_load(int root, struct config *ret_config, char ret_error[CONFIG_ERROR_MAX])
{
	cleanup_config struct config config = {0};

	int r = config_load(root, PATH_CONFIGURATION, "latchkey.conf", &agent_config_table, &config, ret_error);
	if (r < 0)
		return r;
	const char *url = config_text(&config, "endpoint", "url");
	if (url && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0 &&
		strncmp(url, "unix:/", 6) != 0 && strncmp(url, "file:///", 8) != 0) {
		(void)snprintf(ret_error, CONFIG_ERROR_MAX, "%s: must begin with http://, https://, unix:/ or file:///",
			config_source(&config, "endpoint", "url"));
		return -EBADMSG;
	}
	/* Whoever answers for the name would be believed. */
	if (url && agent_config_is_http_by_name(url) &&
		strcmp(config_text(&config, "agent", "trust"), "unsigned") == 0) {
		(void)snprintf(ret_error, CONFIG_ERROR_MAX,
			"%s: with trust = unsigned, http:// needs an address in place of a name",
			config_source(&config, "endpoint", "url"));
		return -EBADMSG;
	}
	*ret_config = config;
	config = (struct config){0};
	return 0;
}

void agent_config_set_log_level(const struct config *config)
{
	static const char *const levels[] = {"error", "warning", "notice", "info", "debug"};
	const char *level = config_text(config, "log", "level");

	for (unsigned i = 0; level && i < ELEMENTS(levels); i++) {
		if (strcmp(levels[i], level) == 0)
			log_set_level(LOG_ERR + (int)i);
	}
}
