/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoint as plain files: url = file:///DIR, and below it the resources of latchkey-protocol(7). They are
 * answered as a static web server would; what is put or posted has nowhere to go and stays on this machine. No symbolic
 * link is followed. A file's ETag is its inode, size and time of change, so one that did not change is not read.
 */
#pragma once

#include <systemd/sd-event.h>

#include "agent/net/http.h"

struct files;

/* -EINVAL when the url is not file:// and an absolute path. The directory may come later. */
int files_new(sd_event *event, const char *url, struct files **ret_files) MUST_CHECK;
void files_free(struct files *files);
/* Calls the request's function before it returns: 200, 304, 404, or no answer (no such DIR, a file over the cap). */
void files_get(struct files *files, const struct http_request *request);
/* From now on `changed` is called when a file was written, or moved, into the resource's directory, where it exists. */
void files_watch(struct files *files, const char *path, void (*changed)(void *context), void *context);
