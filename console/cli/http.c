/* SPDX-License-Identifier: Apache-2.0 */
#include "console/cli/http.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "console/cli/state.h"
#include "lib/json.h"

struct transfer {
	struct http_answer answer;
	bool too_large;
};

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
	struct transfer *transfer = context;

	(void)size;
	if (count > HTTP_BODY_MAX - transfer->answer.body.size) {
		transfer->too_large = true;
		return 0;
	}
	buffer_append(&transfer->answer.body, bytes, count);
	return transfer->answer.body.failed ? 0 : count;
}

static size_t take_header(char *bytes, size_t size, size_t count, void *context)
{
	struct transfer *transfer = context;
	static const char name[] = "etag:";

	(void)size;
	if (count > sizeof(name) && strncasecmp(bytes, name, sizeof(name) - 1) == 0) {
		const char *value = bytes + sizeof(name) - 1;
		size_t left = count - (sizeof(name) - 1);
		while (left > 0 && (*value == ' ' || *value == '\t')) {
			value++;
			left--;
		}
		while (left > 0 && (value[left - 1] == '\r' || value[left - 1] == '\n' || value[left - 1] == ' '))
			left--;
		if (left <= HTTP_ETAG_MAX) {
			memcpy(transfer->answer.etag, value, left);
			transfer->answer.etag[left] = '\0';
		}
	}
	return count;
}

static void cleanup_headers_pointer(struct curl_slist **headers)
{
	curl_slist_free_all(*headers);
}

static bool add_header(struct curl_slist **headers, const char *name, const char *value)
{
	char line[512];

	if (!value)
		return true;
	int size = snprintf(line, sizeof(line), "%s: %s", name, value);
	if (size < 0 || (size_t)size >= sizeof(line))
		return false;
	struct curl_slist *longer = curl_slist_append(*headers, line);
	explicit_bzero(line, sizeof(line));
	if (!longer)
		return false;
	*headers = longer;
	return true;
}

static bool make_headers(const struct http_request *request, const char *token, struct curl_slist **headers)
{
	char bearer[STATE_TOKEN_MAX + 16], prefer[32];

	(void)snprintf(bearer, sizeof(bearer), "Bearer %s", token);
	(void)snprintf(prefer, sizeof(prefer), "wait=%d", request->wait);
	bool good = add_header(headers, "Authorization", bearer) &&
		    add_header(headers, "If-Match", request->if_match) &&
		    add_header(headers, "If-None-Match", request->if_none_match) &&
		    add_header(headers, "Prefer", request->wait > 0 ? prefer : NULL) &&
		    add_header(headers, "Content-Type", request->body ? "text/plain; charset=utf-8" : NULL);
	explicit_bzero(bearer, sizeof(bearer));
	if (!good)
		return false;
	/* libcurl's own wait for a 100 would cost a second where nobody answers it */
	struct curl_slist *longer = curl_slist_append(*headers, "Expect:");
	if (longer)
		*headers = longer;
	return longer != NULL;
}

static bool set_options(CURL *curl, const struct cli *cli, const struct http_request *request, const char *url,
	struct curl_slist *headers, struct transfer *transfer)
{
#if LIBCURL_VERSION_NUM >= 0x075500 /* EL 9 has 7.76 */
	bool good = curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
#else
	bool good = curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS)) == CURLE_OK;
#endif
	good = good && curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_HTTP09_ALLOWED, 0L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)HTTP_CONNECT_SECONDS) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)HTTP_SECONDS + request->wait) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header) == CURLE_OK &&
	       curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer) == CURLE_OK;
	if (good && cli->settings.ca_file)
		good = curl_easy_setopt(curl, CURLOPT_CAINFO, cli->settings.ca_file) == CURLE_OK;
	if (good && request->body)
		good = curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
		       curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body) == CURLE_OK &&
		       curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size) == CURLE_OK;
	return good && curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method) == CURLE_OK;
}

enum cli_exit http_exchange(
	struct cli *cli, const struct http_request *request, bool quiet, struct http_answer *ret_answer)
{
	struct curl_slist *headers CLEANUP(cleanup_headers_pointer) = NULL;
	cleanup_free char *token = NULL;
	cleanup_buffer struct buffer url = {0};
	struct transfer transfer = {0};

	enum cli_exit r = state_load_token(cli, &token);
	if (r != CLI_OK)
		return r;
	if (!cli->http)
		cli->http = curl_easy_init();
	CURL *curl = cli->http;
	if (curl)
		curl_easy_reset(curl); /* options go, the connection stays */
	buffer_append_format(&url, "%s/latchkey/v1%s", cli->settings.endpoint, request->path);
	bool good = curl && buffer_status(&url) == 0 && make_headers(request, token, &headers) &&
		    set_options(curl, cli, request, url.bytes, headers, &transfer);
	explicit_bzero(token, strlen(token));
	if (!good) {
		complain("libcurl could not be set up");
		return CLI_LOCAL;
	}
	CURLcode code = curl_easy_perform(curl);
	if (code == CURLE_OK && curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &transfer.answer.status) == CURLE_OK &&
		buffer_status(&transfer.answer.body) == 0) {
		*ret_answer = transfer.answer;
		return CLI_OK;
	}
	buffer_free(&transfer.answer.body);
	if (!quiet)
		complain("the endpoint %s cannot be asked: %s", cli->settings.endpoint,
			transfer.too_large ? "its answer is too large" : curl_easy_strerror(code));
	return CLI_ENDPOINT;
}

void http_close(struct cli *cli)
{
	curl_easy_cleanup(cli->http);
	cli->http = NULL;
}

void http_answer_free(struct http_answer *answer)
{
	buffer_free(&answer->body);
}

enum cli_exit http_unexpected(const char *what, const struct http_answer *answer)
{
	cleanup_json cJSON *root = NULL;
	const char *error = "";

	if (json_parse_object(answer->body.bytes, answer->body.size, &root) == 0)
		(void)!json_get_string(root, "error", &error);
	complain("%s: the endpoint answered %ld%s%s", what, answer->status, *error ? ": " : "", error);
	return CLI_ENDPOINT;
}
