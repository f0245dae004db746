"""regrad - plan and train GPT and ViT models in one planned block of memory.

    import regrad
    plan = regrad.plan('gpt', model='gpt2-124m', batch=4, seq=64, optim='adamw_r')
    print(plan['peak_bytes'])
    with regrad.Run('gpt', model='gpt-nano', vocab=1024, train_data='mine_train.bin', steps=100) as run:
        for step in run.steps(100):
            print(step['step'], step['loss'])
        run.save('out')

Options are those of train_gpt and train_vit, with _ for -; a list gives an option several times, True
is a flag.  What the library refuses raises regrad.Error with its one line of text.  Nothing but Python
and libregrad.so is needed.
"""
import ctypes
import json
import os

__all__ = ['Error', 'Run', 'plan', 'train', 'version']


class Error(Exception):
    """One line: what is wrong, where, and how to mend it."""


class _Step(ctypes.Structure):
    _fields_ = [('step', ctypes.c_int64)] + [(name, ctypes.c_double)
                                             for name in ('loss', 'grad_norm', 'lr', 'accuracy', 'seconds')]


def _load():
    here = os.path.dirname(os.path.abspath(__file__))
    for path in (os.environ.get('REGRAD_LIBRARY'), os.path.join(here, 'libregrad.so'), 'libregrad.so'):
        if path:
            try:
                return ctypes.CDLL(path)
            except OSError as e:
                wrong = e
    raise ImportError(f'libregrad.so is not found: pip install ./python builds it, REGRAD_LIBRARY names one ({wrong})')


_lib = _load()
_text = ctypes.c_void_p # a string of the library's, which is freed here
_words = ctypes.POINTER(ctypes.c_char_p)
for _name, _result, _arguments in (
        ('version', ctypes.c_char_p, []),
        ('plan', _text, [ctypes.c_char_p, ctypes.c_int, _words, ctypes.POINTER(_text)]),
        ('open', _text, [ctypes.c_char_p, ctypes.c_int, _words, ctypes.POINTER(ctypes.c_void_p)]),
        ('close', None, [ctypes.c_void_p]),
        ('train_step', _text, [ctypes.c_void_p, ctypes.POINTER(_Step)]),
        ('evaluate', _text, [ctypes.c_void_p, ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_double)]),
        ('save', _text, [ctypes.c_void_p, ctypes.c_char_p]),
        ('parameters', ctypes.c_int64, [ctypes.c_void_p]),
        ('planned_bytes', ctypes.c_size_t, [ctypes.c_void_p]),
        ('free', None, [_text])):
    getattr(_lib, 'regrad_' + _name).restype = _result
    getattr(_lib, 'regrad_' + _name).argtypes = _arguments


def _take(text):
    """A string of the library's as Python's."""
    value = ctypes.string_at(text).decode('utf-8', 'replace')
    _lib.regrad_free(text)
    return value


def _check(text):
    if text:
        raise Error(_take(text))


def _options(options):
    words = []
    for name, value in options.items():
        option = '--' + name.replace('_', '-')
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if item is True:
                words.append(option)
            elif item is not None and item is not False:
                words += [option, str(item)]
    array = (ctypes.c_char_p * max(len(words), 1))(*[os.fsencode(w) for w in words])
    return len(words), ctypes.cast(array, _words), array


def version():
    return _lib.regrad_version().decode()


def plan(kind='gpt', **options):
    """The memory plan as a dict: peak_bytes, by_kind, parameters, step_flops ..."""
    out = _text()
    n, words, keep = _options(options)
    _check(_lib.regrad_plan(kind.encode(), n, words, ctypes.byref(out)))
    del keep
    return json.loads(_take(out))


class Run:
    """A planned run with its device, data and weights; one step at a time."""

    def __init__(self, kind='gpt', **options):
        self._run = ctypes.c_void_p()
        n, words, keep = _options(options)
        _check(_lib.regrad_open(kind.encode(), n, words, ctypes.byref(self._run)))
        del keep

    def _open(self):
        if not self._run:
            raise Error('the run is closed')
        return self._run

    def step(self):
        """One step, as a dict like a line of log.jsonl."""
        out = _Step()
        _check(_lib.regrad_train_step(self._open(), ctypes.byref(out)))
        return {name: getattr(out, name) for name, _ in _Step._fields_}

    def steps(self, n):
        for _ in range(n):
            yield self.step()

    def evaluate(self):
        loss, accuracy = ctypes.c_double(), ctypes.c_double()
        _check(_lib.regrad_evaluate(self._open(), ctypes.byref(loss), ctypes.byref(accuracy)))
        return {'val_loss': loss.value, 'val_accuracy': accuracy.value}

    def save(self, directory):
        _check(_lib.regrad_save(self._open(), os.fsencode(directory)))

    @property
    def parameters(self):
        return _lib.regrad_parameters(self._open())

    @property
    def planned_bytes(self):
        return _lib.regrad_planned_bytes(self._open())

    def close(self):
        _lib.regrad_close(self._run)
        self._run = ctypes.c_void_p()

    def __enter__(self):
        return self

    def __exit__(self, *wrong):
        self.close()


def train(kind='gpt', steps=200, out=None, **options):
    """Trains for that many steps; returns their dicts.  `out` is where the model goes, if anywhere."""
    with Run(kind, steps=steps, **options) as run:
        log = list(run.steps(steps))
        if out:
            run.save(out)
    return log
