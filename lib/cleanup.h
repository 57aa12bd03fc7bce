/* SPDX-License-Identifier: Apache-2.0 */
/* Scope-bound release of resources, and handing them over (steal_*). */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CLEANUP(function) __attribute__((cleanup(function)))
#define MUST_CHECK __attribute__((warn_unused_result))

static inline void cleanup_free_pointer(void *pointer)
{
	free(*(void **)pointer);
}

static inline void cleanup_close_descriptor(const int *descriptor)
{
	if (*descriptor >= 0)
		(void)close(*descriptor);
}

static inline void cleanup_fclose_pointer(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}

#define cleanup_free CLEANUP(cleanup_free_pointer)
#define cleanup_close CLEANUP(cleanup_close_descriptor)
#define cleanup_fclose CLEANUP(cleanup_fclose_pointer)

static inline int steal_descriptor(int *descriptor)
{
	int stolen = *descriptor;
	*descriptor = -1;
	return stolen;
}

static inline void *steal_pointer_at(void *pointer)
{
	void *stolen = *(void **)pointer;
	*(void **)pointer = NULL;
	return stolen;
}

#define steal_pointer(pointer) ((__typeof__(*(pointer)))steal_pointer_at(pointer))

#define ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))
