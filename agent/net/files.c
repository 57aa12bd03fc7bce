/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/net/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "lib/file.h"

#define SCHEME "file://"
#define PATH_MAX_SIZE 4096u
/* Not IN_CREATE: who writes in place is read when he has closed the file. */
#define WHAT (IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR | IN_DONT_FOLLOW)

struct files {
	char *base;
	int notices, watch;
	sd_event_source *source;
	void (*changed)(void *context);
	void *context;
};

static int on_notice(sd_event_source *source, int descriptor, uint32_t events, void *context)
{
	struct files *files = context;
	char notices[4096];

	(void)source;
	(void)events;
	while (read(descriptor, notices, sizeof(notices)) > 0)
		;
	if (files->changed)
		files->changed(files->context);
	return 0;
}

int files_new(sd_event *event, const char *url, struct files **ret_files)
{
	if (strncmp(url, SCHEME "/", strlen(SCHEME "/")) != 0)
		return -EINVAL;
	struct files *files = calloc(1, sizeof(*files));
	if (!files)
		return -ENOMEM;
	files->watch = -1;
	files->base = strdup(url + strlen(SCHEME));
	files->notices = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int r = !files->base ? -ENOMEM : files->notices < 0 ? -errno : 0;
	if (r == 0)
		r = sd_event_add_io(event, &files->source, files->notices, EPOLLIN, on_notice, files);
	if (r < 0) {
		files_free(files);
		return r;
	}
	*ret_files = files;
	return 0;
}

void files_free(struct files *files)
{
	if (!files)
		return;
	sd_event_source_disable_unref(files->source);
	if (files->notices >= 0)
		(void)close(files->notices);
	free(files->base);
	free(files);
}

/* The resource's directory and, in it, its file. */
static int divide(const struct files *files, const char *path, char directory[PATH_MAX_SIZE], const char **ret_leaf)
{
	const char *slash = strrchr(path, '/');

	if (snprintf(directory, PATH_MAX_SIZE, "%s%.*s", files->base, (int)(slash - path), path) >= (int)PATH_MAX_SIZE)
		return -ENAMETOOLONG;
	*ret_leaf = slash + 1;
	return 0;
}

static int open_resource(const struct files *files, const char *path, int *ret_descriptor, struct stat *ret_status)
{
	cleanup_close int directory = -1;
	char name[PATH_MAX_SIZE];
	const char *leaf;

	int r = divide(files, path, name, &leaf);
	if (r == 0)
		r = file_open_directory(AT_FDCWD, name, &directory);
	return r < 0 ? r : file_open(directory, leaf, ret_descriptor, ret_status);
}

/* No document yet, or a directory that is not there at all (a share that is not mounted)? */
static bool has_base(const struct files *files)
{
	cleanup_close int directory = -1;
	return file_open_directory(AT_FDCWD, files->base, &directory) == 0;
}

void files_get(struct files *files, const struct http_request *request)
{
	struct http_answer answer = {.error = "", .retry_after = -1, .body = ""};
	cleanup_close int descriptor = -1;
	cleanup_free char *text = NULL;
	char error[256] = "";
	struct stat status;

	int r = open_resource(files, request->path, &descriptor, &status);
	if (r == 0) {
		(void)snprintf(answer.etag, sizeof(answer.etag), "\"%llx-%llx-%llx-%lx\"",
			(unsigned long long)status.st_ino, (unsigned long long)status.st_size,
			(unsigned long long)status.st_ctim.tv_sec, (unsigned long)status.st_ctim.tv_nsec);
		if (request->if_none_match && strcmp(request->if_none_match, answer.etag) == 0)
			answer.code = 304;
		else
			r = file_read_descriptor(descriptor, HTTP_BODY_MAX, &text, &answer.size);
	}
	if (r == -ENOENT && has_base(files)) {
		answer.code = 404;
	} else if (r < 0) {
		(void)snprintf(
			error, sizeof(error), "%.128s: %s", r == -ENOENT ? files->base : request->path, strerror(-r));
		answer.error = error;
	} else if (answer.code == 0) {
		answer.code = 200;
		answer.body = text;
	}
	request->function(request->context, &answer);
}

void files_watch(struct files *files, const char *path, void (*changed)(void *context), void *context)
{
	char directory[PATH_MAX_SIZE];
	const char *leaf;

	files->changed = changed;
	files->context = context;
	if (divide(files, path, directory, &leaf) < 0)
		return;
	/* The same directory again is the same watch; one that came in its place is another. */
	int watch = inotify_add_watch(files->notices, directory, WHAT);
	if (watch != files->watch && files->watch >= 0)
		(void)inotify_rm_watch(files->notices, files->watch);
	files->watch = watch;
}
