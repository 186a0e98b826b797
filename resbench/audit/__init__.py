"""Auditing a network before hours are spent on it: what ``resbench check`` does."""

from resbench.audit.findings import Check, Finding, Outcome
from resbench.audit.run import CHECKS, Audit, audit, audit_models
from resbench.audit.specimen import Specimen

__all__ = ["CHECKS", "Audit", "Check", "Finding", "Outcome", "Specimen", "audit", "audit_models"]
