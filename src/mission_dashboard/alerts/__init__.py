"""Alerts: rules on events and measures, what they found, and telling people of it exactly once."""
