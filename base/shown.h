/* shown.h - words from elsewhere (names of files and classes) as they may be printed: a control
 * character could move a terminal's cursor, hide a line or begin another one. */
#ifndef REGRAD_SHOWN_H
#define REGRAD_SHOWN_H

#include <stddef.h>

/* The text with each control character (C0, DEL, C1 in UTF-8) as \xNN, as much of it as there is
 * room for; returns `to`. */
const char *text_shown(const char *text, char *to, size_t room);

#endif
