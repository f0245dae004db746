"""cli_help - what a program prints with --help, taken apart: for its manual page, docs/cli.md and shell completion.

A heading is a line that ends with a colon and stands alone; an option a line that begins with one or two
dashes, up to six spaces from the left; its words continue in lines that are further in.
"""
import os
import re
import subprocess

PROGRAMS = ['train_gpt', 'train_vit', 'tokenize', 'generate', 'export', 'predict']

OPTION = re.compile(r'^ {2,6}((?:-., +)?-[^ ]+)(?: +(\S.*))?$')
HEADING = re.compile(r'^ (\S.*):$')


class Help:
    """usage: a line.  about: a sentence.  groups: (heading or '', [(spelling, words)]).  after: the rest, paragraphs of lines."""

    def __init__(self, text):
        first, _, rest = text.partition('\n')
        about, _, rest = rest.partition('\n\n')
        self.usage = first.replace('Usage: ', '')
        self.about = ' '.join(about.split())
        self.groups, self.after = [], []
        for line in rest.splitlines():
            self.take(line)
        self.groups = [(heading, [(spelling, ' '.join(words.split())) for spelling, words in options])
                       for heading, options in self.groups if options]

    def take(self, line):
        heading, option = HEADING.match(line), OPTION.match(line)
        if heading:
            self.groups.append((heading[1], []))
        elif option and not self.after:
            if '--help' in option[1].split() and self.groups and self.groups[0][0]:
                self.groups.append(('Help', []))
            elif not self.groups:
                self.groups.append(('', []))
            self.groups[-1][1].append([option[1], option[2] or ''])
        elif line.startswith('       ') and self.groups and self.groups[-1][1]:
            self.groups[-1][1][-1][1] += ' ' + line.strip()
        elif line.strip() or self.after:
            self.after.append(line)

    @property
    def notes(self):
        """What follows the options: (sentences, lines of examples)."""
        lines = [line for line in self.after if line.strip()]
        examples = [line.strip() for line in lines if line.startswith('  ')]
        words = ' '.join(line.strip() for line in lines if not line.startswith('  '))
        return re.sub(r'Mandatory or optional arguments .*? short options\. ?', '', words), examples


def read_help(program):
    return Help(subprocess.run([program, '--help'], capture_output=True, text=True, check=True,
                               env=dict(os.environ, LC_ALL='C', ARGP_HELP_FMT='')).stdout)
