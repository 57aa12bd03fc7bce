/* SPDX-License-Identifier: Apache-2.0 */
#include "console/endpoint/routes.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "console/endpoint/token.h"
#include "lib/field.h"

static const struct route routes[] = {
	{"GET", "/latchkey/v1/instances/*/document", ROUTE_BOTH, STORE_READER, handle_get_document},
	{"PUT", "/latchkey/v1/instances/*/document", ROUTE_CONSOLE, STORE_HELPDESK, handle_put_document},
	{"GET", "/latchkey/v1/instances/*/results", ROUTE_CONSOLE, STORE_READER, handle_get_results},
	{"POST", "/latchkey/v1/instances/*/results", ROUTE_AGENT, STORE_OPERATOR, handle_post_results},
	{"GET", "/latchkey/v1/instances/*/report", ROUTE_CONSOLE, STORE_READER, handle_get_report},
	{"POST", "/latchkey/v1/instances/*/report", ROUTE_AGENT, STORE_OPERATOR, handle_post_report},
	{"GET", "/latchkey/v1/instances/*/identity", ROUTE_CONSOLE, STORE_READER, handle_get_identity},
	{"PUT", "/latchkey/v1/instances/*/identity", ROUTE_AGENT, STORE_OPERATOR, handle_put_identity},
	{"POST", "/latchkey/v1/instances/*/reset", ROUTE_CONSOLE, STORE_OPERATOR, handle_post_reset},
	{"GET", "/latchkey/v1/instances", ROUTE_CONSOLE, STORE_READER, handle_get_instances},
	{"POST", "/latchkey/v1/instances", ROUTE_CONSOLE, STORE_OPERATOR, handle_post_instances},
	{"GET", "/latchkey/v1/trust", ROUTE_BOTH, STORE_READER, handle_get_trust},
	{"PUT", "/latchkey/v1/trust", ROUTE_CONSOLE, STORE_OPERATOR, handle_put_trust},
};

/* Matches and takes the instance out of the path; 1, 0, or -EINVAL for an id that cannot be one. */
static int match(const char *pattern, const char *path, char instance[REQUEST_INSTANCE_SIZE])
{
	const char *star = strchr(pattern, '*');

	instance[0] = '\0';
	if (!star)
		return strcmp(pattern, path) == 0;
	size_t prefix = (size_t)(star - pattern);
	if (strncmp(pattern, path, prefix) != 0)
		return 0;
	const char *id = path + prefix;
	size_t size = strcspn(id, "/");
	if (strcmp(id + size, star + 1) != 0)
		return 0;
	if (size >= REQUEST_INSTANCE_SIZE)
		return -EINVAL;
	memcpy(instance, id, size);
	instance[size] = '\0';
	return field_is_instance(instance) ? 1 : -EINVAL;
}

/* The token of the request, if it has a good one: 0, -ENOENT without a header, -EACCES for an unknown token. */
static int find_token(struct request *request, enum store_role *ret_role)
{
	const char *header = request_header(request, "Authorization");
	unsigned char hash[STORE_HASH_SIZE];

	if (!header)
		return -ENOENT;
	if (strncasecmp(header, "Bearer ", 7) != 0)
		return -EACCES;
	token_hash(header + 7 + strspn(header + 7, " "), hash);
	int r = store_find_token(request->server->store, hash, ret_role, request->token_name);
	return r == -ENOENT ? -EACCES : r;
}

static int check_caller(struct request *request, struct answer *answer)
{
	const struct route *route = request->route;
	const char *mark = request_header(request, "Latchkey");
	enum store_role role;

	request->from_agent = mark && strcmp(mark, "1") == 0;
	if (route->caller == ROUTE_AGENT || (route->caller == ROUTE_BOTH && request->from_agent)) {
		if (request->from_agent)
			return 0;
		answer_error(answer, MHD_HTTP_BAD_REQUEST, "the header \"Latchkey: 1\" is missing");
		return -EPERM;
	}
	int r = find_token(request, &role);
	if (r == -ENOENT && route->caller == ROUTE_BOTH) {
		answer_error(answer, MHD_HTTP_BAD_REQUEST, "neither the header \"Latchkey: 1\" nor a token");
		return -EPERM;
	}
	if (r == -ENOENT || r == -EACCES) {
		answer_error(answer, MHD_HTTP_UNAUTHORIZED,
			r == -ENOENT ? "a token is needed (Authorization: Bearer …)" : "the token is unknown");
		return -EPERM;
	}
	if (r < 0) {
		answer_failure(answer, r);
		return -EPERM;
	}
	if (role < route->role) {
		answer_error(answer, MHD_HTTP_FORBIDDEN, "the token %s may not do this", request->token_name);
		return -EPERM;
	}
	return 0;
}

int route_begin(struct request *request, const char *method, const char *path, struct answer *answer)
{
	bool known = false;

	if (strcmp(method, "HEAD") == 0)
		method = "GET";
	for (size_t i = 0; i < ELEMENTS(routes); i++) {
		int matched = match(routes[i].path, path, request->instance);
		if (matched == 0)
			continue;
		if (matched < 0) {
			answer_error(answer, MHD_HTTP_BAD_REQUEST, "that is no instance id");
			return -EPERM;
		}
		known = true;
		if (strcmp(routes[i].method, method) != 0)
			continue;
		request->route = &routes[i];
		request->wait = strcmp(method, "GET") == 0 ? request_wait(request) : 0;
		return check_caller(request, answer);
	}
	if (known)
		answer_error(answer, MHD_HTTP_METHOD_NOT_ALLOWED, "that method is not known here");
	else
		answer_error(answer, MHD_HTTP_NOT_FOUND, "there is nothing at this path");
	return -EPERM;
}
