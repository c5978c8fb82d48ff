"""Alerts: rules that watch missions, what they found, and telling people of it so that nothing is lost."""
