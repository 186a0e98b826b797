"""Auditing a network before hours are spent on it: what ``resbench check`` does.

A check is one function of a :class:`~resbench.audit.case.Case` that returns an outcome and may raise. Those of a theme
stand in one file, and :mod:`resbench.audit.catalogue` lists them all in the order in which they run.
"""
