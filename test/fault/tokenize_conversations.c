/* tokenize_conversations.c - the other half of tokenize_main.c */
#include "test/fault/programs.h"

#include "tools/tokenize_chat.c"
