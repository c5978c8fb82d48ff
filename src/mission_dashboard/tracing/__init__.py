"""OpenTelemetry traces of the server itself: what a request did, and what of it took how long. Off unless asked for."""
