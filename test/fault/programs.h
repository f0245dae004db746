/* programs.h - the mains of the programs, under names of their own. */
#ifndef REGRAD_TEST_FAULT_PROGRAMS_H
#define REGRAD_TEST_FAULT_PROGRAMS_H

int train_main(int argc, char **argv);
int train_vit_main(int argc, char **argv);
int tokenize_main(int argc, char **argv);
int export_main(int argc, char **argv);
int generate_main(int argc, char **argv);

#endif
