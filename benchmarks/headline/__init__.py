"""All that a GPU is to answer, in pieces that end in time: ``python -m benchmarks.headline``.

| file | what it holds |
|---|---|
| ``place`` | where and on what everything is run |
| ``pieces`` | what is run, as command lines, in the order in which it is wanted |
| ``runner`` | running them in time, and remembering which are done |
| ``reencode`` | a dataset's images once more, as JPEG of a lower quality |
"""
