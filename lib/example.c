/* example.c - a training run with the library: ten lines that matter.
 *
 *     ./tokenize --vocab bpe:1024 -o mine my-text.txt
 *     cc example.c $(pkg-config --cflags --libs regrad) -o example && ./example mine
 */
#include <regrad.h>
#include <stdio.h>

static int report(char *wrong)
{
    fprintf(stderr, "example: %s\n", wrong);
    regrad_free(wrong);
    return 1;
}

int main(int argc, char **argv)
{
    char train[4096], val[4096];
    regrad_run *run;
    regrad_step step;
    double loss, accuracy;
    if (argc != 2) return fprintf(stderr, "usage: example PREFIX (of PREFIX_train.bin)\n"), 1;
    snprintf(train, sizeof train, "%s_train.bin", argv[1]);
    snprintf(val, sizeof val, "%s_val.bin", argv[1]);
    const char *options[] = {"--model", "gpt-nano", "--vocab",      "1024", "--optim",    "adamw_r",
                             "--steps", "50",       "--train-data", train,  "--val-data", val};
    char *wrong = regrad_open("gpt", sizeof options / sizeof *options, options, &run);
    if (wrong) return report(wrong);
    printf("%lld parameters, %.1f MiB planned\n", (long long)regrad_parameters(run),
           (double)regrad_planned_bytes(run) / 1048576.0);
    for (int i = 0; i < 50 && !wrong; i++) {
        wrong = regrad_train_step(run, &step);
        if (!wrong && step.step % 10 == 0)
            printf("step %lld  loss %.4f  %.1f ms\n", (long long)step.step, step.loss,
                   1e3 * step.seconds);
    }
    if (!wrong) wrong = regrad_evaluate(run, &loss, &accuracy);
    if (!wrong) printf("validation loss %.4f\n", loss);
    if (!wrong) wrong = regrad_save(run, "example-out");
    regrad_close(run);
    return wrong ? report(wrong) : 0;
}
