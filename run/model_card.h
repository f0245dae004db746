/* model_card.h - what the files around a trained model say of it, for its model card: of the run
 * that made it, and of the base that it was made of.
 *
 *     options.json, data.json, log.jsonl      the run's; state.json of a checkpoint says up to which step
 *     README.md                               its YAML head: license and, of an exported model, base_model
 *     config.json                             the base's: _name_or_path, its name on the Hub
 *     models--OWNER--NAME/snapshots/...       the same, from its place in Hugging Face's cache
 *
 * Others write these files, too: what is kept of them is bounded, and fit for a line of YAML in
 * double quotes.  A file that is not there says nothing.
 */
#ifndef REGRAD_MODEL_CARD_H
#define REGRAD_MODEL_CARD_H

#include <cjson/cJSON.h>

#include "base/files.h"

enum { CARD_WORD = 200, CARD_LICENSE = 3 };

/* Of a log. */
typedef struct {
    double end; /* no step after this one: a checkpoint is of the middle of its run */
    int64_t steps, first_step, best_step; /* 0: there is none */
    double first, last, best, best_at_end;
} card_losses;

typedef struct {
    cJSON *options, *data; /* ? */
    card_losses losses;
    char base_model[CARD_WORD];            /* the base's name on the Hub; "": not known */
    char license[CARD_LICENSE][CARD_WORD]; /* by card_license_fields; "": not known */
} model_card;

/* license, license_name, license_link */
extern const char *const card_license_fields[CARD_LICENSE];

/* Each adds to a card that begins with zeros what one directory says; after a user error, what was
 * found before it.
 *
 *     run     of a run, one of its checkpoints, or its best model
 *     base    of the base: license, and its name
 *     own     of a model itself: the license, which may replace the base's, and its base's name if there is none yet */
error *card_read_run(const char *directory, model_card *c) NODISCARD;
error *card_read_base(const char *directory, model_card *c) NODISCARD;
error *card_read_own(const char *directory, model_card *c) NODISCARD;
void card_free(model_card *c);

/* A member that is a number; NaN: there is none. */
double card_number(const cJSON *object, const char *name);

#endif
