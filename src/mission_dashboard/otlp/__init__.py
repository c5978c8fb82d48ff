"""OpenTelemetry traces become missions and spans: decoding, names, translation, and finding each span's mission."""
