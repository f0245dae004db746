/* templates.c - chat templates rendered, for comparison with another program: a line of JSON
 * {"template", "variables"} from the standard input becomes one {"text", "spans"} or {"error"}
 * on the standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "data/chat/jinja.h"

static error *render(const cJSON *line, cJSON *out)
{
    const char *source = cJSON_GetStringValue(cJSON_GetObjectItem(line, "template"));
    jinja *t;
    jinja_text text;
    if (!source) return user_error("no template");
    TRY(jinja_parse("it", source, strlen(source), &t));
    error *e = jinja_render(t, cJSON_GetObjectItem(line, "variables"), &text);
    if (!e) {
        cJSON *spans = cJSON_AddArrayToObject(out, "spans");
        cJSON_AddStringToObject(out, "text", text.text);
        for (size_t i = 0; i < text.n_spans; i++) {
            cJSON_AddItemToArray(spans, cJSON_CreateNumber((double)text.spans[i].begin));
            cJSON_AddItemToArray(spans, cJSON_CreateNumber((double)text.spans[i].end));
        }
    }
    jinja_text_free(&text);
    jinja_free(t);
    return e;
}

int main(void)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t n;
    while ((n = getline(&text, &room, stdin)) > 0) {
        cJSON *line, *out = cJSON_CreateObject();
        error *e = json_parse("the line", text, n, &line);
        if (!e) {
            e = render(line, out);
            cJSON_Delete(line);
        }
        if (e) cJSON_AddStringToObject(out, "error", error_text(e));
        error_free(e);
        char *printed = cJSON_PrintUnformatted(out);
        puts(printed ? printed : "{}");
        free(printed);
        cJSON_Delete(out);
    }
    free(text);
    return 0;
}
