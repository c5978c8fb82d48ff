"""Frameworks as sources of missions: one file each, each imported by itself, all on `mission_dashboard.client` alone.

docs/integrations.md says how to connect them.
"""
