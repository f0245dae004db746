"""Builds libregrad.so with the project's Makefile and puts it into the package.

Kernels for GPUs take minutes to compile: they are built if the environment says so, with CUDA=nvcc.
"""
import os
import shutil
import subprocess

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class Build(build_py):
    def run(self):
        super().run()
        cuda = os.environ.get('CUDA') or 'none'
        subprocess.run(['make', '-C', ROOT, '-j2', f'CUDA={cuda}', 'library'], check=True)
        target = os.path.join(self.build_lib, 'regrad', 'libregrad.so')
        shutil.copy(os.path.join(ROOT, 'build', 'release', 'libregrad.so'), target)


class Binary(Distribution):
    def has_ext_modules(self): # the wheel is for this machine's kind
        return True


with open(os.path.join(ROOT, 'VERSION'), encoding='utf-8') as f:
    version = f.read().strip()

setup(name='regrad', version=version, packages=['regrad'], cmdclass={'build_py': Build}, distclass=Binary,
      description='Training of GPT and ViT models in one planned block of memory', license='MIT', python_requires='>=3.8')
