"""parquet_rows.py --list | --field NAME | --chat FILE.parquet...: the rows as JSON Lines, with pyarrow (PyPI).

--list names the columns and their types.  --field writes one column, as {"NAME": ...}; --chat the columns that
`tokenize --chat` reads: messages, or prompt and completion, or text.  Rows whose text is null are left out."""
import argparse
import json
import os
import sys

try:
    from pyarrow import parquet
except ImportError:
    sys.exit('parquet_rows: %s has no pyarrow: `pip install pyarrow` in a virtual environment, and PYTHON=that python' %
             sys.executable)

CHAT = [['messages'], ['prompt', 'completion'], ['text']]


def wanted(names, options):
    """The columns to be written."""
    if options.field:
        if options.field not in names:
            sys.exit('parquet_rows: no column "%s"; there are: %s' % (options.field, ', '.join(names)))
        return [options.field]
    for columns in CHAT:
        if all(name in names for name in columns):
            return columns
    sys.exit('parquet_rows: no column messages, prompt and completion, or text; there are: %s: say --field NAME' %
             ', '.join(names))


def write(path, options):
    table = parquet.ParquetFile(path)
    schema = table.schema_arrow
    if options.list:
        for field in schema:
            print('%s\t%s' % (field.name, field.type))
        return
    columns = wanted(schema.names, options)
    for batch in table.iter_batches(batch_size=1024, columns=columns):
        for row in batch.to_pylist():
            if all(row[name] is not None for name in columns):
                print(json.dumps(row, ensure_ascii=False))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(':', maxsplit=1)[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument('--list', action='store_true')
    what.add_argument('--field')
    what.add_argument('--chat', action='store_true')
    parser.add_argument('files', nargs='+')
    options = parser.parse_args()
    for path in options.files:
        try:
            write(path, options)
        except BrokenPipeError:
            raise
        except Exception as e:  # pyarrow's own kinds, the system's, and json's of what is neither text nor number
            sys.exit('parquet_rows: %s: %s' % (path, (str(e) or repr(e)).splitlines()[0]))


try:
    main()
    sys.stdout.flush()
except BrokenPipeError:  # who reads has said why
    os._exit(1)
