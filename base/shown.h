/* shown.h - makes foreign text (names of files and classes) safe to print: a control character
 * could move a terminal's cursor, hide a line or start a new one. */
#ifndef REGRAD_SHOWN_H
#define REGRAD_SHOWN_H

#include <stddef.h>

/* Copies the text with each control character (C0, DEL, C1 in UTF-8) as \xNN, as much as there is
 * room for; returns `to`. */
const char *text_shown(const char *text, char *to, size_t room);

#endif
